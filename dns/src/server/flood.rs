//! What to pass over when more comes in than can be answered.
//!
//! The kernel counts what it had to drop because the socket was full. From then on, for one
//! window, no client is answered more often than is fair; the rest of what it sent is passed over
//! unread, which is many times cheaper than an answer. So the socket empties, and those who ask
//! little are heard. Pure.

use std::collections::HashMap;
use std::net::IpAddr;

/// So many questions are a window.
const WINDOW: u32 = 4096;

/// Bounds what clients get while there is too much.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// What the kernel had dropped when it was last asked.
    dropped: u32,
    /// Questions left of the window; zero when all is well.
    left: u32,
    counts: HashMap<IpAddr, u32>,
}

impl Flood {
    /// The kernel's count of dropped packets.
    pub fn seen(&mut self, dropped: u32) {
        if dropped != self.dropped {
            self.dropped = dropped;
            self.left = WINDOW;
        }
    }

    /// Whether a client's question is to be answered.
    pub fn admits(&mut self, client: IpAddr) -> bool {
        if self.left == 0 {
            return true;
        }
        self.left -= 1;
        // With one more than there are, one alone leaves room for who is not heard yet.
        let fair = WINDOW / (self.counts.len() as u32 + 1).max(2);
        let count = self.counts.entry(client).or_default();
        *count += 1;
        let admitted = *count <= fair;
        if self.left == 0 {
            self.counts = HashMap::new();
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const QUIET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn all_are_answered_while_nothing_is_dropped() {
        let mut flood = Flood::default();
        flood.seen(0);
        assert!((0..100_000).all(|_| flood.admits(LOUD)));
    }

    #[test]
    fn who_asks_too_much_is_passed_over_and_others_are_not() {
        let mut flood = Flood::default();
        flood.seen(7);
        let mut admitted = 0;
        for _ in 0..WINDOW / 64 {
            admitted += (0..63).filter(|_| flood.admits(LOUD)).count();
            assert!(flood.admits(QUIET));
        }
        assert!(admitted <= WINDOW as usize / 2, "{admitted}");
        assert!(flood.counts.is_empty());
        // The window is over, and nothing more was dropped.
        flood.seen(7);
        assert!((0..WINDOW).all(|_| flood.admits(LOUD)));
    }
}
