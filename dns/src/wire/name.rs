//! A name in the form that it has in a message, without compression and in lower case: names are
//! compared without regard to case (RFC 4343), so this is the form that is looked up.

use std::fmt;

/// The longest name, in bytes of a message (RFC 1035, 3.1).
pub const NAME_MAX: usize = 255;
/// The longest label.
pub(crate) const LABEL_MAX: usize = 63;
/// A name of labels of one byte each has so many.
const LABELS_MAX: usize = 127;

/// A name in lower case. Holds its bytes itself, so it can be read again and again without
/// touching the heap.
#[derive(Clone)]
pub struct Name {
    bytes: [u8; NAME_MAX],
    len: u8,
    starts: [u8; LABELS_MAX],
    labels: u8,
}

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Two dots in a row, or one at the beginning.
    #[error("name {0:?} has an empty label")]
    EmptyLabel(String),
    /// A part between dots is too long.
    #[error("name {0:?} has a label of more than 63 bytes")]
    LongLabel(String),
    /// All of it is too long.
    #[error("name {0:?} takes more than 255 bytes")]
    Long(String),
}

impl Default for Name {
    fn default() -> Self {
        Self::root()
    }
}

impl Name {
    /// The root.
    pub fn root() -> Self {
        Self {
            bytes: [0; NAME_MAX],
            len: 1,
            starts: [0; LABELS_MAX],
            labels: 0,
        }
    }

    /// From labels with dots between them; a dot at the end makes no difference.
    ///
    /// # Errors
    /// When it is no name.
    pub fn from_text(text: &str) -> Result<Self, NameError> {
        let mut name = Self::root();
        name.len = 0;
        let bare = text.strip_suffix('.').unwrap_or(text);
        if !bare.is_empty() {
            for label in bare.split('.') {
                if label.is_empty() {
                    return Err(NameError::EmptyLabel(text.to_string()));
                }
                if label.len() > LABEL_MAX {
                    return Err(NameError::LongLabel(text.to_string()));
                }
                if !name.push(label.as_bytes()) {
                    return Err(NameError::Long(text.to_string()));
                }
            }
        }
        name.end();
        Ok(name)
    }

    /// Reads the name at `at`, which must not be compressed, into this one. Says where it ends;
    /// `None` when it is none, and then this name is the root.
    pub(crate) fn read(&mut self, packet: &[u8], at: usize) -> Option<usize> {
        (self.len, self.labels) = (0, 0);
        let mut place = at;
        let end = loop {
            let Some(length) = packet.get(place).map(|l| usize::from(*l)) else {
                break None;
            };
            place += 1;
            if length == 0 {
                break Some(place);
            }
            // Pointers and the label types that nobody uses begin with other bits.
            let label = packet.get(place..place + length);
            match label.filter(|_| length <= LABEL_MAX) {
                Some(label) if self.push(label) => place += length,
                _ => break None,
            }
        };
        if end.is_none() {
            (self.len, self.labels) = (0, 0);
        }
        self.end();
        end
    }

    /// Takes over a name from its bytes; the root when they are no name.
    pub(crate) fn set_wire(&mut self, wire: &[u8]) {
        self.read(wire, 0);
    }

    /// Adds a label; `false` when there is no room for it and the root.
    fn push(&mut self, label: &[u8]) -> bool {
        let start = usize::from(self.len);
        let end = start + 1 + label.len();
        if end >= NAME_MAX || usize::from(self.labels) >= LABELS_MAX {
            return false;
        }
        // The checks above keep all of these in their arrays and numbers.
        self.starts[usize::from(self.labels)] = start as u8;
        self.bytes[start] = label.len() as u8;
        let place = &mut self.bytes[start + 1..end];
        place.copy_from_slice(label);
        place.make_ascii_lowercase();
        self.len = end as u8;
        self.labels += 1;
        true
    }

    fn end(&mut self) {
        self.bytes[usize::from(self.len)] = 0;
        self.len += 1;
    }

    /// All bytes, with the root's.
    pub fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// How many labels it has, the root not counted.
    pub fn labels(&self) -> usize {
        usize::from(self.labels)
    }

    /// A label by its place from the left; empty when there is none.
    pub fn label(&self, index: usize) -> &[u8] {
        let rest = self.suffix(index);
        match rest.split_first() {
            Some((length, rest)) => rest.get(..usize::from(*length)).unwrap_or_default(),
            None => &[],
        }
    }

    /// Where a label begins; where the root is when there are not so many.
    pub fn start(&self, index: usize) -> usize {
        let starts = &self.starts[..self.labels()];
        starts
            .get(index)
            .map_or(usize::from(self.len) - 1, |s| usize::from(*s))
    }

    /// The bytes from a label on.
    pub fn suffix(&self, index: usize) -> &[u8] {
        &self.wire()[self.start(index)..]
    }

    /// Whether it is `parent` or below it. `parent` has so many labels.
    pub fn is_within(&self, parent: &[u8], labels: usize) -> bool {
        let above = self.labels().checked_sub(labels);
        above.is_some_and(|first| self.suffix(first) == parent)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.wire() == other.wire()
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for index in 0..self.labels() {
            for byte in self.label(index) {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    0x21..0x7f => write!(f, "{}", char::from(*byte))?,
                    other => write!(f, "\\{other:03}")?,
                }
            }
            f.write_str(".")?;
        }
        match self.labels {
            0 => f.write_str("."),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_lower_case_and_shown_with_their_dots() {
        let name = Name::from_text("WWW.Example.com").unwrap();
        assert_eq!(name.wire(), b"\x03www\x07example\x03com\0");
        assert_eq!(name.to_string(), "www.example.com.");
        assert_eq!(name.label(1), b"example");
        assert_eq!(name.suffix(2), b"\x03com\0");
        assert_eq!(name.suffix(9), b"\0");
        assert!(name.is_within(b"\x03com\0", 1) && !name.is_within(b"\x03net\0", 1));
        assert_eq!(Name::from_text(".").unwrap().to_string(), ".");
    }

    #[test]
    fn what_is_too_long_or_empty_is_no_name() {
        for (text, fine) in [
            ("a".repeat(63), true),
            ("a".repeat(64), false),
            (["a"; 127].join("."), true),
            (["a"; 128].join("."), false),
            ("a..b".to_string(), false),
            (".a".to_string(), false),
        ] {
            assert_eq!(Name::from_text(&text).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn pointers_and_cut_names_are_not_read() {
        let mut name = Name::root();
        for bytes in [&b"\x03ww"[..], b"\xc0\x00", b"\x01a\xc0\x00", b"", b"\x40a"] {
            assert_eq!(name.read(bytes, 0), None, "{bytes:?}");
            assert_eq!(name, Name::root());
        }
        assert_eq!(name.read(b"..\x01A\0rest", 2), Some(5));
        assert_eq!(name.to_string(), "a.");
    }
}
