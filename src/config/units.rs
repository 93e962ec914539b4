//! Durations and sizes as people write them: `60s`, `1500ms`, `64KiB`, `2GiB`. A bare number is refused.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration with its unit: `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size with its unit: `B`, `KiB`, `MiB`, `GiB`, `TiB`, or the decimal `kB`, `MB`, `GB`, `TB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number, no unit, or one that is not known.
    #[error("'{0}' is not a duration: write a number and a unit, such as 500ms, 60s, 10m, 2h or 7d")]
    Span(String),
    /// No number, no unit, or one that is not known.
    #[error("'{0}' is not a size: write a number and a unit, such as 64KiB, 8MiB, 2GiB or 500MB")]
    Size(String),
}

impl Span {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(raw: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(raw);
        let unit_ms = SPAN_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
        let millis = unit_ms.and_then(|ms| number.parse::<u64>().ok()?.checked_mul(ms));
        millis.map(|ms| Self(Duration::from_millis(ms))).ok_or_else(|| UnitError::Span(raw.to_owned()))
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(raw: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(raw);
        let unit_bytes = SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
        let bytes = unit_bytes.and_then(|each| number.parse::<u64>().ok()?.checked_mul(each));
        bytes.map(Self).ok_or_else(|| UnitError::Size(raw.to_owned()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        if ms == 0 {
            return f.write_str("0s");
        }
        let fits = |(_, unit): &&(&str, u64)| ms.is_multiple_of(*unit);
        let (name, unit) = SPAN_UNITS.iter().rev().find(fits).expect("every number is a multiple of 1 ms");
        write!(f, "{}{name}", ms / unit)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B");
        }
        let fits = |(_, unit): &&(&str, u64)| self.0.is_multiple_of(*unit);
        let binary = &SIZE_UNITS[..BINARY_UNITS];
        let (name, unit) = binary.iter().rev().find(fits).expect("every number is a multiple of 1 B");
        write!(f, "{}{name}", self.0 / unit)
    }
}

macro_rules! as_text {
    ($($unit:ty),*) => {$(
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(Span, Size);

fn split(raw: &str) -> (&str, &str) {
    let raw = raw.trim();
    let at = raw.find(|c: char| !c.is_ascii_digit()).unwrap_or(raw.len());
    (&raw[..at], raw[at..].trim_start())
}

const SPAN_UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const BINARY_UNITS: usize = 5;
const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (raw, ms) in [("0s", 0), ("1500ms", 1_500), ("60s", 60_000), ("10 m", 600_000), ("2h", 7_200_000)] {
            assert_eq!(raw.parse(), Ok(Span(Duration::from_millis(ms))), "{raw}");
        }
        for bad in ["", "60", "s", "-1s", "1.5s", "1y", "99999999999999999999s", "18446744073709551615d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert_eq!(Span::from_secs(90).to_string(), "90s");
        assert_eq!(Span::from_secs(120).to_string(), "2m");
    }

    #[test]
    fn sizes_carry_their_unit() {
        for (raw, bytes) in [("0B", 0), ("64KiB", 65_536), ("8 MiB", 8 << 20), ("5GB", 5_000_000_000)] {
            assert_eq!(raw.parse(), Ok(Size(bytes)), "{raw}");
        }
        for bad in ["", "64", "KiB", "64kib", "64K", "18446744073709551615TiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert_eq!(Size(65_536).to_string(), "64KiB");
    }
}
