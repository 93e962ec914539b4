//! Pauses: server time with the paused spans taken out, the same for all files of a recording. Pure.

use crate::rtp::MediaTime;

/// The pauses of a recording so far.
#[derive(Debug, Clone, Default)]
pub struct Cuts {
    spans: Vec<(i64, Option<i64>)>,
}

impl Cuts {
    /// Cuts at this instant. Returns false when it is paused already.
    pub fn pause(&mut self, at_us: i64) -> bool {
        let was_running = !self.is_paused();
        if was_running {
            self.spans.push((at_us, None));
        }
        was_running
    }

    /// Goes on at this instant. Returns false when it was not paused.
    pub fn resume(&mut self, at_us: i64) -> bool {
        let open = self.spans.last_mut().filter(|span| span.1.is_none());
        open.map(|span| span.1 = Some(at_us.max(span.0))).is_some()
    }

    /// True between pause and resume.
    pub fn is_paused(&self) -> bool {
        self.spans.last().is_some_and(|span| span.1.is_none())
    }

    /// Since when it is paused.
    pub fn paused_since(&self) -> Option<i64> {
        self.spans.last().filter(|span| span.1.is_none()).map(|span| span.0)
    }

    /// How much was taken out before this time, which is without the pauses.
    pub fn removed_before(&self, at_us: i64) -> i64 {
        let mut cut = 0;
        for &(from, to) in &self.spans {
            let Some(to) = to else { break };
            if at_us + cut < from {
                break;
            }
            cut += to - from;
        }
        cut
    }

    /// The time of what happened at `server_us`; `None` when it was paused then.
    pub fn map(&self, server_us: i64) -> Option<MediaTime> {
        let mut cut = 0;
        for &(from, to) in &self.spans {
            if server_us < from {
                break;
            }
            match to {
                Some(to) if server_us >= to => cut += to - from,
                _ => return None,
            }
        }
        Some(MediaTime::from_us(server_us - cut))
    }

    /// The same, with the time of the pause while it lasts.
    pub fn floor(&self, server_us: i64) -> MediaTime {
        let mut cut = 0;
        for &(from, to) in &self.spans {
            if server_us < from {
                break;
            }
            match to {
                Some(to) if server_us >= to => cut += to - from,
                _ => return MediaTime::from_us(from - cut),
            }
        }
        MediaTime::from_us(server_us - cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paused_time_is_taken_out() {
        let mut cuts = Cuts::default();
        assert!(cuts.pause(1_000) && !cuts.pause(1_500));
        assert_eq!((cuts.map(999), cuts.map(1_000)), (Some(MediaTime::from_us(999)), None));
        assert_eq!(cuts.floor(9_000), MediaTime::from_us(1_000));
        assert!(cuts.resume(3_000) && !cuts.resume(4_000));
        assert_eq!((cuts.map(2_999), cuts.map(3_000)), (None, Some(MediaTime::from_us(1_000))));
        assert!(cuts.pause(5_000) && cuts.resume(6_000));
        assert_eq!(cuts.map(7_000), Some(MediaTime::from_us(4_000)));
        assert_eq!(cuts.map(500), Some(MediaTime::from_us(500)));
    }
}
