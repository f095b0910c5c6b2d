//! A transaction of nf_tables, written as it is made.

use super::rule::{Hook, RuleBody};
use super::{FAMILY_INET, NFTABLES, encode, kind};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// A list of elements is an attribute, whose length has 16 bits.
const LIST_BYTES: usize = 60_000;

/// What an element of a map says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element<'a> {
    /// Of a set.
    Key { key: &'a [u8] },
    /// Of a set of ranges.
    Range { from: &'a [u8], to: &'a [u8] },
    /// Of a map, with a note that `nft` shows as a comment.
    Data {
        key: &'a [u8],
        data: &'a [u8],
        note: &'a str,
    },
    /// Of a verdict map: goes to a chain.
    Goto { key: &'a [u8], chain: &'a str },
}

/// What a set is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapKind {
    /// Membership alone.
    Set,
    /// Membership of ranges in each field; fields of these lengths.
    Ranges(&'static [u32]),
    /// Data of this many bytes.
    Data(u32),
    /// As [`MapKind::Data`], filled by rules; elements end by themselves.
    Memory(u32),
    /// Chains.
    Verdicts,
}

/// A set as it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetSpec {
    pub name: &'static str,
    pub kind: MapKind,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// How `nft` shows keys and data: its numbers of types, six bits each.
    pub key_type: u32,
    pub data_type: u32,
    /// No more elements; 0 for no bound.
    pub size: u32,
}

impl SetSpec {
    /// The kernel's flags.
    pub fn flags(&self) -> u32 {
        const INTERVAL: u32 = 0x4;
        const MAP: u32 = 0x8;
        const TIMEOUT: u32 = 0x10;
        const EVAL: u32 = 0x20;
        const CONCAT: u32 = 0x80;
        match self.kind {
            MapKind::Set => 0,
            MapKind::Ranges(_) => INTERVAL | CONCAT,
            MapKind::Data(_) | MapKind::Verdicts => MAP,
            MapKind::Memory(_) => MAP | TIMEOUT | EVAL,
        }
    }
}

/// The transaction.
pub(crate) struct Batch {
    out: Vec<u8>,
    table: &'static str,
    messages: u32,
    /// Where the last message begins.
    last: usize,
    set_ids: u32,
    elements: Option<OpenList>,
}

/// A message of elements that is being written.
struct OpenList {
    message: usize,
    list: usize,
    kind: u16,
    set: &'static str,
}

impl Batch {
    /// A transaction on one table of the family `inet`.
    pub fn new(table: &'static str) -> Self {
        let mut out = Vec::with_capacity(4096);
        let at = encode::begin(&mut out, BATCH_BEGIN, NLM_F_REQUEST, 0, 0);
        subsystem(&mut out, at);
        encode::end(&mut out, at);
        Self {
            out,
            table,
            messages: 0,
            last: 0,
            set_ids: 0,
            elements: None,
        }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Makes the table, if it is missing.
    pub fn add_table(&mut self) {
        self.message(kind::NEW_TABLE, NLM_F_CREATE, |out, table| {
            encode::text(out, 1, table);
            encode::be32(out, 2, 0);
        });
    }

    /// Makes a chain, if it is missing.
    pub fn add_chain(&mut self, name: &str, hook: Option<Hook>) {
        self.message(kind::NEW_CHAIN, NLM_F_CREATE, |out, table| {
            encode::text(out, 1, table);
            encode::text(out, 3, name);
            if let Some(hook) = hook {
                encode::nest(out, 4, |out| {
                    encode::be32(out, 1, hook.number);
                    encode::be32(out, 2, hook.priority.cast_unsigned());
                });
                // What no rule matches is accepted.
                encode::be32(out, 5, 1);
                encode::text(out, 7, "nat");
            }
        });
    }

    /// Removes a chain, which must have no rules and no references.
    pub fn drop_chain(&mut self, name: &str) {
        self.message(kind::DEL_CHAIN, 0, |out, table| {
            encode::text(out, 1, table);
            encode::text(out, 3, name);
        });
    }

    /// Removes all rules of a chain.
    pub fn flush_chain(&mut self, name: &str) {
        self.message(kind::DEL_RULE, 0, |out, table| {
            encode::text(out, 1, table);
            encode::text(out, 2, name);
        });
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, chain: &str, rule: &RuleBody) {
        self.message(kind::NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, |out, table| {
            encode::text(out, 1, table);
            encode::text(out, 2, chain);
            encode::nest(out, 4, |out| out.extend_from_slice(rule.as_bytes()));
        });
    }

    /// Makes a set.
    pub fn add_set(&mut self, set: &SetSpec) {
        self.set_ids += 1;
        let id = self.set_ids;
        self.message(kind::NEW_SET, NLM_F_CREATE, |out, table| {
            encode::text(out, 1, table);
            encode::text(out, 2, set.name);
            encode::be32(out, 3, set.flags());
            encode::be32(out, 4, set.key_type);
            encode::be32(out, 5, set.key_bytes);
            match set.kind {
                MapKind::Data(bytes) | MapKind::Memory(bytes) => {
                    encode::be32(out, 6, set.data_type);
                    encode::be32(out, 7, bytes);
                }
                MapKind::Verdicts => {
                    /// `NFT_DATA_VERDICT`
                    const VERDICT: u32 = 0xffff_ff00;
                    encode::be32(out, 6, VERDICT);
                    encode::be32(out, 7, 0);
                }
                MapKind::Set | MapKind::Ranges(_) => {}
            }
            describe(out, set);
            encode::be32(out, 10, id);
        });
    }

    /// Removes a set that no rule uses.
    pub fn drop_set(&mut self, name: &str) {
        self.message(kind::DEL_SET, 0, |out, table| {
            encode::text(out, 1, table);
            encode::text(out, 2, name);
        });
    }

    /// Adds an element.
    pub fn add_element(&mut self, set: &'static str, element: Element<'_>) {
        self.element(kind::NEW_ELEMENT, NLM_F_CREATE, set, element);
    }

    /// Removes an element, which must be there.
    pub fn drop_element(&mut self, set: &'static str, element: Element<'_>) {
        self.element(kind::DEL_ELEMENT, 0, set, element);
    }

    fn element(&mut self, kind: u16, flags: u16, set: &'static str, element: Element<'_>) {
        let fits = self.elements.as_ref().is_some_and(|open| {
            open.kind == kind && open.set == set && self.out.len() - open.list < LIST_BYTES
        });
        if !fits {
            self.close_list();
            let message = self.begin(kind, flags);
            encode::text(&mut self.out, 1, self.table);
            encode::text(&mut self.out, 2, set);
            let list = encode::open(&mut self.out, 3);
            self.elements = Some(OpenList {
                message,
                list,
                kind,
                set,
            });
        }
        write_element(&mut self.out, element);
    }

    fn close_list(&mut self) {
        if let Some(open) = self.elements.take() {
            encode::close(&mut self.out, open.list);
            encode::end(&mut self.out, open.message);
        }
    }

    fn begin(&mut self, kind: u16, flags: u16) -> usize {
        self.messages += 1;
        self.last = encode::begin(
            &mut self.out,
            (NFTABLES << 8) | kind,
            NLM_F_REQUEST | flags,
            self.messages,
            FAMILY_INET,
        );
        self.last
    }

    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Vec<u8>, &str)) {
        self.close_list();
        let at = self.begin(kind, flags);
        fill(&mut self.out, self.table);
        encode::end(&mut self.out, at);
    }

    /// The bytes to be sent. The last message is acknowledged, under the number `u32::MAX`.
    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        self.close_list();
        if let Some(header) = self.out.get_mut(self.last..self.last + 12) {
            let flags = u16::from_ne_bytes([header[6], header[7]]) | NLM_F_ACK;
            header[6..8].copy_from_slice(&flags.to_ne_bytes());
            header[8..12].copy_from_slice(&u32::MAX.to_ne_bytes());
        }
        let at = encode::begin(&mut self.out, BATCH_END, NLM_F_REQUEST, sequence, 0);
        subsystem(&mut self.out, at);
        encode::end(&mut self.out, at);
        self.out
    }
}

/// The number of the subsystem in the header of the batch's first and last message.
fn subsystem(out: &mut [u8], at: usize) {
    if let Some(place) = out.get_mut(at + 18..at + 20) {
        place.copy_from_slice(&NFTABLES.to_be_bytes());
    }
}

fn describe(out: &mut Vec<u8>, set: &SetSpec) {
    if set.size == 0 && !matches!(set.kind, MapKind::Ranges(_)) {
        return;
    }
    encode::nest(out, 9, |out| {
        if set.size != 0 {
            encode::be32(out, 1, set.size);
        }
        if let MapKind::Ranges(fields) = set.kind {
            encode::nest(out, 2, |out| {
                for bytes in fields {
                    encode::nest(out, 1, |out| encode::be32(out, 1, *bytes));
                }
            });
        }
    });
}

fn write_element(out: &mut Vec<u8>, element: Element<'_>) {
    let value = |out: &mut Vec<u8>, kind, bytes: &[u8]| {
        encode::nest(out, kind, |out| encode::bytes(out, 1, bytes));
    };
    encode::nest(out, 1, |out| match element {
        Element::Key { key } => value(out, 1, key),
        Element::Range { from, to } => {
            value(out, 1, from);
            value(out, 10, to);
        }
        Element::Data { key, data, note } => {
            value(out, 1, key);
            value(out, 2, data);
            if !note.is_empty() {
                encode::bytes(out, 6, &comment(note));
            }
        }
        Element::Goto { key, chain } => {
            value(out, 1, key);
            encode::nest(out, 2, |out| {
                encode::nest(out, 2, |out| {
                    /// `NFT_GOTO`
                    const GOTO: i32 = -4;
                    encode::be32(out, 1, GOTO.cast_unsigned());
                    encode::text(out, 2, chain);
                });
            });
        }
    });
}

/// As `nft` keeps comments: a type, a length, and text that ends with a zero byte.
fn comment(note: &str) -> Vec<u8> {
    /// What user data may have, less the two bytes before and the zero.
    const MOST: usize = 253;
    let mut end = note.len().min(MOST);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    let text = note.get(..end).unwrap_or_default();
    let mut out = vec![0, (text.len() + 1) as u8];
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    out
}
