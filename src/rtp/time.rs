//! The three clocks of a recording as three types, so that mixing them does not compile.

use std::ops::{Add, Sub};

/// Ticks of an RTP clock, extended to 64 bits; means something only within one SSRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RtpTime(pub i64);

impl RtpTime {
    /// The same as microseconds since tick 0.
    pub fn to_us(self, clock_hz: u32) -> i64 {
        // Split, so that no product overflows however long the stream is.
        let hz = i64::from(clock_hz.max(1));
        let (seconds, ticks) = (self.0.div_euclid(hz), self.0.rem_euclid(hz));
        seconds.saturating_mul(1_000_000).saturating_add(ticks * 1_000_000 / hz)
    }
}

/// Microseconds on the clock of a recording, which every file of it shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MediaTime(i64);

impl MediaTime {
    /// From microseconds.
    pub const fn from_us(us: i64) -> Self {
        Self(us)
    }

    /// From milliseconds.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms * 1000)
    }

    /// As microseconds.
    pub const fn us(self) -> i64 {
        self.0
    }

    /// As milliseconds, rounded to the nearest; rounded from the origin each time, so errors never add up.
    pub const fn ms(self) -> i64 {
        (self.0 + 500).div_euclid(1000)
    }
}

impl Add<i64> for MediaTime {
    type Output = Self;

    /// Adds microseconds.
    fn add(self, us: i64) -> Self {
        Self(self.0.saturating_add(us))
    }
}

impl Sub for MediaTime {
    type Output = i64;

    /// The distance in microseconds.
    fn sub(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }
}

/// The sender's wall clock in 32.32 fixed point seconds since 1900, as RTCP carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Microseconds since 1900.
    pub fn us(self) -> i64 {
        let seconds = (self.0 >> 32) as i64;
        let fraction = (self.0 & 0xffff_ffff) as i64;
        seconds * 1_000_000 + ((fraction * 1_000_000) >> 32)
    }

    /// From microseconds since 1900.
    pub fn from_us(us: i64) -> Self {
        let (seconds, rest) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
        Self(((seconds as u64) << 32) | (((rest as u64) << 32) / 1_000_000))
    }
}

/// Extends 32-bit RTP timestamps to 64 bits; half the range or more is read as a step back.
#[derive(Debug, Clone, Copy, Default)]
pub struct RtpUnwrapper {
    last: Option<i64>,
}

impl RtpUnwrapper {
    /// The extended time of `stamp`; later calls count from the highest so far.
    pub fn unwrap(&mut self, stamp: u32) -> RtpTime {
        let extended = self.peek(stamp);
        self.last = Some(self.last.map_or(extended.0, |last| last.max(extended.0)));
        extended
    }

    /// The same without moving on: for stamps that come from elsewhere, such as a sender report's.
    pub fn peek(&self, stamp: u32) -> RtpTime {
        match self.last {
            None => RtpTime(i64::from(stamp)),
            Some(last) => RtpTime(last + i64::from(stamp.wrapping_sub(last as u32) as i32)),
        }
    }

    /// True before the first stamp.
    pub fn is_new(&self) -> bool {
        self.last.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_hours_of_video_wrap_twice_and_stay_exact() {
        let mut unwrapper = RtpUnwrapper::default();
        let start = 4_294_900_000_u32;
        for second in 0..30 * 3600_i64 {
            let stamp = start.wrapping_add((second * 90_000) as u32);
            let time = unwrapper.unwrap(stamp);
            assert_eq!(time.0 - i64::from(start), second * 90_000);
            assert_eq!(RtpTime(time.0 - i64::from(start)).to_us(90_000), second * 1_000_000);
        }
    }

    #[test]
    fn milliseconds_round_from_the_origin() {
        let stamps: Vec<i64> =
            (0..4).map(|n| RtpTime(n * 3000).to_us(90_000)).map(|us| MediaTime::from_us(us).ms()).collect();
        assert_eq!(stamps, [0, 33, 67, 100]);
    }

    #[test]
    fn ntp_survives_a_round_trip_within_a_microsecond() {
        for us in [0, 1, 999_999, 3_900_000_000_123_456] {
            assert!((NtpTime::from_us(us).us() - us).abs() <= 1);
        }
    }
}
