//! Writing an answer.

use super::{CLASS_IN, HEADER_LEN, OPT_LEN, Query, UDP_MAX, flag, kind};

/// A pointer's two highest bits.
const POINTER: u16 = 0xc000;

/// An answer on its way into a buffer. Nothing is written past its end: what does not fit is left
/// out, and the caller learns of it.
pub(crate) struct Writer<'b> {
    buffer: &'b mut [u8],
    len: usize,
    /// Where records must end, so that the OPT record fits behind them.
    limit: usize,
    flags: u16,
    rcode: u16,
    questions: u16,
    counts: [u16; 3],
    edns: Option<bool>,
}

/// Sections of records.
#[derive(Clone, Copy)]
pub(crate) enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// It did not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl<'b> Writer<'b> {
    /// Begins an answer with the question of `packet`, that keeps its upper and lower case. At
    /// most `limit` bytes are used; it and the buffer are no smaller than [`super::UDP_MIN`].
    pub fn begin(query: &Query, packet: &[u8], buffer: &'b mut [u8], limit: usize) -> Self {
        let mut limit = limit.min(buffer.len());
        let edns = query.edns.map(|e| e.dnssec_ok);
        if edns.is_some() {
            limit = limit.saturating_sub(OPT_LEN);
        }
        let kept = flag::OPCODE | flag::RECURSION_DESIRED | flag::CHECKING_DISABLED;
        let mut writer = Self {
            len: HEADER_LEN,
            buffer,
            limit,
            flags: flag::RESPONSE | flag::RECURSION_AVAILABLE | query.flags & kept,
            rcode: 0,
            questions: 0,
            counts: [0; 3],
            edns,
        };
        // A question takes 259 bytes at most, and every limit is larger.
        let question = packet.get(HEADER_LEN..query.question_end);
        if let Some(question) = question.filter(|q| !q.is_empty()) {
            writer.questions = u16::from(writer.bytes(question).is_ok());
        }
        writer
    }

    pub fn set_rcode(&mut self, rcode: u16) {
        self.rcode = rcode;
    }

    pub fn set_flag(&mut self, flag: u16) {
        self.flags |= flag;
    }

    /// Where the next byte goes: what a name that is written next can be pointed at with.
    pub fn place(&self) -> usize {
        self.len
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len + bytes.len();
        if end > self.limit {
            return Err(Full);
        }
        self.buffer[self.len..end].copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Begins a record whose owner was written at `owner`. [`Writer::end`] ends it, or
    /// [`Writer::undo`] takes it back.
    pub fn record(&mut self, owner: usize, kind: u16, ttl: u32) -> Result<Open, Full> {
        let start = self.len;
        // Places of names are below 2^14: only those in the first 1.5 KiB are pointed at.
        let [p, q] = (POINTER | owner as u16).to_be_bytes();
        let [k, l] = kind.to_be_bytes();
        let [c, d] = CLASS_IN.to_be_bytes();
        let [t, u, v, w] = ttl.to_be_bytes();
        self.bytes(&[p, q, k, l, c, d, t, u, v, w, 0, 0])?;
        Ok(Open {
            start,
            data: self.len,
        })
    }

    pub fn end(&mut self, open: Open, section: Section) {
        let length = (self.len - open.data) as u16;
        self.buffer[open.data - 2..open.data].copy_from_slice(&length.to_be_bytes());
        self.counts[section as usize] += 1;
    }

    /// Takes back what was written since the record began.
    pub fn undo(&mut self, start: usize) {
        self.len = start;
    }

    /// A whole record.
    pub fn whole(
        &mut self,
        section: Section,
        owner: usize,
        kind: u16,
        ttl: u32,
        data: &[&[u8]],
    ) -> Result<(), Full> {
        let start = self.len;
        let written = self.record(owner, kind, ttl).and_then(|open| {
            data.iter().try_for_each(|part| self.bytes(part))?;
            Ok(open)
        });
        match written {
            Ok(open) => self.end(open, section),
            Err(Full) => {
                self.undo(start);
                return Err(Full);
            }
        }
        Ok(())
    }

    /// Ends the answer and tells its length.
    pub fn finish(mut self, id: u16) -> usize {
        let mut more = self.counts[Section::Additional as usize];
        if let Some(dnssec_ok) = self.edns {
            self.limit += OPT_LEN;
            let [s, t] = (UDP_MAX as u16).to_be_bytes();
            let [k, l] = kind::OPT.to_be_bytes();
            let high = (self.rcode >> 4) as u8;
            let flags = u8::from(dnssec_ok) << 7;
            // The room for it was set aside.
            if self
                .bytes(&[0, k, l, s, t, high, 0, flags, 0, 0, 0])
                .is_ok()
            {
                more += 1;
            }
        }
        let words = [
            id,
            self.flags | self.rcode & 0xf,
            self.questions,
            self.counts[Section::Answer as usize],
            self.counts[Section::Authority as usize],
            more,
        ];
        for (place, word) in self.buffer.chunks_exact_mut(2).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        self.len
    }
}

/// A record that has begun.
pub(crate) struct Open {
    start: usize,
    data: usize,
}

impl Open {
    pub fn start(&self) -> usize {
        self.start
    }
}
