//! One connection: a reader task, the table of open calls, and a writer task for what these do not
//! write themselves.

use super::{Failure, OpenError};
use crate::api::{Api, Watch};
use crate::frame::{self, FrameError, Frames, Outflow, Outgoing, Outlet, Sending};
use crate::node::{FromNode, NodeRequest, NodeStream, STREAM_DEPTH, ToNode};
use crate::session::{Call, ClientFrame, INITIAL_CREDIT, Reply, ServerFrame, VERSION, VersionInfo};
use futures::future::BoxFuture;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Content, Request};
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchRequest};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

/// Frames that wait for the socket; those who produce more wait.
const FRAMES_AHEAD: usize = 64;
/// How long the reader may take to see that nothing can be written any more.
const READER_FIRST: Duration = Duration::from_secs(1);

type Replies = mpsc::UnboundedSender<(bool, Result<Reply, StatusError>)>;

/// A session with a node. Cheap to clone; the connection closes when the last clone and the last
/// open call are gone.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    node: Arc<str>,
}

struct Shared {
    next_id: AtomicU32,
    outlet: Outlet,
    calls: Mutex<Calls>,
}

struct Calls {
    open: HashMap<u32, OpenCall>,
    /// Why the connection ended, once it has.
    ended: Option<String>,
    /// The reader, and the writer.
    tasks: Vec<AbortHandle>,
}

/// The reply channel is unbounded in type but bounded in fact: the server may send only as many
/// frames as it has credit for.
struct OpenCall {
    replies: Replies,
    input_credit: Arc<Semaphore>,
}

/// One open call; cancels it when dropped before its end.
pub(super) struct Handle {
    id: u32,
    shared: Arc<Shared>,
    replies: mpsc::UnboundedReceiver<(bool, Result<Reply, StatusError>)>,
    input_credit: Arc<Semaphore>,
    ended: bool,
}

impl Client {
    /// Opens a session over a connected byte stream. `agent` names this program in the server's
    /// logs.
    pub async fn open<S>(stream: S, agent: &str) -> Result<Self, OpenError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = Frames::new(reader);
        let hello = ClientFrame::Hello {
            version: VERSION,
            agent: agent.to_string(),
        };
        frame::write(&mut writer, &hello).await?;
        let node = match reader.next().await? {
            Some(ServerFrame::Welcome { version, node }) if version == VERSION => node,
            Some(ServerFrame::Welcome { version, .. }) => {
                return Err(OpenError::Version {
                    server: version,
                    client: VERSION,
                });
            }
            Some(ServerFrame::Goodbye { reason }) => return Err(OpenError::Refused(reason)),
            _ => return Err(OpenError::NoProtocol),
        };
        let (outlet, outgoing) = Outlet::new(writer, FRAMES_AHEAD);
        let shared = Arc::new(Shared {
            next_id: AtomicU32::new(1),
            outlet,
            calls: Mutex::new(Calls {
                open: HashMap::new(),
                ended: None,
                tasks: Vec::new(),
            }),
        });
        let writing = tokio::spawn(write_frames(outgoing, Arc::downgrade(&shared)));
        let reading = tokio::spawn(read_frames(reader, Arc::downgrade(&shared)));
        shared.lock().tasks = vec![reading.abort_handle(), writing.abort_handle()];
        Ok(Self {
            shared,
            node: node.into(),
        })
    }

    /// The node that serves this session.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Who serves.
    pub async fn version(&self) -> Result<VersionInfo, StatusError> {
        match self.single(Call::Version).await? {
            Reply::Version(version) => Ok(version),
            _ => Err(unexpected()),
        }
    }

    /// Who asks, as the server sees it.
    pub async fn who_am_i(&self) -> Result<Identity, StatusError> {
        match self.single(Call::WhoAmI).await? {
            Reply::WhoAmI(identity) => Ok(identity),
            _ => Err(unexpected()),
        }
    }

    /// Opens a stream with `node`; `None` is the node that serves this session.
    pub async fn open_stream(
        &self,
        node: Option<&str>,
        request: NodeRequest,
    ) -> Result<NodeStream, StatusError> {
        let call = Call::Node {
            node: node.map(str::to_string),
            request,
        };
        let handle = self.call(call).await?;
        let (input, to_node) = mpsc::channel(STREAM_DEPTH);
        let (from_node, output) = mpsc::channel(STREAM_DEPTH);
        tokio::spawn(run_stream(handle, to_node, from_node));
        Ok(NodeStream { input, output })
    }

    /// Why the connection ended; `None` while it lives.
    pub fn ended(&self) -> Option<String> {
        self.shared.lock().ended.clone()
    }

    /// How many calls, watches and streams are open.
    pub fn open_calls(&self) -> usize {
        self.shared.lock().open.len()
    }

    /// Ends the connection at once, whatever the other side does; every open call fails with
    /// `why`.
    pub fn abandon(&self, why: &str) {
        self.shared.abandon(why);
    }

    pub(super) async fn call(&self, call: Call) -> Result<Handle, Failure> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, replies) = mpsc::unbounded_channel();
        let input_credit = Arc::new(Semaphore::new(INITIAL_CREDIT as usize));
        {
            let mut calls = self.shared.lock();
            if let Some(why) = &calls.ended {
                return Err(Failure::NotSent(why.clone()));
            }
            let open = OpenCall {
                replies: sender,
                input_credit: input_credit.clone(),
            };
            calls.open.insert(id, open);
        }
        let handle = Handle {
            id,
            shared: self.shared.clone(),
            replies,
            input_credit,
            ended: false,
        };
        self.shared.send(ClientFrame::Call { id, call }).await?;
        Ok(handle)
    }

    pub(super) async fn single(&self, call: Call) -> Result<Reply, Failure> {
        let mut handle = self.call(call).await?;
        handle.next().await.map(|(_, reply)| reply)
    }

    /// Makes a call that is answered with one object or list, and joins its parts.
    pub(super) async fn answer(&self, call: Call) -> Result<Answer, Failure> {
        let mut handle = self.call(call).await?;
        let mut whole: Option<Answer> = None;
        loop {
            let (more, reply) = handle.next().await?;
            let Reply::Answer(part) = reply else {
                return Err(Failure::Refused(unexpected()));
            };
            let answer = match whole.take() {
                None => part,
                Some(begun) => joined(begun, part),
            };
            if !more {
                return Ok(answer);
            }
            whole = Some(answer);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The writer ends by itself, when it has said so; the reader would wait for the server.
        let calls = self.calls.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = calls.tasks.first() {
            reading.abort();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn abandon(&self, why: &str) {
        let mut calls = self.lock();
        calls.ended.get_or_insert_with(|| why.to_string());
        calls.open.clear();
        for task in calls.tasks.drain(..) {
            task.abort();
        }
    }

    async fn send(&self, frame: ClientFrame) -> Result<(), Failure> {
        // Encoded here, so that the caller is told of a frame that cannot be sent.
        let frame = encoded(&frame).map_err(Failure::Refused)?;
        // Whoever else has a call may be woken at the same moment, and call again.
        let sending = match self.lock().open.len() {
            0 | 1 => Sending::Alone,
            _ => Sending::Together,
        };
        let add = |flow: &mut Outflow| {
            flow.add_frames(&frame);
            Ok(())
        };
        match self.outlet.send(sending, add).await {
            true => Ok(()),
            false => {
                let why = "the connection to the server is closed";
                Err(Failure::NotSent(why.to_string()))
            }
        }
    }
}

impl Handle {
    /// The next reply, and whether more follows.
    pub(super) async fn next(&mut self) -> Result<(bool, Reply), Failure> {
        let Some((more, reply)) = self.replies.recv().await else {
            self.ended = true;
            let why = self.shared.lock().ended.clone();
            let why = why.unwrap_or_else(|| "the connection to the server is closed".to_string());
            return Err(Failure::Lost(why));
        };
        self.ended = !more;
        if more {
            let credit = ClientFrame::Credit {
                id: self.id,
                frames: 1,
            };
            // Where it cannot be sent any more, the next reply says so.
            let _ = self.shared.send(credit).await;
        }
        reply.map(|reply| (more, reply)).map_err(Failure::Refused)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().open.remove(&self.id);
        if !self.ended {
            let cancel = ClientFrame::Cancel { id: self.id };
            let outlet = &self.shared.outlet;
            if !outlet.try_send(Sending::Together, |flow| flow.add(&cancel))
                && !outlet.is_closed()
                && let Ok(runtime) = tokio::runtime::Handle::try_current()
            {
                let outlet = outlet.clone();
                runtime.spawn(async move {
                    outlet
                        .send(Sending::Together, |flow| flow.add(&cancel))
                        .await
                });
            }
        }
    }
}

impl Api for Client {
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Answer, StatusError>> {
        Box::pin(async move { Ok(self.answer(Call::Api(request)).await?) })
    }

    fn watch(&self, request: WatchRequest) -> BoxFuture<'_, Result<Watch, StatusError>> {
        Box::pin(async move {
            let mut handle = self.call(Call::Watch(request)).await?;
            let (sender, events) = mpsc::channel::<Result<WatchEvent, StatusError>>(STREAM_DEPTH);
            tokio::spawn(async move {
                loop {
                    let next = tokio::select! {
                        next = handle.next() => next,
                        () = sender.closed() => return,
                    };
                    match next {
                        Ok((more, Reply::Events(batch))) => {
                            for event in batch {
                                if sender.send(Ok(event)).await.is_err() {
                                    return;
                                }
                            }
                            if !more {
                                return;
                            }
                        }
                        Ok(_) => {
                            let _ = sender.send(Err(unexpected())).await;
                            return;
                        }
                        Err(failure) => {
                            let _ = sender.send(Err(failure.into())).await;
                            return;
                        }
                    }
                }
            });
            Ok(Watch::new(events))
        })
    }
}

fn encoded(frame: &ClientFrame) -> Result<Vec<u8>, StatusError> {
    frame::to_bytes(frame).map_err(|error| match error {
        FrameError::TooLarge { length, limit } => StatusError::new(
            Reason::RequestEntityTooLarge,
            format!("the request has {length} bytes; the limit is {limit}"),
        ),
        error => StatusError::internal(format!("the request cannot be sent: {error}")),
    })
}

pub(super) fn unexpected() -> StatusError {
    StatusError::internal("the server answered something that was not asked")
}

/// Joins the parts of a long list.
fn joined(mut begun: Answer, part: Answer) -> Answer {
    if let (Content::List(list), Content::List(mut more)) = (&mut begun.content, part.content) {
        list.items.append(&mut more.items);
        list.continue_token = more.continue_token;
        list.remaining = more.remaining;
    }
    begun.warnings.extend(part.warnings);
    begun
}

async fn run_stream(
    mut handle: Handle,
    mut input: mpsc::Receiver<ToNode>,
    output: mpsc::Sender<FromNode>,
) {
    let (id, shared, credit) = (
        handle.id,
        handle.shared.clone(),
        handle.input_credit.clone(),
    );
    let sending = async move {
        while let Some(chunk) = input.recv().await {
            match credit.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => return,
            }
            if shared.send(ClientFrame::Input { id, chunk }).await.is_err() {
                return;
            }
        }
        // The caller is done with input, but may still want output.
        std::future::pending::<()>().await;
    };
    let receiving = async {
        loop {
            let (more, chunk) = match handle.next().await {
                Ok((more, Reply::Chunk(chunk))) => (more, chunk),
                Ok(_) => (false, FromNode::Done(Err(unexpected()))),
                Err(failure) => (false, FromNode::Done(Err(failure.into()))),
            };
            if output.send(chunk).await.is_err() || !more {
                return;
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
        () = output.closed() => {}
    }
}

/// Writes what callers leave over. Why it ends the reader may know better; but when the server is
/// silent, it knows nothing.
async fn write_frames(outgoing: Outgoing, shared: Weak<Shared>) {
    let why = outgoing.write().await;
    tokio::time::sleep(READER_FIRST).await;
    if let Some(shared) = shared.upgrade() {
        shared.abandon(&format!("the connection to the server failed: {why}"));
    }
}

async fn read_frames(mut reader: Frames<impl AsyncRead + Unpin>, shared: Weak<Shared>) {
    let why = loop {
        let message = match reader.next::<ServerFrame>().await {
            Ok(Some(message)) => message,
            Ok(None) => break "the server closed the connection".to_string(),
            Err(error) => break format!("the connection to the server failed: {error}"),
        };
        let Some(shared) = shared.upgrade() else {
            return;
        };
        match message {
            ServerFrame::Reply { id, more, reply } => {
                let mut calls = shared.lock();
                // A reply to a call that was cancelled meanwhile is of no interest.
                if let Some(call) = calls.open.get(&id) {
                    let _ = call.replies.send((more, reply));
                    if !more {
                        calls.open.remove(&id);
                    }
                }
            }
            ServerFrame::Credit { id, frames } => {
                if let Some(call) = shared.lock().open.get(&id) {
                    let room = Semaphore::MAX_PERMITS - call.input_credit.available_permits();
                    call.input_credit.add_permits((frames as usize).min(room));
                }
            }
            ServerFrame::Goodbye { reason } => break reason,
            ServerFrame::Welcome { .. } => break "the server repeated its welcome".to_string(),
        }
    };
    if let Some(shared) = shared.upgrade() {
        let mut calls = shared.lock();
        calls.ended.get_or_insert(why);
        calls.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_nothing_ends_the_calls() {
        let (near, far) = tokio::io::duplex(100);
        let (mut read, mut write) = tokio::io::split(far);
        let server = async {
            let hello: Option<ClientFrame> = frame::read(&mut read).await.expect("reads");
            assert!(matches!(hello, Some(ClientFrame::Hello { .. })));
            let node = "n1".to_string();
            let version = VERSION;
            let welcome = ServerFrame::Welcome { version, node };
            frame::write(&mut write, &welcome).await.expect("writes");
        };
        let (client, ()) = tokio::join!(Client::open(near, "test"), server);
        let client = client.expect("it is welcome");
        // The first frames fill the way to the server, which reads nothing any more.
        let calls = (0..20).map(|_| client.version());
        for outcome in futures::future::join_all(calls).await {
            let error = outcome.expect_err("nobody answers").to_string();
            assert!(error.contains("does not read"), "{error}");
        }
        assert!(
            client
                .ended()
                .is_some_and(|why| why.contains("does not read"))
        );
    }
}
