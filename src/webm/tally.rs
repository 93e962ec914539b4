//! What is in a file, counted block by block: the same numbers whether a file was just written or read back for a repair.

use reelay_signaling::Kind;

use super::VideoCodec;
use super::codec::opus_duration_us;

/// What the count needs to know of a block.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// Audio or video.
    pub kind: Kind,
    /// Time since the beginning of the file.
    pub time_ms: u64,
    /// True for each audio block too.
    pub keyframe: bool,
    /// Put in by the recorder, not received.
    pub fill: bool,
    /// All of the data, or at least its first [`HEAD_LEN`] bytes.
    pub head: &'a [u8],
    /// Length of the data.
    pub len: u64,
    /// Width and height of a keyframe, where the caller knows them.
    pub size: Option<(u16, u16)>,
}

/// Numbers of one track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackTally {
    /// Blocks, fills included.
    pub blocks: u64,
    /// Blocks that the recorder put in.
    pub fills: u64,
    /// Keyframes that were received (video).
    pub keyframes: u64,
    /// Bytes of data, fills included.
    pub bytes: u64,
    /// Time of the first block.
    pub first_ms: u64,
    /// Time of the last block.
    pub last_ms: u64,
    /// End of the last block.
    pub end_us: u64,
}

/// Numbers of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of video.
    pub video: TrackTally,
    /// Of audio.
    pub audio: TrackTally,
    /// Width and height of the first received keyframe, or of the first fill until one came.
    pub size: Option<(u16, u16)>,
    size_is_real: bool,
    grids: Grids,
}

/// For each of [`RATES`] the step that the last picture fell into, counted from 1, and whether two fell into the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Grids {
    last: [u64; RATES.len()],
    is_shared: [bool; RATES.len()],
}

impl Tally {
    /// Counts a block. `codec` is the one of the video track. Returns the picture size if this block settled it.
    pub fn add(&mut self, block: Counted<'_>, codec: VideoCodec) -> Option<(u16, u16)> {
        let track = match block.kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        };
        let length_us = match block.kind {
            Kind::Audio => opus_duration_us(block.head),
            // A frame is taken to last as long as the one before; a hole says nothing about that.
            Kind::Video => match block.time_ms.saturating_sub(track.last_ms) {
                step @ 1..=LONGEST_FRAME_MS if track.blocks > 0 => step * 1000,
                _ => FRAME_US,
            },
        };
        if track.blocks == 0 {
            track.first_ms = block.time_ms;
        }
        track.blocks += 1;
        track.fills += u64::from(block.fill);
        track.keyframes += u64::from(block.keyframe && !block.fill);
        track.bytes = track.bytes.saturating_add(block.len);
        track.last_ms = block.time_ms;
        if block.kind == Kind::Video {
            self.grids.add(block.time_ms);
        }
        track.end_us = track.end_us.max(block.time_ms.saturating_mul(1000).saturating_add(length_us));

        if block.kind == Kind::Audio || !block.keyframe || self.size_is_real || (block.fill && self.size.is_some()) {
            return None;
        }
        let size = block.size.or_else(|| codec.picture_size(block.head))?;
        self.size_is_real = !block.fill;
        (self.size.replace(size) != Some(size)).then_some(size)
    }

    /// The lowest usual frame rate at which no two pictures fall into the same step. ffmpeg counts in steps of the rate that
    /// a file tells, or else of one that it guesses from the first pictures; where a clock is corrected later, a guess is too low.
    pub fn frame_rate(&self) -> Option<u16> {
        let fits = |rate: &usize| !self.grids.is_shared[*rate];
        (self.video.blocks > 0).then(|| RATES[(0..RATES.len()).find(fits).unwrap_or(RATES.len() - 1)])
    }

    /// Numbers of one track.
    pub fn track(&self, kind: Kind) -> &TrackTally {
        match kind {
            Kind::Video => &self.video,
            Kind::Audio => &self.audio,
        }
    }

    /// Blocks of both tracks.
    pub fn blocks(&self) -> u64 {
        self.video.blocks + self.audio.blocks
    }

    /// The end of the last block, in microseconds: the length of the file.
    pub fn duration_us(&self) -> u64 {
        self.video.end_us.max(self.audio.end_us)
    }

    /// The same, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.duration_us().div_ceil(1000)
    }
}

impl Grids {
    fn add(&mut self, time_ms: u64) {
        for (n, rate) in RATES.iter().enumerate() {
            let step = (time_ms.saturating_mul(u64::from(*rate)).saturating_add(500)) / 1000 + 1;
            self.is_shared[n] |= step == self.last[n];
            self.last[n] = step;
        }
    }
}

/// How many of a block's first bytes [`Tally::add`] looks at.
pub const HEAD_LEN: usize = 16;
const FRAME_US: u64 = 33_000;
const LONGEST_FRAME_MS: u64 = 500;
/// Frames per second. What ffmpeg takes for a frame rate is above 5 and below 1000.
const RATES: [u16; 11] = [10, 15, 24, 25, 30, 50, 60, 120, 240, 480, 999];
