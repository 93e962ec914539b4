//! From the items of a tap to the blocks of one file: order, clock and timeline of both tracks, and the wish for keyframes.
//! Reads no clock and no disk, so a whole call can be run through it in virtual time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use reelay_signaling::Kind;

use super::clock::{ClockCounters, SenderClock};
use super::cuts::Cuts;
use super::keyframes::KeyframePolicy;
use super::lane::{Block, Flow};
use super::manifest::Gap;
use super::timeline::{Shape, Timeline, TimelineCounters};
use crate::media::{SenderReport, TapItem, TapPacket};
use crate::rtp::{
    Codec, Frame, MediaTime, NtpTime, Order, OrderCounters, OrderLimits, Packet, Released, RtpTime, opus,
};

/// What goes into one file.
#[derive(Debug, Clone)]
pub struct Feed {
    shape: Shape,
    limits: OrderLimits,
    /// Server time 0.
    zero: Instant,
    cuts: Cuts,
    clock: SenderClock,
    tracks: [Track; 2],
    timeline: Timeline,
    keyframes: KeyframePolicy,
    counters: FeedCounters,
    first_arrival_us: Option<i64>,
    /// Since when silence has taken the place of each packet of sound.
    displaced_us: Option<i64>,
}

/// Numbers of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedCounters {
    /// Of the order of audio packets, all SSRCs.
    pub audio: OrderCounters,
    /// Of the order of video packets, all SSRCs.
    pub video: OrderCounters,
    /// Packets that came.
    pub packets: u64,
    /// Packets that the queue to the recorder could not hold.
    pub overflow: u64,
    /// Times that a track went on with another SSRC.
    pub ssrc_changes: u64,
    /// Times that video stood still because a keyframe was needed.
    pub freezes: u64,
    /// How long in all.
    pub freeze_us: i64,
    /// The longest.
    pub freeze_max_us: i64,
}

#[derive(Debug, Clone, Default)]
struct Track {
    stream: Option<Stream>,
    /// The SSRC before, for its stragglers.
    previous: Option<(u32, i64)>,
    returning: u32,
    /// In order, and not placed in time yet.
    frames: VecDeque<Waiting>,
    /// Where the last placed packet ended, by RTP time; `None` where the next has nothing to do with it.
    ended_at: Option<RtpTime>,
    is_muted: bool,
    is_off: bool,
    last_packet_us: Option<i64>,
    /// Frames were lost that the next ones needed.
    is_broken: bool,
    /// When the last placed frame was captured.
    placed: Option<MediaTime>,
    /// Of streams that are over.
    past: OrderCounters,
}

#[derive(Debug, Clone)]
struct Waiting {
    frame: Frame,
    /// The first one after frames were lost that others needed.
    ends_freeze: bool,
}

#[derive(Debug, Clone)]
struct Stream {
    ssrc: u32,
    epoch: u32,
    order: Order,
}

/// Why an item cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsNewFile;

impl Feed {
    /// A feed for a file of this shape. `zero` is server time 0.
    pub fn new(shape: Shape, wait: Duration, zero: Instant, cuts: Cuts) -> Self {
        Self {
            shape,
            limits: OrderLimits { wait, ..OrderLimits::default() },
            zero,
            cuts,
            clock: SenderClock::default(),
            tracks: Default::default(),
            timeline: Timeline::new(shape),
            keyframes: KeyframePolicy::default(),
            counters: FeedCounters::default(),
            first_arrival_us: None,
            displaced_us: None,
        }
    }

    /// Takes what came through the tap, and the payload out of it.
    ///
    /// # Errors
    /// When a packet has a codec that the file does not declare; the item is as it was then.
    pub fn on_item(&mut self, now: Instant, item: &mut TapItem) -> Result<(), NeedsNewFile> {
        match item {
            TapItem::Packet(packet) => return self.on_packet(packet),
            TapItem::Report(report) => self.on_report(*report),
            TapItem::Overflow { packets } => {
                self.counters.overflow += *packets;
                self.timeline.require_keyframe();
            }
            TapItem::Ended(kind) => self.on_end(now, *kind),
        }
        Ok(())
    }

    /// Time passes.
    pub fn on_time(&mut self, now: Instant) {
        let now_us = self.server_us(now);
        for kind in [Kind::Audio, Kind::Video] {
            if let Some(stream) = &mut self.tracks[kind as usize].stream {
                stream.order.on_timeout(now);
            }
            self.collect(kind, now_us);
            self.place(kind, now_us, Placing::WhenReady);
            self.watch(kind, now_us);
        }
        let unanswered = self.keyframes.is_unanswered(now_us);
        self.timeline.on_time(self.cuts.floor(now_us), unanswered);
    }

    /// The next block for the file.
    pub fn poll(&mut self, now: Instant) -> Option<Block> {
        let now_us = self.server_us(now);
        self.timeline.poll(self.cuts.floor(now_us))
    }

    /// At the end: releases everything that is held. Call [`drain`](Self::drain) then.
    pub fn finish(&mut self, now: Instant) {
        for kind in [Kind::Audio, Kind::Video] {
            self.retire(now, kind);
        }
    }

    /// At the end: the next block.
    pub fn drain(&mut self) -> Option<Block> {
        self.timeline.drain()
    }

    /// True when the publisher should be asked for a keyframe now.
    pub fn wants_keyframe(&mut self, now: Instant) -> bool {
        let now_us = self.server_us(now);
        let track = &self.tracks[Kind::Video as usize];
        let (Some(stream), Some(last)) = (&track.stream, track.last_packet_us) else { return false };
        if self.cuts.is_paused() || track.is_off {
            return false;
        }
        let is_silent = now_us - last > SILENT_US;
        if is_silent && (track.is_muted || now_us - last > GONE_US) {
            return false;
        }
        // One that waits for its place in time will do.
        let is_held = stream.order.has_keyframe() || track.frames.iter().any(|held| held.frame.is_keyframe);
        let is_needed = stream.order.needs_keyframe() || (self.timeline.needs_keyframe() && !is_held);
        let needed = is_needed || is_silent;
        self.keyframes.ask(now_us, needed)
    }

    /// Has a track of this codec in the file. False when the file has begun without.
    pub fn declare(&mut self, codec: Codec) -> bool {
        let shape = match codec.kind() {
            Kind::Audio => Shape { audio: true, ..self.shape },
            Kind::Video => Shape { video: Some(codec), ..self.shape },
        };
        let is_possible = shape == self.shape || self.timeline.declare(shape);
        if is_possible {
            self.shape = shape;
        }
        is_possible
    }

    /// Cuts, or goes on: the same instant for all files.
    pub fn set_cuts(&mut self, cuts: Cuts) {
        self.cuts = cuts;
    }

    /// The track was switched off or on.
    pub fn set_muted(&mut self, kind: Kind, is_muted: bool) {
        self.tracks[kind as usize].is_muted = is_muted;
    }

    /// Blocks could not be written and are gone: video goes on with a keyframe.
    pub fn require_keyframe(&mut self) {
        self.timeline.require_keyframe();
    }

    /// The tap was taken off, because the person wants so.
    pub fn withdraw(&mut self, now: Instant) {
        for kind in [Kind::Audio, Kind::Video] {
            self.retire(now, kind);
            self.tracks[kind as usize].is_off = true;
            self.timeline.set_flow(kind, Flow::Off, "consent");
        }
    }

    /// Time 0 of the file, once its first block is known.
    pub fn base(&self) -> Option<MediaTime> {
        self.timeline.base()
    }

    /// When the first packet came.
    pub fn first_arrival_us(&self) -> Option<i64> {
        self.first_arrival_us
    }

    /// What the file declares.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Holes in time of the file.
    pub fn gaps(&self) -> Vec<Gap> {
        self.timeline.gaps()
    }

    /// Numbers of the order and the way here.
    pub fn counters(&self) -> FeedCounters {
        let sum = |kind: Kind| {
            let track = &self.tracks[kind as usize];
            let now = track.stream.as_ref().map(|stream| stream.order.counters()).unwrap_or_default();
            track.past.plus(now)
        };
        FeedCounters { audio: sum(Kind::Audio), video: sum(Kind::Video), ..self.counters }
    }

    /// Numbers of the clock.
    pub fn clock(&self) -> ClockCounters {
        self.clock.counters()
    }

    /// Numbers of the timeline.
    pub fn timeline(&self) -> &TimelineCounters {
        self.timeline.counters()
    }

    /// True when sender reports place both tracks.
    pub fn is_by_reports(&self) -> bool {
        self.clock.is_by_reports()
    }

    /// Keyframes that were asked for.
    pub fn keyframe_requests(&self) -> u64 {
        self.keyframes.requests
    }

    fn on_packet(&mut self, packet: &mut TapPacket) -> Result<(), NeedsNewFile> {
        let kind = packet.codec.kind();
        let is_declared = match kind {
            Kind::Audio => self.shape.audio,
            Kind::Video => self.shape.video == Some(packet.codec),
        };
        if !is_declared && !self.declare(packet.codec) {
            return Err(NeedsNewFile);
        }
        let arrival_us = self.server_us(packet.arrival);
        self.counters.packets += 1;
        self.first_arrival_us.get_or_insert(arrival_us);
        if !self.follow(kind, packet, arrival_us) {
            return Ok(());
        }
        let hz = packet.codec.clock_hz();
        let arrival = packet.arrival;
        let track = &mut self.tracks[kind as usize];
        let last = track.last_packet_us.replace(arrival_us);
        if kind == Kind::Video && last.is_some_and(|last| arrival_us - last > SILENT_US) {
            self.keyframes.on_resumed();
        }
        track.is_off = false;
        let Some(stream) = &mut track.stream else { return Ok(()) };
        let time = stream.order.push(Packet {
            seq: packet.seq,
            rtp_time: packet.rtp_time,
            marker: packet.marker,
            arrival,
            level: packet.audio_level,
            payload: std::mem::take(&mut packet.payload),
        });
        let is_new_epoch = stream.epoch != stream.order.epoch();
        stream.epoch = stream.order.epoch();
        self.collect(kind, arrival_us);
        if is_new_epoch {
            self.place(kind, arrival_us, Placing::BeforeLastEpoch);
            self.clock.begin(kind, arrival_us);
            self.tracks[kind as usize].ended_at = None;
        }
        if let Some(time) = time {
            self.clock.on_packet(kind, time.to_us(hz), arrival_us);
        }
        self.place(kind, arrival_us, Placing::WhenReady);
        self.watch(kind, arrival_us);
        Ok(())
    }

    /// Goes over to another SSRC when it is time. False when the packet is a straggler of the one before.
    fn follow(&mut self, kind: Kind, packet: &TapPacket, now_us: i64) -> bool {
        let track = &mut self.tracks[kind as usize];
        let Some(current) = track.stream.as_ref().map(|stream| stream.ssrc) else {
            self.start(kind, packet, now_us);
            return true;
        };
        if current == packet.ssrc {
            track.returning = 0;
            return true;
        }
        if let Some((previous, since_us)) = track.previous
            && previous == packet.ssrc
            && now_us - since_us < STRAGGLERS_US
        {
            track.returning += 1;
            if track.returning < RETURN_RUN {
                return false;
            }
        }
        track.returning = 0;
        self.counters.ssrc_changes += 1;
        self.retire(packet.arrival, kind);
        self.tracks[kind as usize].previous = Some((current, now_us));
        self.start(kind, packet, now_us);
        true
    }

    fn start(&mut self, kind: Kind, packet: &TapPacket, now_us: i64) {
        let order = Order::new(packet.codec, self.limits);
        let track = &mut self.tracks[kind as usize];
        track.stream = Some(Stream { ssrc: packet.ssrc, epoch: 0, order });
        track.ended_at = None;
        self.clock.begin(kind, now_us);
        self.timeline.set_flow(kind, Flow::Held, "silence");
    }

    fn on_report(&mut self, report: SenderReport) {
        let arrival_us = self.server_us(report.arrival);
        let Some(stream) = &self.tracks[report.kind as usize].stream else { return };
        if stream.ssrc != report.ssrc {
            return;
        }
        if let Some(time) = stream.order.time_of(report.rtp_time) {
            let rtp_us = time.to_us(stream.order.codec().clock_hz());
            self.clock.on_report(report.kind, rtp_us, NtpTime(report.ntp), arrival_us);
        }
    }

    fn on_end(&mut self, now: Instant, kind: Kind) {
        self.retire(now, kind);
        self.tracks[kind as usize].is_off = true;
        self.timeline.set_flow(kind, Flow::Off, "ended");
    }

    /// The stream is over: everything that is held comes out.
    fn retire(&mut self, now: Instant, kind: Kind) {
        let now_us = self.server_us(now);
        let track = &mut self.tracks[kind as usize];
        let Some(stream) = &mut track.stream else { return };
        stream.order.flush(now);
        self.collect(kind, now_us);
        self.place(kind, now_us, Placing::All);
        let track = &mut self.tracks[kind as usize];
        if let Some(stream) = track.stream.take() {
            track.past = track.past.plus(stream.order.counters());
        }
        track.ended_at = None;
    }

    fn collect(&mut self, kind: Kind, now_us: i64) {
        let track = &mut self.tracks[kind as usize];
        let Some(stream) = &mut track.stream else { return };
        while let Some(released) = stream.order.poll() {
            match released {
                Released::Frame(frame) => {
                    if kind == Kind::Video {
                        self.keyframes.on_frame(now_us, frame.data.len(), frame.is_keyframe);
                    }
                    let ends_freeze = std::mem::take(&mut track.is_broken);
                    track.frames.push_back(Waiting { frame, ends_freeze });
                }
                Released::Broken => {
                    self.counters.freezes += 1;
                    track.is_broken = true;
                }
            }
        }
    }

    fn place(&mut self, kind: Kind, now_us: i64, placing: Placing) {
        if placing == Placing::WhenReady && !self.clock.is_ready(kind, now_us) {
            return;
        }
        let epoch = self.tracks[kind as usize].stream.as_ref().map_or(0, |stream| stream.epoch);
        loop {
            let track = &mut self.tracks[kind as usize];
            let is_next = |held: &mut Waiting| placing != Placing::BeforeLastEpoch || held.frame.epoch != epoch;
            let Some(Waiting { frame, ends_freeze }) = track.frames.pop_front_if(is_next) else { return };
            let hz = if kind == Kind::Audio { opus::CLOCK_HZ } else { Codec::Vp8.clock_hz() };
            // Nothing is captured after it arrived or arrives after minutes; such a clock is being corrected, or wrong.
            let at_us = self.clock.map(kind, frame.time.to_us(hz)).clamp(now_us - BEHIND_US, now_us + AHEAD_US);
            let Some(at) = self.cuts.map(at_us) else {
                track.ended_at = None;
                self.timeline.require_keyframe_of(kind);
                continue;
            };
            let before = track.placed.replace(at);
            if kind == Kind::Video {
                if let Some(before) = before.filter(|_| ends_freeze) {
                    self.counters.freeze_us += (at - before).max(0);
                    self.counters.freeze_max_us = self.counters.freeze_max_us.max(at - before);
                }
                self.timeline.push_video(at, frame);
                continue;
            }
            let hole = track.ended_at.map(|ended| RtpTime(frame.time.0 - ended.0).to_us(hz));
            track.ended_at = Some(RtpTime(frame.time.0 + i64::from(frame.samples)));
            let has_place = self.timeline.push_audio(at, frame, hole);
            if has_place {
                self.displaced_us = None;
            } else if now_us - *self.displaced_us.get_or_insert(now_us) >= DISPLACED_US
                && let Some(since_us) = self.displaced_us.take()
            {
                self.clock.fell_behind(kind, since_us);
            }
        }
    }

    /// Tells the timeline how long others have to wait for this track.
    fn watch(&mut self, kind: Kind, now_us: i64) {
        let track = &self.tracks[kind as usize];
        let Some(stream) = &track.stream else { return };
        let silent_us = track.last_packet_us.map_or(i64::MAX, |last| now_us - last);
        let flow = if stream.order.is_waiting() || !track.frames.is_empty() {
            Flow::Held
        } else if track.is_muted && silent_us > MUTED_SILENT_US {
            Flow::Off
        } else {
            Flow::Live
        };
        self.timeline.set_flow(kind, flow, if track.is_muted { "muted" } else { "silence" });
    }

    fn server_us(&self, at: Instant) -> i64 {
        match at.checked_duration_since(self.zero) {
            Some(after) => after.as_micros() as i64,
            None => -(self.zero.duration_since(at).as_micros() as i64),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placing {
    WhenReady,
    BeforeLastEpoch,
    All,
}

/// No video packet for so long: a keyframe request tells whether somebody is there.
const SILENT_US: i64 = 1_500_000;
/// After so long without an answer nobody is asked any more.
const GONE_US: i64 = 20_000_000;
const MUTED_SILENT_US: i64 = 300_000;
const AHEAD_US: i64 = 3_000_000;
const BEHIND_US: i64 = 60_000_000;
const STRAGGLERS_US: i64 = 2_000_000;
/// Packets of sound that have no place for so long are no stragglers.
const DISPLACED_US: i64 = 400_000;
const RETURN_RUN: u32 = 8;

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
