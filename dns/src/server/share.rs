//! Who holds how much of what there is only so much of: no client gets more than is left. One
//! alone gets half of all, two a third each, and whoever comes next still finds something.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Questions to others that wait at once, over all clients.
const QUESTIONS: usize = 2048;
/// Connections, over all clients.
const CONNECTIONS: usize = 512;

/// A question to others that waits.
pub(super) type QuestionTicket = Ticket<QUESTIONS>;

/// Bounded things.
#[derive(Default)]
pub(super) struct Shares {
    pub questions: Share<QUESTIONS>,
    pub connections: Share<CONNECTIONS>,
}

/// One bounded thing.
#[derive(Clone, Default)]
pub(super) struct Share<const ALL: usize> {
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A piece of it; given back when dropped.
pub(super) struct Ticket<const ALL: usize> {
    share: Share<ALL>,
    client: IpAddr,
}

impl<const ALL: usize> Share<ALL> {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece for a client, if it is fair.
    pub fn take(&self, client: IpAddr) -> Option<Ticket<ALL>> {
        let mut held = self.held();
        let own = held.by_client.get(&client).copied().unwrap_or_default();
        if own >= ALL.saturating_sub(held.total) {
            return None;
        }
        held.total += 1;
        held.by_client.insert(client, own + 1);
        Some(Ticket {
            share: self.clone(),
            client,
        })
    }
}

impl<const ALL: usize> Drop for Ticket<ALL> {
    fn drop(&mut self) {
        let mut held = self.share.held();
        held.total -= 1;
        if let Some(own) = held.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                held.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_gets_more_than_is_left() {
        let share = Share::<12>::default();
        let client = |n: u8| IpAddr::from([10, 0, 0, n]);
        let take_all = |n| -> Vec<_> { std::iter::from_fn(|| share.take(client(n))).collect() };
        let first = take_all(1);
        assert_eq!(first.len(), 6);
        let second = take_all(2);
        assert_eq!(second.len(), 3);
        assert_eq!(take_all(3).len(), 2);
        drop(first);
        assert_eq!(take_all(1).len(), 5);
        drop(second);
        assert!(share.held().by_client.is_empty() && share.held().total == 0);
    }
}
