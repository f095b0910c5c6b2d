//! The server's side: the door behind the port's protocol for joining.

use super::{ADMIT_LIMIT, MAX_FRAME_BYTES};
use crate::recent::Recent;
use crate::seams::{Admit, Door, Visitor};
use kabuki_protocol::frame;
use kabuki_protocol::join::{JoinRefusal, JoinRequest};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;

type Stream = TlsStream<TcpStream>;

/// Machines that may be about to ask. They are strangers: the oldest makes room for the newest.
const MAX_WAITING: usize = 256;
/// Requests that may be decided at once; further ones are told to try again.
const MAX_DECIDED: usize = 64;
/// How long a joiner may take to ask.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// How long the answer may take to be written.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Lets machines join, through whoever admits them.
pub struct JoinDoor {
    admit: Arc<dyn Admit>,
    waiting: Mutex<Recent>,
    room: Arc<Semaphore>,
}

impl JoinDoor {
    /// The door to `admit`.
    pub fn new(admit: Arc<dyn Admit>) -> Self {
        Self {
            admit,
            waiting: Mutex::new(Recent::new(MAX_WAITING)),
            room: Arc::new(Semaphore::new(MAX_DECIDED)),
        }
    }
}

impl Door for JoinDoor {
    fn enter(&self, visitor: Visitor) {
        let (admit, room) = (self.admit.clone(), self.room.clone());
        let waiting = tokio::spawn(async move {
            let peer = visitor.peer;
            let mut stream = visitor.stream;
            match listen(&mut stream, &*admit).await {
                // From here on, nobody makes it end.
                Ok(request) => drop(tokio::spawn(decide(stream, peer, request, admit, room))),
                Err(why) => {
                    tracing::debug!(peer.address = %peer, why, "a machine did not ask to join");
                }
            }
        });
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.add(waiting.abort_handle());
    }
}

/// Says hello and hears the request.
async fn listen(stream: &mut Stream, admit: &dyn Admit) -> Result<JoinRequest, String> {
    let asking = async {
        frame::write(stream, &admit.hello()).await?;
        frame::read::<JoinRequest>(&mut stream.take(MAX_FRAME_BYTES)).await
    };
    match tokio::time::timeout(REQUEST_LIMIT, asking).await {
        Ok(Ok(Some(request))) => Ok(request),
        Ok(Ok(None)) => Err("it left after the hello".to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it did not ask in time".to_string()),
    }
}

/// Has the request decided, and answers.
async fn decide(
    mut stream: Stream,
    peer: SocketAddr,
    request: JoinRequest,
    admit: Arc<dyn Admit>,
    room: Arc<Semaphore>,
) {
    let name = request.name.clone();
    let answer = match room.try_acquire() {
        Ok(_permit) => {
            let admitting = tokio::time::timeout(ADMIT_LIMIT, admit.admit(request));
            admitting.await.unwrap_or_else(|_| {
                let why = "the servers did not agree in time; try again";
                Err(JoinRefusal::Unavailable(why.to_string()))
            })
        }
        Err(_) => {
            let why = "too many machines are joining; try again";
            Err(JoinRefusal::Unavailable(why.to_string()))
        }
    };
    match &answer {
        Ok(joined) => {
            tracing::info!(node = name, role = ?joined.role, peer.address = %peer, "a node joined");
        }
        Err(refusal) => {
            tracing::warn!(node = name, peer.address = %peer, %refusal, "a machine may not join");
        }
    }
    let answering = async {
        frame::write(&mut stream, &answer).await?;
        Ok::<_, frame::FrameError>(stream.shutdown().await?)
    };
    match tokio::time::timeout(ANSWER_LIMIT, answering).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(node = name, %error, "a machine did not hear whether it joined");
        }
        Err(_) => tracing::warn!(node = name, "a machine did not hear whether it joined"),
    }
}
