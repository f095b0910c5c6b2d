//! One call of a session: a task that produces replies while it has credit, and ends with it.

use super::node_access::open_node;
use super::output::Output;
use super::server_call::server_call;
use super::{ServerSide, Services};
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Content, ObjectList, Request};
use kabuki_model::watch::{WatchEvent, WatchRequest};
use kabuki_protocol::node::{FromNode, NodeRequest, ToNode};
use kabuki_protocol::session::{Call, INITIAL_CREDIT, Reply, ServerFrame};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Objects are put into one frame up to about this many bytes.
const BATCH_BYTES: usize = 512 << 10;
/// Events are put into one frame up to this many.
const BATCH_EVENTS: usize = 256;

/// A call that is under way. Dropping it ends it.
pub(super) struct Running {
    task: JoinHandle<()>,
    credit: Arc<Semaphore>,
    /// Of a stream.
    input: Option<mpsc::Sender<ToNode>>,
}

impl Running {
    /// Hands on input of a stream; an error when the client sent more than it had credit for.
    pub(super) fn input(&self, chunk: ToNode) -> Result<(), String> {
        let Some(input) = &self.input else {
            return Err("the client sent input to a call that takes none".to_string());
        };
        match input.try_send(chunk) {
            // The stream ended while this was on its way.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err("the client sent more input than it had credit for".to_string())
            }
        }
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Lets the server send more.
    pub(super) fn credit(&self, frames: u32) {
        let room = Semaphore::MAX_PERMITS - self.credit.available_permits();
        self.credit.add_permits((frames as usize).min(room));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The client's end of a call, as its task sees it.
pub(super) struct Caller {
    id: u32,
    credit: Arc<Semaphore>,
    output: Output,
}

/// The session is over, or the call was cancelled.
pub(super) struct Gone;

impl Caller {
    /// Sends a reply after which more follows; waits for credit.
    pub(super) async fn more(&self, reply: Reply) -> Result<(), Gone> {
        self.credit.acquire().await.map_err(|_| Gone)?.forget();
        self.send(true, Ok(reply)).await
    }

    pub(super) async fn last(&self, reply: Result<Reply, StatusError>) -> Result<(), Gone> {
        self.send(false, reply).await
    }

    async fn send(&self, more: bool, reply: Result<Reply, StatusError>) -> Result<(), Gone> {
        let id = self.id;
        let sent = self.output.send(ServerFrame::Reply { id, more, reply });
        sent.await.then_some(()).ok_or(Gone)
    }
}

/// Begins a call.
pub(super) fn begin(
    id: u32,
    call: Call,
    who: Arc<Identity>,
    services: &Arc<Services>,
    output: &Output,
) -> Running {
    let credit = Arc::new(Semaphore::new(INITIAL_CREDIT as usize));
    let caller = Caller {
        id,
        credit: credit.clone(),
        output: output.clone(),
    };
    let services = services.clone();
    let (task, input) = match call {
        Call::Node { node, request } => {
            let (input, from_client) = mpsc::channel(INITIAL_CREDIT as usize);
            let streaming = async move {
                // A session that is gone needs no further answer.
                let _ = stream(&caller, &services, &who, node, request, from_client).await;
            };
            (tokio::spawn(streaming), Some(input))
        }
        call => {
            let answering = async move {
                let _ = answer(&caller, &services, &who, call).await;
            };
            (tokio::spawn(answering), None)
        }
    };
    Running {
        task,
        credit,
        input,
    }
}

async fn answer(
    caller: &Caller,
    services: &Services,
    who: &Identity,
    call: Call,
) -> Result<(), Gone> {
    let reply = match call {
        Call::Version => Reply::Version(services.version.clone()),
        Call::WhoAmI => Reply::WhoAmI(who.clone()),
        other => return server_call(caller, services, who, other).await,
    };
    caller.last(Ok(reply)).await
}

pub(super) async fn api(
    caller: &Caller,
    server: &ServerSide,
    who: &Identity,
    request: Request,
) -> Result<(), Gone> {
    let answer = server.gateway.request(who.clone(), request).await;
    answered(caller, answer).await
}

/// Sends an answer; a long list in parts.
pub(super) async fn answered(
    caller: &Caller,
    answer: Result<Answer, StatusError>,
) -> Result<(), Gone> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return caller.last(Err(error)).await,
    };
    let Content::List(list) = answer.content else {
        return caller.last(Ok(Reply::Answer(answer))).await;
    };
    let mut parts = cut(list).into_iter().peekable();
    let mut warnings = answer.warnings;
    while let Some(part) = parts.next() {
        let reply = Reply::Answer(Answer {
            content: Content::List(part),
            warnings: std::mem::take(&mut warnings),
        });
        match parts.peek() {
            Some(_) => caller.more(reply).await?,
            None => caller.last(Ok(reply)).await?,
        }
    }
    Ok(())
}

/// Cuts a list into parts of about [`BATCH_BYTES`]; at least one.
fn cut(list: ObjectList) -> Vec<ObjectList> {
    let head = || ObjectList {
        revision: list.revision,
        items: Vec::new(),
        continue_token: list.continue_token.clone(),
        remaining: list.remaining,
    };
    let mut parts = vec![head()];
    let mut bytes = 0;
    for item in &list.items {
        if bytes > 0 && bytes + item.json.len() > BATCH_BYTES {
            parts.push(head());
            bytes = 0;
        }
        bytes += item.json.len();
        if let Some(part) = parts.last_mut() {
            part.items.push(item.clone());
        }
    }
    parts
}

pub(super) async fn watch(
    caller: &Caller,
    server: &ServerSide,
    who: &Identity,
    request: WatchRequest,
) -> Result<(), Gone> {
    let mut watch = match server.gateway.watch(who, request).await {
        Ok(watch) => watch,
        Err(error) => return caller.last(Err(error)).await,
    };
    let mut received = Vec::new();
    while watch.next_many(&mut received, BATCH_EVENTS).await > 0 {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for event in received.drain(..) {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    caller.more(Reply::Events(batch)).await?;
                    return caller.last(Err(error)).await;
                }
            };
            let size = event.object().map_or(0, |o| o.json.len());
            if bytes > 0 && bytes + size > BATCH_BYTES {
                caller
                    .more(Reply::Events(std::mem::take(&mut batch)))
                    .await?;
                bytes = 0;
            }
            bytes += size;
            batch.push(event);
        }
        caller.more(Reply::Events(batch)).await?;
    }
    caller
        .last(Ok(Reply::Events(Vec::<WatchEvent>::new())))
        .await
}

async fn stream(
    caller: &Caller,
    services: &Services,
    who: &Identity,
    node: Option<String>,
    request: NodeRequest,
    mut from_client: mpsc::Receiver<ToNode>,
) -> Result<(), Gone> {
    let stream = match open_node(services, who, node, request).await {
        Ok(stream) => stream,
        Err(error) => return caller.last(Err(error)).await,
    };
    let (to_node, mut from_node) = (stream.input, stream.output);
    let (id, output) = (caller.id, caller.output.clone());
    let inward = async move {
        while let Some(chunk) = from_client.recv().await {
            if to_node.send(chunk).await.is_err() {
                break;
            }
            if !output.send(ServerFrame::Credit { id, frames: 1 }).await {
                break;
            }
        }
        // The node may still have output.
        std::future::pending::<()>().await;
    };
    let outward = async {
        while let Some(chunk) = from_node.recv().await {
            if matches!(chunk, FromNode::Done(_)) {
                return caller.last(Ok(Reply::Chunk(chunk))).await;
            }
            caller.more(Reply::Chunk(chunk)).await?;
        }
        let lost = StatusError::unavailable("the node ended the stream");
        caller.last(Err(lost)).await
    };
    tokio::select! {
        () = inward => Ok(()),
        result = outward => result,
    }
}
