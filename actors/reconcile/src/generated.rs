//! Names of objects that controllers make. They follow from the owner's uid and revision, so that
//! a controller that acts twice on one state asks for the same objects twice, and gets them once.

use kabuki_model::Stored;

/// The letters and digits of generated names: none that make words or are mistaken for others.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many of them a name ends with.
pub(crate) const SUFFIX_LENGTH: usize = 5;

/// The suffix of the `attempt`th name at this form of the owner.
pub(crate) fn suffix(owner: &Stored, attempt: u64) -> String {
    let mut bits: u64 = 0xcbf2_9ce4_8422_2325;
    let seed = [owner.revision.to_le_bytes(), attempt.to_le_bytes()].concat();
    for byte in owner.uid.bytes().chain(seed) {
        bits = (bits ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The low bits of the sum above follow the last byte too closely.
    bits = (bits ^ (bits >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits ^= bits >> 29;
    let mut suffix = String::with_capacity(SUFFIX_LENGTH);
    for _ in 0..SUFFIX_LENGTH {
        let place = usize::try_from(bits % 27).unwrap_or(0);
        suffix.push(char::from(ALPHABET[place]));
        bits /= 27;
    }
    suffix
}
