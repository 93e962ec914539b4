//! Puts the packets of one SSRC in order, waits for what is missing, and gives out whole frames.
//! A frame comes out whole or not at all; after a loss that could show, the next video frame is a keyframe.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::{Buf, Bytes};

use super::assemble::{self, Shape};
use super::chain::{Chain, Links};
use super::frame::{Frame, OrderCounters, OrderLimits, Packet, Released};
use super::{Codec, RtpTime, RtpUnwrapper, SeqUnwrapper, opus};

/// Order and frames of one SSRC.
#[derive(Debug, Clone)]
pub struct Order {
    codec: Codec,
    limits: OrderLimits,
    seqs: SeqUnwrapper,
    times: RtpUnwrapper,
    waiting: BTreeMap<i64, Waiting>,
    bytes: usize,
    holes: Vec<Hole>,
    next: Option<i64>,
    highest: i64,
    first_arrival: Option<Instant>,
    latest: Option<(RtpTime, Instant)>,
    strays: u16,
    last_stray: u16,
    epoch: u32,
    partial: Option<Partial>,
    last_time: Option<RtpTime>,
    chain: Chain,
    lost_before: u64,
    out: VecDeque<Released>,
    counters: OrderCounters,
}

#[derive(Debug, Clone)]
struct Waiting {
    time: RtpTime,
    level: Option<u8>,
    marker: bool,
    starts_keyframe: bool,
    payload: Bytes,
}

#[derive(Debug, Clone)]
struct Hole {
    from: i64,
    to: i64,
    noticed: Instant,
}

#[derive(Debug, Clone)]
struct Partial {
    time: RtpTime,
    links: Links,
    is_keyframe: bool,
    bytes: usize,
    parts: Vec<Bytes>,
}

impl Order {
    /// Nothing received yet; the first video frame out will be a keyframe.
    pub fn new(codec: Codec, limits: OrderLimits) -> Self {
        Self {
            codec,
            limits,
            seqs: SeqUnwrapper::default(),
            times: RtpUnwrapper::default(),
            waiting: BTreeMap::new(),
            bytes: 0,
            holes: Vec::new(),
            next: None,
            highest: i64::MIN,
            first_arrival: None,
            latest: None,
            strays: 0,
            last_stray: 0,
            epoch: 0,
            partial: None,
            last_time: None,
            chain: Chain::broken(),
            lost_before: 0,
            out: VecDeque::new(),
            counters: OrderCounters::default(),
        }
    }

    /// Takes a packet. Gives its extended time, unless it is dropped (duplicate, late, stray).
    pub fn push(&mut self, packet: Packet) -> Option<RtpTime> {
        let mut seq = self.seqs.unwrap(packet.seq);
        if self.next.is_some_and(|next| seq < next) {
            if !self.is_restart(seq, packet.seq) {
                return None;
            }
            self.restart(packet.arrival);
            seq = self.seqs.unwrap(packet.seq);
        }
        self.strays = 0;
        if self.waiting.contains_key(&seq) {
            self.counters.duplicates += 1;
            return None;
        }
        if seq > self.highest && self.is_new_time_base(&packet) {
            self.begin_epoch(seq, packet.arrival);
        }
        self.first_arrival.get_or_insert(packet.arrival);
        let is_latest = seq > self.highest;
        self.note_holes(seq, packet.arrival);
        let time = self.times.unwrap(packet.rtp_time);
        if is_latest {
            self.latest = Some((time, packet.arrival));
        }
        let (marker, level) = (packet.marker, packet.level);
        let mut waiting = Waiting { time, level, marker, starts_keyframe: false, payload: packet.payload };
        if self.next == Some(seq) && self.waiting.is_empty() {
            self.next = Some(seq + 1);
            self.take(waiting);
            self.forget_holes();
            return Some(time);
        }
        waiting.starts_keyframe = self.codec != Codec::Opus
            && assemble::shape(self.codec, &waiting.payload, marker, false).is_some_and(|shape| shape.is_keyframe);
        self.bytes += waiting.payload.len() + PACKET_OVERHEAD;
        self.waiting.insert(seq, waiting);
        self.advance(packet.arrival, false);
        Some(time)
    }

    /// Gives up what has been waited for long enough.
    pub fn on_timeout(&mut self, now: Instant) {
        self.advance(now, false);
    }

    /// Gives up all holes and releases everything: the stream has ended, or another one takes over.
    pub fn flush(&mut self, now: Instant) {
        self.advance(now, true);
        if let Some(partial) = self.partial.take() {
            // Its last packet never came.
            self.drop_torn(&partial);
        }
    }

    /// The next thing in order.
    pub fn poll(&mut self) -> Option<Released> {
        self.out.pop_front()
    }

    /// Some packets wait for others.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Nothing comes out before a keyframe, and none is on its way.
    pub fn needs_keyframe(&self) -> bool {
        self.is_broken() && !self.has_keyframe()
    }

    /// A keyframe, or the beginning of one, is held.
    pub fn has_keyframe(&self) -> bool {
        let is_begun = self.partial.as_ref().is_some_and(|partial| partial.is_keyframe);
        is_begun || self.waiting.values().any(|packet| packet.starts_keyframe)
    }

    /// What this SSRC carries.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The extended time that `stamp` means, by what was received so far.
    pub fn time_of(&self, stamp: u32) -> Option<RtpTime> {
        (!self.times.is_new()).then(|| self.times.peek(stamp))
    }

    /// Counts restarts of the numbers.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What happened so far.
    pub fn counters(&self) -> OrderCounters {
        self.counters
    }

    /// A packet from long ago is a stray, several of them in a row are a sender that began anew.
    fn is_restart(&mut self, seq: i64, raw: u16) -> bool {
        let next = self.next.unwrap_or(seq);
        if next - seq < RESTART_DISTANCE {
            // Within reach it is a duplicate of what was released, or came after it was given up.
            let was_given_up = self.holes.iter().any(|hole| (hole.from..hole.to).contains(&seq));
            if was_given_up {
                self.counters.late += 1;
            } else {
                self.counters.duplicates += 1;
            }
            return false;
        }
        let is_run = self.strays > 0 && raw == self.last_stray.wrapping_add(1);
        self.strays = if is_run { self.strays + 1 } else { 1 };
        self.last_stray = raw;
        self.counters.late += 1;
        self.strays >= RESTART_RUN
    }

    fn restart(&mut self, now: Instant) {
        self.flush(now);
        self.seqs = SeqUnwrapper::default();
        self.times = RtpUnwrapper::default();
        self.holes.clear();
        self.next = None;
        self.highest = i64::MIN;
        self.first_arrival = None;
        self.latest = None;
        self.last_time = None;
        self.epoch += 1;
        self.counters.restarts += 1;
        self.break_chain();
    }

    /// The timestamps go on elsewhere: back, or further than time has.
    fn is_new_time_base(&self, packet: &Packet) -> bool {
        let Some((time, arrival)) = self.latest else { return false };
        let moved_us = RtpTime(self.times.peek(packet.rtp_time).0 - time.0).to_us(self.codec.clock_hz());
        let passed = packet.arrival.saturating_duration_since(arrival).as_micros() as i64;
        moved_us < -BACK_US || moved_us - passed > AHEAD_US
    }

    /// What follows has another time; the frames may still hang together.
    fn begin_epoch(&mut self, seq: i64, now: Instant) {
        self.flush(now);
        if let Some(next) = self.next.filter(|next| *next < seq) {
            self.counters.missing += (seq - next) as u64;
            self.skip_to(next, seq);
        }
        self.highest = self.highest.max(seq - 1);
        self.times = RtpUnwrapper::default();
        self.last_time = None;
        self.epoch += 1;
        self.counters.restarts += 1;
    }

    fn note_holes(&mut self, seq: i64, arrival: Instant) {
        if self.highest == i64::MIN {
            self.highest = seq;
        } else if seq > self.highest {
            if seq > self.highest + 1 {
                self.counters.missing += (seq - self.highest - 1) as u64;
                self.holes.push(Hole { from: self.highest + 1, to: seq, noticed: arrival });
                if self.holes.len() > MAX_HOLES {
                    self.holes.remove(0);
                }
            }
            self.highest = seq;
        } else {
            self.counters.repaired += 1;
        }
    }

    fn advance(&mut self, now: Instant, is_end: bool) {
        if self.next.is_none() {
            let is_held = self.first_arrival.is_none_or(|first| now < first + self.limits.origin_hold);
            if (is_held && !is_end && self.bytes <= self.limits.max_bytes) || self.waiting.is_empty() {
                return;
            }
            self.next = self.waiting.keys().next().copied();
        }
        while let Some(next) = self.next {
            if let Some(packet) = self.waiting.remove(&next) {
                self.bytes -= packet.payload.len() + PACKET_OVERHEAD;
                self.next = Some(next + 1);
                self.take(packet);
                continue;
            }
            let Some(target) = self.end_of_hole(next, now, is_end) else { break };
            self.skip_to(next, target);
        }
        self.forget_holes();
    }

    /// They are kept for a while behind us, to tell late packets from duplicates.
    fn forget_holes(&mut self) {
        if let Some(next) = self.next {
            self.holes.retain(|hole| hole.to > next - RESTART_DISTANCE);
        }
    }

    /// Where to go on when the hole at `next` is not waited for any longer.
    fn end_of_hole(&self, next: i64, now: Instant, is_end: bool) -> Option<i64> {
        let (&first, _) = self.waiting.first_key_value()?;
        let is_within_keyframe = self.partial.as_ref().is_some_and(|partial| partial.is_keyframe);
        if self.is_broken() && !is_within_keyframe {
            // What comes before a keyframe cannot be shown anyway.
            let keyframe = self.waiting.iter().find(|(_, packet)| packet.starts_keyframe);
            if let Some((&seq, _)) = keyframe {
                return Some(seq);
            }
        }
        let noticed = self.holes.iter().find(|hole| (hole.from..hole.to).contains(&next)).map(|hole| hole.noticed);
        let is_over = noticed.is_none_or(|noticed| now >= noticed + self.limits.wait);
        (is_end || is_over || self.bytes > self.limits.max_bytes).then_some(first)
    }

    fn skip_to(&mut self, next: i64, target: i64) {
        let mut lost = (target - next) as u64;
        while let Some((&seq, _)) = self.waiting.first_key_value().filter(|(seq, _)| **seq < target) {
            if let Some(packet) = self.waiting.remove(&seq) {
                self.bytes -= packet.payload.len() + PACKET_OVERHEAD;
                lost -= 1;
                self.last_time = Some(packet.time);
            }
        }
        self.counters.lost += lost;
        self.lost_before += lost;
        self.next = Some(target);
        let torn = self.partial.take().map(|partial| partial.links);
        self.counters.skipped += u64::from(torn.is_some());
        self.chain.on_hole(lost, torn);
        // After a hole nobody knows whether the timestamp is new, so nothing but a marked start begins a frame.
        self.last_time = self.waiting.get(&target).map(|packet| packet.time);
    }

    fn take(&mut self, packet: Waiting) {
        if packet.payload.is_empty() {
            return;
        }
        if self.codec == Codec::Opus {
            return self.take_audio(packet);
        }
        let is_new_time = self.last_time.is_none_or(|last| last != packet.time);
        self.last_time = Some(packet.time);
        let Some(shape) = assemble::shape(self.codec, &packet.payload, packet.marker, is_new_time) else {
            self.counters.malformed += 1;
            return self.tear();
        };
        if shape.is_enhancement {
            return;
        }
        self.take_video(packet, shape);
    }

    fn take_audio(&mut self, packet: Waiting) {
        let Some(toc) = opus::toc(&packet.payload).filter(|_| opus::is_whole(&packet.payload)) else {
            self.counters.malformed += 1;
            return;
        };
        self.out.push_back(Released::Frame(Frame {
            time: packet.time,
            epoch: self.epoch,
            is_keyframe: true,
            size: None,
            samples: toc.samples,
            channels: toc.channels,
            level: packet.level,
            lost_before: std::mem::take(&mut self.lost_before),
            codec_private: None,
            data: packet.payload,
        }));
    }

    fn take_video(&mut self, packet: Waiting, shape: Shape) {
        if let Some(partial) = self.partial.take_if(|partial| shape.is_start || partial.time != packet.time) {
            // All its packets are there although none was marked as the last, if a frame begins here.
            if shape.is_start && partial.time != packet.time {
                self.finish(partial);
            } else {
                self.drop_torn(&partial);
            }
        }
        if shape.is_start {
            let (time, links, is_keyframe) = (packet.time, shape.links, shape.is_keyframe);
            self.partial = Some(Partial { time, links, is_keyframe, bytes: 0, parts: Vec::new() });
        }
        let Some(partial) = &mut self.partial else {
            // The middle of a frame whose start is not there.
            return self.tear();
        };
        partial.bytes += packet.payload.len();
        let mut part = packet.payload;
        part.advance(shape.offset.min(part.len()));
        partial.parts.push(part);
        if partial.bytes > MAX_FRAME_BYTES || partial.parts.len() > MAX_FRAME_PACKETS {
            return self.tear();
        }
        if shape.is_end
            && let Some(partial) = self.partial.take()
        {
            self.finish(partial);
        }
    }

    fn finish(&mut self, partial: Partial) {
        let Some(whole) = assemble::assemble(self.codec, &partial.parts) else {
            self.counters.malformed += 1;
            return self.drop_torn(&partial);
        };
        let links = partial.links;
        if whole.is_keyframe && (partial.is_keyframe || self.codec == Codec::Av1) {
            self.chain = Chain::restarted(links);
        } else if self.chain.is_broken || !self.chain.continues_with(links) {
            if !self.chain.is_broken && !self.chain.may_skip(links) {
                self.break_chain();
            }
            self.counters.skipped += 1;
            return;
        }
        self.out.push_back(Released::Frame(Frame {
            time: partial.time,
            epoch: self.epoch,
            is_keyframe: whole.is_keyframe,
            size: whole.size,
            samples: 0,
            channels: 0,
            level: None,
            lost_before: std::mem::take(&mut self.lost_before),
            codec_private: whole.codec_private,
            data: whole.data,
        }));
    }

    /// The flow does not fit together: a whole frame is missing for the next ones.
    fn tear(&mut self) {
        if self.partial.take().is_some() {
            self.counters.skipped += 1;
        }
        if !self.chain.in_doubt {
            self.break_chain();
        }
    }

    fn drop_torn(&mut self, partial: &Partial) {
        self.counters.skipped += 1;
        if !partial.links.is_droppable {
            self.break_chain();
        }
    }

    fn is_broken(&self) -> bool {
        self.codec != Codec::Opus && self.chain.is_broken
    }

    fn break_chain(&mut self) {
        if self.codec != Codec::Opus && !self.chain.is_broken {
            self.chain.is_broken = true;
            self.out.push_back(Released::Broken);
        }
    }
}

/// Timestamps of later packets are never earlier, but for a little disorder.
const BACK_US: i64 = 100_000;
const AHEAD_US: i64 = 2_500_000;
const PACKET_OVERHEAD: usize = 96;
const MAX_FRAME_BYTES: usize = 8 << 20;
const MAX_FRAME_PACKETS: usize = 16_384;
const MAX_HOLES: usize = 1024;
/// Packets further back than this are not late ones of the same sequence.
const RESTART_DISTANCE: i64 = 3_000;
const RESTART_RUN: u16 = 5;

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "layer_tests.rs"]
mod layer_tests;
