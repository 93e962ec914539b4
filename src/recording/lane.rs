//! One track on its way into a file: its blocks in order, and how long others have to wait for it. Pure.

use std::collections::VecDeque;

use bytes::Bytes;
use reelay_signaling::Kind;

use crate::rtp::{Frame, MediaTime};

/// One block as it goes into a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Which track.
    pub kind: Kind,
    /// In time of the file.
    pub time_ms: u64,
    /// Decodable by itself; true for audio.
    pub is_keyframe: bool,
    /// Ours, in place of something that is missing.
    pub is_fill: bool,
    /// Of a keyframe.
    pub size: Option<(u16, u16)>,
    /// How long it lasts, where that is known.
    pub duration_us: i64,
    /// Sound level in −dBov, where it is known.
    pub level: Option<u8>,
    /// CodecPrivate that came with it (AV1).
    pub codec_private: Option<Vec<u8>>,
    /// The frame.
    pub data: Bytes,
}

/// How a track is doing, as far as it decides what may be written without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Packets may be under way: others wait for it.
    Live,
    /// Packets are here and wait for others of this track.
    Held,
    /// Known to send nothing: muted, ended, or its owner withdrew.
    Off,
}

/// The blocks of one track.
#[derive(Debug, Clone)]
pub struct Line {
    /// Audio or video.
    pub kind: Kind,
    /// How it is doing.
    pub flow: Flow,
    /// Why it sends nothing, if it does not.
    pub cause: &'static str,
    /// Why it was known to send nothing since the last real block.
    pub was_off: Option<&'static str>,
    /// Not written yet.
    pub queue: VecDeque<(MediaTime, Block)>,
    /// Of the last block that came in.
    pub pushed: Option<MediaTime>,
    /// Of the last block that went out.
    pub last_ms: Option<u64>,
}

impl Line {
    /// Nothing yet, and nothing expected.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            flow: Flow::Off,
            cause: "silence",
            was_off: None,
            queue: VecDeque::new(),
            pushed: None,
            last_ms: None,
        }
    }

    /// Takes a block.
    pub fn push(&mut self, at: MediaTime, block: Block) {
        // Clocks may go back a little when they are corrected; the order of frames stands. Where many have one time, each
        // takes a step, and the other track's blocks in between keep their places.
        let at = self.pushed.map_or(at, |pushed| at.max(pushed + self.step_ms() as i64 * 1_000));
        debug_assert_eq!(block.kind, self.kind);
        self.pushed = Some(at);
        self.queue.push_back((at, block));
    }

    /// How much later than the one before a block is at least.
    pub fn step_ms(&self) -> u64 {
        if self.kind == Kind::Video { PICTURE_STEP_MS } else { 1 }
    }

    /// Why nothing came lately, as far as is known.
    pub fn why_quiet(&self) -> &'static str {
        self.was_off.unwrap_or(self.cause)
    }

    /// How late a frame of this track may still come.
    pub fn hold(&self) -> i64 {
        match self.flow {
            Flow::Off => QUIET_OFF_US,
            Flow::Live => QUIET_LIVE_US,
            Flow::Held => QUIET_HELD_US,
        }
    }

    /// No frame of this track will come for a time before this.
    pub fn passed(&self, now: MediaTime) -> MediaTime {
        (now + -self.hold()).max(self.pushed.unwrap_or(MediaTime::from_us(i64::MIN / 2)))
    }
}

/// A frame as a block; its time comes when it goes out.
pub fn block(kind: Kind, frame: Frame, duration_us: i64) -> Block {
    Block {
        kind,
        time_ms: 0,
        is_keyframe: frame.is_keyframe,
        is_fill: false,
        size: frame.size,
        duration_us,
        level: frame.level,
        codec_private: frame.codec_private,
        data: frame.data,
    }
}

/// Of pictures that come late and all at once. ffmpeg takes a pause after them for a break of time if it is a thousand times
/// as long as they are apart.
const PICTURE_STEP_MS: u64 = 4;
/// How long after the present a track that is known to send nothing can be passed over.
pub const QUIET_OFF_US: i64 = 300_000;
const QUIET_LIVE_US: i64 = 1_000_000;
/// Longer than holes are waited for.
const QUIET_HELD_US: i64 = 2_400_000;
