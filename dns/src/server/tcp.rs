//! Questions over TCP (RFC 7766): many on one connection, answered as soon as each can be, so not
//! always in order. A connection that says nothing, or reads nothing, is closed; none takes more
//! than a few kilobytes while it waits.

use super::Shared;
use super::answer::{Now, Place};
use crate::respond;
use crate::wire::{Query, rcode};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

/// A question comes within this time, and the next one after it (RFC 7766, 6.2.3: some seconds).
const IDLE: Duration = Duration::from_secs(10);
/// An answer is taken within this time.
const WRITE: Duration = Duration::from_secs(5);
/// No question is longer.
const QUESTION_MAX: usize = 4096;
/// Questions of one connection that wait for others.
const WAITING_MAX: usize = 16;
/// The longest answer.
const ANSWER_MAX: usize = 65_535;
/// When no connection can be taken, for lack of descriptors say, it is tried again after this.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes connections. They end with it.
pub(super) async fn run(shared: Arc<Shared>, listener: std::net::TcpListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot take connections");
            return;
        }
    };
    let mut connections = JoinSet::new();
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let (stream, client) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!(%error, "cannot take a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // One too many is closed at once.
        let Some(ticket) = shared.shares.connections.take(client.ip()) else {
            shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let shared = shared.clone();
        connections.spawn(async move {
            let _ticket = ticket;
            // However it ends, the client sees the end.
            let _ = serve(&shared, stream, client).await;
        });
    }
}

/// What was read of the questions to come.
#[derive(Default)]
struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// The next whole question, if it is there.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(length) = crate::wire::word(&self.buffer, 0).map(usize::from) else {
            return Ok(None);
        };
        if length > QUESTION_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let Some(packet) = self.buffer.get(2..2 + length) else {
            return Ok(None);
        };
        let packet = packet.to_vec();
        self.buffer.drain(..2 + length);
        Ok(Some(packet))
    }
}

async fn serve(shared: &Arc<Shared>, mut stream: TcpStream, client: SocketAddr) -> io::Result<()> {
    // Answers are written whole.
    stream.set_nodelay(true)?;
    let (mut reading, mut writing) = stream.split();
    let mut reader = Reader::default();
    let mut waiting: FuturesUnordered<BoxFuture<'_, Vec<u8>>> = FuturesUnordered::new();
    let (mut query, mut turn, mut ended) = (Query::default(), 0_u32, false);
    let mut until = Instant::now() + IDLE;
    loop {
        while waiting.len() < WAITING_MAX
            && let Some(packet) = reader.next()?
        {
            turn = turn.wrapping_add(1);
            until = Instant::now() + IDLE;
            match begin(shared, packet, &mut query, client.ip(), turn) {
                Begun::Answer(answer) => write(&mut writing, &answer).await?,
                Begun::Later(answer) => waiting.push(answer),
                Begun::Silence => {}
            }
        }
        if ended && waiting.is_empty() {
            return Ok(());
        }
        let more = !ended && waiting.len() < WAITING_MAX;
        tokio::select! {
            Some(answer) = waiting.next(), if !waiting.is_empty() => {
                write(&mut writing, &answer).await?;
                until = Instant::now() + IDLE;
            }
            read = timeout_at(until, reading.read_buf(&mut reader.buffer)), if more => match read {
                Ok(Ok(0)) => ended = true,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) if waiting.is_empty() => return Ok(()),
                // Its answers are not its delay.
                Err(_) => until = Instant::now() + IDLE,
            },
        }
    }
}

enum Begun<'a> {
    Answer(Vec<u8>),
    Later(BoxFuture<'a, Vec<u8>>),
    Silence,
}

/// Answers a question, or begins to.
fn begin<'a>(
    shared: &'a Arc<Shared>,
    packet: Vec<u8>,
    query: &mut Query,
    client: IpAddr,
    turn: u32,
) -> Begun<'a> {
    shared.counters.questions.fetch_add(1, Ordering::Relaxed);
    let published = shared.published.load_full();
    let place = Place {
        shared,
        published: &published,
        client,
        turn,
        tcp_limit: Some(ANSWER_MAX),
    };
    // Most answers are short; the few long ones get the room that they need.
    let mut out = vec![0; crate::wire::UDP_MAX];
    let mut now = place.answer(&packet, query, &mut out);
    let cut = |out: &[u8]| out.get(2).is_some_and(|flags| flags & 2 != 0);
    if matches!(now, Now::Done(_)) && cut(&out) {
        out = vec![0; ANSWER_MAX];
        now = place.answer(&packet, query, &mut out);
    }
    match now {
        Now::Done(length) => {
            out.truncate(length);
            Begun::Answer(out)
        }
        Now::Silence => Begun::Silence,
        Now::Later(plain) => {
            let Some(ticket) = shared.shares.questions.take(client) else {
                let length = respond::refuse(query, &packet, rcode::SERV_FAIL, &mut out);
                out.truncate(length);
                return Begun::Answer(out);
            };
            shared.counters.asked.fetch_add(1, Ordering::Relaxed);
            let (packet, query) = (plain.unwrap_or(packet), query.clone());
            Begun::Later(Box::pin(async move {
                let _ticket = ticket;
                let place = Place {
                    shared,
                    published: &published,
                    client,
                    turn,
                    tcp_limit: Some(ANSWER_MAX),
                };
                place.answer_later(&packet, &query).await
            }))
        }
    }
}

async fn write(writing: &mut (impl AsyncWriteExt + Unpin), answer: &[u8]) -> io::Result<()> {
    let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), answer].concat();
    timeout(WRITE, writing.write_all(&framed))
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}
