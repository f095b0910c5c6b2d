//! Reading a question.

use super::{CLASS_IN, HEADER_LEN, Name, UDP_MAX, UDP_MIN, flag, kind, rcode, word};

/// A plain question: one name, one type, and perhaps an OPT record. One value is read into again
/// and again.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The header's identifier.
    pub id: u16,
    /// The header's second word.
    pub(crate) flags: u16,
    /// What is asked for.
    pub name: Name,
    /// Which type of record.
    pub kind: u16,
    /// Of which class.
    pub class: u16,
    /// Where the question ends in its packet.
    pub(crate) question_end: usize,
    /// The OPT record.
    pub edns: Option<Edns>,
}

/// What a client says of itself in an OPT record (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The most that it takes over UDP, in bytes.
    pub size: u16,
    /// The version.
    pub version: u8,
    /// Whether it wants signatures.
    pub dnssec_ok: bool,
}

/// Why a packet cannot be answered as a plain question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswerable {
    /// It is no question at all: no answer, for that might begin a quarrel between two servers.
    Silence,
    /// It gets this code. When the question could be read, it is in the query.
    Code(u16),
    /// It holds more than a plain question does.
    Odd,
}

impl Query {
    /// Reads a packet into this query.
    ///
    /// # Errors
    /// What to do with a packet that is no plain question.
    pub fn read(&mut self, packet: &[u8]) -> Result<(), Unanswerable> {
        self.question_end = HEADER_LEN;
        self.edns = None;
        let field = |index: usize| word(packet, index * 2);
        let (Some(id), Some(flags), Some(questions), Some(answers), Some(authorities), Some(more)) =
            (field(0), field(1), field(2), field(3), field(4), field(5))
        else {
            return Err(Unanswerable::Silence);
        };
        (self.id, self.flags) = (id, flags);
        if flags & flag::RESPONSE != 0 {
            return Err(Unanswerable::Silence);
        }
        if flags & flag::OPCODE != 0 {
            return Err(Unanswerable::Code(rcode::NOT_IMP));
        }
        // RFC 9619: there is one question.
        if questions != 1 {
            return Err(Unanswerable::Code(rcode::FORM_ERR));
        }
        let asked = self.name.read(packet, HEADER_LEN).and_then(|end| {
            let (kind, class) = (word(packet, end)?, word(packet, end + 2)?);
            Some((kind, class, end + 4))
        });
        let Some((kind, class, end)) = asked else {
            return Err(Unanswerable::Code(rcode::FORM_ERR));
        };
        (self.kind, self.class, self.question_end) = (kind, class, end);
        match (answers, authorities, more) {
            (0, 0, 0) => {}
            (0, 0, 1) => self.edns = Some(read_opt(packet, end)?),
            _ => return Err(Unanswerable::Odd),
        }
        self.check()
    }

    fn check(&self) -> Result<(), Unanswerable> {
        if self.edns.is_some_and(|e| e.version > 0) {
            return Err(Unanswerable::Code(rcode::BAD_VERS));
        }
        if self.class != CLASS_IN {
            return Err(Unanswerable::Code(rcode::REFUSED));
        }
        match self.kind {
            // No record has these types.
            0 | kind::OPT => Err(Unanswerable::Code(rcode::FORM_ERR)),
            // Transfers of zones and keys.
            249..=254 => Err(Unanswerable::Code(rcode::REFUSED)),
            _ => Ok(()),
        }
    }

    /// The most that the client takes over UDP, as far as this server goes.
    pub fn udp_limit(&self) -> usize {
        let wanted = self.edns.map_or(UDP_MIN, |e| usize::from(e.size));
        wanted.clamp(UDP_MIN, UDP_MAX)
    }

    /// Whether the client wants signatures.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|e| e.dnssec_ok)
    }

    /// Whether the client does not want signatures checked.
    pub fn checking_disabled(&self) -> bool {
        self.flags & flag::CHECKING_DISABLED != 0
    }

    /// Whether the client asks for names of others.
    pub fn recursion_desired(&self) -> bool {
        self.flags & flag::RECURSION_DESIRED != 0
    }
}

/// The OPT record at `at`. Its options are only looked at for their form: none is known here, and
/// unknown ones are passed over (RFC 6891, 6.1.2).
fn read_opt(packet: &[u8], at: usize) -> Result<Edns, Unanswerable> {
    let malformed = Unanswerable::Code(rcode::FORM_ERR);
    let record = packet.get(at..).ok_or(malformed)?;
    match (record.first(), word(record, 1)) {
        (Some(0), Some(kind::OPT)) => {}
        // Perhaps a signature; perhaps nothing.
        _ => return Err(Unanswerable::Odd),
    }
    let fields = || {
        let (size, flags) = (word(record, 3)?, word(record, 7)?);
        let (version, length) = (*record.get(6)?, usize::from(word(record, 9)?));
        Some((size, version, flags, record.get(11..11 + length)?))
    };
    let (size, version, flags, mut options) = fields().ok_or(malformed)?;
    while !options.is_empty() {
        let length = usize::from(word(options, 2).ok_or(malformed)?);
        options = options.get(4 + length..).ok_or(malformed)?;
    }
    Ok(Edns {
        size,
        version,
        dnssec_ok: flags & 1 << 15 != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";

    fn packet(head: [u16; 6], rest: &[&[u8]]) -> Vec<u8> {
        let head = head.iter().flat_map(|w| w.to_be_bytes());
        head.chain(rest.concat()).collect()
    }

    fn plain(rest: &[&[u8]], more: u16) -> Vec<u8> {
        packet([7, 0x0100, 1, 0, 0, more], rest)
    }

    const QUESTION: &[u8] = b"\x01A\x01b\0\0\x01\0\x01";

    #[test]
    fn a_plain_question_is_read() {
        let mut query = Query::default();
        assert_eq!(query.read(&plain(&[QUESTION, OPT], 1)), Ok(()));
        assert_eq!((query.id, query.kind), (7, kind::A));
        assert_eq!(query.name.to_string(), "a.b.");
        assert_eq!(query.udp_limit(), 1232);
        assert!(query.dnssec_ok() && query.recursion_desired());
        assert_eq!(query.read(&plain(&[QUESTION], 0)), Ok(()));
        assert_eq!((query.edns, query.udp_limit()), (None, 512));
    }

    #[test]
    fn what_is_no_plain_question_is_told_apart() {
        use Unanswerable::{Code, Odd, Silence};
        let mut query = Query::default();
        let code = |c| Err(Code(c));
        for (packet, expected) in [
            (b"short".to_vec(), Err(Silence)),
            (packet([7, 0x8100, 1, 0, 0, 0], &[QUESTION]), Err(Silence)),
            (packet([7, 0x2800, 1, 0, 0, 0], &[QUESTION]), code(4)),
            (packet([7, 0, 0, 0, 0, 0], &[]), code(1)),
            (packet([7, 0, 2, 0, 0, 0], &[QUESTION, QUESTION]), code(1)),
            (plain(&[b"\xc0\x0c\0\x01\0\x01"], 0), code(1)),
            (plain(&[b"\x3fab"], 0), code(1)),
            (plain(&[b"\x01a\0\0\x01"], 0), code(1)),
            (plain(&[b"\x01a\0\0\x01\0\x03"], 0), code(5)),
            (plain(&[b"\x01a\0\0\xfc\0\x01"], 0), code(5)),
            (plain(&[b"\x01a\0\0\x29\0\x01"], 0), code(1)),
            (
                plain(&[QUESTION, b"\0\0\x29\x04\xd0\0\x01\0\0\0\0"], 1),
                code(16),
            ),
            (
                plain(&[QUESTION, b"\0\0\x29\x04\xd0\0\0\0\0\0\x09abc"], 1),
                code(1),
            ),
            (
                plain(
                    &[QUESTION, b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0a\0\x09"],
                    1,
                ),
                code(1),
            ),
            (
                plain(&[QUESTION, b"\0\0\xfa\0\xff\0\0\0\0\0\0"], 1),
                Err(Odd),
            ),
            (plain(&[QUESTION, OPT, OPT], 2), Err(Odd)),
            (packet([7, 0, 1, 1, 0, 0], &[QUESTION, OPT]), Err(Odd)),
        ] {
            assert_eq!(query.read(&packet), expected, "{packet:x?}");
        }
    }
}
