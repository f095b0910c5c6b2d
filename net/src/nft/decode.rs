//! Messages and attributes as they come from the kernel. Whatever is cut off ends the iteration.

const HEADER: usize = 16;
/// `struct nfgenmsg`.
const FAMILY_HEADER: usize = 4;
const KIND_MASK: u16 = 0x3fff;

/// One message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// Subsystem and type.
    pub kind: u16,
    pub sequence: u32,
    /// The socket that asked for it, or whose change it tells of.
    pub port: u32,
    /// What follows the netlink header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The messages of a datagram.
    pub fn all(mut bytes: &'a [u8]) -> impl Iterator<Item = Message<'a>> {
        std::iter::from_fn(move || {
            let length = u32_at(bytes, 0)? as usize;
            let message = bytes.get(..length).filter(|m| m.len() >= HEADER)?;
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some(Message {
                kind: u16_at(message, 4)?,
                sequence: u32_at(message, 8)?,
                port: u32_at(message, 12)?,
                body: message.get(HEADER..)?,
            })
        })
    }

    /// Its attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes(self.body.get(FAMILY_HEADER..).unwrap_or_default())
    }
}

/// Attributes, one behind the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// The content of the first attribute of a kind.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.into_iter().find(|(k, _)| *k == kind).map(|(_, v)| v)
    }

    /// The attributes inside an attribute.
    pub fn inside(self, kind: u16) -> Option<Attributes<'a>> {
        self.get(kind).map(Attributes)
    }

    /// The text of an attribute, without its end.
    pub fn text(self, kind: u16) -> Option<&'a str> {
        let bytes = self.get(kind)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        std::str::from_utf8(bytes.get(..end)?).ok()
    }

    /// A number in the network's order.
    pub fn be32(self, kind: u16) -> Option<u32> {
        be32(self.get(kind)?)
    }
}

impl<'a> IntoIterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);
    type IntoIter = AttributesIter<'a>;

    fn into_iter(self) -> AttributesIter<'a> {
        AttributesIter(self.0)
    }
}

pub(crate) struct AttributesIter<'a>(&'a [u8]);

impl<'a> Iterator for AttributesIter<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & KIND_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Four bytes in the network's order.
fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        let at = encode::begin(&mut out, 0x0a0c, 1, 7, 1);
        encode::text(&mut out, 1, "kabuki");
        encode::nest(&mut out, 2, |out| encode::be32(out, 3, 99));
        encode::end(&mut out, at);
        out
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = [sample(), sample()].concat();
        let all: Vec<_> = Message::all(&bytes).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].kind, all[0].sequence), (0x0a0c, 7));
        let attributes = all[1].attributes();
        assert_eq!(attributes.text(1), Some("kabuki"));
        assert_eq!(attributes.inside(2).unwrap().be32(3), Some(99));
    }

    #[test]
    fn no_cut_and_no_byte_makes_reading_fail() {
        let whole = sample();
        for cut in 0..whole.len() {
            for message in Message::all(&whole[..cut]) {
                assert!(message.attributes().into_iter().count() <= 2);
            }
        }
        for at in 0..whole.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                for message in Message::all(&bytes) {
                    for (_, inner) in message.attributes() {
                        assert!(Attributes(inner).into_iter().count() < whole.len());
                    }
                }
            }
        }
    }
}
