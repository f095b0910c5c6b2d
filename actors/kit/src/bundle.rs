//! Futures that one task polls.
//!
//! A look at the poller may find several sockets ready at once. Where each belongs to a task of its
//! own, the runtime wakes a second thread for the second of them, which on a quiet node costs more
//! than both have to do. What belongs together and does little each time is better bundled.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that polls all its futures whenever one of them is woken: for few, of which each is
/// cheap to poll in vain. The task runs while there is a strand or a clone of this.
#[derive(Clone)]
pub struct Bundle {
    adding: mpsc::UnboundedSender<Boxed>,
    /// Taken by the first strand, which begins the task.
    added: Arc<Mutex<Option<mpsc::UnboundedReceiver<Boxed>>>>,
}

/// A future in a bundle; it is dropped when this is.
#[derive(Debug)]
pub struct Strand {
    _held: oneshot::Sender<()>,
}

impl Bundle {
    /// A bundle without strands.
    pub fn new() -> Self {
        let (adding, added) = mpsc::unbounded_channel();
        Self {
            adding,
            added: Arc::new(Mutex::new(Some(added))),
        }
    }

    /// Adds a future. Needs a runtime, as [`tokio::spawn`] does.
    pub fn add(&self, future: impl Future<Output = ()> + Send + 'static) -> Strand {
        let (held, mut let_go) = oneshot::channel();
        let strand = Box::pin(async move {
            tokio::select! {
                biased;
                _ = &mut let_go => {}
                () = future => {}
            }
        });
        // The task ends only with this bundle.
        let _ = self.adding.send(strand);
        let first = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(added) = { first }.take() {
            tokio::spawn(run(added));
        }
        Strand { _held: held }
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bundle")
    }
}

async fn run(mut added: mpsc::UnboundedReceiver<Boxed>) {
    let mut strands: Vec<Boxed> = Vec::new();
    let mut growing = true;
    poll_fn(|cx| {
        while growing {
            match added.poll_recv(cx) {
                Poll::Ready(Some(strand)) => strands.push(strand),
                Poll::Ready(None) => growing = false,
                Poll::Pending => break,
            }
        }
        strands.retain_mut(|strand| goes_on(strand, cx));
        if growing || !strands.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// Polls one; a panic is the end of that one only.
fn goes_on(strand: &mut Boxed, cx: &mut Context<'_>) -> bool {
    let polled = catch_unwind(AssertUnwindSafe(|| strand.as_mut().poll(cx)));
    match polled {
        Ok(polled) => polled.is_pending(),
        Err(_) => {
            tracing::error!("a future of a bundle has panicked");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Passes on what it is sent; tells its end by dropping the sender.
    fn echo() -> (
        mpsc::UnboundedSender<u8>,
        mpsc::UnboundedReceiver<u8>,
        impl Future<Output = ()> + Send + 'static,
    ) {
        let (ask, mut asked) = mpsc::unbounded_channel();
        let (answer, answered) = mpsc::unbounded_channel();
        let future = async move {
            while let Some(n) = asked.recv().await {
                assert_ne!(n, 0, "a panic was asked for");
                let _ = answer.send(n);
            }
        };
        (ask, answered, future)
    }

    async fn next(answered: &mut mpsc::UnboundedReceiver<u8>) -> Option<u8> {
        tokio::time::timeout(LIMIT, answered.recv())
            .await
            .expect("it answers or ends")
    }

    #[tokio::test]
    async fn each_is_woken_and_those_that_are_let_go_end() {
        let bundle = Bundle::new();
        let (ask, mut answered, future) = echo();
        let strand = bundle.add(future);
        let (ask_other, mut other, future) = echo();
        let _other = bundle.add(future);
        for n in 1..10 {
            ask.send(n).expect("it runs");
            ask_other.send(n + 100).expect("it runs");
            assert_eq!(next(&mut answered).await, Some(n));
            assert_eq!(next(&mut other).await, Some(n + 100));
        }
        drop(strand);
        assert_eq!(next(&mut answered).await, None);
        ask_other.send(1).expect("it runs");
        assert_eq!(next(&mut other).await, Some(1));
    }

    #[tokio::test]
    async fn strands_go_on_without_the_bundle_and_beside_one_that_panics() {
        let bundle = Bundle::new();
        let (ask, mut answered, future) = echo();
        let _strand = bundle.add(future);
        let (ask_bad, mut bad, future) = echo();
        let _bad = bundle.add(future);
        drop(bundle);
        ask_bad.send(0).expect("it runs");
        assert_eq!(next(&mut bad).await, None);
        ask.send(7).expect("it runs");
        assert_eq!(next(&mut answered).await, Some(7));
    }
}
