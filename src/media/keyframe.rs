//! When the publisher of a layer is asked for a keyframe: the wishes of all its viewers and recorders become one
//! request, because every answer is a large frame.

use std::time::{Duration, Instant};

/// The requests for one layer.
#[derive(Debug, Default)]
pub struct KeyframeRequests {
    is_wanted: bool,
    last: Option<Instant>,
    /// Requests since the last keyframe.
    unanswered: u32,
}

impl KeyframeRequests {
    /// Somebody cannot go on without a keyframe.
    pub fn want(&mut self) {
        self.is_wanted = true;
    }

    /// A keyframe has come.
    pub fn answered(&mut self) {
        self.is_wanted = false;
        self.unanswered = 0;
    }

    /// Returns true if a request is to be sent at `now`; until it is answered it will be repeated, ever more rarely.
    pub fn poll(&mut self, now: Instant) -> bool {
        let is_due = self.poll_timeout().is_some_and(|due| due.is_none_or(|due| now >= due));
        if is_due {
            self.last = Some(now);
            self.unanswered += 1;
        }
        is_due
    }

    /// When [`KeyframeRequests::poll`] has something to do: never, at once (`Some(None)`), or at an instant.
    pub fn poll_timeout(&self) -> Option<Option<Instant>> {
        self.is_wanted.then(|| self.last.map(|last| last + self.gap()))
    }

    fn gap(&self) -> Duration {
        MIN_GAP * (1 << self.unanswered.saturating_sub(1).min(MAX_DOUBLINGS))
    }
}

const MIN_GAP: Duration = Duration::from_millis(500);
// 4 s: a publisher whose camera is off is not asked more often than that.
const MAX_DOUBLINGS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn wishes_are_merged_and_limited() {
        let start = Instant::now();
        let mut requests = KeyframeRequests::default();
        assert!(!requests.poll(start));
        requests.want();
        requests.want();
        assert!(requests.poll(start));
        assert!(!requests.poll(start));
        requests.answered();
        requests.want();
        assert!(!requests.poll(start + ms(499)));
        assert!(requests.poll(start + ms(500)));
    }

    #[test]
    fn unanswered_requests_become_rare() {
        let start = Instant::now();
        let mut requests = KeyframeRequests::default();
        requests.want();
        let sent: Vec<u64> = (0..13_000).step_by(100).filter(|&t| requests.poll(start + ms(t))).collect();
        assert_eq!(sent, [0, 500, 1500, 3500, 7500, 11_500]);
        requests.answered();
        assert_eq!(requests.poll_timeout(), None);
    }
}
