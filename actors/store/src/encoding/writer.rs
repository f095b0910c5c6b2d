//! Writing: an iterator over the pieces of the file.

use super::frame::{self, Kind};
use super::{CHUNK_BYTES, FORMAT_VERSION, Footer, Header, MAGIC, Record, index_number};
use crate::snapshot::{Held, Snapshot};
use bytes::Bytes;
use kabuki_model::ObjectKey;
use kabuki_model::codec::{self, CodecError};

/// Yields the encoded form of a snapshot piece by piece; written one after the other they are
/// the file.
pub struct Encoder {
    snapshot: Snapshot,
    extra: Bytes,
    stage: Stage,
    footer: Footer,
}

enum Stage {
    Header,
    Objects { after: Option<ObjectKey> },
    Footer,
    Done,
}

impl Snapshot {
    /// The snapshot in its encoded form. `extra` is kept with it and handed back when it is read.
    pub fn encode(&self, extra: &[u8]) -> Encoder {
        Encoder {
            snapshot: self.clone(),
            extra: Bytes::copy_from_slice(extra),
            stage: Stage::Header,
            footer: Footer {
                frames: 0,
                objects: 0,
                json_bytes: 0,
            },
        }
    }
}

impl Iterator for Encoder {
    type Item = Result<Vec<u8>, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Header => self.header(),
            Stage::Objects { after } => self.objects(after),
            Stage::Footer => codec::encode(&self.footer).map(|payload| {
                let mut out = Vec::new();
                frame::write(&mut out, Kind::Footer, self.footer.frames, &payload);
                out
            }),
            Stage::Done => return None,
        };
        Some(piece)
    }
}

impl Encoder {
    fn header(&mut self) -> Result<Vec<u8>, CodecError> {
        let position = self.snapshot.position;
        let payload = codec::encode(&Header {
            revision: self.snapshot.revision,
            index: position.index,
            term: position.term,
            extra: self.extra.clone(),
        })?;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        self.frame(&mut out, Kind::Header, &payload);
        self.stage = match self.snapshot.is_empty() {
            true => Stage::Footer,
            false => Stage::Objects { after: None },
        };
        Ok(out)
    }

    fn objects(&mut self, after: Option<ObjectKey>) -> Result<Vec<u8>, CodecError> {
        let mut records = Vec::new();
        let mut size = 0;
        let mut rest = self.snapshot.held_after(after.as_ref()).peekable();
        while let Some(held) = rest.peek() {
            // Names and frame fields besides the JSON: an estimate is enough.
            let more = held.object.json.len() + 200;
            if size > 0 && size + more > CHUNK_BYTES {
                break;
            }
            size += more;
            self.footer.objects += 1;
            self.footer.json_bytes += held.object.json.len() as u64;
            records.push(record(held));
            rest.next();
        }
        let more = rest.peek().is_some();
        drop(rest);
        let payload = codec::encode(&records)?;
        let mut out = Vec::with_capacity(payload.len() + frame::HEAD_BYTES);
        self.frame(&mut out, Kind::Objects, &payload);
        self.stage = match records.pop() {
            Some(last) if more => Stage::Objects {
                after: Some(last.key),
            },
            _ => Stage::Footer,
        };
        Ok(out)
    }

    fn frame(&mut self, out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
        frame::write(out, kind, self.footer.frames, payload);
        self.footer.frames += 1;
    }
}

fn record(held: &Held) -> Record {
    let object = &held.object;
    let entries = held.found_by.iter().flat_map(|f| f.iter());
    Record {
        key: object.key.clone(),
        uid: object.uid.clone(),
        revision: object.revision,
        json: object.json.clone(),
        found_by: entries
            .map(|(i, v)| (index_number(*i), v.clone()))
            .collect(),
    }
}
