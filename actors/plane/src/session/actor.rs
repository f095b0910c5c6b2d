//! One client's session: the table of its calls. Reading and writing the socket are tasks of the
//! session; the reader waits for what it read before to be handled, so that the mailbox holds at most
//! one message of it.

use super::Services;
use super::call::{Running, begin};
use super::output::Output;
use kabuki_kit::{ChildSpec, Restart, Slot};
use kabuki_model::identity::Identity;
use kabuki_protocol::frame::{FrameError, Frames};
use kabuki_protocol::session::{ClientFrame, MAX_OPEN_CALLS, ServerFrame, VERSION};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadHalf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// A frame is handled at once; one that is not shows a broken session.
const HANDLE_LIMIT: Duration = Duration::from_secs(10);
/// A client that connects and says nothing is gone by then.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// Frames that arrived together are handled together, up to so many.
const TOGETHER: usize = 32;
/// Calls that have ended are forgotten when there may be more of them than this, and than of those
/// that are open.
const ENDED_CALLS: usize = 8;

/// Messages of a session.
#[derive(RactorMessage)]
pub(super) enum SessionMessage {
    /// Frames came in.
    Received {
        /// The frames, at least one.
        frames: Vec<ClientFrame>,
        /// Tells the reader to go on.
        reply: RpcReplyPort<()>,
    },
    /// The client is gone, or spoke nonsense.
    Lost(String),
}

struct Session;

struct SessionArgs {
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    who: Identity,
    services: Services,
    permit: OwnedSemaphorePermit,
}

struct SessionState {
    peer: SocketAddr,
    who: Arc<Identity>,
    services: Arc<Services>,
    output: Output,
    greeted: bool,
    /// Those that are open, and some that have ended by themselves.
    calls: HashMap<u32, Running>,
    /// With so many calls it is time to forget those that have ended.
    crowd: usize,
    /// Dropped with the state: ends the reader and the writer.
    _tasks: JoinSet<()>,
    _permit: OwnedSemaphorePermit,
}

/// What the sessions' supervisor starts for one connection. It runs once: a session that failed
/// cannot be taken up again, because its socket is gone.
pub(super) fn session_child(
    number: u64,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    who: Identity,
    services: Services,
    permit: OwnedSemaphorePermit,
) -> ChildSpec {
    let name = format!("session-{number}");
    let slot = Slot::new(&name);
    let args = Mutex::new(Some(SessionArgs {
        stream,
        peer,
        who,
        services,
        permit,
    }));
    ChildSpec::worker(&name, &slot, move |_place| {
        let args = args.lock().unwrap_or_else(PoisonError::into_inner).take();
        (Session, args)
    })
    .restart(Restart::Temporary)
}

impl Actor for Session {
    type Msg = SessionMessage;
    type State = SessionState;
    type Arguments = Option<SessionArgs>;

    async fn pre_start(
        &self,
        myself: ActorRef<SessionMessage>,
        args: Option<SessionArgs>,
    ) -> Result<SessionState, ActorProcessingErr> {
        let args = args.ok_or("a session cannot be started twice")?;
        let (reader, writer) = tokio::io::split(args.stream);
        let (output, outgoing) = Output::new(writer);
        let mut tasks = JoinSet::new();
        tasks.spawn(read_frames(reader, myself.clone()));
        tasks.spawn(async move {
            let why = outgoing.write().await;
            let _ = myself.cast(SessionMessage::Lost(why));
        });
        tracing::debug!(client.address = %args.peer, client.user = args.who.user, "session opened");
        Ok(SessionState {
            peer: args.peer,
            who: Arc::new(args.who),
            services: Arc::new(args.services),
            output,
            greeted: false,
            calls: HashMap::new(),
            crowd: ENDED_CALLS,
            _tasks: tasks,
            _permit: args.permit,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SessionMessage>,
        message: SessionMessage,
        state: &mut SessionState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SessionMessage::Received { frames, reply } => {
                let outcome = frames.into_iter().try_for_each(|f| state.receive(f));
                if let Err(why) = outcome {
                    state.output.last_word(why.clone()).await;
                    state.log_end(&why);
                    myself.stop(Some(why));
                }
                // The reader may be gone already.
                let _ = reply.send(());
            }
            SessionMessage::Lost(why) => {
                // It may have spoken nonsense, and still listen.
                state.output.last_word(why.clone()).await;
                state.log_end(&why);
                myself.stop(Some(why));
            }
        }
        Ok(())
    }
}

impl SessionState {
    fn log_end(&self, why: &str) {
        tracing::debug!(client.address = %self.peer, why, "session ended");
    }

    /// Handles a frame; an error is the client's fault and ends the session.
    fn receive(&mut self, frame: ClientFrame) -> Result<(), String> {
        match frame {
            ClientFrame::Hello { version, agent } => {
                if std::mem::replace(&mut self.greeted, true) {
                    return Err("the client repeated its hello".to_string());
                }
                tracing::debug!(client.address = %self.peer, client.agent = agent, "client said hello");
                self.output.control(ServerFrame::Welcome {
                    version: VERSION,
                    node: self.services.version.node.clone(),
                })?;
                match version {
                    VERSION => Ok(()),
                    other => Err(format!(
                        "version {other} of the protocol is not served, only {VERSION}"
                    )),
                }
            }
            _ if !self.greeted => Err("the client did not say hello first".to_string()),
            ClientFrame::Call { id, call } => {
                if self.calls.len() >= self.crowd {
                    self.calls.retain(|_, running| !running.has_ended());
                    self.crowd = (self.calls.len() * 2).clamp(ENDED_CALLS, MAX_OPEN_CALLS);
                }
                if self.calls.get(&id).is_some_and(|r| !r.has_ended()) {
                    return Err(format!("call {id} is open already"));
                }
                if self.calls.len() >= MAX_OPEN_CALLS {
                    return Err(format!("more than {MAX_OPEN_CALLS} calls are open at once"));
                }
                let who = self.who.clone();
                let running = begin(id, call, who, &self.services, &self.output);
                self.calls.insert(id, running);
                Ok(())
            }
            ClientFrame::Input { id, chunk } => match self.calls.get(&id) {
                Some(running) => running.input(chunk),
                // It ended while this was on its way.
                None => Ok(()),
            },
            ClientFrame::Credit { id, frames } => {
                if let Some(running) = self.calls.get(&id) {
                    running.credit(frames);
                }
                Ok(())
            }
            ClientFrame::Cancel { id } => {
                self.calls.remove(&id);
                Ok(())
            }
        }
    }
}

async fn read_frames(reader: ReadHalf<impl AsyncRead>, session: ActorRef<SessionMessage>) {
    let mut reader = Frames::new(reader);
    let mut first = true;
    let mut handling: Option<oneshot::Receiver<()>> = None;
    let why = loop {
        let next = received(&mut reader);
        let next = match std::mem::take(&mut first) {
            true => match timeout(HELLO_LIMIT, next).await {
                Ok(next) => next,
                Err(_) => break "the client said nothing".to_string(),
            },
            false => next.await,
        };
        let frames = match next {
            Ok(frames) if frames.is_empty() => {
                break "the client closed the connection".to_string();
            }
            Ok(frames) => frames,
            Err(error) => break error.to_string(),
        };
        // Nearly always it was handled long ago, so that nobody needs to wake the reader for it.
        if let Some(handled) = handling.take()
            && !matches!(timeout(HANDLE_LIMIT, handled).await, Ok(Ok(())))
        {
            return;
        }
        let (reply, handled) = oneshot::channel();
        let reply = reply.into();
        if session
            .cast(SessionMessage::Received { frames, reply })
            .is_err()
        {
            return;
        }
        handling = Some(handled);
    };
    let _ = session.cast(SessionMessage::Lost(why));
}

/// The next frame, and those that arrived with it; none at the end.
async fn received(
    reader: &mut Frames<ReadHalf<impl AsyncRead>>,
) -> Result<Vec<ClientFrame>, FrameError> {
    let mut frames = Vec::from_iter(reader.next().await?);
    while (1..TOGETHER).contains(&frames.len())
        && let Some(next) = reader.arrived()?
    {
        frames.push(next);
    }
    Ok(frames)
}
