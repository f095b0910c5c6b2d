//! The strategy `Recreate`: all old pods go before the first new one comes.

use super::rollout::Rollout;

impl Rollout<'_> {
    pub(super) fn recreate(&mut self) {
        self.sync_new_set();
        let old: Vec<usize> = self.old().collect();
        let mut shrunk = false;
        for &index in &old {
            shrunk |= self.resize(index, 0);
        }
        let living = old.iter().any(|i| self.sets[*i].living > 0);
        if !shrunk && !living {
            match self.new {
                None => self.make_new_set(),
                Some(new) => {
                    let wanted = self.wanted();
                    self.resize(new, wanted);
                    if self.is_complete() {
                        self.clean_history();
                    }
                }
            }
        }
        self.update_progress();
    }
}
