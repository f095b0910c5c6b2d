//! Tokens: `K1-ID-SECRET-HASH`.
//!
//! | part | what |
//! |---|---|
//! | `K1` | the version of this form |
//! | ID | 6 letters and digits: public, names the token |
//! | SECRET | 26 letters and digits (130 bits): proves it |
//! | HASH | 52 letters and digits: the SHA-256 of the CA's certificate (DER) |
//!
//! Letters are lower case, and of base32 (RFC 4648): no `0`, `1`, `8`, `9`. A token that was typed
//! in upper case is understood.

use std::fmt;
use std::str::FromStr;

const VERSION: &str = "K1";
const ID_CHARS: usize = 6;
const SECRET_CHARS: usize = 26;
const HASH_CHARS: usize = 52;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A token: whoever has it may join, and knows which cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    secret: String,
    ca_sha256: [u8; 32],
}

/// What is wrong with a token's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not of the form.
    #[error(
        "this is no token: a token has four parts, `K1-ID-SECRET-HASH`, and this has {parts}; \
         copy the whole line that `kabuki token create` printed"
    )]
    Form {
        /// How many parts it has.
        parts: usize,
    },
    /// Another version of the form.
    #[error("the token begins with {found:?}, not with `K1`: it is for another version of kabuki")]
    Version {
        /// How it begins.
        found: String,
    },
    /// A part is too short or too long.
    #[error(
        "the token's {part} has {found} characters, not {expected}: part of it is missing or was \
         doubled; copy it again"
    )]
    Length {
        /// Which part.
        part: &'static str,
        /// How many it has.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A part has a character that cannot be in it.
    #[error("the token's {part} contains {found:?}, which no token does; copy it again")]
    Character {
        /// Which part.
        part: &'static str,
        /// The character.
        found: char,
    },
}

impl Token {
    /// A new token for the cluster whose CA certificate has this hash. Only `random` makes it
    /// secret: it must come from the system.
    pub fn new(ca_sha256: [u8; 32], random: [u8; 32]) -> Self {
        // One character for each byte's low five bits: evenly spread.
        let mut text = random
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte & 31)))
            .map(|c| char::from(*c));
        Self {
            id: text.by_ref().take(ID_CHARS).collect(),
            secret: text.take(SECRET_CHARS).collect(),
            ca_sha256,
        }
    }

    /// The token of an id and a secret that were made elsewhere.
    pub fn from_parts(id: &str, secret: &str, ca_sha256: [u8; 32]) -> Result<Self, TokenError> {
        Ok(Self {
            id: part("id", id, ID_CHARS)?,
            secret: part("secret", secret, SECRET_CHARS)?,
            ca_sha256,
        })
    }

    /// The public part, which names it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret part, which proves it.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The SHA-256 of the certificate (DER) of the cluster's CA.
    pub fn ca_sha256(&self) -> [u8; 32] {
        self.ca_sha256
    }
}

impl fmt::Display for Token {
    /// The whole token, the secret included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, secret) = (&self.id, &self.secret);
        write!(f, "{VERSION}-{id}-{secret}-{}", base32(&self.ca_sha256))
    }
}

impl fmt::Debug for Token {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('-').collect();
        let [version, id, secret, hash] = parts.as_slice() else {
            return Err(TokenError::Form { parts: parts.len() });
        };
        if !version.eq_ignore_ascii_case(VERSION) {
            return Err(TokenError::Version {
                found: version.chars().take(8).collect(),
            });
        }
        let hash = part("hash", hash, HASH_CHARS)?;
        Self::from_parts(id, secret, unbase32(&hash)?)
    }
}

fn part(name: &'static str, text: &str, expected: usize) -> Result<String, TokenError> {
    let text = text.to_ascii_lowercase();
    if let Some(found) = text.chars().find(|c| value(*c).is_none()) {
        return Err(TokenError::Character { part: name, found });
    }
    match text.chars().count() {
        found if found == expected => Ok(text),
        found => Err(TokenError::Length {
            part: name,
            found,
            expected,
        }),
    }
}

fn value(character: char) -> Option<u32> {
    let found = ALPHABET.iter().position(|c| char::from(*c) == character)?;
    u32::try_from(found).ok()
}

/// Five bits to a character, the last one filled up with zeros.
fn base32(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(HASH_CHARS);
    let (mut held, mut bits) = (0u32, 0);
    for byte in bytes {
        held = (held << 8 | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(&mut text, held >> bits);
        }
    }
    if bits > 0 {
        push(&mut text, held << (5 - bits));
    }
    text
}

fn push(text: &mut String, five_bits: u32) {
    let index = (five_bits & 31) as usize;
    text.extend(ALPHABET.get(index).map(|c| char::from(*c)));
}

fn unbase32(text: &str) -> Result<[u8; 32], TokenError> {
    let mut bytes = [0u8; 32];
    let mut places = bytes.iter_mut();
    let (mut held, mut bits) = (0u32, 0);
    for character in text.chars() {
        let five = value(character).ok_or(TokenError::Character {
            part: "hash",
            found: character,
        })?;
        held = (held << 5 | five) & 0xffff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            if let Some(place) = places.next() {
                *place = (held >> bits & 0xff) as u8;
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        let mut random = [0u8; 32];
        let mut hash = [0u8; 32];
        for (n, (r, h)) in random.iter_mut().zip(hash.iter_mut()).enumerate() {
            *r = (n * 37) as u8;
            *h = (n * 101 + 7) as u8;
        }
        Token::new(hash, random)
    }

    #[test]
    fn a_token_survives_its_text() {
        let text = token().to_string();
        assert_eq!(text.len(), 2 + 1 + 6 + 1 + 26 + 1 + 52, "{text}");
        assert_eq!(text.parse(), Ok(token()));
        assert_eq!(format!(" {} \n", text.to_uppercase()).parse(), Ok(token()));
        for byte in [0, 0xff] {
            let edge = Token::new([byte; 32], [byte; 32]);
            assert_eq!(edge.to_string().parse(), Ok(edge));
        }
    }

    #[test]
    fn the_hash_is_in_standard_base32() {
        // RFC 4648, section 10: BASE32("foobar") = "MZXW6YTBOI======".
        let mut hash = [0u8; 32];
        hash[..6].copy_from_slice(b"foobar");
        assert!(base32(&hash).starts_with("mzxw6ytboi"));
        assert_eq!(unbase32(&base32(&hash)), Ok(hash));
    }

    #[test]
    fn what_is_wrong_with_a_text_is_said() {
        let text = token().to_string();
        let cases = [
            (String::new(), "has 1"),
            ("K1-abc".to_string(), "has 2"),
            (text.replace("K1", "K2"), "another version"),
            (text[..text.len() - 1].to_string(), "hash has 51 characters"),
            (text.replacen("K1-", "K1-a", 1), "id has 7 characters"),
            (format!("{}0", &text[..text.len() - 1]), "contains '0'"),
            (format!("{}é", &text[..text.len() - 1]), "contains 'é'"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Token>().expect_err("it is wrong").to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_token_is_not_shown_by_accident() {
        assert!(!format!("{:?}", token()).contains(token().secret()));
    }
}
