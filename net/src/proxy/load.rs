//! Reads what the kernel has.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::ServiceTable;
use super::wire::{self, Bytes, HAIRPINS, MEMORY, Raw, SETS, SHAPES};
use crate::nft::{Attributes, MapKind, Message, NFTABLES, SetSpec, kind};
use crate::plan::TABLE_NAME;
use crate::plan::services::Entries;

/// All chains and sets of services have names that begin with this.
pub(super) const PREFIX: &str = "service";

/// An element that no entry is: its set, its key, and the key's end.
pub(super) type Unknown = (&'static str, Vec<u8>, Option<Vec<u8>>);

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub entries: Entries,
    /// Elements that are to go.
    pub unknown: Vec<Unknown>,
    pub chains: BTreeSet<String>,
    /// The sets that there are, and that are as they should be.
    pub sets: BTreeSet<&'static str>,
    /// Sets of ours that are not as they should be.
    pub wrong: BTreeSet<String>,
    /// Which chain each shape has, by the key.
    pub shapes: BTreeMap<Vec<u8>, String>,
    pub hairpins: BTreeSet<Vec<u8>>,
}

impl ServiceTable {
    pub(super) fn load(&mut self) -> io::Result<Found> {
        let mut found = Found::default();
        self.load_sets(&mut found)?;
        self.load_chains(&mut found)?;
        for set in &SETS {
            if found.sets.contains(set.name) && set.name != MEMORY {
                self.load_elements(set.name, &mut found)?;
            }
        }
        Ok(found)
    }

    fn load_sets(&mut self, found: &mut Found) -> io::Result<()> {
        let read = self.socket.dump(
            NFTABLES,
            kind::GET_SET,
            found,
            |out| text(out, 1, TABLE_NAME),
            |found| {
                found.sets.clear();
                found.wrong.clear();
            },
            |found, message| {
                let set = message.attributes();
                let Some(name) = set.text(2).filter(|n| n.starts_with(PREFIX)) else {
                    return;
                };
                match SETS.iter().find(|s| s.name == name) {
                    Some(spec) if is_as_it_should(spec, set) => {
                        found.sets.insert(spec.name);
                    }
                    _ => {
                        found.wrong.insert(name.to_owned());
                    }
                }
            },
        );
        unless_missing(read)
    }

    fn load_chains(&mut self, found: &mut Found) -> io::Result<()> {
        let read = self.socket.dump(
            NFTABLES,
            kind::GET_CHAIN,
            found,
            |out| text(out, 1, TABLE_NAME),
            |found| found.chains.clear(),
            |found, message| {
                let chain = message.attributes();
                if chain.text(1) == Some(TABLE_NAME)
                    && let Some(name) = chain.text(3)
                    && name.starts_with(PREFIX)
                {
                    found.chains.insert(name.to_owned());
                }
            },
        );
        unless_missing(read)
    }

    fn load_elements(&mut self, set: &'static str, found: &mut Found) -> io::Result<()> {
        // What other sets gave stays when this one is read again.
        let mut part = Found::default();
        self.socket.dump(
            NFTABLES,
            kind::GET_ELEMENT,
            &mut part,
            |out| {
                text(out, 1, TABLE_NAME);
                text(out, 2, set);
            },
            |part| *part = Found::default(),
            |part, message| see_elements(part, set, message),
        )?;
        found.entries.append(&mut part.entries);
        found.unknown.append(&mut part.unknown);
        found.shapes.append(&mut part.shapes);
        found.hairpins.append(&mut part.hairpins);
        Ok(())
    }

    /// What one set has for a key.
    pub(super) fn element<T>(
        &mut self,
        set: &'static str,
        key: &Bytes,
        read: impl Fn(&Raw<'_>, Attributes<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let mut result = None;
        let asked = self.socket.ask(
            NFTABLES,
            kind::GET_ELEMENT,
            false,
            |out| {
                text(out, 1, TABLE_NAME);
                text(out, 2, set);
                crate::nft::write_key_list(out, key.as_slice());
            },
            |message| {
                each_element(message, |element| {
                    if let Some(raw) = raw(element) {
                        result = read(&raw, element);
                    }
                });
            },
        );
        unless_missing(asked)?;
        Ok(result)
    }
}

fn see_elements(part: &mut Found, set: &'static str, message: Message<'_>) {
    each_element(message, |element| {
        let Some(raw) = raw(element) else { return };
        match set {
            SHAPES => {
                let chain = verdict_chain(element).unwrap_or_default();
                part.shapes.insert(raw.key.to_vec(), chain.to_owned());
            }
            HAIRPINS => drop(part.hairpins.insert(raw.key.to_vec())),
            _ => match wire::read(set, &raw) {
                Some((key, value)) => drop(part.entries.insert(key, value)),
                None => {
                    let end = raw.key_end.map(<[u8]>::to_vec);
                    part.unknown.push((set, raw.key.to_vec(), end));
                }
            },
        }
    });
}

fn each_element(message: Message<'_>, mut see: impl FnMut(Attributes<'_>)) {
    if let Some(list) = message.attributes().inside(3) {
        for (_, element) in list {
            see(Attributes(element));
        }
    }
}

fn raw(element: Attributes<'_>) -> Option<Raw<'_>> {
    let value = |kind| element.inside(kind).and_then(|inside| inside.get(1));
    Some(Raw {
        key: value(1)?,
        key_end: value(10),
        data: value(2).unwrap_or_default(),
        note: element.get(6).and_then(note).unwrap_or_default(),
    })
}

/// The text of `nft`'s comments.
fn note(user_data: &[u8]) -> Option<&str> {
    let [0, length, rest @ ..] = user_data else {
        return None;
    };
    let text = rest.get(..usize::from(*length).checked_sub(1)?)?;
    std::str::from_utf8(text).ok()
}

/// Where an element of a verdict map goes.
pub(super) fn verdict_chain(element: Attributes<'_>) -> Option<&str> {
    element.inside(2)?.inside(2)?.text(2)
}

fn is_as_it_should(spec: &SetSpec, set: Attributes<'_>) -> bool {
    /// `NFT_SET_EXPR`, and what the kernel may add.
    const COMPARED: u32 = 0x0ff;
    let data = match spec.kind {
        MapKind::Data(bytes) | MapKind::Memory(bytes) => Some(bytes),
        _ => None,
    };
    set.be32(3).unwrap_or(0) & COMPARED == spec.flags()
        && set.be32(5) == Some(spec.key_bytes)
        && (data.is_none() || set.be32(7) == data)
}

/// No table, no set, no element: nothing was found.
fn unless_missing(read: io::Result<()>) -> io::Result<()> {
    match read {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        read => read,
    }
}

fn text(out: &mut Vec<u8>, kind: u16, value: &str) {
    crate::nft::write_text(out, kind, value);
}
