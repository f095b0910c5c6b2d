//! Exact arithmetic on resource quantities (API reference, "Quantity"): `100m`, `1.5Gi`, `2e3`.
//!
//! A quantity is an integer number of billionths, so sums and comparisons never round. As in
//! Kubernetes, digits below a billionth are rounded away from zero and nothing is larger than
//! 2^63 - 1 in magnitude: what would be is that bound.

mod text;

pub use text::QuantityError;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

const NANOS: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;
/// 2^63 - 1, the largest magnitude that Kubernetes lets a quantity have.
const MAX: i128 = i64::MAX as i128 * NANOS;

/// The family of suffixes that a quantity was written with, and is written with again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `n u m k M G T P E`
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`
    BinarySi,
    /// `e3`
    DecimalExponent,
}

/// An amount of some resource. Equality and order look at the amount, not at how it is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: Format::DecimalSi,
    };

    /// A whole number, written with decimal suffixes.
    pub fn from_value(value: i64) -> Self {
        Self::bounded(i128::from(value) * NANOS, Format::DecimalSi)
    }

    /// Thousandths (millicores), written with decimal suffixes.
    pub fn from_milli(milli: i64) -> Self {
        Self::bounded(i128::from(milli) * NANOS_PER_MILLI, Format::DecimalSi)
    }

    /// A whole number of bytes, written with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self::bounded(i128::from(bytes) * NANOS, Format::BinarySi)
    }

    fn bounded(nanos: i128, format: Format) -> Self {
        Self {
            nanos: nanos.clamp(-MAX, MAX),
            format,
        }
    }

    /// The amount, rounded up to a whole number.
    pub fn value_ceil(&self) -> i64 {
        ceil(self.nanos, NANOS)
    }

    /// The amount in thousandths, rounded up; bounded by what 64 bits hold.
    pub fn milli_ceil(&self) -> i64 {
        ceil(self.nanos, NANOS_PER_MILLI)
    }

    /// Whether it is exactly zero.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is less than zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether it is a whole number.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANOS == 0
    }

    /// Whether it is a whole number of thousandths.
    pub fn is_whole_milli(&self) -> bool {
        self.nanos % NANOS_PER_MILLI == 0
    }

    /// How it is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The type that manifests hold.
    pub fn to_written(&self) -> Written {
        Written(self.to_string())
    }
}

fn ceil(nanos: i128, unit: i128) -> i64 {
    let whole = nanos.div_euclid(unit) + i128::from(nanos.rem_euclid(unit) > 0);
    i64::try_from(whole).unwrap_or(if whole > 0 { i64::MAX } else { i64::MIN })
}

/// The sum takes the format of the first operand that is not zero.
fn shared_format(a: &Quantity, b: &Quantity) -> Format {
    if a.is_zero() { b.format } else { a.format }
}

impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::bounded(self.nanos + other.nanos, shared_format(&self, &other))
    }
}

impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::bounded(self.nanos - other.nanos, shared_format(&self, &other))
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        text::parse(text)
    }
}

impl TryFrom<&Written> for Quantity {
    type Error = QuantityError;
    fn try_from(written: &Written) -> Result<Self, QuantityError> {
        text::parse(&written.0)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
