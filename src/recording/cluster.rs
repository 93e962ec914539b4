//! What is noted of a cluster, block by block, for its row in the sidecar and its cue point: the same while it is written and
//! while it is read back.

use reelay_signaling::Kind;

use crate::webm::codec;
use crate::webm::cues::CuePoint;
use crate::webm::index::{Row, flags};
use crate::webm::layout::{AUDIO_TRACK, VIDEO_TRACK};

/// A cluster that blocks go into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cluster {
    row: Row,
    first: Option<Kind>,
    /// False until there was video in the file.
    wants_keyframe: bool,
    cue_is_due: bool,
}

/// A block of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted<'a> {
    pub kind: Kind,
    pub keyframe: bool,
    pub fill: bool,
    /// All of the data, or its first bytes.
    pub head: &'a [u8],
    /// Where the data begins in the file.
    pub data_at: u64,
    pub data_len: u64,
}

impl Cluster {
    pub fn new(at: u64, time_ms: u64, wants_keyframe: bool) -> Self {
        let row = Row { t_ms: time_ms, offset: at, ..Row::default() };
        Self { row, first: None, wants_keyframe, cue_is_due: false }
    }

    pub fn at(&self) -> u64 {
        self.row.offset
    }

    pub fn time_ms(&self) -> u64 {
        self.row.t_ms
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub fn has_video(&self) -> bool {
        self.row.flags & flags::VIDEO != 0
    }

    pub fn note(&mut self, block: Noted<'_>) {
        let row = &mut self.row;
        let is_key = block.kind == Kind::Video && block.keyframe;
        if self.first.is_none() {
            self.first = Some(block.kind);
            self.cue_is_due = is_key || block.kind == Kind::Audio;
            row.flags |= if is_key { flags::KEYFRAME } else { 0 };
            row.flags |= if !is_key && self.wants_keyframe { flags::FORCED } else { 0 };
        }
        if is_key && row.key_len == 0 {
            row.key_offset = block.data_at;
            row.key_len = u32::try_from(block.data_len).unwrap_or(u32::MAX);
            row.flags |= if block.fill { flags::FILL } else { 0 };
        }
        row.flags |= match block.kind {
            Kind::Video => flags::VIDEO,
            Kind::Audio if is_silence(block) => flags::AUDIO | flags::FILLED_AUDIO,
            Kind::Audio => flags::AUDIO,
        };
    }

    /// The cue point, once, as soon as there is a block to point at.
    pub fn take_cue(&mut self) -> Option<CuePoint> {
        let track = if self.first? == Kind::Video { VIDEO_TRACK } else { AUDIO_TRACK };
        let point = CuePoint { time_ms: self.row.t_ms, track, cluster_at: self.row.offset };
        std::mem::take(&mut self.cue_is_due).then_some(point)
    }

    /// The row, now that the cluster ends at `end`.
    pub fn row(&self, end: u64) -> Row {
        Row { len: u32::try_from(end - self.row.offset).unwrap_or(u32::MAX), ..self.row }
    }
}

/// True for audio that the recorder put in, by its look: so a repair sees the same as the writer did.
pub(super) fn is_silence(block: Noted<'_>) -> bool {
    usize::try_from(block.data_len).is_ok_and(|len| block.head.get(..len).is_some_and(codec::is_silence))
}
