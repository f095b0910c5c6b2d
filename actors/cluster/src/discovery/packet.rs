//! The two datagrams.
//!
//! ```text
//! question   "KABUKI?1"  16 bytes of the CA's hash  16 bytes nonce  zeros up to 128
//! answer     "KABUKI!1"  16 bytes nonce             address in UTF-8
//! ```

/// The first bytes of a question, with the version.
const SEEK: &[u8; 8] = b"KABUKI?1";
/// The first bytes of an answer, with the version.
const HERE: &[u8; 8] = b"KABUKI!1";
/// How much of the CA's hash is told: enough to tell clusters apart.
const PREFIX_BYTES: usize = 16;
/// What ties an answer to a question.
pub(super) const NONCE_BYTES: usize = 16;
/// A question has at least so many bytes: no answer is larger.
const SEEK_BYTES: usize = 128;
/// No address is longer.
const MAX_ADDRESS_BYTES: usize = SEEK_BYTES - HERE.len() - NONCE_BYTES;
/// No datagram of this conversation is larger.
pub(super) const MAX_BYTES: usize = 512;

/// Who seeks a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seek {
    pub(super) prefix: [u8; PREFIX_BYTES],
    pub(super) nonce: [u8; NONCE_BYTES],
}

/// A member that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Here {
    pub(super) nonce: [u8; NONCE_BYTES],
    pub(super) address: String,
}

/// What of a CA's hash is told.
pub(super) fn prefix(ca_sha256: [u8; 32]) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix
        .iter_mut()
        .zip(ca_sha256)
        .for_each(|(to, from)| *to = from);
    prefix
}

impl Seek {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = [SEEK.as_slice(), &self.prefix, &self.nonce].concat();
        bytes.resize(SEEK_BYTES, 0);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(SEEK)?;
        let (prefix, rest) = rest.split_first_chunk()?;
        let (nonce, _) = rest.split_first_chunk()?;
        (bytes.len() >= SEEK_BYTES).then_some(Self {
            prefix: *prefix,
            nonce: *nonce,
        })
    }
}

impl Here {
    /// `None` when the address is too long to be told.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let fits = self.address.len() <= MAX_ADDRESS_BYTES;
        fits.then(|| [HERE.as_slice(), &self.nonce, self.address.as_bytes()].concat())
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(HERE)?;
        let (nonce, address) = rest.split_first_chunk()?;
        let address = std::str::from_utf8(address).ok()?;
        // It will be shown and dialled: a host and a port, and nothing else.
        let (host, port) = address.rsplit_once(':')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]%".contains(c);
        let good = !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok();
        (good && address.len() <= MAX_ADDRESS_BYTES).then(|| Self {
            nonce: *nonce,
            address: address.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_survive_the_wire() {
        let seek = Seek {
            prefix: prefix([7; 32]),
            nonce: [9; NONCE_BYTES],
        };
        assert_eq!(Seek::decode(&seek.encode()), Some(seek));
        for address in ["192.0.2.1:6443", "[2001:db8::1]:6443", "node-1.lan:1"] {
            let here = Here {
                nonce: [9; NONCE_BYTES],
                address: address.to_string(),
            };
            let bytes = here.encode().expect("it fits");
            assert_eq!(Here::decode(&bytes), Some(here));
        }
    }

    #[test]
    fn an_answer_is_never_larger_than_its_question() {
        let seek = Seek {
            prefix: prefix([7; 32]),
            nonce: [9; NONCE_BYTES],
        };
        let question = seek.encode();
        assert_eq!(Seek::decode(&question[..SEEK_BYTES - 1]), None);
        let here = |address: String| Here {
            nonce: [9; NONCE_BYTES],
            address,
        };
        let longest = here("a".repeat(MAX_ADDRESS_BYTES)).encode();
        assert_eq!(longest.map(|bytes| bytes.len()), Some(question.len()));
        assert_eq!(here("a".repeat(MAX_ADDRESS_BYTES + 1)).encode(), None);
    }

    #[test]
    fn nonsense_is_no_datagram() {
        for address in [
            "",
            "host",
            "host:",
            ":1",
            "host:99999",
            "ho st:1",
            "h\n:1",
            "h\u{1b}:1",
        ] {
            let bytes = [HERE.as_slice(), &[0; NONCE_BYTES], address.as_bytes()].concat();
            assert_eq!(Here::decode(&bytes), None, "{address:?}");
        }
        assert_eq!(Here::decode(HERE), None);
        assert_eq!(Seek::decode(&[]), None);
        assert_eq!(Seek::decode(&[0xff; 200]), None);
    }
}
