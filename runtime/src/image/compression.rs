//! Telling and undoing a layer's compression.
//!
//! The first bytes decide, not the media type: registries are known to say one and send the
//! other.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

/// zstd windows above this are refused; it is what `zstd -d` accepts without being asked.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// A stream of plain bytes. Errors of kind `InvalidData`, `InvalidInput` or `UnexpectedEof`
/// are the content's fault.
pub(crate) fn decompress<'a, R: BufRead + Send + 'a>(
    mut input: R,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let start = input.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(MultiGzDecoder::new(input)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable_zstd_frame(start) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        return Ok(Box::new(decoder));
    }
    let unsupported = match start {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [b'B', b'Z', b'h', ..] => "bzip2",
        _ => return Ok(Box::new(input)),
    };
    let text = format!("compression {unsupported} is not supported, only gzip and zstd");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// Seekable zstd (`zstd:chunked`) may start with one.
fn is_skippable_zstd_frame(start: &[u8]) -> bool {
    matches!(start, [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50)
}
