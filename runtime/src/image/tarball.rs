//! A reader of tar streams that trusts nothing.
//!
//! The `tar` crate reads GNU long names and PAX records into memory whatever size they claim,
//! so the records are walked here, with bounds, and only its header decoding is used.
//! Understood: v7, ustar, GNU long names and links, PAX. Refused by name: sparse files and
//! multi-volume archives.

use std::io::{self, Read};

use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// Longest path or link target; Linux' own limit is 4096.
const MAX_NAME_BYTES: u64 = 4096;
/// All PAX records of one entry. An extended attribute is at most 64 KiB.
const MAX_PAX_BYTES: u64 = 1 << 20;

/// Why a stream is not a usable archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// One member's metadata.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: EntryType,
    pub size: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime_s: i64,
    pub mtime_ns: u32,
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the content starts in the stream.
    pub offset: u64,
}

/// Walks a stream member by member. Content is read through [`Read`] after each
/// [`TarReader::next`]; what is left unread is skipped.
pub(crate) struct TarReader<R> {
    inner: R,
    position: u64,
    remaining: u64,
    padding: u64,
    defaults: Overrides,
}

/// What extension records say about the next member.
#[derive(Debug, Clone, Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> TarReader<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            position: 0,
            remaining: 0,
            padding: 0,
            defaults: Overrides::default(),
        }
    }

    /// The next member, or None at the archive's end.
    pub fn next(&mut self) -> Result<Option<Member>, TarError> {
        let mut overrides = self.defaults.clone();
        loop {
            self.skip_rest()?;
            let Some(header) = self.read_header()? else {
                return Ok(None);
            };
            let size = match overrides.size {
                Some(size) if !is_extension(header.entry_type()) => size,
                _ => field("size", &header.as_old().size, header.entry_size())?,
            };
            if size > i64::MAX as u64 {
                return Err(malformed("an entry claims an impossible size"));
            }
            self.remaining = size;
            self.padding = size.next_multiple_of(BLOCK) - size;
            match header.entry_type() {
                EntryType::GNULongName => overrides.path = Some(self.read_name()?),
                EntryType::GNULongLink => overrides.link = Some(self.read_name()?),
                EntryType::XHeader => overrides.apply(&self.read_bounded(MAX_PAX_BYTES)?)?,
                EntryType::XGlobalHeader => {
                    let records = self.read_bounded(MAX_PAX_BYTES)?;
                    self.defaults.apply(&records)?;
                    overrides.apply(&records)?;
                }
                _ => return self.member(&header, overrides).map(Some),
            }
        }
    }

    /// The stream behind the archive, for reading its trailing bytes.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn member(&mut self, header: &Header, overrides: Overrides) -> Result<Member, TarError> {
        let kind = header.entry_type();
        let (old, block) = (header.as_old(), header.as_bytes());
        // Links and directories have no content, whatever their size field says; some old
        // writers store a hard link's size there. Nothing follows in the stream for links.
        if matches!(kind, EntryType::Link | EntryType::Symlink) {
            (self.remaining, self.padding) = (0, 0);
        }
        let narrow = |name: &str, wide: u64| {
            u32::try_from(wide).map_err(|_| malformed(&format!("{name} {wide} is out of range")))
        };
        let (mtime_s, mtime_ns) = match overrides.mtime {
            Some(mtime) => mtime,
            None => (header.mtime().unwrap_or(0).min(i64::MAX as u64) as i64, 0),
        };
        let device = match kind {
            EntryType::Char | EntryType::Block => (
                field("device number", &block[329..337], header.device_major())?.unwrap_or(0),
                field("device number", &block[337..345], header.device_minor())?.unwrap_or(0),
            ),
            _ => (0, 0),
        };
        Ok(Member {
            path: overrides
                .path
                .unwrap_or_else(|| header.path_bytes().into_owned()),
            link: overrides
                .link
                .or_else(|| header.link_name_bytes().map(|name| name.into_owned()))
                .unwrap_or_default(),
            kind,
            size: self.remaining,
            mode: field("mode", &old.mode, header.mode())? & 0o7777,
            uid: narrow(
                "uid",
                match overrides.uid {
                    Some(uid) => uid,
                    None => field("uid", &old.uid, header.uid())?,
                },
            )?,
            gid: narrow(
                "gid",
                match overrides.gid {
                    Some(gid) => gid,
                    None => field("gid", &old.gid, header.gid())?,
                },
            )?,
            mtime_s,
            mtime_ns,
            device,
            xattrs: overrides.xattrs,
            offset: self.position,
        })
    }

    fn skip_rest(&mut self) -> Result<(), TarError> {
        let left = self.remaining + self.padding;
        let skipped = io::copy(&mut (&mut self.inner).take(left), &mut io::sink())?;
        self.position += skipped;
        // The padding of the last member may be missing; its content may not.
        if skipped < self.remaining {
            return Err(malformed("the archive ends in the middle of a file"));
        }
        (self.remaining, self.padding) = (0, 0);
        Ok(())
    }

    /// None at the end: a zero block, or the stream's end between members.
    fn read_header(&mut self) -> Result<Option<Header>, TarError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < block.len() {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(malformed("the archive ends in the middle of a header")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.position += BLOCK;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let sum: u32 = block[..148]
            .iter()
            .chain(&block[156..])
            .map(|&b| u32::from(b))
            .sum();
        if header.cksum().ok() != Some(sum + 8 * u32::from(b' ')) {
            return Err(malformed(
                "a header's checksum is wrong, so this is not a tar archive",
            ));
        }
        Ok(Some(header))
    }

    fn read_name(&mut self) -> Result<Vec<u8>, TarError> {
        let mut name = self.read_bounded(MAX_NAME_BYTES)?;
        while name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn read_bounded(&mut self, limit: u64) -> Result<Vec<u8>, TarError> {
        if self.remaining > limit {
            let claimed = self.remaining;
            return Err(malformed(&format!(
                "an extension record of {claimed} bytes is over the limit of {limit}"
            )));
        }
        let mut bytes = Vec::with_capacity(self.remaining as usize);
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = self.remaining.min(buffer.len() as u64) as usize;
        if want == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..want])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.remaining -= read as u64;
        self.position += read as u64;
        Ok(read)
    }
}

fn is_extension(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::GNULongName
            | EntryType::GNULongLink
            | EntryType::XHeader
            | EntryType::XGlobalHeader
    )
}

fn malformed(reason: &str) -> TarError {
    TarError::Malformed(reason.to_owned())
}

/// A header's number; a field that was never filled is 0.
fn field<T: Default>(name: &str, raw: &[u8], value: io::Result<T>) -> Result<T, TarError> {
    if raw.iter().all(|&byte| matches!(byte, 0 | b' ')) {
        return Ok(T::default());
    }
    value.map_err(|_| malformed(&format!("a header's {name} field is invalid")))
}

impl Overrides {
    /// PAX records: `<length> <key>=<value>\n`, the length counting itself.
    fn apply(&mut self, mut records: &[u8]) -> Result<(), TarError> {
        let invalid = || malformed("a PAX record is invalid");
        while !records.is_empty() {
            let space = records
                .iter()
                .position(|&b| b == b' ')
                .ok_or_else(invalid)?;
            let length: usize = parse_number(&records[..space]).ok_or_else(invalid)?;
            if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
                return Err(invalid());
            }
            let record = &records[space + 1..length - 1];
            let equals = record.iter().position(|&b| b == b'=').ok_or_else(invalid)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = &records[length..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let number = || parse_number(value).ok_or_else(|| malformed("a PAX number is invalid"));
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => {
                self.mtime = Some(
                    parse_time(value)
                        .ok_or_else(|| malformed("a PAX modification time is invalid"))?,
                )
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(malformed(
                    "it contains a sparse file, which is not supported",
                ));
            }
            _ => {
                if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(known, _)| known != attribute);
                    self.xattrs.push((attribute.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

fn name(value: &[u8]) -> Result<Vec<u8>, TarError> {
    if value.len() as u64 > MAX_NAME_BYTES {
        return Err(malformed("a path is longer than 4096 bytes"));
    }
    Ok(value.to_vec())
}

fn parse_number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds with an optional fraction, possibly before 1970.
fn parse_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if fraction.is_empty() {
        return Some((seconds, 0));
    }
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    match (text.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}
