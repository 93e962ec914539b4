//! When to ask a publisher for a keyframe: at once when nothing can be shown without one, else by what it costs. Pure.

/// Decides for one video track.
#[derive(Debug, Clone, Default)]
pub struct KeyframePolicy {
    asked_us: Option<i64>,
    /// Requests since the last keyframe.
    unmet: u32,
    first_unmet_us: i64,
    keyframe_us: Option<i64>,
    keyframe_bytes: u64,
    /// Bytes a second, smoothed.
    rate: f64,
    window_from_us: i64,
    window_bytes: u64,
    /// Requests so far.
    pub requests: u64,
}

impl KeyframePolicy {
    /// A whole frame came.
    pub fn on_frame(&mut self, now_us: i64, bytes: usize, is_keyframe: bool) {
        if is_keyframe {
            self.keyframe_us = Some(now_us);
            self.keyframe_bytes = bytes as u64;
            self.unmet = 0;
        }
        self.window_bytes += bytes as u64;
        let passed = now_us - self.window_from_us;
        if passed >= RATE_WINDOW_US {
            let rate = self.window_bytes as f64 * 1e6 / passed as f64;
            self.rate = if self.rate == 0.0 { rate } else { 0.7 * self.rate + 0.3 * rate };
            (self.window_from_us, self.window_bytes) = (now_us, 0);
        }
    }

    /// Packets come again after none came for a while: requests were lost until now, so the next one does not wait for long.
    pub fn on_resumed(&mut self) {
        self.unmet = self.unmet.min(1);
    }

    /// True when a request should go out now. `needed`: nothing can be written without a keyframe.
    pub fn ask(&mut self, now_us: i64, needed: bool) -> bool {
        let since_asked = self.asked_us.map_or(i64::MAX, |asked| now_us - asked);
        let is_due = if needed || self.unmet > 0 {
            since_asked >= (FIRST_GAP_US << self.unmet.saturating_sub(1).min(2)).min(LAST_GAP_US)
        } else {
            let since = self.keyframe_us.map_or(0, |at| now_us - at);
            since >= self.interval_us() && since_asked >= LAST_GAP_US
        };
        if is_due {
            if self.unmet == 0 {
                self.first_unmet_us = now_us;
            }
            self.asked_us = Some(now_us);
            self.unmet += 1;
            self.requests += 1;
        }
        is_due
    }

    /// True when a request has not been answered for a second.
    pub fn is_unanswered(&self, now_us: i64) -> bool {
        self.unmet > 0 && now_us - self.first_unmet_us >= UNANSWERED_US
    }

    /// So that keyframes are one twentieth of the bits, within bounds.
    fn interval_us(&self) -> i64 {
        if self.rate <= 0.0 {
            return LONGEST_US;
        }
        let seconds = self.keyframe_bytes as f64 / (self.rate * SHARE);
        ((seconds * 1e6) as i64).clamp(SHORTEST_US, LONGEST_US)
    }
}

const FIRST_GAP_US: i64 = 500_000;
const LAST_GAP_US: i64 = 2_000_000;
const SHORTEST_US: i64 = 4_000_000;
const LONGEST_US: i64 = 10_000_000;
const SHARE: f64 = 0.05;
const RATE_WINDOW_US: i64 = 1_000_000;
const UNANSWERED_US: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames at 30 a second, a keyframe whenever one is asked for; gives the seconds between requests.
    fn intervals(frame: usize, keyframe: usize) -> Vec<i64> {
        let mut policy = KeyframePolicy::default();
        let mut asked = vec![0];
        let mut is_due = true;
        for n in 0..30 * 60 {
            let now = n * 33_333;
            policy.on_frame(now, if is_due { keyframe } else { frame }, is_due);
            is_due = policy.ask(now, false);
            if is_due {
                asked.push(now);
            }
        }
        asked.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect()
    }

    #[test]
    fn cheap_keyframes_come_each_four_seconds_and_dear_ones_each_ten() {
        assert!(intervals(4_000, 8_000).iter().skip(1).all(|seconds| *seconds == 4), "{:?}", intervals(4_000, 8_000));
        assert!(intervals(4_000, 200_000).iter().skip(1).all(|seconds| (9..=10).contains(seconds)));
        let middle = intervals(4_000, 42_000);
        assert!(middle.iter().skip(1).all(|seconds| (5..=8).contains(seconds)), "{middle:?}");
    }

    #[test]
    fn needed_keyframe_is_asked_for_at_once_and_then_less_often() {
        let mut policy = KeyframePolicy::default();
        let asked: Vec<i64> = (0..100).map(|n| n * 100_000).filter(|now| policy.ask(*now, true)).collect();
        assert_eq!(asked[..5], [0, 500_000, 1_500_000, 3_500_000, 5_500_000]);
        assert!(policy.is_unanswered(9_000_000));
        policy.on_frame(9_100_000, 1_000, true);
        assert!(!policy.is_unanswered(9_200_000));
    }
}
