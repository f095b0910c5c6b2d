//! One session: a task that reads, a task that writes, and the streams that the client opens.

use super::frame::{Decoder, Encoder, Frame, REFUSED_STREAM};
use super::headers::Headers;
use super::stream::{Stream, Streams};
use bytes::{Bytes, BytesMut};
use std::sync::PoisonError;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// Frames that wait to be written before their sender does.
const DEPTH: usize = 16;
/// Pieces of data that a stream holds before the session's reading stops.
const STREAM_DEPTH: usize = 8;
/// Streams that are open at once: two for each connection that is forwarded.
const MAX_STREAMS: usize = 512;
/// New streams that nobody has taken yet.
const NEW_STREAMS: usize = 16;
/// See the WebSocket's constants of the same names.
const READ_BYTES: usize = 64 << 10;
const PING_EVERY: Duration = Duration::from_secs(20);
const STALLED: Duration = Duration::from_secs(60);
/// How long a client may take to hear that the session is over. Closing before it has, while it
/// still sends, would reset the connection and lose what it has not read yet.
const LINGER: Duration = Duration::from_secs(10);

/// A session. Dropping it ends it and all its streams.
pub struct Session {
    opened: mpsc::Receiver<Stream>,
    out: mpsc::Sender<Frame>,
    tasks: JoinSet<()>,
    /// Ends when the client has closed its side.
    left: oneshot::Receiver<()>,
}

impl Session {
    /// Takes over a connection after the upgrade.
    pub fn new<S: AsyncRead + AsyncWrite + Send + 'static>(connection: S) -> Self {
        let (reader, writer) = tokio::io::split(connection);
        let (out, waiting) = mpsc::channel(DEPTH);
        let (found, opened) = mpsc::channel(NEW_STREAMS);
        let (present, left) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        let reading = Reading {
            found,
            out: out.downgrade(),
            streams: Streams::default(),
            last: 0,
        };
        tasks.spawn(async move {
            reading.run(reader).await;
            drop(present);
            std::future::pending::<()>().await;
        });
        tasks.spawn(write(writer, waiting));
        Self {
            opened,
            out,
            tasks,
            left,
        }
    }

    /// The next stream that the client opens; `None` when it is gone. It is not accepted yet.
    pub async fn next(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }

    /// Waits until nothing can be written any more.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let out = self.out.clone();
        async move { out.closed().await }
    }

    /// Ends the session when all that was sent on its streams is with the client. Every stream
    /// must be dropped.
    pub async fn finish(mut self) {
        let _ = self.out.send(Frame::GoAway { last: 0 }).await;
        drop(self.opened);
        drop(self.out);
        let _ = timeout(STALLED, self.tasks.join_next()).await;
        let _ = timeout(LINGER, self.left).await;
    }
}

/// What the reading task holds.
struct Reading {
    found: mpsc::Sender<Stream>,
    out: mpsc::WeakSender<Frame>,
    streams: Streams,
    /// The newest stream of the client.
    last: u32,
}

impl Reading {
    /// Reads until the client is gone or breaks the protocol; then every stream ends.
    async fn run(mut self, mut reader: impl AsyncRead + Unpin) {
        let mut decoder = Decoder::default();
        loop {
            match decoder.frame() {
                Ok(Some(frame)) => {
                    if !self.handle(frame).await {
                        break;
                    }
                }
                Ok(None) => {
                    decoder.buffer().reserve(READ_BYTES);
                    match reader.read_buf(decoder.buffer()).await {
                        Ok(0) | Err(_) => break,
                        Ok(_) => {}
                    }
                }
                Err(mistake) => {
                    tracing::debug!(why = %mistake, "a client broke SPDY's rules");
                    let last = self.last;
                    self.answer(Frame::GoAway { last }).await;
                    break;
                }
            }
        }
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.clear();
    }

    async fn answer(&self, frame: Frame) {
        if let Some(out) = self.out.upgrade() {
            // The session is over, if this fails.
            let _ = out.send(frame).await;
        }
    }

    /// `false` when the session is over.
    async fn handle(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::SynStream {
                stream,
                fin,
                headers,
                ..
            } => return self.open(stream, fin, headers).await,
            Frame::Data { stream, fin, bytes } => {
                let to = self.find(stream);
                if let Some(to) = to
                    && !bytes.is_empty()
                {
                    // Whoever read it may have lost interest.
                    let _ = to.send(bytes).await;
                }
                if fin {
                    self.close(stream);
                }
            }
            Frame::Headers { stream, fin: true } => self.close(stream),
            Frame::Reset { stream, .. } => self.close(stream),
            // Ours are even, and their answers come back.
            Frame::Ping(number) if number % 2 == 1 => self.answer(Frame::Ping(number)).await,
            Frame::GoAway { .. }
            | Frame::Ping(_)
            | Frame::Window { .. }
            | Frame::SynReply { .. }
            | Frame::Headers { fin: false, .. } => {}
        }
        true
    }

    async fn open(&mut self, number: u32, fin: bool, headers: Headers) -> bool {
        let Some(out) = self.out.upgrade() else {
            return false;
        };
        let (to, incoming) = mpsc::channel(STREAM_DEPTH);
        let crowded = {
            let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            // Clients number upwards, and oddly.
            let wrong = number.is_multiple_of(2) || number <= self.last;
            let crowded = wrong || streams.len() >= MAX_STREAMS;
            if !crowded && !fin {
                streams.insert(number, to);
            }
            crowded
        };
        if crowded {
            let status = REFUSED_STREAM;
            let refusal = Frame::Reset {
                stream: number,
                status,
            };
            return out.send(refusal).await.is_ok();
        }
        self.last = number;
        let stream = Stream::new(number, headers, incoming, out, self.streams.clone());
        self.found.send(stream).await.is_ok()
    }

    fn find(&self, stream: u32) -> Option<mpsc::Sender<Bytes>> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(&stream).cloned()
    }

    fn close(&self, stream: u32) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.remove(&stream);
    }
}

/// Writes until nobody can send any more, or the client is gone.
async fn write(mut writer: impl AsyncWrite + Unpin, mut waiting: mpsc::Receiver<Frame>) {
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut encoder, mut bytes, mut number) = (Encoder::default(), BytesMut::new(), 0u32);
    loop {
        bytes.clear();
        tokio::select! {
            frame = waiting.recv() => match frame {
                Some(frame) => encoder.encode(&frame, &mut bytes),
                None => break,
            },
            _ = pings.tick() => {
                number = number.wrapping_add(2);
                encoder.encode(&Frame::Ping(number), &mut bytes);
            }
        }
        let idle = waiting.is_empty();
        let writing = async {
            writer.write_all(&bytes).await?;
            match idle {
                true => writer.flush().await,
                false => Ok(()),
            }
        };
        if !matches!(timeout(STALLED, writing).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(STALLED, writer.shutdown()).await;
}
