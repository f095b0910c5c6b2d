//! Whether entries follow each other closely: then the machine had better not go to sleep between
//! them, as it would be woken again and again while somebody waits.

/// How closely the entries follow each other that this server writes.
#[derive(Debug)]
pub(super) struct Pace {
    /// So many in a tick are close to each other.
    close_entries: u32,
    /// Those of this tick.
    entries: u32,
    close: bool,
}

impl Pace {
    pub(super) fn new(close_entries: u32) -> Self {
        Self {
            close_entries,
            entries: 0,
            close: false,
        }
    }

    /// Some more are written, together.
    pub(super) fn wrote(&mut self) {
        self.entries = self.entries.saturating_add(1);
    }

    /// A tick is over; says whether they are close from now on, or no longer, if that has changed.
    /// Once they are, less is enough for them to stay so.
    pub(super) fn tick(&mut self, alone: bool) -> Option<bool> {
        let enough = match self.close {
            true => (self.close_entries / 4).max(1),
            false => self.close_entries,
        };
        let close = !alone && self.entries >= enough;
        self.entries = 0;
        (std::mem::replace(&mut self.close, close) != close).then_some(close)
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    /// What a tick with so many entries brings.
    fn tick(pace: &mut Pace, entries: u32) -> Option<bool> {
        (0..entries).for_each(|_| pace.wrote());
        pace.tick(false)
    }

    #[test]
    fn entries_are_close_from_many_in_a_tick_until_there_are_few() {
        let mut pace = Pace::new(8);
        assert_eq!(tick(&mut pace, 7), None);
        assert_eq!(tick(&mut pace, 7), None, "every tick counts for itself");
        assert_eq!(tick(&mut pace, 8), Some(true));
        assert_eq!(tick(&mut pace, 2), None, "they stay so");
        assert_eq!(tick(&mut pace, 1), Some(false));
        assert_eq!(tick(&mut pace, 2), None, "and are not again by as few");
    }

    #[test]
    fn alone_nobody_is_woken() {
        let mut pace = Pace::new(8);
        (0..100).for_each(|_| pace.wrote());
        assert_eq!(pace.tick(true), None);
        assert_eq!(tick(&mut pace, 8), Some(true));
        (0..100).for_each(|_| pace.wrote());
        assert_eq!(pace.tick(true), Some(false));
    }
}
