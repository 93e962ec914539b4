//! Small statistics over measured values.

use std::time::Duration;

/// Values to be asked for percentiles.
#[derive(Debug, Default)]
pub(super) struct Values(Vec<u64>);

impl Values {
    /// One more.
    pub fn push(&mut self, value: Duration) {
        self.0.push(value.as_nanos() as u64);
    }

    /// All of another set.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The value below which this part of all values lies, in milliseconds; 0 without values.
    pub fn percentile_ms(&mut self, part: f64) -> f64 {
        self.0.sort_unstable();
        let at = ((self.0.len() as f64 * part) as usize).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(0.0, |value| *value as f64 / 1e6)
    }
}

/// `total` per piece, in microseconds; 0 without pieces.
pub(super) fn us_per(total: Duration, pieces: u64) -> f64 {
    if pieces == 0 { 0.0 } else { total.as_secs_f64() * 1e6 / pieces as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut values = Values::default();
        assert_eq!(values.percentile_ms(0.5), 0.0);
        (1..=100).rev().for_each(|n| values.push(Duration::from_millis(n)));
        assert_eq!(
            (values.percentile_ms(0.5), values.percentile_ms(0.99), values.percentile_ms(1.0)),
            (51.0, 100.0, 100.0)
        );
        assert_eq!(us_per(Duration::from_millis(1), 100), 10.0);
    }
}
