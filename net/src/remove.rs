//! Removes interfaces, on a thread of its own.
//!
//! Unregistering an interface makes the kernel wait until every processor has let go of it:
//! tens of milliseconds, and all of it inside the request. So removals neither run where other
//! work is waiting, nor one by one: whatever has been asked for while the last removal ran is
//! put into one group and leaves with one request.

use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{Handle, LinkUnspec};
use tokio::sync::{mpsc, oneshot};

use crate::NetError;
use crate::route::link_error;
use crate::serve::serve;

/// The interface group in which links wait for their removal ("kabu"). Nothing is put there
/// that is not about to go.
const LEAVING_GROUP: u32 = 0x6b61_6275;

/// How many removals may wait; callers beyond that wait to ask.
const QUEUE: usize = 1024;

/// Takes removals. They go on until the last clone is dropped and the queue is empty.
#[derive(Clone)]
pub(crate) struct Remover {
    queue: mpsc::Sender<Removal>,
}

struct Removal {
    interface: String,
    reply: oneshot::Sender<Result<bool, NetError>>,
}

impl Remover {
    /// Starts it in the calling thread's namespace.
    pub(crate) fn open() -> Result<Self, NetError> {
        let (queue, removals) = mpsc::channel(QUEUE);
        serve("link-remover", |handle, connection| async move {
            let _connection = tokio::spawn(connection);
            work(&handle, removals).await;
        })?;
        Ok(Self { queue })
    }

    /// Removes an interface by name and says whether there was one.
    pub(crate) async fn remove(&self, interface: &str) -> Result<bool, NetError> {
        let (reply, answer) = oneshot::channel();
        let removal = Removal {
            interface: interface.to_owned(),
            reply,
        };
        let stopped = || NetError::RemoverStopped {
            interface: interface.to_owned(),
        };
        self.queue.send(removal).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

async fn work(handle: &Handle, mut removals: mpsc::Receiver<Removal>) {
    let mut batch = Vec::new();
    while removals.recv_many(&mut batch, QUEUE).await > 0 {
        if batch.len() > 1 {
            remove_together(handle, &mut batch).await;
        }
        // A batch of one, or what the kernel would not remove together.
        for removal in batch.drain(..) {
            let result = remove_one(handle, &removal.interface).await;
            // Nobody may be waiting any more; the removal was wanted all the same.
            let _ = removal.reply.send(result);
        }
    }
}

/// Removes what it can in one request. What stays in `batch` is still to be done.
async fn remove_together(handle: &Handle, batch: &mut Vec<Removal>) {
    let mut tagged = Vec::new();
    for removal in batch.drain(..) {
        let message = with(
            LinkUnspec::new_with_name(&removal.interface).build(),
            LinkAttribute::Group(LEAVING_GROUP),
        );
        let result = handle.link().change(message).execute().await;
        match result.map_err(link_error("remove", &removal.interface)) {
            Ok(()) => tagged.push(removal),
            Err(error) => {
                let gone = if error.is_gone() {
                    Ok(false)
                } else {
                    Err(error)
                };
                let _ = removal.reply.send(gone);
            }
        }
    }
    let group = with(LinkMessage::default(), LinkAttribute::Group(LEAVING_GROUP));
    match handle.link().del_with_message(group).execute().await {
        Ok(()) => {
            for removal in tagged {
                let _ = removal.reply.send(Ok(true));
            }
        }
        Err(_) => *batch = tagged,
    }
}

async fn remove_one(handle: &Handle, interface: &str) -> Result<bool, NetError> {
    let message = LinkUnspec::new_with_name(interface).build();
    let result = handle.link().del_with_message(message).execute().await;
    match result.map_err(link_error("remove", interface)) {
        Ok(()) => Ok(true),
        Err(error) if error.is_gone() => Ok(false),
        Err(error) => Err(error),
    }
}

fn with(mut message: LinkMessage, attribute: LinkAttribute) -> LinkMessage {
    message.attributes.push(attribute);
    message
}
