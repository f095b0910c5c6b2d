//! Bounded outboxes: what is sent to a subscriber who may be slow.
//!
//! ```text
//!   publisher ── push ──> [ at most N items ] ── recv ──> subscriber
//!                   └──> full: lagging, nothing more is kept ──> Lagged, then resume()
//! ```
//!
//! A publisher never waits and never buffers more than `capacity` items. When the outbox is full
//! the subscriber is marked as lagging and later items are not kept; it still receives what was
//! kept, in order, then [`Delivery::Lagged`], once. It then fetches the present state by itself
//! and calls [`OutboxReceiver::resume`], from when on items are kept again. To lose nothing it
//! calls `resume` *before* it reads the state (it may then see an item twice, never miss one).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The publisher's end.
#[derive(Debug)]
pub struct OutboxSender<T> {
    shared: Arc<Shared<T>>,
}

/// The subscriber's end.
#[derive(Debug)]
pub struct OutboxReceiver<T> {
    shared: Arc<Shared<T>>,
}

/// What became of a pushed item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It will be delivered, unless the subscriber leaves.
    Kept,
    /// It was not kept: the subscriber lags and must resynchronise.
    Lagging,
    /// The subscriber has left: forget it.
    Closed,
}

/// What a subscriber receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery<T> {
    /// The next item.
    Item(T),
    /// Items after the last one are missing.
    Lagged,
}

#[derive(Debug)]
struct Shared<T> {
    inner: Mutex<Inner<T>>,
    changed: Notify,
    capacity: usize,
}

#[derive(Debug)]
struct Inner<T> {
    items: VecDeque<T>,
    lag: Lag,
    sender_left: bool,
    receiver_left: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lag {
    No,
    Unreported,
    Reported,
}

/// An outbox that keeps at most `capacity` items (0 counts as 1).
pub fn outbox<T>(capacity: usize) -> (OutboxSender<T>, OutboxReceiver<T>) {
    let inner = Inner {
        items: VecDeque::new(),
        lag: Lag::No,
        sender_left: false,
        receiver_left: false,
    };
    let shared = Arc::new(Shared {
        inner: Mutex::new(inner),
        changed: Notify::new(),
        capacity: capacity.max(1),
    });
    (
        OutboxSender {
            shared: shared.clone(),
        },
        OutboxReceiver { shared },
    )
}

impl<T> OutboxSender<T> {
    /// Hands an item over. Never waits.
    pub fn push(&self, item: T) -> Pushed {
        let mut inner = self.shared.lock();
        let pushed = match (inner.receiver_left, inner.lag) {
            (true, _) => return Pushed::Closed,
            (false, Lag::No) if inner.items.len() < self.shared.capacity => {
                inner.items.push_back(item);
                Pushed::Kept
            }
            (false, Lag::No) => {
                inner.lag = Lag::Unreported;
                Pushed::Lagging
            }
            (false, _) => return Pushed::Lagging,
        };
        drop(inner);
        self.shared.changed.notify_one();
        pushed
    }

    /// The subscriber has left.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().receiver_left
    }

    /// Items kept and not yet received.
    pub fn len(&self) -> usize {
        self.shared.lock().items.len()
    }

    /// Nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> OutboxReceiver<T> {
    /// The next item or notice; `None` when the publisher has left and all is delivered.
    /// Cancel-safe: an item is taken only when it is returned.
    pub async fn recv(&mut self) -> Option<Delivery<T>> {
        loop {
            // `notify_one` leaves a permit, so a change after the look is not missed.
            match self.take() {
                Some(delivery) => return Some(delivery),
                None if self.shared.lock().sender_left => return self.take(),
                None => self.shared.changed.notified().await,
            }
        }
    }

    /// Like [`recv`](Self::recv) without waiting: for batching what is there.
    pub fn try_recv(&mut self) -> Option<Delivery<T>> {
        self.take()
    }

    /// After [`Delivery::Lagged`]: keep items again from now on. Also drops whatever is left.
    pub fn resume(&mut self) {
        let mut inner = self.shared.lock();
        inner.items.clear();
        inner.lag = Lag::No;
    }

    fn take(&mut self) -> Option<Delivery<T>> {
        let mut inner = self.shared.lock();
        if let Some(item) = inner.items.pop_front() {
            return Some(Delivery::Item(item));
        }
        if inner.lag == Lag::Unreported {
            inner.lag = Lag::Reported;
            return Some(Delivery::Lagged);
        }
        None
    }
}

impl<T> Drop for OutboxSender<T> {
    fn drop(&mut self) {
        self.shared.lock().sender_left = true;
        self.shared.changed.notify_one();
    }
}

impl<T> Drop for OutboxReceiver<T> {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.receiver_left = true;
        inner.items.clear();
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_subscriber_gets_what_was_kept_then_one_notice_then_resumes() {
        let (sender, mut receiver) = outbox(2);
        assert_eq!(sender.push(1), Pushed::Kept);
        assert_eq!(sender.push(2), Pushed::Kept);
        assert_eq!(sender.push(3), Pushed::Lagging);
        assert_eq!(receiver.recv().await, Some(Delivery::Item(1)));
        assert_eq!(
            sender.push(4),
            Pushed::Lagging,
            "a gap must not be papered over"
        );
        assert_eq!(receiver.recv().await, Some(Delivery::Item(2)));
        assert_eq!(receiver.recv().await, Some(Delivery::Lagged));
        assert_eq!(receiver.try_recv(), None, "the notice comes once");
        receiver.resume();
        assert_eq!(sender.push(5), Pushed::Kept);
        assert_eq!(receiver.recv().await, Some(Delivery::Item(5)));
    }

    #[tokio::test]
    async fn each_end_learns_that_the_other_has_left() {
        let (sender, mut receiver) = outbox(2);
        sender.push(1);
        drop(sender);
        assert_eq!(receiver.recv().await, Some(Delivery::Item(1)));
        assert_eq!(receiver.recv().await, None);
        let (sender, receiver) = outbox(2);
        drop(receiver);
        assert_eq!(sender.push(1), Pushed::Closed);
        assert!(sender.is_closed());
    }

    #[tokio::test]
    async fn a_waiting_subscriber_wakes_for_an_item_and_for_the_end() {
        let (sender, mut receiver) = outbox(1);
        let subscriber =
            tokio::spawn(async move { (receiver.recv().await, receiver.recv().await) });
        tokio::task::yield_now().await;
        sender.push(7);
        tokio::task::yield_now().await;
        drop(sender);
        let received = subscriber.await.expect("the subscriber does not panic");
        assert_eq!(received, (Some(Delivery::Item(7)), None));
    }
}
