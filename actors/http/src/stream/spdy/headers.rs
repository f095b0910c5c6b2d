//! Header blocks: names and values, packed with zlib as one stream for the whole session
//! (Draft 3.1, section 2.6.10).

use super::dictionary::DICTIONARY;
use super::frame::Mistake;
use bytes::{Buf, BufMut, BytesMut};
use flate2::{Compress, Compression, FlushCompress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// Names and values, in their order.
pub type Headers = Vec<(String, String)>;

/// Unpacked, a block has no more bytes.
const MAX_BLOCK_BYTES: usize = 32 << 10;
/// A block has no more headers.
const MAX_HEADERS: usize = 128;
/// How far back what was packed may point (RFC 1951, section 3.2.5).
const WINDOW: usize = 32 << 10;
/// The flag of zlib's header that says that a dictionary was used (RFC 1950, section 2.2).
const FDICT: u8 = 0x20;

/// Unpacks the client's blocks. The standard's dictionary stands in the window before the first.
pub struct Decompressor {
    inflate: Box<DecompressorOxide>,
    window: Vec<u8>,
    /// Where in the window the next byte goes.
    at: usize,
    /// Whether zlib's own header was read.
    begun: bool,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self {
            inflate: Box::default(),
            window: vec![0; WINDOW],
            at: 0,
            begun: false,
        }
    }
}

impl Decompressor {
    /// Unpacks and reads a block.
    ///
    /// # Errors
    /// It cannot be unpacked, or is too large.
    pub fn unpack(&mut self, block: &[u8]) -> Result<Headers, Mistake> {
        let packed = match self.begun {
            true => block,
            // A block that is empty says nothing, as the first one too.
            false if block.is_empty() => return Ok(Headers::new()),
            false => self.begin(block)?,
        };
        parse(&self.inflate(packed)?)
    }

    /// Reads zlib's header and takes the dictionary in; gives what follows.
    fn begin<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], Mistake> {
        let [method, flags, rest @ ..] = block else {
            return Err(Mistake::Headers("the zlib header is cut"));
        };
        let whole = u16::from_be_bytes([*method, *flags]);
        if method & 0x0f != 8 || method >> 4 > 7 || whole % 31 != 0 {
            return Err(Mistake::Headers("they are not packed with zlib"));
        }
        self.begun = true;
        if flags & FDICT == 0 {
            return Ok(rest);
        }
        let (id, rest) = rest
            .split_first_chunk::<4>()
            .ok_or(Mistake::Headers("the zlib header is cut"))?;
        if u32::from_be_bytes(*id) != adler32(&DICTIONARY) {
            return Err(Mistake::Headers("they are packed with another dictionary"));
        }
        if let Some(head) = self.window.get_mut(..DICTIONARY.len()) {
            head.copy_from_slice(&DICTIONARY);
        }
        self.at = DICTIONARY.len();
        Ok(rest)
    }

    fn inflate(&mut self, mut packed: &[u8]) -> Result<Vec<u8>, Mistake> {
        let mut block = Vec::new();
        loop {
            let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
            let (status, read, written) =
                decompress(&mut self.inflate, packed, &mut self.window, self.at, flags);
            let from = self.at;
            let fresh = self.window.get(from..from + written).unwrap_or_default();
            if block.len() + fresh.len() > MAX_BLOCK_BYTES {
                return Err(Mistake::Headers("they are too large"));
            }
            block.extend_from_slice(fresh);
            self.at = (from + written) % WINDOW;
            packed = packed.get(read..).unwrap_or_default();
            match status {
                TINFLStatus::HasMoreOutput => {}
                // A client flushes after each block, so that all of it is there.
                TINFLStatus::NeedsMoreInput if packed.is_empty() => return Ok(block),
                TINFLStatus::Done => return Err(Mistake::Headers("their stream has ended")),
                _ => return Err(Mistake::Headers("they are damaged")),
            }
        }
    }
}

fn parse(mut block: &[u8]) -> Result<Headers, Mistake> {
    let short = |_| Mistake::Headers("the block is cut");
    let count = block.try_get_u32().map_err(short)? as usize;
    if count > MAX_HEADERS {
        return Err(Mistake::Headers("they are too many"));
    }
    let mut text = || -> Result<String, Mistake> {
        let length = block.try_get_u32().map_err(short)? as usize;
        let (text, rest) = block
            .split_at_checked(length)
            .ok_or(Mistake::Headers("the block is cut"))?;
        block = rest;
        let text = std::str::from_utf8(text);
        Ok(text
            .map_err(|_| Mistake::Headers("one is no text"))?
            .to_string())
    };
    let mut headers = Headers::new();
    for _ in 0..count {
        headers.push((text()?.to_ascii_lowercase(), text()?));
    }
    Ok(headers)
}

/// RFC 1950, section 8.2.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}

/// Packs the server's blocks. No dictionary is used: the stream says so itself, and the few
/// headers of an answer are short.
pub struct Compressor {
    deflate: Compress,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            deflate: Compress::new(Compression::fast(), true),
        }
    }
}

impl Compressor {
    /// Packs a block.
    pub fn pack(&mut self, headers: &Headers) -> Vec<u8> {
        let mut block = BytesMut::new();
        let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        block.put_u32(length(headers.len()));
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.put_u32(length(text.len()));
            block.put_slice(text.as_bytes());
        }
        let mut packed = Vec::with_capacity(block.len() + 64);
        let begun = self.deflate.total_in();
        loop {
            let done = usize::try_from(self.deflate.total_in() - begun).unwrap_or(usize::MAX);
            let rest = block.get(done..).unwrap_or_default();
            let ended = self
                .deflate
                .compress_vec(rest, &mut packed, FlushCompress::Sync);
            // Room was left, so that all of it is out.
            if ended.is_err() || packed.len() < packed.capacity() {
                return packed;
            }
            packed.reserve(block.len() + 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(number: usize) -> Headers {
        vec![
            ("streamtype".to_string(), "data".to_string()),
            ("requestid".to_string(), number.to_string()),
            ("x".to_string(), "y".repeat(number * 7 % 3000)),
        ]
    }

    #[test]
    fn blocks_build_on_those_before_them() {
        let (mut pack, mut unpack) = (Compressor::default(), Decompressor::default());
        for number in 0..300 {
            let packed = pack.pack(&headers(number));
            assert_eq!(unpack.unpack(&packed), Ok(headers(number)), "{number}");
        }
    }

    #[test]
    fn a_block_that_a_go_client_packed_with_the_dictionary_is_read() {
        // One stored block that repeats nothing, and one that points into the dictionary.
        let mut stored = vec![0x78, 0xbb];
        stored.extend(adler32(&DICTIONARY).to_be_bytes());
        let block = [0, 0, 0, 1, 0, 0, 0, 1, b'A', 0, 0, 0, 1, b'b'];
        stored.extend([0, block.len() as u8, 0, !(block.len() as u8), 0xff]);
        stored.extend(block);
        let mut unpack = Decompressor::default();
        let expected = vec![("a".to_string(), "b".to_string())];
        assert_eq!(unpack.unpack(&stored), Ok(expected));
        assert_eq!(adler32(&DICTIONARY), 0xe3c6_a7c2);
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let mut unpack = Decompressor::default();
        assert!(unpack.unpack(b"hello").is_err());
        let mut other = vec![0x78, 0xbb];
        other.extend([1, 2, 3, 4]);
        assert!(Decompressor::default().unpack(&other).is_err());
        let huge: Headers = vec![("a".to_string(), "b".repeat(MAX_BLOCK_BYTES))];
        let packed = Compressor::default().pack(&huge);
        assert!(packed.len() < 1000);
        let refused = Decompressor::default().unpack(&packed);
        assert_eq!(refused, Err(Mistake::Headers("they are too large")));
    }
}
