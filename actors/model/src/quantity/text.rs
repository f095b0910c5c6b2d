//! Quantities as text: parsing, and the canonical form.

use super::{Format, MAX, NANOS, Quantity};
use std::fmt;

/// Why a text is no quantity. The words are Kubernetes'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// There is nothing, or no number where one must be.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number is followed by something that is no suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// Decimal suffixes with their power of ten.
const DECIMAL: &[(&str, i32)] = &[
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
/// Binary suffixes with their power of two.
const BINARY: &[(&str, u32)] = &[
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];

pub(super) fn parse(text: &str) -> Result<Quantity, QuantityError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let end = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(QuantityError::Format);
    }
    let (exponent, shift, format) = scale(suffix)?;
    let magnitude = nanos(whole, fraction, exponent, shift);
    let nanos = if negative { -magnitude } else { magnitude };
    Ok(Quantity { nanos, format })
}

/// The power of ten and the power of two that a suffix stands for.
fn scale(suffix: &str) -> Result<(i32, u32, Format), QuantityError> {
    if let Some((_, power)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((*power, 0, Format::DecimalSi));
    }
    if let Some((_, power)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Ok((0, *power, Format::BinarySi));
    }
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .and_then(|digits| digits.parse::<i32>().ok())
        .ok_or(QuantityError::Suffix)?;
    Ok((exponent, 0, Format::DecimalExponent))
}

/// `whole.fraction x 10^exponent x 2^shift` in billionths, rounded up and bounded.
fn nanos(whole: &str, fraction: &str, exponent: i32, shift: u32) -> i128 {
    let digits = || whole.bytes().chain(fraction.bytes()).map(|b| b - b'0');
    if digits().all(|d| d == 0) {
        return 0;
    }
    // The digit at index `i` counts 10^(point - 1 - i) billionths before the shift.
    let lead = digits().take_while(|d| *d == 0).count();
    let point = whole.len() as i64 + i64::from(exponent) + 9;
    let first_power = point - 1 - lead as i64;
    if first_power > 27 {
        return MAX;
    }
    let mut total: i128 = 0;
    let mut exact = true;
    let mut remainder: i128 = 0;
    for (index, digit) in digits().enumerate().skip(lead) {
        let power = point - 1 - index as i64;
        if power >= 0 {
            total += i128::from(digit) * 10_i128.pow(power as u32);
        } else if power >= -REMAINDER_DIGITS {
            remainder += i128::from(digit) * 10_i128.pow((REMAINDER_DIGITS + power) as u32);
        } else if digit != 0 {
            exact = false;
        }
    }
    let factor = 1_i128 << shift;
    let Some(shifted) = total.checked_mul(factor) else {
        return MAX;
    };
    // What lies below a billionth may grow above it through the shift.
    let unit = 10_i128.pow(REMAINDER_DIGITS as u32);
    let below = remainder * factor;
    let rounded = shifted + below / unit + i128::from(below % unit != 0 || !exact);
    rounded.min(MAX)
}

/// How many digits below a billionth are kept before a binary suffix multiplies them: as many
/// as fit 128 bits beside 2^60.
const REMAINDER_DIGITS: i64 = 19;

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.pad("0");
        }
        let whole = self.nanos / NANOS;
        let binary = self.format == Format::BinarySi && self.is_whole() && whole.abs() >= 1024;
        f.pad(&match self.format {
            Format::BinarySi if binary => binary_text(whole),
            Format::DecimalExponent => {
                let (mantissa, power) = decimal_parts(self.nanos);
                match power {
                    0 => mantissa.to_string(),
                    power => format!("{mantissa}e{power}"),
                }
            }
            _ => {
                let (mantissa, power) = decimal_parts(self.nanos);
                let suffix = DECIMAL.iter().find(|(_, p)| *p == power);
                format!("{mantissa}{}", suffix.map_or("", |(s, _)| s))
            }
        })
    }
}

fn binary_text(mut mantissa: i128) -> String {
    let mut suffix = "";
    for (name, _) in BINARY {
        if mantissa % 1024 != 0 {
            break;
        }
        mantissa /= 1024;
        suffix = name;
    }
    format!("{mantissa}{suffix}")
}

/// The shortest mantissa with a power of ten that is a multiple of three.
fn decimal_parts(nanos: i128) -> (i128, i32) {
    let (mut mantissa, mut power) = (nanos, -9);
    while mantissa % 1000 == 0 && power < 18 {
        mantissa /= 1000;
        power += 3;
    }
    (mantissa, power)
}
