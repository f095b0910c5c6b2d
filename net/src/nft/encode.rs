//! Messages and attributes, written one behind the other into a buffer.

/// Flag of an attribute that holds attributes.
const NESTED: u16 = 0x8000;

/// Begins a message of netfilter and returns its place, for [`end`].
pub(super) fn begin(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, family: u8) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[family, 0, 0, 0]);
    at
}

/// Writes the length of the message that began at `at`.
pub(super) fn end(out: &mut [u8], at: usize) {
    let length = (out.len() - at) as u32;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_ne_bytes());
    }
}

/// An attribute with these bytes, padded.
pub(super) fn bytes(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Text with the zero byte that ends it.
pub(super) fn text(out: &mut Vec<u8>, kind: u16, value: &str) {
    out.extend_from_slice(&((value.len() + 5) as u16).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A number in the network's order.
pub(super) fn be32(out: &mut Vec<u8>, kind: u16, value: u32) {
    bytes(out, kind, &value.to_be_bytes());
}

/// As [`be32`], of 64 bits.
pub(super) fn be64(out: &mut Vec<u8>, kind: u16, value: u64) {
    bytes(out, kind, &value.to_be_bytes());
}

/// An attribute that holds what `fill` writes.
pub(super) fn nest(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = open(out, kind);
    fill(out);
    close(out, at);
}

/// Begins an attribute that holds others.
pub(super) fn open(out: &mut Vec<u8>, kind: u16) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&(kind | NESTED).to_ne_bytes());
    at
}

/// Ends it.
pub(super) fn close(out: &mut [u8], at: usize) {
    let length = (out.len() - at) as u16;
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&length.to_ne_bytes());
    }
}
