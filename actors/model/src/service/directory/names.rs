//! Strings that many records repeat, held once.

use super::{ServiceRecord, SliceRecord};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Below this, looking for strings that nobody uses any more is not worth it.
const TIDY_FROM: usize = 1024;

/// The shared strings.
#[derive(Debug, Default)]
pub(super) struct Names {
    held: BTreeSet<Arc<str>>,
    /// How many there were after they were last tidied.
    tidied: usize,
}

impl Names {
    pub fn share_service(&mut self, record: &mut ServiceRecord) {
        self.share(&mut record.key.namespace);
        self.share(&mut record.key.name);
        for port in &mut record.ports {
            self.share(&mut port.name);
        }
    }

    pub fn share_slice(&mut self, record: &mut SliceRecord) {
        self.share(&mut record.service.namespace);
        self.share(&mut record.service.name);
        record.ports.shrink_to_fit();
        record.endpoints.shrink_to_fit();
        for port in &mut record.ports {
            self.share(&mut port.name);
        }
        for endpoint in &mut record.endpoints {
            let optional = [&mut endpoint.node, &mut endpoint.zone];
            for name in optional.into_iter().flatten() {
                self.share(name);
            }
            let hints = [&mut endpoint.zone_hints, &mut endpoint.node_hints];
            for name in hints.into_iter().flatten() {
                self.share(name);
            }
        }
    }

    /// Lets go of strings that no record has any more, when there may be many.
    pub fn tidy(&mut self) {
        if self.held.len() < TIDY_FROM.max(self.tidied * 2) {
            return;
        }
        self.held.retain(|name| Arc::strong_count(name) > 1);
        self.tidied = self.held.len();
    }

    fn share(&mut self, name: &mut Arc<str>) {
        match self.held.get(name) {
            Some(held) => *name = held.clone(),
            None => {
                self.held.insert(name.clone());
                self.tidy();
            }
        }
    }
}
