//! From the fuzzer's bytes to a layer. Checksums of headers and of compressed data would stop
//! nearly every random change at the door, so most layers are made here, with right ones:
//!
//! | first byte, low two bits | the rest is |
//! |---|---|
//! | 0 | the layer as transported |
//! | 1 | a tar archive whose headers get right checksums |
//! | 2, 3 | a list of entries, from a small alphabet of names that matter |
//!
//! The next two bits choose the compression of what was made: none, gzip or zstd.

use flate2::{Compression, write::GzEncoder};
use std::{io::Write, path::Path};
use tar::{EntryType, Header};

/// What becomes of the fuzzer's bytes. `top` is the directory beside whose `root` the others are.
pub fn layer(data: &[u8], top: &Path) -> Vec<u8> {
    let Some((&first, rest)) = data.split_first() else {
        return Vec::new();
    };
    let tar = match first & 3 {
        0 => return rest.to_vec(),
        1 => with_checksums(rest),
        _ => Entry::list(rest)
            .iter()
            .flat_map(|e| e.blocks(top))
            .collect(),
    };
    compressed(&tar, first >> 2)
}

fn compressed(tar: &[u8], how: u8) -> Vec<u8> {
    match how & 3 {
        1 => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(tar).expect("memory takes it");
            gzip.finish().expect("memory takes it")
        }
        2 => zstd::encode_all(tar, 1).expect("memory takes it"),
        _ => tar.to_vec(),
    }
}

/// Walks from header to header as a reader would.
fn with_checksums(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..at + 512) {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        let size = usize::try_from(header.entry_size().unwrap_or(0)).unwrap_or(usize::MAX);
        at = at
            .saturating_add(512)
            .saturating_add(size.min(tar.len()).next_multiple_of(512));
    }
    tar
}

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Device,
    Fifo,
}

/// One entry of an archive, as four bytes and two names.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it makes.
    pub kind: Kind,
    /// Where; components are indices into the alphabet.
    pub name: Vec<u8>,
    /// What a link points to.
    pub link: Vec<u8>,
    /// How many bytes a file has.
    pub size: u8,
    /// Bits: how names are carried (header, GNU, PAX), and what is odd about the entry.
    pub flags: u8,
}

const KINDS: &[Kind] = &[
    Kind::File,
    Kind::Directory,
    Kind::Symlink,
    Kind::HardLink,
    Kind::Device,
    Kind::Fifo,
];

/// Components of names. [`TOP`] stands for the absolute path of the sandbox.
const ALPHABET: &[&str] = &[
    "a",
    "b",
    "c",
    "..",
    ".",
    "",
    "outside",
    "file",
    "root",
    "secret",
    ".wh.a",
    ".wh.b",
    ".wh..wh..opq",
    ".wh..",
    ".wh.",
    ".wh..wh.x",
    "proc/self/root",
    "proc/self/cwd",
    TOP,
    LONG,
];
const TOP: &str = "{top}";
const LONG: &str = "{long}";
/// More components than this make no new case.
const MAX_COMPONENTS: u8 = 6;
const MAX_ENTRIES: usize = 64;

const BY_GNU: u8 = 1;
const BY_PAX: u8 = 2;
const WITH_XATTR: u8 = 4;
const WITH_ODD_OWNER: u8 = 8;
const WITH_ODD_MODE: u8 = 16;
const WITH_ODD_TIME: u8 = 32;

impl Entry {
    /// An entry by the words of its names.
    pub fn new(kind: Kind, name: &[&str], link: &[&str]) -> Self {
        let index = |word: &&str| ALPHABET.iter().position(|a| a == word).unwrap_or(0) as u8;
        Self {
            kind,
            name: name.iter().map(index).collect(),
            link: link.iter().map(index).collect(),
            size: 5,
            flags: 0,
        }
    }

    /// The bytes that [`Entry::list`] reads as this entry.
    pub fn encoded(&self) -> Vec<u8> {
        let kind = KINDS.iter().position(|k| *k == self.kind).unwrap_or(0) as u8;
        let mut bytes = vec![kind, self.flags, self.size, self.name.len() as u8];
        bytes.extend(&self.name);
        bytes.push(self.link.len() as u8);
        bytes.extend(&self.link);
        bytes
    }

    fn list(data: &[u8]) -> Vec<Self> {
        let mut bytes = data.iter().copied();
        let mut entries = Vec::new();
        while entries.len() < MAX_ENTRIES {
            let Some(entry) = Self::decoded(&mut bytes) else {
                break;
            };
            entries.push(entry);
        }
        entries
    }

    fn decoded(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let kind = KINDS[usize::from(bytes.next()?) % KINDS.len()];
        let (flags, size) = (bytes.next()?, bytes.next()?);
        let mut name = || {
            let length = bytes.next()? % (MAX_COMPONENTS + 1);
            Some(bytes.by_ref().take(usize::from(length)).collect())
        };
        Some(Self {
            kind,
            flags,
            size,
            name: name()?,
            link: name()?,
        })
    }

    fn path(components: &[u8], top: &Path) -> Vec<u8> {
        let word = |c: &u8| match ALPHABET[usize::from(*c) % ALPHABET.len()] {
            TOP => top.display().to_string(),
            LONG => "x".repeat(300),
            word => word.to_string(),
        };
        let words: Vec<String> = components.iter().map(word).collect();
        words.join("/").into_bytes()
    }

    /// Header and content, with what must precede them.
    fn blocks(&self, top: &Path) -> Vec<u8> {
        let (name, link) = (Self::path(&self.name, top), Self::path(&self.link, top));
        let mut out = Vec::new();
        if self.flags & BY_PAX != 0 {
            let mut records = [record("path", &name), record("linkpath", &link)].concat();
            if self.flags & WITH_XATTR != 0 {
                records.extend(record("SCHILY.xattr.user.x", b"1"));
                records.extend(record("SCHILY.xattr.trusted.overlay.redirect", b"/outside"));
                records.extend(record("SCHILY.xattr.security.capability", &[1; 20]));
            }
            if self.flags & WITH_ODD_TIME != 0 {
                records.extend(record("mtime", b"-9223372036854775808.999999999"));
            }
            out.extend(block(header(EntryType::XHeader, b"pax", b""), &records));
        } else if self.flags & BY_GNU != 0 {
            out.extend(block(header(EntryType::GNULongName, b"gnu", b""), &name));
            out.extend(block(header(EntryType::GNULongLink, b"gnu", b""), &link));
        }
        let content = match self.kind {
            Kind::File => vec![b'x'; usize::from(self.size)],
            _ => Vec::new(),
        };
        out.extend(block(self.header(&name, &link), &content));
        out
    }

    fn header(&self, name: &[u8], link: &[u8]) -> Header {
        let kind = match self.kind {
            Kind::File => EntryType::Regular,
            Kind::Directory => EntryType::Directory,
            Kind::Symlink => EntryType::Symlink,
            Kind::HardLink => EntryType::Link,
            Kind::Device => EntryType::Char,
            Kind::Fifo => EntryType::Fifo,
        };
        let mut header = header(kind, name, link);
        if self.flags & WITH_ODD_OWNER != 0 {
            header.set_uid(u64::from(u32::MAX) - u64::from(self.size));
            header.set_gid(u64::from(self.size) << 29);
        }
        if self.flags & WITH_ODD_MODE != 0 {
            header.set_mode(0o7000 | u32::from(self.size));
        }
        if self.flags & WITH_ODD_TIME != 0 {
            header.set_mtime(u64::MAX - u64::from(self.size));
        }
        header
    }
}

/// A header with names cut to what fits.
fn header(kind: EntryType, name: &[u8], link: &[u8]) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1000);
    let old = header.as_old_mut();
    let (name, link) = (&name[..name.len().min(100)], &link[..link.len().min(100)]);
    old.name[..name.len()].copy_from_slice(name);
    old.linkname[..link.len()].copy_from_slice(link);
    header
}

fn block(mut header: Header, content: &[u8]) -> Vec<u8> {
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// `<length> <key>=<value>\n`, the length counting itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..)
        .map(|digits| rest + digits)
        .find(|length| rest + length.to_string().len() == *length)
        .unwrap_or(rest);
    let mut bytes = format!("{length} {key}=").into_bytes();
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
    bytes
}

/// Layers that leave an unpacker's directory which does not take care, each in its own way.
pub fn escapes() -> Vec<(&'static str, Vec<u8>)> {
    use Kind::{Directory, File, HardLink, Symlink};
    let layer = |entries: &[Entry]| {
        let mut bytes = vec![2];
        entries.iter().for_each(|e| bytes.extend(e.encoded()));
        bytes
    };
    vec![
        (
            "dots",
            layer(&[Entry::new(File, &["..", "outside", "b"], &[])]),
        ),
        (
            "an absolute name",
            layer(&[Entry::new(File, &[TOP, "secret"], &[])]),
        ),
        (
            "through a relative link",
            layer(&[
                Entry::new(Symlink, &["a"], &["..", "outside"]),
                Entry::new(File, &["a", "b"], &[]),
            ]),
        ),
        (
            "through an absolute link",
            layer(&[
                Entry::new(Symlink, &["a"], &[TOP, "outside"]),
                Entry::new(File, &["a", "file"], &[]),
            ]),
        ),
        (
            "a directory through a link",
            layer(&[
                Entry::new(Symlink, &["a"], &["..", "outside"]),
                Entry::new(Directory, &["a", "b"], &[]),
            ]),
        ),
        (
            "onto a link",
            layer(&[
                Entry::new(Symlink, &["a"], &["..", "secret"]),
                Entry::new(File, &["a"], &[]),
            ]),
        ),
        (
            "a hard link",
            layer(&[Entry::new(HardLink, &["a"], &["..", "secret"])]),
        ),
    ]
}

/// The escapes, and harmless layers in every notation.
pub fn seeds() -> Vec<Vec<u8>> {
    use Kind::{Device, Directory, Fifo, File, HardLink, Symlink};
    let mut seeds: Vec<Vec<u8>> = escapes().into_iter().map(|(_, layer)| layer).collect();
    let mut entries = [
        Entry::new(Directory, &["a"], &[]),
        Entry::new(File, &["a", "b"], &[]),
        Entry::new(HardLink, &["a", "c"], &["a", "b"]),
        Entry::new(Symlink, &["b"], &["a", "b"]),
        Entry::new(File, &["c", ".wh.a"], &[]),
        Entry::new(File, &["c", ".wh..wh..opq"], &[]),
        Entry::new(Device, &["root"], &[]),
        Entry::new(Fifo, &["c", "file"], &[]),
        Entry::new(File, &[LONG], &[]),
    ];
    let top = Path::new("/top");
    for flags in [
        0,
        BY_GNU,
        BY_PAX | WITH_XATTR,
        WITH_ODD_OWNER | WITH_ODD_MODE,
    ] {
        entries.iter_mut().for_each(|e| e.flags = flags);
        let list: Vec<u8> = entries.iter().flat_map(Entry::encoded).collect();
        let tar: Vec<u8> = entries.iter().flat_map(|e| e.blocks(top)).collect();
        for how in 0..3 {
            seeds.push([&[2 | how << 2], &list[..]].concat());
            seeds.push([&[1 | how << 2], &tar[..]].concat());
            seeds.push([&[0], &compressed(&tar, how)[..]].concat());
        }
    }
    seeds
}
