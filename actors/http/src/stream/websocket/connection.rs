//! One connection: a task that reads and one that writes, with a bounded queue each.

use super::codec::{Decoder, Message, Opcode, encode};
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// Messages that wait in either direction before their sender does.
const DEPTH: usize = 8;
/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
/// How often a client is asked whether it is there. Only the failing of the question is noticed.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that takes nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(60);

/// A message to the client: a head of at most one byte, and the rest.
pub(super) struct Outgoing {
    opcode: Opcode,
    channel: Option<u8>,
    payload: Bytes,
}

/// The way to the client.
#[derive(Clone)]
pub struct Sender {
    queue: mpsc::Sender<Outgoing>,
}

/// The client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Sender {
    /// Sends bytes on a channel (their first byte); waits for room.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn send(&self, channel: Option<u8>, payload: Bytes) -> Result<(), Gone> {
        let message = Outgoing {
            opcode: Opcode::Binary,
            channel,
            payload,
        };
        self.queue.send(message).await.map_err(|_| Gone)
    }

    /// Waits until the client is gone.
    pub async fn gone(&self) {
        self.queue.closed().await;
    }
}

/// A WebSocket. Dropping it ends it.
pub struct Connection {
    /// Messages of the client; ends when it is gone.
    pub incoming: mpsc::Receiver<Bytes>,
    /// The way to the client. When every clone is dropped, the connection is closed in order.
    pub outgoing: Sender,
    tasks: Tasks,
}

/// The tasks of a connection; they end with this.
pub struct Tasks(JoinSet<()>);

impl Tasks {
    /// Waits until all that was sent is with the client. Every [`Sender`] must be dropped.
    pub async fn finish(mut self) {
        // The one that writes ends by itself; the one that reads does when the client goes.
        let _ = timeout(STALLED, self.0.join_next()).await;
    }
}

impl Connection {
    /// Takes over a stream after the handshake.
    pub fn new<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (queue, waiting) = mpsc::channel(DEPTH);
        let (found, incoming) = mpsc::channel(DEPTH);
        let mut tasks = JoinSet::new();
        let answers = queue.downgrade();
        tasks.spawn(async move {
            read(reader, &found, &answers).await;
            // What was read goes on; the writer may still have something to say.
            drop(found);
            std::future::pending::<()>().await;
        });
        tasks.spawn(write(writer, waiting));
        Self {
            incoming,
            outgoing: Sender { queue },
            tasks: Tasks(tasks),
        }
    }

    /// The parts: messages, the way to the client, and the tasks, which must be kept.
    pub fn split(self) -> (mpsc::Receiver<Bytes>, Sender, Tasks) {
        (self.incoming, self.outgoing, self.tasks)
    }
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    found: &mpsc::Sender<Bytes>,
    answers: &mpsc::WeakSender<Outgoing>,
) {
    let mut decoder = Decoder::default();
    loop {
        let message = match decoder.message() {
            Ok(message) => message,
            Err(mistake) => {
                let code = Bytes::copy_from_slice(&mistake.close_code().to_be_bytes());
                answer(answers, Opcode::Close, code).await;
                return;
            }
        };
        match message {
            Some(Message::Data(bytes)) => {
                if found.send(bytes).await.is_err() {
                    return;
                }
            }
            Some(Message::Ping(bytes)) => answer(answers, Opcode::Pong, bytes).await,
            Some(Message::Pong) => {}
            Some(Message::Close) => return,
            None => {
                decoder.buffer().reserve(READ_BYTES);
                match reader.read_buf(decoder.buffer()).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        }
    }
}

async fn answer(answers: &mpsc::WeakSender<Outgoing>, opcode: Opcode, payload: Bytes) {
    if let Some(queue) = answers.upgrade() {
        let message = Outgoing {
            opcode,
            channel: None,
            payload,
        };
        // The connection is over, if this fails.
        let _ = queue.send(message).await;
    }
}

/// Writes until every sender is gone, then closes; or until the client is.
async fn write(mut writer: impl AsyncWrite + Unpin, mut waiting: mpsc::Receiver<Outgoing>) {
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut frame = BytesMut::new();
    loop {
        frame.clear();
        let closing = tokio::select! {
            message = waiting.recv() => match message {
                Some(message) => {
                    let head = message.channel.map(|c| [c]);
                    let head = head.as_ref().map_or(&[][..], |h| &h[..]);
                    encode(message.opcode, &[head, &message.payload], &mut frame);
                    message.opcode == Opcode::Close
                }
                None => {
                    encode(Opcode::Close, &[&1000u16.to_be_bytes()], &mut frame);
                    true
                }
            },
            _ = pings.tick() => {
                encode(Opcode::Ping, &[], &mut frame);
                false
            }
        };
        let idle = waiting.is_empty();
        let writing = async {
            writer.write_all(&frame).await?;
            match idle || closing {
                true => writer.flush().await,
                false => Ok(()),
            }
        };
        if !matches!(timeout(STALLED, writing).await, Ok(Ok(()))) || closing {
            break;
        }
    }
    let _ = timeout(STALLED, writer.shutdown()).await;
}
