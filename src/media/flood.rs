//! A limit on how many packets one sender may have per second. Pure.

use std::time::Instant;

/// A token bucket that holds two seconds' worth.
#[derive(Debug)]
pub struct Flood {
    per_second: f64,
    tokens: f64,
    last: Instant,
}

impl Flood {
    /// A full bucket.
    pub fn new(now: Instant, per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, tokens: 2.0 * per_second, last: now }
    }

    /// Whether one more may pass.
    pub fn allow(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now.max(self.last);
        self.tokens = (self.tokens + seconds * self.per_second).min(2.0 * self.per_second);
        let is_allowed = self.tokens >= 1.0;
        if is_allowed {
            self.tokens -= 1.0;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let now = Instant::now();
        let mut flood = Flood::new(now, 100);
        let passed = |flood: &mut Flood, at| (0..1_000).filter(|_| flood.allow(at)).count();
        assert_eq!(passed(&mut flood, now), 200);
        assert_eq!(passed(&mut flood, now + Duration::from_millis(500)), 50);
        assert_eq!(passed(&mut flood, now + Duration::from_secs(60)), 200);
    }
}
