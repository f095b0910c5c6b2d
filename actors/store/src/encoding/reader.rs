//! Reading: every byte is checked before any of it is believed, and what is wrong is said with
//! the place in the file.

use super::frame::{self, Kind};
use super::{FORMAT_VERSION, Footer, Header, MAGIC, Record, index_of};
use crate::snapshot::{Held, Position, Snapshot};
use kabuki_model::codec::{self, CodecError};
use kabuki_model::{ObjectKey, Stored};
use std::io::{ErrorKind, Read};
use std::sync::Arc;

/// What a snapshot's encoded form holds.
#[derive(Debug)]
pub struct Restored {
    /// The state.
    pub snapshot: Snapshot,
    /// What was given to [`Snapshot::encode`].
    pub extra: Vec<u8>,
}

/// Why a snapshot cannot be read. The caller adds the file's name.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset}: {problem}")]
pub struct SnapshotError {
    /// Where: the offset of the part that is wrong.
    pub offset: u64,
    /// What.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The first bytes are something else.
    #[error("this is not a snapshot: the first bytes are wrong")]
    Magic,
    /// Written by a program with another format, or the version's bytes are damaged.
    #[error("format version {0} is not supported, only {FORMAT_VERSION}")]
    Version(u32),
    /// The file ends before the snapshot does.
    #[error("the file is truncated: it ends within {0}")]
    Truncated(&'static str),
    /// A chunk is not what was written.
    #[error("chunk {sequence} is damaged: its checksum is {found:08x}, recorded is {recorded:08x}")]
    Checksum {
        /// Which chunk, from 0.
        sequence: u64,
        /// The checksum of the bytes that are there.
        found: u32,
        /// The checksum that was written.
        recorded: u32,
    },
    /// A chunk's kind or length cannot be, or chunks are out of order.
    #[error("chunk {sequence} is damaged: {what}")]
    Frame {
        /// Which chunk, from 0.
        sequence: u64,
        /// What cannot be.
        what: &'static str,
    },
    /// A chunk's content is not of the format, although its checksum holds.
    #[error("chunk {sequence} has content of another format")]
    Content {
        /// Which chunk, from 0.
        sequence: u64,
        /// What the codec refused.
        #[source]
        source: CodecError,
    },
    /// The totals at the end do not match the content.
    #[error("the totals at the end do not match the content")]
    Totals,
    /// Something follows the end of the snapshot.
    #[error("there are bytes after the end of the snapshot")]
    Trailing,
    /// The file could not be read.
    #[error("cannot read")]
    Io(#[source] std::io::Error),
}

/// Reads a whole snapshot. Nothing of a damaged one is handed out.
pub fn read_snapshot(input: impl Read) -> Result<Restored, SnapshotError> {
    let mut reader = Reader {
        input,
        offset: 0,
        at: 0,
        sequence: 0,
    };
    reader.read().map_err(|problem| SnapshotError {
        offset: reader.at,
        problem,
    })
}

struct Reader<R> {
    input: R,
    /// How much was read.
    offset: u64,
    /// Where the part begins that is being read.
    at: u64,
    sequence: u64,
}

impl<R: Read> Reader<R> {
    fn read(&mut self) -> Result<Restored, Problem> {
        let header = self.header()?;
        let mut footer = Footer {
            frames: 1,
            objects: 0,
            json_bytes: 0,
        };
        let mut state = Snapshot::empty();
        state.revision = header.revision;
        state.position = Position {
            index: header.index,
            term: header.term,
        };
        let mut last: Option<ObjectKey> = None;
        loop {
            let (kind, payload) = self.frame()?;
            match kind {
                Kind::Header => return Err(self.wrong("it is a second header")),
                Kind::Footer => {
                    if self.content::<Footer>(&payload)? != footer {
                        return Err(Problem::Totals);
                    }
                    break;
                }
                Kind::Objects => {
                    for record in self.content::<Vec<Record>>(&payload)? {
                        footer.objects += 1;
                        footer.json_bytes += record.json.len() as u64;
                        last = Some(self.insert(&mut state, record, last.as_ref())?);
                    }
                    footer.frames += 1;
                }
            }
            self.sequence += 1;
        }
        self.at = self.offset;
        match self.take("", 1)?.len() {
            0 => Ok(Restored {
                snapshot: state,
                extra: header.extra.to_vec(),
            }),
            _ => Err(Problem::Trailing),
        }
    }

    fn header(&mut self) -> Result<Header, Problem> {
        let magic = self.exactly("the first bytes", MAGIC.len())?;
        if magic != MAGIC {
            return Err(Problem::Magic);
        }
        self.at = self.offset;
        let version = self.number("the version")?;
        if version != FORMAT_VERSION {
            return Err(Problem::Version(version));
        }
        let (kind, payload) = self.frame()?;
        if kind != Kind::Header {
            return Err(self.wrong("it should be the header"));
        }
        let header = self.content(&payload)?;
        self.sequence += 1;
        Ok(header)
    }

    fn frame(&mut self) -> Result<(Kind, Vec<u8>), Problem> {
        self.at = self.offset;
        let number = self.exactly("the head of a chunk", 1)?[0];
        let length = self.number("the head of a chunk")?;
        let recorded = self.number("the head of a chunk")?;
        let kind = Kind::of(number).ok_or_else(|| self.wrong("its kind is unknown"))?;
        if length > frame::MAX_PAYLOAD_BYTES {
            return Err(self.wrong("its length is impossible"));
        }
        let payload = self.exactly("a chunk", length as usize)?;
        let found = frame::checksum(number, length.to_le_bytes(), self.sequence, &payload);
        if found != recorded {
            let sequence = self.sequence;
            return Err(Problem::Checksum {
                sequence,
                found,
                recorded,
            });
        }
        Ok((kind, payload))
    }

    fn insert(
        &self,
        state: &mut Snapshot,
        record: Record,
        last: Option<&ObjectKey>,
    ) -> Result<ObjectKey, Problem> {
        let Record {
            mut key,
            uid,
            revision,
            json,
            found_by,
        } = record;
        if last.is_some_and(|last| *last >= key) {
            return Err(self.wrong("its objects are out of order"));
        }
        if revision > state.revision {
            return Err(self.wrong("an object is newer than the snapshot"));
        }
        // Neighbours share their namespace's name: one allocation for all of them.
        if let Some(last) = last.filter(|last| last.namespace == key.namespace) {
            key.namespace = last.namespace.clone();
        }
        let mut entries = Vec::with_capacity(found_by.len());
        for (number, value) in found_by {
            let index = index_of(number).ok_or_else(|| self.wrong("an index is unknown"))?;
            entries.push((index, value));
        }
        let found_by = (!entries.is_empty()).then(|| entries.into());
        let object = Arc::new(Stored::new(key.clone(), uid, revision, json));
        state.insert(Held { object, found_by });
        Ok(key)
    }

    fn content<T: serde::de::DeserializeOwned>(&self, payload: &[u8]) -> Result<T, Problem> {
        let sequence = self.sequence;
        codec::decode(payload).map_err(|source| Problem::Content { sequence, source })
    }

    fn wrong(&self, what: &'static str) -> Problem {
        Problem::Frame {
            sequence: self.sequence,
            what,
        }
    }

    fn number(&mut self, what: &'static str) -> Result<u32, Problem> {
        let bytes = self.exactly(what, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn exactly(&mut self, what: &'static str, length: usize) -> Result<Vec<u8>, Problem> {
        let bytes = self.take(what, length)?;
        match bytes.len() == length {
            true => Ok(bytes),
            false => Err(Problem::Truncated(what)),
        }
    }

    fn take(&mut self, what: &'static str, length: usize) -> Result<Vec<u8>, Problem> {
        // Grows with what is there, not with what a length claims.
        let mut bytes = Vec::with_capacity(length.min(1 << 20));
        let mut input = (&mut self.input).take(length as u64);
        match input.read_to_end(&mut bytes) {
            Ok(read) => self.offset += read as u64,
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Err(Problem::Truncated(what)),
            Err(e) => return Err(Problem::Io(e)),
        }
        Ok(bytes)
    }
}
