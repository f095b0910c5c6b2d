//! Writes changes.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use super::load::Found;
use super::rules::{self, CHAINS};
use super::wire::{self, Bytes, HAIRPINS, SETS, SHAPES};
use super::{ProxyConfig, ServiceTable};
use crate::nft::{Batch, Element};
use crate::plan::TABLE_NAME;
use crate::plan::services::{Delta, EntryKey, EntryValue, Services, Shape};

/// Entries in one transaction. More come in several, in an order in which each is sound.
const AT_ONCE: usize = 50_000;
/// Chains that no service uses are kept for the next one, up to about as many as are used.
const SPARE_SHAPES: usize = 64;
/// Pods of a node beyond this could not reach themselves through services.
const MOST_HAIRPINS: u128 = 1 << 16;

type Entry = (EntryKey, EntryValue);

impl ServiceTable {
    /// Carries out a change of a table that is sound.
    pub(super) fn change(&mut self, delta: &Delta, services: &Services) -> io::Result<()> {
        let mut batch = Batch::new(TABLE_NAME);
        let mut shapes = self.shapes.clone();
        for shape in shapes_of(&delta.add) {
            if shapes.insert(shape) {
                add_shape(&mut batch, &shape, &self.config, true);
            }
        }
        let mut last = Batch::new(TABLE_NAME);
        let mut tidied = self.tidied;
        if shapes.len() > self.tidied * 2 + SPARE_SHAPES {
            let used = services.shapes();
            for shape in shapes.difference(&used) {
                drop_shape(&mut last, shape);
            }
            tidied = used.len();
            shapes = used;
        }
        self.commit_entries(batch, delta)?;
        // They are unused only now.
        self.socket.commit(last)?;
        (self.shapes, self.tidied) = (shapes, tidied);
        Ok(())
    }

    /// Makes a table sound, whatever was found in it.
    pub(super) fn restore(
        &mut self,
        services: &Services,
        mut found: Found,
        whole: bool,
    ) -> io::Result<bool> {
        let mut batch = Batch::new(TABLE_NAME);
        let complete = found.sets.len() == SETS.len()
            && CHAINS.iter().all(|chain| found.chains.contains(*chain));
        let mut amiss = !complete || !found.unknown.is_empty();
        batch.add_table();
        if !found.wrong.is_empty() {
            // Of another version, perhaps: all is made anew, in one transaction.
            clear(&mut batch, &found);
            found = Found::default();
        }
        for set in SETS.iter().filter(|set| !found.sets.contains(set.name)) {
            batch.add_set(set);
        }
        rules::write_chains(&mut batch);
        rules::write_rules(&mut batch, &self.config);
        self.write_hairpins(&mut batch, &found);
        for (set, key, end) in &found.unknown {
            let element = match end {
                Some(to) => Element::Range { from: key, to },
                None => Element::Key { key },
            };
            batch.drop_element(set, element);
        }
        let delta = services.repair(&found.entries, whole);
        amiss |= !delta.is_empty();

        let mut shapes = services.shapes();
        if !whole {
            shapes.extend(found.entries.values().filter_map(shape_of));
        }
        for shape in &shapes {
            let key = shape_key(shape);
            let chain = found.shapes.remove(key.as_slice());
            let is_right = chain.as_ref() == Some(&shape.chain());
            if chain.is_some() && !is_right {
                let key = key.as_slice();
                batch.drop_element(SHAPES, Element::Key { key });
            }
            amiss |= !is_right;
            add_shape(&mut batch, shape, &self.config, !is_right);
        }
        // What is left is used by nobody, once the entries are written.
        let mut last = Batch::new(TABLE_NAME);
        if whole {
            for key in found.shapes.keys() {
                last.drop_element(SHAPES, Element::Key { key });
            }
            let used: BTreeSet<String> = shapes.iter().map(Shape::chain).collect();
            for chain in &found.chains {
                if !used.contains(chain) && !CHAINS.contains(&chain.as_str()) {
                    last.flush_chain(chain);
                    last.drop_chain(chain);
                }
            }
        } else {
            shapes.extend(found.shapes.keys().filter_map(|key| wire::shape(key)));
        }
        self.commit_entries(batch, &delta)?;
        self.socket.commit(last)?;
        self.tidied = shapes.len();
        self.shapes = shapes;
        Ok(amiss)
    }

    fn write_hairpins(&self, batch: &mut Batch, found: &Found) {
        let pods = self.config.pods;
        for offset in 0..pods.size().min(MOST_HAIRPINS) {
            let Some(IpAddr::V4(address)) = pods.nth(offset) else {
                return;
            };
            let key = Bytes::default().address(address).address(address);
            let key = key.as_slice();
            if !found.hairpins.contains(key) {
                batch.add_element(HAIRPINS, Element::Key { key });
            }
        }
    }

    /// Commits what is in the batch and then the entries: all at once, unless there are very many.
    fn commit_entries(&mut self, mut batch: Batch, delta: &Delta) -> io::Result<()> {
        let added: BTreeSet<&EntryKey> = delta.add.iter().map(|(key, _)| key).collect();
        let (replaced, gone): (Vec<&Entry>, Vec<&Entry>) =
            delta.drop.iter().partition(|(key, _)| added.contains(key));
        if delta.add.len() + gone.len() <= AT_ONCE {
            for (key, _) in delta.drop.iter().rev() {
                drop_entry(&mut batch, key);
            }
            for entry in &delta.add {
                add_entry(&mut batch, entry);
            }
            return self.socket.commit(batch);
        }
        let replaced: BTreeSet<&EntryKey> = replaced.iter().map(|(key, _)| key).collect();
        for part in delta.add.chunks(AT_ONCE) {
            for (key, _) in part.iter().filter(|(key, _)| replaced.contains(key)) {
                drop_entry(&mut batch, key);
            }
            for entry in part {
                add_entry(&mut batch, entry);
            }
            self.socket.commit(batch)?;
            batch = Batch::new(TABLE_NAME);
        }
        for part in gone.rchunks(AT_ONCE) {
            for (key, _) in part.iter().rev() {
                drop_entry(&mut batch, key);
            }
            self.socket.commit(batch)?;
            batch = Batch::new(TABLE_NAME);
        }
        Ok(())
    }
}

fn shape_of(value: &EntryValue) -> Option<Shape> {
    match value {
        EntryValue::Front { shape, .. } => Some(*shape),
        _ => None,
    }
}

fn shapes_of(entries: &[Entry]) -> impl Iterator<Item = Shape> + '_ {
    entries.iter().filter_map(|(_, value)| shape_of(value))
}

fn shape_key(shape: &Shape) -> Bytes {
    let [first, second] = shape.words();
    Bytes::default().word(first).word(second)
}

/// Makes the chain of a shape what it should be, and has the map lead to it.
fn add_shape(batch: &mut Batch, shape: &Shape, config: &ProxyConfig, mapped: bool) {
    let chain = shape.chain();
    batch.add_chain(&chain, None);
    batch.flush_chain(&chain);
    for rule in rules::of_shape(shape, config) {
        batch.add_rule(&chain, &rule);
    }
    if mapped {
        let key = shape_key(shape);
        let element = Element::Goto {
            key: key.as_slice(),
            chain: &chain,
        };
        batch.add_element(SHAPES, element);
    }
}

fn drop_shape(batch: &mut Batch, shape: &Shape) {
    let (chain, key) = (shape.chain(), shape_key(shape));
    let key = key.as_slice();
    batch.drop_element(SHAPES, Element::Key { key });
    batch.flush_chain(&chain);
    batch.drop_chain(&chain);
}

/// Removes all that is there.
fn clear(batch: &mut Batch, found: &Found) {
    for chain in &found.chains {
        batch.flush_chain(chain);
    }
    let sound = found.sets.iter().copied();
    for set in found.wrong.iter().map(String::as_str).chain(sound) {
        batch.drop_set(set);
    }
    for chain in &found.chains {
        batch.drop_chain(chain);
    }
}

fn add_entry(batch: &mut Batch, (key, value): &Entry) {
    let (set, bytes, end) = wire::key(key);
    let key = bytes.as_slice();
    let element = match (&end, wire::data(value)) {
        (Some(to), _) => Element::Range {
            from: key,
            to: to.as_slice(),
        },
        (None, None) => Element::Key { key },
        (None, Some((data, note))) => {
            let data = data.as_slice();
            return batch.add_element(set, Element::Data { key, data, note });
        }
    };
    batch.add_element(set, element);
}

fn drop_entry(batch: &mut Batch, key: &EntryKey) {
    let (set, bytes, end) = wire::key(key);
    let key = bytes.as_slice();
    let element = match &end {
        Some(to) => Element::Range {
            from: key,
            to: to.as_slice(),
        },
        None => Element::Key { key },
    };
    batch.drop_element(set, element);
}
