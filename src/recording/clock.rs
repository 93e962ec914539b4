//! The sender's clock on the server's: RTP time of each stream to microseconds of the server's monotonic clock.
//! By arrival at first, by sender reports when they are there; changed by slew only, except where time really jumped.
//! Pure: all times come as arguments. `server_us` counts from an instant that the caller chose.

use std::collections::VecDeque;

use reelay_signaling::Kind;

use crate::rtp::NtpTime;

/// Both streams of one sender, so that they share one wall clock.
#[derive(Debug, Clone, Default)]
pub struct SenderClock {
    lines: [Option<Line>; 2],
    ntp_base: Option<NtpTime>,
    /// Server time minus the sender's wall clock; `None` until both streams have reports.
    tie: Option<f64>,
    tie_moved_us: i64,
    counters: ClockCounters,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClockCounters {
    /// Sender reports that fit to those before.
    pub reports: u64,
    /// Sender reports far off the others.
    pub rejected: u64,
    /// Steps of a sender's clock that were followed.
    pub steps: u64,
    /// Times that media time jumped forward, because the wall clock had gone on.
    pub jumps: u64,
    /// The farthest that sound and picture were apart, by what the sender's reports say.
    pub av_offset_max_us: u64,
}

#[derive(Debug, Clone)]
struct Line {
    first_arrival_us: i64,
    packets: u32,
    /// Arrival minus RTP time: of the last minute, of ten seconds and of two.
    minute: LowestOf,
    while_ago: LowestOf,
    moment: LowestOf,
    /// Arrival minus the sender's wall clock, of the last minute.
    ties: LowestOf,
    fit: Fit,
    /// Takes steps of the sender's wall clock out again, so that they do not move media time.
    era_us: f64,
    jump_due: bool,
    /// Reports say for the first time where this belongs; pictures go there at once.
    step_due: bool,
    offset: Option<f64>,
    mapped_rtp_us: i64,
    /// RTP time of the last report.
    reported_rtp_us: i64,
    /// How far the reports' mapping was from that of arrivals, while there were reports.
    beyond_arrival: f64,
    /// How far the last frame was from where reports have it before that was corrected; `None` without reports.
    behind_us: Option<f64>,
}

impl SenderClock {
    /// A new SSRC, or the old one with new numbers: nothing is known of its time yet.
    pub fn begin(&mut self, kind: Kind, now_us: i64) {
        self.lines[kind as usize] = Some(Line::new(now_us));
    }

    /// A packet arrived.
    pub fn on_packet(&mut self, kind: Kind, rtp_us: i64, arrival_us: i64) {
        let Some(line) = &mut self.lines[kind as usize] else { return };
        line.packets = line.packets.saturating_add(1);
        let raw = (arrival_us - rtp_us) as f64;
        line.minute.add(arrival_us, raw);
        line.while_ago.add(arrival_us, raw);
        line.moment.add(arrival_us, raw);
        if let Some(ntp_us) = line.ntp(rtp_us).filter(|_| line.is_fresh(rtp_us)) {
            line.ties.add(arrival_us, arrival_us as f64 - ntp_us);
        }
        self.move_tie(arrival_us);
    }

    /// A sender report arrived; `rtp_us` is its RTP time on the same scale as the packets'.
    pub fn on_report(&mut self, kind: Kind, rtp_us: i64, ntp: NtpTime, arrival_us: i64) {
        // A sender without a wall clock sends 0.
        if ntp.0 == 0 {
            return;
        }
        let base = *self.ntp_base.get_or_insert(ntp);
        let Some(line) = &mut self.lines[kind as usize] else { return };
        let point = (rtp_us, signed_us(ntp, base));
        line.step_due |= !line.fit.is_ready();
        let fitted = line.fit.add(point);
        if !matches!(fitted, Fitted::Suspect) {
            line.reported_rtp_us = rtp_us;
        }
        match fitted {
            Fitted::Taken => self.counters.reports += 1,
            Fitted::Suspect => self.counters.rejected += 1,
            Fitted::Stepped { by_us } => {
                self.counters.steps += 1;
                let ntp_us = line.fit.at(rtp_us).unwrap_or_default() + line.era_us;
                let lag = line.moment.lowest().map(|raw| raw + rtp_us as f64 - ntp_us);
                let agrees = self.tie.zip(lag).is_some_and(|(tie, lag)| (lag - tie).abs() < AGREES_US);
                if agrees {
                    // Arrivals went the same way: time did pass while the RTP clock stood still.
                    line.jump_due = true;
                    line.ties.clear();
                } else {
                    line.era_us -= by_us;
                }
                self.join_eras();
            }
        }
        if self.tie.is_none() && self.lines.iter().flatten().all(|line| line.fit.is_ready()) {
            let lowest = self.lowest_tie().or_else(|| self.estimated_tie());
            // Sound stays where it is for now, and pictures go to it: sound that moves earlier loses packets.
            self.tie = lowest.map(|lowest| self.sounds_tie().map_or(lowest, |tie| tie.max(lowest)));
            self.tie_moved_us = arrival_us;
        }
    }

    /// Since `since_us` frames come that belong where silence stands by now. Where all that arrived meanwhile was as late,
    /// RTP time has fallen behind for good, as when a busy sender loses sound before it counts it: what was known of this
    /// clock is forgotten, and the next frame goes where arrivals say. Packets that a line held back, or that were sent
    /// again, are only late themselves.
    pub fn fell_behind(&mut self, kind: Kind, since_us: i64) {
        let Some(line) = &mut self.lines[kind as usize] else { return };
        let is_late = |raw: f64| line.offset.is_some_and(|offset| raw - offset > JUMP_US);
        if !line.moment.lowest_since(since_us).is_some_and(is_late) {
            return;
        }
        line.minute.clear();
        line.while_ago.clear();
        line.ties.clear();
        line.fit = Fit::default();
        line.beyond_arrival = 0.0;
        line.jump_due = true;
    }

    /// True when enough packets came to place the stream's first frame.
    pub fn is_ready(&self, kind: Kind, now_us: i64) -> bool {
        let Some(line) = &self.lines[kind as usize] else { return true };
        line.offset.is_some()
            || line.packets >= FIRST_PACKETS
            || (line.packets > 0 && now_us - line.first_arrival_us >= FIRST_WAIT_US)
    }

    /// Server time of a frame; to be called in the order of frames.
    pub fn map(&mut self, kind: Kind, rtp_us: i64) -> i64 {
        let tie = self.tie;
        let Some(line) = &mut self.lines[kind as usize] else { return rtp_us };
        // Reports that are far from what arrivals say are not believed.
        let recent = line.moment.lowest();
        let is_likely = |target: &f64| recent.is_none_or(|recent| (recent - target).abs() < UNLIKELY_US);
        let by_reports = tie.and_then(|tie| Some(line.ntp(rtp_us)? + tie - rtp_us as f64)).filter(is_likely);
        let mut is_jump = std::mem::take(&mut line.jump_due);
        let is_step = by_reports.is_some() && std::mem::take(&mut line.step_due) && kind == Kind::Video;
        let target = match (by_reports, line.minute.lowest(), line.while_ago.lowest()) {
            (Some(target), Some(minute), _) if line.is_fresh(rtp_us) => {
                line.beyond_arrival = target - minute;
                target
            }
            // Over a long time without reports arrivals know better how the clock goes.
            (Some(_), Some(minute), _) => minute + line.beyond_arrival,
            (Some(target), None, _) => target,
            (None, Some(minute), Some(recent)) if recent - minute > STALL_US => {
                // Nothing came in time for ten seconds: the capture stood still, and nobody reports it.
                is_jump = true;
                line.minute.clear();
                recent
            }
            (None, Some(minute), _) => minute,
            (None, None, _) => line.offset.unwrap_or_default(),
        };
        let offset = match line.offset {
            None => target,
            Some(offset) if is_jump && target - offset > JUMP_US => {
                self.counters.jumps += 1;
                target
            }
            Some(offset) if is_step && (target - offset).abs() > STEP_US => target,
            Some(offset) => {
                let most = (rtp_us - line.mapped_rtp_us).unsigned_abs() as f64 * SLEW;
                offset + (target - offset).clamp(-most, most)
            }
        };
        let before = line.offset.replace(offset).unwrap_or(offset);
        line.mapped_rtp_us = rtp_us;
        line.behind_us = by_reports.map(|target| target - before);
        if let [Some(audio), Some(video)] = &self.lines
            && let (Some(audio), Some(video)) = (audio.behind_us, video.behind_us)
        {
            self.counters.av_offset_max_us = self.counters.av_offset_max_us.max((video - audio).abs() as u64);
        }
        rtp_us.saturating_add(offset.round() as i64)
    }

    /// True when both streams are placed by sender reports.
    pub fn is_by_reports(&self) -> bool {
        self.tie.is_some()
    }

    /// What happened so far.
    pub fn counters(&self) -> ClockCounters {
        self.counters
    }

    fn lowest_tie(&self) -> Option<f64> {
        self.lines.iter().flatten().filter_map(|line| line.ties.lowest()).min_by(f64::total_cmp)
    }

    /// Before any packet was measured against the fit: from what was measured against RTP time.
    fn estimated_tie(&self) -> Option<f64> {
        let of = |line: &Line| {
            let (rtp_us, _) = line.fit.last()?;
            Some(line.minute.lowest()? + rtp_us as f64 - line.ntp(rtp_us)?)
        };
        self.lines.iter().flatten().filter_map(of).min_by(f64::total_cmp)
    }

    /// What the tie would have to be for sound to stay where it is.
    fn sounds_tie(&self) -> Option<f64> {
        let line = self.lines[Kind::Audio as usize].as_ref()?;
        Some(line.offset? + line.mapped_rtp_us as f64 - line.ntp(line.mapped_rtp_us)?)
    }

    fn move_tie(&mut self, now_us: i64) {
        let (Some(tie), Some(lowest)) = (self.tie, self.lowest_tie()) else { return };
        let target = tie.clamp(lowest, lowest + TIE_SLACK);
        let most = (now_us - self.tie_moved_us).max(0) as f64 * SLEW;
        self.tie = Some(tie + (target - tie).clamp(-most, most));
        self.tie_moved_us = self.tie_moved_us.max(now_us);
    }

    /// After both streams saw the same step of the wall clock, both take out exactly the same.
    fn join_eras(&mut self) {
        if let [Some(a), Some(b)] = &mut self.lines
            && a.era_us != b.era_us
            && (a.era_us - b.era_us).abs() < SAME_STEP_US
        {
            let mean = (a.era_us + b.era_us) / 2.0;
            (a.era_us, b.era_us) = (mean, mean);
        }
    }
}

impl Line {
    fn new(now_us: i64) -> Self {
        Self {
            first_arrival_us: now_us,
            packets: 0,
            minute: LowestOf::last(60_000_000),
            while_ago: LowestOf::last(10_000_000),
            moment: LowestOf::last(2_000_000),
            ties: LowestOf::last(60_000_000),
            fit: Fit::default(),
            era_us: 0.0,
            jump_due: false,
            step_due: false,
            offset: None,
            mapped_rtp_us: 0,
            reported_rtp_us: 0,
            beyond_arrival: 0.0,
            behind_us: None,
        }
    }

    fn is_fresh(&self, rtp_us: i64) -> bool {
        rtp_us - self.reported_rtp_us < FRESH_US
    }

    fn ntp(&self, rtp_us: i64) -> Option<f64> {
        Some(self.fit.at(rtp_us)? + self.era_us)
    }
}

/// The sender's wall clock as a line over its RTP time, from the reports of the last minute.
#[derive(Debug, Clone, Default)]
struct Fit {
    points: VecDeque<(i64, i64)>,
    suspects: Vec<(i64, i64)>,
    /// Wall clock minus RTP time at the middle, the middle, and how much faster the wall clock goes.
    line: Option<(f64, i64, f64)>,
}

enum Fitted {
    Taken,
    Suspect,
    Stepped { by_us: f64 },
}

impl Fit {
    fn at(&self, rtp_us: i64) -> Option<f64> {
        let (difference, middle, slope) = self.line?;
        Some(rtp_us as f64 + difference + (rtp_us - middle) as f64 * slope)
    }

    fn is_ready(&self) -> bool {
        self.line.is_some()
    }

    fn last(&self) -> Option<(i64, i64)> {
        self.points.back().copied()
    }

    fn add(&mut self, point: (i64, i64)) -> Fitted {
        let Some(expected) = self.at(point.0) else {
            self.take(point);
            return Fitted::Taken;
        };
        if (point.1 as f64 - expected).abs() <= OUTLIER_US {
            self.suspects.clear();
            self.take(point);
            return Fitted::Taken;
        }
        let agrees = |other: &(i64, i64)| ((point.1 - other.1) - (point.0 - other.0)).abs() < SUSPECTS_AGREE_US;
        self.suspects.retain(agrees);
        self.suspects.push(point);
        if self.suspects.len() < STEP_REPORTS {
            return Fitted::Suspect;
        }
        self.points.clear();
        self.line = None;
        for suspect in std::mem::take(&mut self.suspects) {
            self.take(suspect);
        }
        Fitted::Stepped { by_us: self.at(point.0).unwrap_or(expected) - expected }
    }

    fn take(&mut self, point: (i64, i64)) {
        self.points.push_back(point);
        let is_old = |first: &(i64, i64)| point.0 - first.0 > FIT_SPAN_US;
        while self.points.len() > MAX_REPORTS || self.points.front().is_some_and(is_old) {
            self.points.pop_front();
        }
        let middle = self.points.iter().map(|p| p.0 - point.0).sum::<i64>() / self.points.len() as i64 + point.0;
        let count = self.points.len() as f64;
        let difference = |p: &(i64, i64)| (p.1 - p.0) as f64;
        let mean = self.points.iter().map(difference).sum::<f64>() / count;
        let span = self.points.front().map_or(0, |first| point.0 - first.0);
        // Over a short time the noise of reports is larger than any drift.
        let slope = if span < SLOPE_SPAN_US {
            0.0
        } else {
            let (mut above, mut below) = (0.0, 0.0);
            for p in &self.points {
                let x = (p.0 - middle) as f64;
                above += x * (difference(p) - mean);
                below += x * x;
            }
            if below > 0.0 { (above / below).clamp(-MAX_DRIFT, MAX_DRIFT) } else { 0.0 }
        };
        self.line = Some((mean, middle, slope));
    }
}

/// The lowest value of a time that ends now.
#[derive(Debug, Clone)]
struct LowestOf {
    span_us: i64,
    /// Time and value; values rise from front to back.
    rising: VecDeque<(i64, f64)>,
    /// Until when, and down to which value, nothing changes: most packets need not look into the queue.
    quiet: Option<(i64, f64)>,
}

impl LowestOf {
    fn last(span_us: i64) -> Self {
        Self { span_us, rising: VecDeque::new(), quiet: None }
    }

    fn add(&mut self, at_us: i64, value: f64) {
        if self.quiet.is_some_and(|(until_us, lowest)| at_us < until_us && value > lowest) {
            return;
        }
        while self.rising.front().is_some_and(|(at, _)| at_us - at > self.span_us) {
            self.rising.pop_front();
        }
        while self.rising.back().is_some_and(|(_, back)| *back >= value) {
            self.rising.pop_back();
        }
        // One value per step of time is enough, so that a rising flow does not fill memory.
        let step = self.span_us / 200;
        if self.rising.back().is_none_or(|(at, _)| at_us - at >= step) {
            self.rising.push_back((at_us, value));
        }
        let (front, back) = (self.rising.front(), self.rising.back());
        self.quiet =
            front.zip(back).map(|((first, _), (last, lowest))| ((first + self.span_us).min(last + step), *lowest));
    }

    fn lowest_since(&self, since_us: i64) -> Option<f64> {
        self.rising.iter().find(|(at, _)| *at >= since_us).map(|(_, value)| *value)
    }

    fn lowest(&self) -> Option<f64> {
        self.rising.front().map(|(_, value)| *value)
    }

    fn clear(&mut self) {
        self.rising.clear();
        self.quiet = None;
    }
}

/// Signed, so that the wrap of NTP seconds in 2036 does not matter.
fn signed_us(ntp: NtpTime, base: NtpTime) -> i64 {
    let difference = ntp.0.wrapping_sub(base.0) as i64;
    let (seconds, fraction) = (difference >> 32, difference & 0xffff_ffff);
    seconds * 1_000_000 + ((fraction * 1_000_000) >> 32)
}

/// 5 ms a second.
const SLEW: f64 = 0.005;
const FIRST_PACKETS: u32 = 50;
const FIRST_WAIT_US: i64 = 1_000_000;
/// A sender's first packets may all be late. So much later than the fastest is not corrected: against the files of others it
/// does not matter, and each 20 ms that a file moves back cost a packet of sound.
const TIE_SLACK: f64 = 100_000.0;
/// So far apart sound and picture may be while they are slowly brought together.
const STEP_US: f64 = 45_000.0;
/// So long the line through the last reports is followed without another one.
const FRESH_US: i64 = 120_000_000;
const FIT_SPAN_US: i64 = 60_000_000;
const SLOPE_SPAN_US: i64 = 25_000_000;
const MAX_REPORTS: usize = 64;
const MAX_DRIFT: f64 = 0.001;
const OUTLIER_US: f64 = 500_000.0;
const SUSPECTS_AGREE_US: i64 = 100_000;
const STEP_REPORTS: usize = 3;
const AGREES_US: f64 = 500_000.0;
const SAME_STEP_US: f64 = 100_000.0;
const UNLIKELY_US: f64 = 2_500_000.0;
const STALL_US: f64 = 1_000_000.0;
const JUMP_US: f64 = 100_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrivals say that both are in step; reports say that pictures were captured so much earlier.
    fn apart(video_earlier_us: i64) -> ClockCounters {
        let mut clock = SenderClock::default();
        let kinds = [(Kind::Audio, 0), (Kind::Video, video_earlier_us)];
        kinds.iter().for_each(|(kind, _)| clock.begin(*kind, 0));
        for n in 0..1_500_i64 {
            let at_us = n * 20_000;
            for (kind, earlier_us) in kinds {
                clock.on_packet(kind, at_us, at_us);
                if n % 100 == 50 {
                    clock.on_report(kind, at_us, NtpTime::from_us(3_900_000_000_000_000 + at_us - earlier_us), at_us);
                }
                clock.map(kind, at_us);
            }
        }
        clock.counters()
    }

    #[test]
    fn distance_of_sound_and_picture_is_told() {
        assert_eq!(apart(0).av_offset_max_us / 1000, 0);
        let far = apart(80_000).av_offset_max_us;
        assert!((70_000..=81_000).contains(&far), "{far}");
    }
}
