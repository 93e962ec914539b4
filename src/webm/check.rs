//! Judges a file by the rules that every recording keeps (R1 to R16): what is wrong, where, and what is in it.

use std::io;

use reelay_signaling::Kind;
use serde::Serialize;

use super::VideoCodec;
use super::codec::opus_duration_us;
use super::cues::CuePoint;
use super::ebml::Source;
use super::front::{self, Front, FrontError, Track};
use super::layout::*;
use super::scan::{Block, ClusterHead, Item, OnDamage, Tail, Walker};
use super::tally::{Counted, Tally};

/// Whether a file is still written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Sizes, index and duration may be missing, and the last block may be cut.
    Growing,
    /// It has been closed.
    Closed,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which rule: `R1` to `R16`.
    pub rule: &'static str,
    /// Where in the file.
    pub at: Option<u64>,
    /// What, in one sentence.
    pub message: String,
}

/// What is in a file, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Judgement {
    /// Faults, in the order of the file; of each kind the first ones only.
    pub faults: Vec<Finding>,
    /// How many there are in all.
    pub fault_count: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// End of the last block.
    pub duration_ms: u64,
    /// Clusters.
    pub clusters: u64,
    /// Clusters that begin without a keyframe though there is video.
    pub forced_clusters: u64,
    /// Cue points.
    pub cue_points: usize,
    /// The video track.
    pub video: Option<VideoFacts>,
    /// The audio track.
    pub audio: Option<AudioFacts>,
}

/// What is in the video track.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VideoFacts {
    /// Its codec.
    pub codec: String,
    /// Blocks.
    pub frames: u64,
    /// Received keyframes.
    pub keyframes: u64,
    /// Keyframes that the recorder put in.
    pub fills: u64,
    /// Width and height, each time they change; the first ones only.
    pub sizes: Vec<(u16, u16)>,
}

/// What is in the audio track.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AudioFacts {
    /// Its codec.
    pub codec: String,
    /// Blocks.
    pub packets: u64,
    /// Silent packets of the kind that the recorder puts in.
    pub silent: u64,
}

impl Judgement {
    /// True if nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }
}

/// Judges a file of `len` bytes.
///
/// # Errors
/// It is no WebM file at all, or cannot be read.
pub fn check(source: impl Source + Copy, len: u64, state: State) -> Result<Judgement, FrontError> {
    check_with(source, len, state, &mut |_| {})
}

/// The same; `progress` hears how many bytes were read.
///
/// # Errors
/// As [`check`].
pub fn check_with(
    source: impl Source + Copy,
    len: u64,
    state: State,
    progress: &mut dyn FnMut(u64),
) -> Result<Judgement, FrontError> {
    let front = front::read(source, len)?;
    let mut judge = Judge::new(&front, state, len);
    judge.front();
    if let Some(at) = front.first_cluster_at {
        judge.walk(source, at, progress)?;
    }
    judge.end();
    Ok(judge.said)
}

struct Judge<'a> {
    front: &'a Front,
    state: State,
    len: u64,
    said: Judgement,
    video: Option<&'a Track>,
    audio: Option<&'a Track>,
    codec: VideoCodec,
    tally: Tally,
    cues: std::iter::Peekable<std::slice::Iter<'a, CuePoint>>,
    cluster: Option<Open>,
    last_ms: i64,
    audio_end_us: Option<u64>,
    /// Where the sound would end if it were played without its times.
    played_end_us: u64,
    is_out_of_step: bool,
}

/// The cluster whose blocks are looked at.
#[derive(Clone, Copy)]
struct Open {
    head: ClusterHead,
    blocks: u64,
    has_video: bool,
    last_end: u64,
}

impl<'a> Judge<'a> {
    fn new(front: &'a Front, state: State, len: u64) -> Self {
        let video = front.tracks.iter().find(|track| track.video_codec().is_some());
        Self {
            front,
            state,
            len,
            said: Judgement { bytes: len, ..Judgement::default() },
            video,
            audio: front.tracks.iter().find(|track| track.is_opus()),
            codec: video.and_then(Track::video_codec).unwrap_or(VideoCodec::Vp8),
            tally: Tally::default(),
            cues: front.cues.as_deref().unwrap_or_default().iter().peekable(),
            cluster: None,
            last_ms: 0,
            audio_end_us: None,
            played_end_us: 0,
            is_out_of_step: false,
        }
    }

    fn fault(&mut self, rule: &'static str, at: impl Into<Option<u64>>, message: String) {
        self.said.fault_count += 1;
        if self.said.faults.iter().filter(|fault| fault.rule == rule).count() < FAULTS_PER_RULE {
            self.said.faults.push(Finding { rule, at: at.into(), message });
        }
    }

    fn front(&mut self) {
        let front = self.front;
        for track in &front.tracks {
            if track.video_codec().is_none() && !track.is_opus() {
                self.fault(
                    "R1",
                    track.at,
                    format!("track {} is {:?}, not VP8, VP9, AV1 or Opus", track.number, track.codec),
                );
            }
            if track.lacing {
                self.fault("R2", track.at, format!("track {} allows lacing", track.number));
            }
            if track.codec_delay != 0 {
                self.fault("R13", track.at, format!("CodecDelay shifts track {} against the other", track.number));
            }
            if track.is_opus() && (!track.private.starts_with(b"OpusHead") || track.private.len() < 19) {
                self.fault("R1", track.at, "the Opus track has no OpusHead as CodecPrivate".into());
            }
            if track.video_codec() == Some(VideoCodec::Av1) && track.private.len() < 4 {
                self.fault("R1", track.at, "the AV1 track has no av1C as CodecPrivate".into());
            }
        }
        if front.tracks.len() > 2 || (front.tracks.len() == 2 && (self.video.is_none() || self.audio.is_none())) {
            self.fault("R1", TRACKS_AT, format!("{} tracks, not one of video and one of audio", front.tracks.len()));
        }
        if front.doc_type != "webm" || front.doc_type_versions != (4, 2) || front.timestamp_scale != 1_000_000 {
            let (doc_type, (version, read)) = (&front.doc_type, front.doc_type_versions);
            let scale = front.timestamp_scale;
            self.fault(
                "R2",
                0,
                format!("DocType {doc_type:?} {version}/{read}, TimestampScale {scale}: not webm 4/2, 1000000"),
            );
        }
        self.layout();
        if self.state == State::Closed {
            self.closed_front();
        }
    }

    fn layout(&mut self) {
        let order: Vec<(u32, u64)> = self.front.elements.iter().map(|element| (element.id, element.at)).collect();
        let begins = [(SEEK_HEAD, SEGMENT_DATA_AT), (INFO, INFO_AT), (TRACKS, TRACKS_AT)];
        if self.front.segment_data_at != SEGMENT_DATA_AT || !order.starts_with(&begins) {
            self.fault("R3", SEGMENT_DATA_AT, "SeekHead, Info and Tracks are not at their constant offsets".into());
        }
        let slot = order.iter().find(|(_, at)| *at == INDEX_AT);
        if !slot.is_some_and(|(id, _)| *id == VOID || *id == CUES) {
            self.fault("R3", INDEX_AT, "the index slot is missing".into());
        }
        match self.front.first_cluster_at {
            Some(FIRST_CLUSTER_AT) => {}
            Some(at) => self.fault("R3", at, format!("the first cluster is not at byte {FIRST_CLUSTER_AT}")),
            None => self.fault("R9", None, "there is no cluster".into()),
        }
    }

    fn closed_front(&mut self) {
        let front = self.front;
        let end = front.segment_size.map(|size| front.segment_data_at.saturating_add(size));
        if end != Some(self.len) {
            self.fault("R6", SEGMENT_SIZE_AT, format!("Segment ends at {end:?}, the file at byte {}", self.len));
        }
        if front.duration.is_none() {
            self.fault("R6", DURATION_AT, "there is no Duration".into());
        }
        if front.cues.as_ref().is_none_or(Vec::is_empty) {
            self.fault("R6", INDEX_AT, "there is no index before the first cluster".into());
        }
        self.said.cue_points = front.cues.as_ref().map_or(0, Vec::len);
        for (id, name) in [(INFO, "Info"), (TRACKS, "Tracks"), (CUES, "Cues")] {
            let listed = front.seek.iter().find(|(listed, _)| *listed == id).map(|(_, at)| *at);
            let real = front.elements.iter().find(|element| element.id == id).map(|element| element.at);
            if listed != real || real.is_none() {
                self.fault(
                    "R6",
                    SEEK_CUES_AT,
                    format!("SeekHead says that {name} is at {listed:?}, it is at {real:?}"),
                );
            }
        }
    }

    fn walk(&mut self, source: impl Source, at: u64, progress: &mut dyn FnMut(u64)) -> io::Result<()> {
        let mut walker = Walker::new(source, at, self.len, OnDamage::Skip);
        let mut told = 0;
        while let Some(item) = walker.next_item()? {
            match item {
                Item::Cluster(head) => self.cluster(head),
                Item::Block(block) => self.block(&block),
                Item::LateTimestamp { at, .. } => {
                    self.fault("R11", at, "Timestamp is not the first child of its cluster".into())
                }
                Item::Damage { from, to } => self.fault("R4", from, format!("{} bytes are no elements", to - from)),
                Item::Other { id: VOID, end, .. } => self.extend(end),
                Item::Other { id, at, .. } => {
                    if id > 0xFF_FFFF {
                        self.end_cluster(at);
                    }
                    self.fault("R3", at, format!("an element {id:X} stands among the clusters"))
                }
            }
            if walker.position() - told >= PROGRESS_STEP {
                told = walker.position();
                progress(told);
            }
        }
        progress(self.len);
        self.end_cluster(walker.position());
        let rest = self.len - walker.position();
        match walker.tail() {
            Some(Tail::Cut) if self.state == State::Closed => {
                self.fault("R4", walker.position(), format!("the last block is cut, {rest} bytes are of no use"));
            }
            Some(Tail::Junk) => self.fault("R4", walker.position(), format!("{rest} bytes at the end are no elements")),
            _ => {}
        }
        Ok(())
    }

    fn cluster(&mut self, head: ClusterHead) {
        self.end_cluster(head.at);
        self.said.clusters += 1;
        if head.time_ms.is_none() {
            self.fault("R11", head.at, "Timestamp is not the first child of its cluster".into());
        }
        while self.cues.next_if(|cue| cue.cluster_at < head.at).is_some() {
            self.fault("R6", INDEX_AT, "a cue point is at no cluster".into());
        }
        self.cluster = Some(Open { head, blocks: 0, has_video: false, last_end: head.body_at });
    }

    fn extend(&mut self, end: u64) {
        if let Some(open) = &mut self.cluster {
            open.last_end = end;
        }
    }

    /// `end` is where the next cluster begins, or where the last complete element ends.
    fn end_cluster(&mut self, end: u64) {
        let Some(open) = self.cluster.take() else { return };
        let is_last = end == self.len || open.last_end == end && self.state == State::Growing;
        match open.head.size {
            Some(size) if open.head.body_at.saturating_add(size) != end => {
                let claimed = open.head.body_at.saturating_add(size);
                self.fault("R6", open.head.at, format!("a cluster ends at byte {end}, its size says {claimed}"));
            }
            None if self.state == State::Closed || !is_last => {
                self.fault("R6", open.head.at, "a cluster has no size".into());
            }
            _ => {}
        }
        if open.blocks == 0 {
            self.fault("R11", open.head.at, "a cluster holds no block".into());
        }
        if end - open.head.at > MAX_CLUSTER_LEN {
            self.fault("R11", open.head.at, format!("a cluster is {} bytes long", end - open.head.at));
        }
    }

    fn block(&mut self, block: &Block) {
        let track = |wanted: Option<&Track>| wanted.is_some_and(|track| track.number == block.track);
        let kind = match () {
            () if track(self.video) => Kind::Video,
            () if track(self.audio) => Kind::Audio,
            () => {
                return self.fault("R1", block.at, format!("a block of track {}, which is not declared", block.track));
            }
        };
        if block.lacing != 0 {
            self.fault("R2", block.at, "a block is laced".into());
        }
        if block.in_group && !(kind == Kind::Video && block.is_fill() && block.keyframe) {
            self.fault("R2", block.at, "a BlockGroup that is no fill keyframe".into());
        }
        self.order(kind, block);
        let is_first = self.cluster.is_some_and(|open| open.blocks == 0);
        let is_first_video = kind == Kind::Video && self.cluster.is_some_and(|open| !open.has_video);
        if let Some(open) = &mut self.cluster {
            open.blocks += 1;
            open.has_video |= kind == Kind::Video;
            open.last_end = block.end;
        }
        if is_first {
            self.first_of_cluster(kind, block);
        }
        match kind {
            Kind::Video => self.video(block, is_first, is_first_video),
            Kind::Audio => self.audio(block),
        }
        let time_ms = block.time_ms.max(0) as u64;
        let (keyframe, fill) = (block.keyframe, block.is_fill());
        let counted = Counted { kind, time_ms, keyframe, fill, head: block.head(), len: block.data_len, size: None };
        self.tally.add(counted, self.codec);
        self.last_ms = self.last_ms.max(block.time_ms);
    }

    fn order(&mut self, kind: Kind, block: &Block) {
        let track = *self.tally.track(kind);
        if block.relative_ms < 0 {
            self.fault("R10", block.at, format!("a block {} ms before its cluster", -i32::from(block.relative_ms)));
        }
        if block.relative_ms > MAX_CLUSTER_MS {
            self.fault("R11", block.at, format!("a block {} ms after the begin of its cluster", block.relative_ms));
        }
        if block.time_ms < self.last_ms {
            let (time, last) = (block.time_ms, self.last_ms);
            self.fault("R10", block.at, format!("time goes back from {last} to {time} ms"));
        } else if track.blocks > 0 && block.time_ms <= track.last_ms as i64 {
            self.fault("R10", block.at, format!("two {kind} blocks at {} ms", block.time_ms));
        }
    }

    fn first_of_cluster(&mut self, kind: Kind, block: &Block) {
        let Some(at) = self.cluster.map(|open| open.head.at) else { return };
        let is_start = kind == Kind::Audio || block.keyframe;
        if self.tally.video.blocks > 0 && !(kind == Kind::Video && block.keyframe) {
            self.said.forced_clusters += 1;
        }
        while let Some(cue) = self.cues.next_if(|cue| cue.cluster_at == at) {
            if !is_start || i64::try_from(cue.time_ms) != Ok(block.time_ms) || u64::from(cue.track) != block.track {
                let (track, time_ms) = (cue.track, cue.time_ms);
                self.fault("R6", at, format!("the cue point of track {track} at {time_ms} ms points at another block"));
            }
        }
    }

    fn video(&mut self, block: &Block, is_first: bool, is_first_video: bool) {
        if self.tally.video.blocks == 0 && !block.keyframe {
            self.fault("R15", block.at, "the first video block is no keyframe".into());
        }
        if block.keyframe && !block.is_fill() && !is_first {
            let what = if is_first_video { "after audio" } else { "inside of a cluster" };
            self.fault("R11", block.at, format!("a keyframe at {} ms stands {what}", block.time_ms));
        }
        let size = if block.keyframe && !block.is_fill() { self.codec.picture_size(block.head()) } else { None };
        if block.keyframe && !block.is_fill() && size.is_none() && self.codec != VideoCodec::Av1 {
            self.fault(
                "R15",
                block.at,
                format!("the block at {} ms is marked as a keyframe and is none", block.time_ms),
            );
        }
        let facts = self.said.video.get_or_insert_default();
        if let Some(size) = size
            && facts.sizes.last() != Some(&size)
            && facts.sizes.len() < MAX_SIZES
        {
            facts.sizes.push(size);
        }
    }

    fn audio(&mut self, block: &Block) {
        let facts = self.said.audio.get_or_insert_default();
        let data = usize::try_from(block.data_len).ok().and_then(|len| block.head().get(..len));
        facts.silent += u64::from(data.is_some_and(super::codec::is_silence));
        let start_us = block.time_ms.max(0) as u64 * 1000;
        let length_us = opus_duration_us(block.head());
        if length_us == 0 {
            self.fault("R14", block.at, format!("the block at {} ms is no Opus packet", block.time_ms));
        }
        // What is left out of sound that ran ahead of its times is no hole.
        let hole_us = self.audio_end_us.map_or(0, |end| start_us.saturating_sub(end.max(self.played_end_us)));
        if hole_us >= HOLE_US {
            self.fault(
                "R14",
                block.at,
                format!("{} ms of sound are missing before {} ms", hole_us / 1000, block.time_ms),
            );
        }
        let played_us = if self.audio_end_us.is_some() { self.played_end_us } else { start_us };
        if played_us.abs_diff(start_us) > OUT_OF_STEP_US && !std::mem::replace(&mut self.is_out_of_step, true) {
            let off_ms = (played_us as i64 - start_us as i64) / 1000;
            let text = format!("played without its times, sound is {off_ms} ms late at {} ms", block.time_ms);
            self.fault("R14", block.at, text);
        }
        self.played_end_us = played_us + length_us;
        self.audio_end_us = Some(start_us + length_us);
    }

    fn end(&mut self) {
        while self.cues.next().is_some() {
            self.fault("R6", INDEX_AT, "a cue point is at no cluster".into());
        }
        let tally = self.tally;
        self.said.duration_ms = tally.duration_ms();
        if tally.blocks() == 0 && self.front.first_cluster_at.is_some() {
            self.fault("R9", None, "there is no block".into());
        }
        for (track, kind) in [(self.video, Kind::Video), (self.audio, Kind::Audio)] {
            if track.is_some() && tally.track(kind).blocks == 0 && self.state == State::Closed {
                self.fault("R1", TRACKS_AT, format!("a declared {kind} track without a block"));
            }
        }
        if let (State::Closed, Some(duration)) = (self.state, self.front.duration) {
            let end_ms = tally.duration_us() as f64 / 1000.0;
            // NaN is wrong too.
            let is_right = (duration - end_ms).abs() <= 1.0;
            if !is_right {
                self.fault(
                    "R13",
                    DURATION_AT,
                    format!("Duration says {duration} ms, the last block ends at {end_ms} ms"),
                );
            }
        }
        if let (Some(track), Some((width, height))) = (self.video, tally.size)
            && track.size != Some((width.into(), height.into()))
        {
            let declared = track.size.map(|(width, height)| format!("{width}×{height}")).unwrap_or_default();
            self.fault("R16", track.at, format!("Tracks says {declared}, the first keyframe is {width}×{height}"));
        }
        if let Some(track) = self.video {
            let facts = self.said.video.get_or_insert_default();
            facts.codec = self.codec.name().into();
            (facts.frames, facts.fills) = (tally.video.blocks, tally.video.fills);
            facts.keyframes = tally.video.keyframes;
            if let (VideoCodec::Av1, Some((width, height))) = (self.codec, track.size) {
                facts.sizes = vec![(width.min(0xFFFF) as u16, height.min(0xFFFF) as u16)];
            }
        }
        if self.audio.is_some() {
            let facts = self.said.audio.get_or_insert_default();
            facts.codec = "opus".into();
            facts.packets = tally.audio.blocks;
        }
    }
}

const FAULTS_PER_RULE: usize = 20;
const MAX_SIZES: usize = 100;
/// The rule is 20 s; one block may begin just before.
const MAX_CLUSTER_MS: i16 = 20_000;
/// 8 MiB, and one block that begins before.
const MAX_CLUSTER_LEN: u64 = 24 * 1024 * 1024;
/// The shortest packet that browsers send is 10 ms; times are rounded to 1 ms and follow a clock that is corrected.
const HOLE_US: u64 = 10_000;
/// The rule is 40 ms; each time is rounded to 1 ms.
const OUT_OF_STEP_US: u64 = 42_000;
const PROGRESS_STEP: u64 = 8 * 1024 * 1024;
