//! Both tracks of a file in one order of time: fills what is missing, keeps times rising, knows the holes.
//! Pure: frames come with their time, and time passes by [`Timeline::on_time`].

use bytes::Bytes;
use reelay_signaling::Kind;

use super::black;
use super::lane::{Block, Flow, Line, QUIET_OFF_US, block};
use super::manifest::Gap;
use crate::rtp::{Codec, Frame, MediaTime, opus};

/// What a file may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// There is an audio track.
    pub audio: bool,
    /// There is a video track.
    pub video: Option<Codec>,
}

/// What happened so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimelineCounters {
    /// Audio that was filled with silence.
    pub filled_audio_us: i64,
    /// Fill keyframes.
    pub filled_video: u64,
    /// Blocks whose time was moved, because a later one was written already.
    pub clamps: u64,
    /// The farthest of these moves.
    pub clamp_max_ms: u64,
    /// Audio packets that came when their place was taken.
    pub overlaps: u64,
    /// Audio packets that were left out, because the sender's clock is faster than ours and made more sound than time.
    pub surplus: u64,
    /// Video frames that could not be shown without a keyframe.
    pub undecodable: u64,
}

/// Orders the blocks of one file.
#[derive(Debug, Clone)]
pub struct Timeline {
    shape: Shape,
    base: Option<MediaTime>,
    first_push: Option<MediaTime>,
    last_ms: Option<u64>,
    audio: Audio,
    video: Video,
    gaps: Vec<Hole>,
    counters: TimelineCounters,
}

#[derive(Debug, Clone)]
struct Audio {
    line: Line,
    /// Where the sound ends when all blocks are played one after the other.
    sound_end: MediaTime,
    /// Where the last block ends by its time.
    stamp_end: MediaTime,
    /// Fills since the last real packet.
    ahead_us: i64,
}

#[derive(Debug, Clone)]
struct Video {
    line: Line,
    needs_keyframe: bool,
    size: Option<(u16, u16)>,
    /// The last real keyframe, for codecs without a black one of ours.
    keyframe: Option<(Bytes, Option<Vec<u8>>)>,
    last_real: Option<MediaTime>,
    last: Option<MediaTime>,
    filled_from: Option<MediaTime>,
}

#[derive(Debug, Clone)]
struct Hole {
    kind: Kind,
    from: MediaTime,
    to: MediaTime,
    cause: &'static str,
}

impl Timeline {
    /// Nothing yet.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            base: None,
            first_push: None,
            last_ms: None,
            audio: Audio {
                line: Line::new(Kind::Audio),
                sound_end: MediaTime::default(),
                stamp_end: MediaTime::default(),
                ahead_us: 0,
            },
            video: Video {
                line: Line::new(Kind::Video),
                needs_keyframe: true,
                size: None,
                keyframe: None,
                last_real: None,
                last: None,
                filled_from: None,
            },
            gaps: Vec::new(),
            counters: TimelineCounters::default(),
        }
    }

    /// Takes an audio packet. `hole_us` is what its RTP time says is missing before it; `None` when the numbers of
    /// this packet and the last have nothing to do with each other. Returns false when silence has taken its place.
    pub fn push_audio(&mut self, at: MediaTime, frame: Frame, hole_us: Option<i64>) -> bool {
        let duration_us = i64::from(frame.samples) * 1_000_000 / i64::from(opus::CLOCK_HZ);
        if self.audio.line.pushed.is_some() || self.base.is_some() {
            if self.audio.stamp_end - at > OVERLAP_US {
                self.counters.overlaps += 1;
                return self.audio.ahead_us == 0;
            }
            self.fill_before(at, hole_us, frame.lost_before);
            if self.is_surplus(at, &frame) {
                self.counters.surplus += 1;
                self.audio.stamp_end = self.audio.stamp_end.max(at + duration_us);
                return true;
            }
        } else {
            self.audio.sound_end = at;
        }
        self.first_push.get_or_insert(at);
        self.audio.ahead_us = 0;
        self.audio.line.was_off = None;
        self.audio.sound_end = self.audio.sound_end + duration_us;
        // What overlaps silence ends in it.
        self.audio.stamp_end = self.audio.stamp_end.max(at + duration_us);
        self.audio.line.push(at, block(Kind::Audio, frame, duration_us));
        true
    }

    /// Takes a video frame. Returns false when it needs a keyframe first, which should be asked for.
    pub fn push_video(&mut self, at: MediaTime, frame: Frame) -> bool {
        let video = &mut self.video;
        if video.needs_keyframe && !frame.is_keyframe {
            self.counters.undecodable += 1;
            return false;
        }
        self.first_push.get_or_insert(at);
        if frame.is_keyframe {
            video.needs_keyframe = false;
            video.size = frame.size.or(video.size);
            if self.shape.video != Some(Codec::Vp8) {
                video.keyframe = Some((frame.data.clone(), frame.codec_private.clone()));
            }
        }
        let lasted = video.last_real.map_or(0, |last| at - last);
        let is_gap = lasted > if frame.lost_before > 0 { FREEZE_US } else { VIDEO_GAP_US };
        if is_gap && let Some(from) = video.last_real {
            let cause = if frame.lost_before > 0 { "loss" } else { video.line.why_quiet() };
            self.note_gap(Kind::Video, from, at, cause);
        }
        self.video.filled_from = None;
        self.video.line.was_off = None;
        self.video.last_real = Some(at);
        self.video.last = Some(at);
        self.video.line.push(at, block(Kind::Video, frame, 0));
        true
    }

    /// What is known about a track, and why it sends nothing if it does not.
    pub fn set_flow(&mut self, kind: Kind, flow: Flow, cause: &'static str) {
        let line = self.line_mut(kind);
        line.flow = flow;
        line.cause = cause;
        if flow == Flow::Off {
            line.was_off = Some(cause);
        }
    }

    /// Frames that follow cannot be decoded without a keyframe: something was cut out.
    pub fn require_keyframe(&mut self) {
        self.video.needs_keyframe = true;
    }

    /// The same, when it was video that was cut.
    pub fn require_keyframe_of(&mut self, kind: Kind) {
        self.video.needs_keyframe |= kind == Kind::Video;
    }

    /// True while video waits for a keyframe.
    pub fn needs_keyframe(&self) -> bool {
        self.shape.video.is_some() && self.video.needs_keyframe
    }

    /// Time passes: what is missing by now is filled. `unanswered` says that a keyframe was asked for and did not come.
    pub fn on_time(&mut self, now: MediaTime, unanswered: bool) {
        self.begin(now);
        let Some(base) = self.base else { return };
        if self.shape.audio {
            let quiet = match self.audio.line.flow {
                Flow::Off => QUIET_OFF_US,
                Flow::Live | Flow::Held => QUIET_AUDIO_US,
            };
            let until = now + -quiet;
            let missing = until - self.audio.stamp_end;
            if missing >= FILL_US {
                let cause = self.audio.line.why_quiet();
                self.fill_audio(missing, cause);
            }
        }
        if self.shape.video.is_some() {
            self.fill_video(base, now, unanswered);
        }
    }

    /// The next block that nothing can come before any more.
    pub fn poll(&mut self, now: MediaTime) -> Option<Block> {
        self.base?;
        let kind = self.first_line()?;
        let (at, _) = self.due(kind)?;
        let other = if kind == Kind::Audio { Kind::Video } else { Kind::Audio };
        if self.has(other) && self.line(other).queue.is_empty() {
            if self.line(other).passed(now) < at {
                return None;
            }
            // What goes out now closes the time before it: silence that came later would have no place any more.
            // It goes past this block, so that the next one of it is not moved either.
            let missing = at - self.audio.stamp_end;
            if other == Kind::Audio && missing >= SHORTEST_US {
                let cause = self.audio.line.why_quiet();
                self.fill_audio((missing + FILL_US - 1) / FILL_US * FILL_US, cause);
                return self.take(Kind::Audio);
            }
        }
        self.take(kind)
    }

    /// At the end: the next block, whatever may have been missing.
    pub fn drain(&mut self) -> Option<Block> {
        if self.base.is_none() {
            self.set_base();
        }
        let kind = self.first_line()?;
        self.take(kind)
    }

    /// Changes what the file holds, as long as it has no first block. False when it is too late.
    pub fn declare(&mut self, shape: Shape) -> bool {
        if self.base.is_none() {
            self.shape = shape;
        }
        self.base.is_none()
    }

    /// Time 0 of the file, once the first block is out.
    pub fn base(&self) -> Option<MediaTime> {
        self.base
    }

    /// The holes so far, in time of the file.
    pub fn gaps(&self) -> Vec<Gap> {
        let Some(base) = self.base else { return Vec::new() };
        let ms = |at: MediaTime| u64::try_from(MediaTime::from_us(at - base).ms()).unwrap_or(0);
        let gap = |hole: &Hole| Gap {
            kind: hole.kind,
            from_ms: ms(hole.from),
            to_ms: ms(hole.to),
            cause: hole.cause.to_owned(),
        };
        self.gaps.iter().map(gap).collect()
    }

    /// What happened so far.
    pub fn counters(&self) -> &TimelineCounters {
        &self.counters
    }

    /// The file begins when each track has something, or one has waited long enough for the other.
    fn begin(&mut self, now: MediaTime) {
        if self.base.is_some() {
            return;
        }
        let Some(first) = self.first_push else { return };
        let is_there = |kind| !self.has(kind) || !self.line(kind).queue.is_empty();
        if (is_there(Kind::Audio) && is_there(Kind::Video)) || now - first >= START_WAIT_US {
            self.set_base();
        }
    }

    fn set_base(&mut self) {
        let heads = [Kind::Audio, Kind::Video].map(|kind| self.line(kind).queue.front().map(|(at, _)| *at));
        let Some(base) = heads.into_iter().flatten().min() else { return };
        self.base = Some(base);
        // Late sound begins with silence, late pictures with black.
        if self.shape.audio {
            let (end, stamp, pushed) = (self.audio.sound_end, self.audio.stamp_end, self.audio.line.pushed);
            let queued = std::mem::take(&mut self.audio.line.queue);
            (self.audio.sound_end, self.audio.stamp_end, self.audio.line.pushed) = (base, base, None);
            if let Some(first) = heads[0] {
                self.fill_audio(first - base, "silence");
                self.audio.line.queue.extend(queued);
                (self.audio.sound_end, self.audio.stamp_end, self.audio.line.pushed) = (end, stamp, pushed);
                self.audio.ahead_us = 0;
            }
        }
        if self.shape.video.is_some() && heads[1].is_none_or(|first| first - base >= FILL_VIDEO_US) {
            let queued = std::mem::take(&mut self.video.line.queue);
            let (needs_keyframe, last, pushed) =
                (self.video.needs_keyframe, self.video.last, self.video.line.pushed.take());
            self.fill_video_at(base);
            if !queued.is_empty() {
                self.video.line.queue.extend(queued);
                (self.video.needs_keyframe, self.video.last, self.video.line.pushed) = (needs_keyframe, last, pushed);
                self.video.filled_from = None;
            }
        }
    }

    fn fill_before(&mut self, at: MediaTime, hole_us: Option<i64>, lost: u64) {
        let lag = at - self.audio.sound_end;
        let whole = |us: i64| us / FILL_US * FILL_US;
        let fill = match hole_us {
            Some(hole) => {
                let hole = (hole - self.audio.ahead_us).max(0);
                let drift = lag - hole;
                // A sender whose clock is slow leaves room now and then, one whose clock is fast takes it back.
                if drift >= FILL_US {
                    hole + whole(drift)
                } else if drift <= -FILL_US {
                    (hole - whole(-drift)).max(0)
                } else {
                    hole
                }
            }
            None => lag.max(0),
        };
        let cause = if lost > 0 { "loss" } else { self.audio.line.why_quiet() };
        // Where time jumped, what is left of it would be a hole.
        let torn = lag.min(at - self.audio.stamp_end);
        let fill = if torn - fill >= TORN_US { torn } else { fill };
        if fill >= SHORTEST_US {
            self.fill_audio(fill.min(lag.max(0) + FILL_US), cause);
        }
    }

    /// A sender whose clock is fast makes more sound than there is time: a packet of 20 ms an hour for each 6 ppm. Players
    /// that only play one packet after the other would fall behind, so one is left out now and then; best one of silence.
    fn is_surplus(&self, at: MediaTime, frame: &Frame) -> bool {
        let behind_us = self.audio.sound_end - at;
        let is_quiet = frame.data.len() <= COMFORT_BYTES || frame.level.is_some_and(|level| level >= QUIET_LEVEL);
        behind_us >= if is_quiet { SURPLUS_QUIET_US } else { SURPLUS_US }
    }

    /// Appends silence of this length, as far as packets make it up.
    fn fill_audio(&mut self, missing_us: i64, cause: &'static str) {
        let from = self.audio.stamp_end;
        let mut samples = (missing_us.min(MAX_FILL_US) + 1) * i64::from(opus::CLOCK_HZ) / 1_000_000;
        while let Some(silence) = opus::silence(samples) {
            samples -= i64::from(silence.samples);
            let duration_us = i64::from(silence.samples) * 1_000_000 / i64::from(opus::CLOCK_HZ);
            let at = self.audio.stamp_end;
            self.audio.stamp_end = at + duration_us;
            self.audio.sound_end = self.audio.sound_end + duration_us;
            self.audio.ahead_us += duration_us;
            self.counters.filled_audio_us += duration_us;
            let fill = Block {
                kind: Kind::Audio,
                time_ms: 0,
                is_keyframe: true,
                is_fill: true,
                size: None,
                duration_us,
                level: None,
                codec_private: None,
                data: Bytes::from_static(silence.data),
            };
            self.audio.line.push(at, fill);
        }
        let to = self.audio.stamp_end;
        if to > from {
            self.note_gap(Kind::Audio, from, to, cause);
        }
    }

    fn fill_video(&mut self, base: MediaTime, now: MediaTime, unanswered: bool) {
        let last = self.video.last.unwrap_or(base);
        let silent = now - last;
        // A picture that is here and waits for its place, or may be under way, comes before a fill.
        let quiet = self.video.line.hold();
        let is_due = if self.video.filled_from.is_some() || self.video.last_real.is_none() {
            silent >= FILL_VIDEO_US + quiet
        } else if self.video.line.flow == Flow::Off {
            silent >= FILL_VIDEO_US + QUIET_OFF_US
        } else {
            silent >= VIDEO_SILENCE_US && unanswered && self.video.line.flow == Flow::Live
        };
        if !is_due || self.fill_picture().is_none() {
            return;
        }
        let mut at = last;
        while now - at >= FILL_VIDEO_US + quiet {
            at = at + FILL_VIDEO_US;
            self.fill_video_at(at);
        }
    }

    fn fill_video_at(&mut self, at: MediaTime) {
        let Some((data, size, codec_private)) = self.fill_picture() else { return };
        self.video.needs_keyframe = true;
        self.video.last = Some(at);
        self.video.filled_from.get_or_insert(at);
        self.counters.filled_video += 1;
        let fill = Block {
            kind: Kind::Video,
            time_ms: 0,
            is_keyframe: true,
            is_fill: true,
            size,
            duration_us: FILL_VIDEO_US,
            level: None,
            codec_private,
            data,
        };
        self.video.line.push(at, fill);
    }

    /// Black, or the last real keyframe for codecs without a black one of ours; nothing when there was none.
    #[allow(clippy::type_complexity)]
    fn fill_picture(&self) -> Option<(Bytes, Option<(u16, u16)>, Option<Vec<u8>>)> {
        if self.shape.video == Some(Codec::Vp8) {
            let (width, height) = self.video.size.unwrap_or(DEFAULT_SIZE);
            return Some((black::keyframe(width, height).into(), Some((width, height)), None));
        }
        let (data, private) = self.video.keyframe.as_ref()?;
        Some((data.clone(), self.video.size, private.clone()))
    }

    fn take(&mut self, kind: Kind) -> Option<Block> {
        let base = self.base?;
        let floor = self.last_ms;
        let line = self.line_mut(kind);
        let (at, mut block) = line.queue.pop_front()?;
        let wanted = u64::try_from((MediaTime::from_us(at - base)).ms()).unwrap_or(0);
        let after_own = line.last_ms.map_or(0, |last| last + line.step_ms());
        block.time_ms = wanted.max(after_own).max(floor.unwrap_or(0));
        line.last_ms = Some(block.time_ms);
        let moved = block.time_ms - wanted;
        if moved > 1 {
            self.counters.clamps += 1;
            self.counters.clamp_max_ms = self.counters.clamp_max_ms.max(moved);
        }
        self.last_ms = Some(block.time_ms);
        Some(block)
    }

    /// Where the next block of a track would go now, and where it belongs: many late ones in a row, a millisecond each, go
    /// on into a time in which the other track has its own.
    fn due(&self, kind: Kind) -> Option<(MediaTime, MediaTime)> {
        let line = self.line(kind);
        let (at, _) = line.queue.front()?;
        let after_own = line.last_ms.map(|last| last + line.step_ms());
        let floor = after_own.max(self.last_ms).zip(self.base);
        let first = floor.map(|(ms, base)| base + i64::try_from(ms * 1_000).unwrap_or(i64::MAX));
        Some((first.map_or(*at, |first| first.max(*at)), *at))
    }

    fn first_line(&self) -> Option<Kind> {
        match (self.due(Kind::Audio), self.due(Kind::Video)) {
            (Some(audio), Some(video)) => Some(if video <= audio { Kind::Video } else { Kind::Audio }),
            (Some(_), None) => Some(Kind::Audio),
            (None, Some(_)) => Some(Kind::Video),
            (None, None) => None,
        }
    }

    fn note_gap(&mut self, kind: Kind, from: MediaTime, to: MediaTime, cause: &'static str) {
        let last = self.gaps.iter_mut().rev().find(|gap| gap.kind == kind);
        if let Some(last) = last
            && last.cause == cause
            && from - last.to <= JOIN_GAPS_US
        {
            last.to = last.to.max(to);
        } else if self.gaps.len() < MAX_GAPS {
            self.gaps.push(Hole { kind, from, to, cause });
        }
    }

    fn has(&self, kind: Kind) -> bool {
        if kind == Kind::Audio { self.shape.audio } else { self.shape.video.is_some() }
    }

    fn line(&self, kind: Kind) -> &Line {
        if kind == Kind::Audio { &self.audio.line } else { &self.video.line }
    }

    fn line_mut(&mut self, kind: Kind) -> &mut Line {
        if kind == Kind::Audio { &mut self.audio.line } else { &mut self.video.line }
    }
}

/// One packet of silence.
const FILL_US: i64 = 20_000;
/// No hole is longer than a recording.
const MAX_FILL_US: i64 = 48 * 3_600 * 1_000_000;
const SHORTEST_US: i64 = 2_500;
/// A hole that is not a clock's drift: that opens by less than a hundredth of the time.
const TORN_US: i64 = 5_000;
/// So much sound too much is left out: of silence soon, of anything else before somebody sees it.
const SURPLUS_QUIET_US: i64 = 20_000;
const SURPLUS_US: i64 = 32_000;
/// −dBov.
const QUIET_LEVEL: u8 = 70;
/// Packets of DTX and comfort noise are not larger.
const COMFORT_BYTES: usize = 8;
/// One fill keyframe.
const FILL_VIDEO_US: i64 = 1_000_000;
/// A packet that begins earlier than this before the end of the last has lost its place.
const OVERLAP_US: i64 = 40_000;
/// How long the first track waits for the other one.
const START_WAIT_US: i64 = 1_200_000;
const QUIET_AUDIO_US: i64 = 2_600_000;
const VIDEO_SILENCE_US: i64 = 3_000_000;
const VIDEO_GAP_US: i64 = 1_000_000;
/// A standstill after a loss is one sooner.
const FREEZE_US: i64 = 150_000;
const DEFAULT_SIZE: (u16, u16) = (640, 360);
const JOIN_GAPS_US: i64 = 1_000_000;
const MAX_GAPS: usize = 1_000;
