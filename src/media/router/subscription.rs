//! What one viewer gets of one track: which layer, under which numbers, and what has been repaired.

use std::time::{Duration, Instant};

use reelay_signaling::Kind;

use super::Downlink;
use super::track::{Layer, Track};
use crate::media::Codec;
use crate::media::cache::{CachedPacket, HEADER_BYTES};
use crate::media::flood::Flood;
use crate::media::rewrite::{Incoming, Outgoing, Rewriter, SourceKey};

/// What the client has agreed to receive in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotStream {
    /// The SSRC of the media.
    pub ssrc: u32,
    /// The SSRC of retransmissions.
    pub rtx_ssrc: u32,
    /// The codecs, with the payload type of each and of its retransmissions.
    pub codecs: Vec<SlotCodec>,
}

/// A codec that the client has agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotCodec {
    /// Which.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload type of its retransmissions (RFC 4588).
    pub rtx: Option<u8>,
}

pub(super) struct Subscription {
    pub leg: usize,
    pub track: usize,
    pub is_wanted: bool,
    stream: SlotStream,
    rewriter: Rewriter,
    /// Packets of this layer are sent, once one of its keyframes has come.
    target: Option<u8>,
    /// False until the first packet of the present source, and after a pause.
    is_flowing: bool,
    codec: Option<SlotCodec>,
    clock_hz: u32,
    /// Sent for the first time.
    pub packets: u32,
    octets: u32,
    reported: bool,
    rtx_seq: u16,
    repairs: Repairs,
    /// How often this viewer may ask for a keyframe: each one costs all the others quality.
    wishes: Flood,
}

/// How much may be retransmitted.
struct Repairs {
    tokens: f32,
    refilled: Instant,
    recent: [(u16, Option<Instant>); RECENT],
    at: usize,
}

impl Subscription {
    pub fn new(now: Instant, leg: usize, track: usize, kind: Kind, stream: SlotStream, seed: u16) -> Self {
        let clock_hz = if kind == Kind::Audio { Codec::Opus } else { Codec::Vp8 }.clock_hz();
        Self {
            leg,
            track,
            is_wanted: true,
            stream,
            rewriter: Rewriter::new(clock_hz, seed),
            target: None,
            is_flowing: false,
            codec: None,
            clock_hz,
            packets: 0,
            octets: 0,
            reported: false,
            rtx_seq: seed.wrapping_mul(31) & 0x3fff,
            wishes: Flood::new(now, MAX_WISHES_PER_SECOND),
            repairs: Repairs { tokens: REPAIR_BURST, refilled: now, recent: [(0, None); RECENT], at: 0 },
        }
    }

    /// Moves the slot to another track, or goes on after a pause: the next packet begins a new stretch.
    pub fn interrupt(&mut self) {
        self.is_flowing = false;
    }

    /// Which layer is wanted from now on. Returns true if a keyframe of it is needed first.
    pub fn aim(&mut self, track_index: usize, track: &Track) -> bool {
        self.target = track.highest_live();
        let Some(layer) = self.target.and_then(|target| track.layers.iter().find(|layer| layer.number == target))
        else {
            return false;
        };
        self.is_wanted && track.id.kind == Kind::Video && !self.follows(&layer.source(track_index))
    }

    fn follows(&self, source: &SourceKey) -> bool {
        self.is_flowing && self.rewriter.source().is_some_and(|(current, _)| current == *source)
    }

    /// Sends what waits in `layer`.
    pub fn forward<D: Downlink>(&mut self, track: &mut Track, layer: usize, now: Instant, down: &mut D) {
        let Some(codec) = self.codec(track.codec) else { return };
        let source = track.layers[layer].source(self.track);
        if !self.follows(&source) && !self.join(track, layer, source) {
            return;
        }
        let is_first = !self.is_flowing;
        self.is_flowing = true;
        let layer = &mut track.layers[layer];
        if is_first {
            // The keyframe's first packet may have been late: its followers are already in the cache.
            let start = self.rewriter.source().map_or(0, |(_, first)| first);
            for seq in start..layer.cache.range().end {
                self.send(seq, layer, codec, down);
            }
        } else {
            for at in 0..layer.pending.len() {
                self.send(layer.pending[at], layer, codec, down);
            }
        }
        if !self.reported || is_first {
            self.report(layer, now, down);
        }
    }

    /// Begins with the first keyframe that waits in the layer, if that layer is the one to have.
    fn join(&mut self, track: &Track, layer: usize, source: SourceKey) -> bool {
        let layer = &track.layers[layer];
        if self.target != Some(layer.number) {
            return false;
        }
        let needs_keyframe = track.id.kind == Kind::Video;
        let start = layer.pending.iter().find_map(|&seq| {
            let packet = layer.cache.get(seq)?;
            (packet.descriptor.starts_keyframe || !needs_keyframe).then(|| packet.incoming(seq))
        });
        let Some(start) = start else { return false };
        self.is_flowing = false;
        let elapsed = self.elapsed_to(track, layer, &start);
        self.rewriter.begin(source, &start, elapsed);
        true
    }

    fn elapsed_to(&self, track: &Track, layer: &Layer, start: &Incoming) -> Option<u32> {
        let (before, _) = self.rewriter.source().filter(|(source, _)| source.track == self.track)?;
        let old = track.layers.iter().find(|l| l.number == before.layer && l.life == before.life)?;
        let newest = self.rewriter.newest().and_then(|(time, _)| self.rewriter.unmap_time(time))?;
        track.elapsed(old, newest, layer, start.rtp_time)
    }

    fn codec(&mut self, codec: Codec) -> Option<SlotCodec> {
        if self.codec.is_none_or(|current| current.codec != codec) {
            self.codec = self.stream.codecs.iter().find(|offered| offered.codec == codec).copied();
        }
        self.codec
    }

    fn send<D: Downlink>(&mut self, seq: u64, layer: &mut Layer, codec: SlotCodec, down: &mut D) {
        let Some(packet) = layer.cache.get_mut(seq) else { return };
        let Some(out) = self.rewriter.next(&packet.incoming(seq)) else { return };
        write_packet(packet, &out, codec.payload_type, self.stream.ssrc);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(packet.payload().len() as u32);
        down.rtp(self.leg, Kind::Video, &packet.bytes);
    }

    /// Audio needs no cache: one packet, at once.
    pub fn forward_audio<D: Downlink>(
        &mut self,
        track: &Track,
        layer: usize,
        packet: &mut CachedPacket,
        seq: u64,
        now: Instant,
        down: &mut D,
    ) {
        let layer = &track.layers[layer];
        let source = layer.source(self.track);
        let incoming = packet.incoming(seq);
        let Some(codec) = self.codec(track.codec) else { return };
        let is_first = !self.follows(&source);
        if is_first {
            self.rewriter.begin(source, &incoming, None);
            self.is_flowing = true;
        }
        let Some(out) = self.rewriter.next(&incoming) else { return };
        write_packet(packet, &out, codec.payload_type, self.stream.ssrc);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(packet.payload().len() as u32);
        down.rtp(self.leg, Kind::Audio, &packet.bytes);
        if !self.reported || is_first {
            self.report(layer, now, down);
        }
    }

    /// Sends a sender report, once the publisher has sent its own.
    pub fn report<D: Downlink>(&mut self, layer: &Layer, now: Instant, down: &mut D) {
        let Some((ntp, rtp_time)) = layer.clock_at(now, self.clock_hz) else { return };
        let Some(rtp_time) = self.rewriter.map_time(rtp_time) else { return };
        self.reported = true;
        let (packets, octets) = (self.packets, self.octets);
        down.report(self.leg, &Report { ssrc: self.stream.ssrc, ntp, rtp_time, packets, octets });
    }

    /// The number of the layer that flows, if any does.
    pub fn flowing(&self) -> Option<SourceKey> {
        self.rewriter.source().filter(|_| self.is_flowing).map(|(source, _)| source)
    }

    /// Whether the viewer may ask for a keyframe now.
    pub fn may_wish(&mut self, now: Instant) -> bool {
        self.is_wanted && self.wishes.allow(now)
    }

    /// Sends again what the viewer has lost.
    pub fn repair<D: Downlink>(
        &mut self,
        now: Instant,
        seq: u16,
        track: &mut Track,
        scratch: &mut Vec<u8>,
        down: &mut D,
    ) -> Repair {
        let Some((source, inner)) = self.rewriter.find(seq) else { return Repair::Unknown };
        if source.track != self.track || !self.is_wanted {
            return Repair::Unknown;
        }
        let Some(codec) = self.codec else { return Repair::Unknown };
        let Some(rtx) = codec.rtx else { return Repair::Unknown };
        let packet = track.layer(source.layer).filter(|layer| layer.life == source.life);
        let Some(packet) = packet.and_then(|layer| layer.cache.get_mut(inner)) else { return Repair::Gone };
        let Some(out) = self.rewriter.again(source, &packet.incoming(inner)) else { return Repair::Gone };
        if !self.repairs.allow(now, seq) {
            return Repair::Limited;
        }
        write_packet(packet, &out, codec.payload_type, self.stream.ssrc);
        scratch.clear();
        scratch.extend_from_slice(&packet.bytes[..HEADER_BYTES]);
        scratch[0] = 0x80;
        scratch[1] = scratch[1] & 0x80 | rtx;
        scratch[2..4].copy_from_slice(&self.rtx_seq.to_be_bytes());
        scratch[8..12].copy_from_slice(&self.stream.rtx_ssrc.to_be_bytes());
        scratch.extend_from_slice(&(out.seq as u16).to_be_bytes());
        scratch.extend_from_slice(packet.payload());
        self.rtx_seq = self.rtx_seq.wrapping_add(1);
        down.rtp(self.leg, Kind::Video, scratch);
        Repair::Sent
    }
}

/// What became of a request for a lost packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    /// Sent again.
    Sent,
    /// No longer, or not yet, in the cache.
    Gone,
    /// Asked for too often.
    Limited,
    /// Not ours to repair.
    Unknown,
}

/// A sender report as it goes to a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The viewer's SSRC.
    pub ssrc: u32,
    /// NTP time in 32.32 fixed point.
    pub ntp: u64,
    /// The same instant in the viewer's RTP ticks.
    pub rtp_time: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
}

impl Repairs {
    fn allow(&mut self, now: Instant, seq: u16) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f32();
        self.refilled = now;
        self.tokens = (self.tokens + elapsed * REPAIR_RATE).min(REPAIR_BURST);
        let is_repeat = |&(sent, at): &(u16, Option<Instant>)| {
            sent == seq && at.is_some_and(|at| now.saturating_duration_since(at) < REPEAT_GAP)
        };
        if self.tokens < 1.0 || self.recent.iter().any(is_repeat) {
            return false;
        }
        self.tokens -= 1.0;
        self.recent[self.at] = (seq, Some(now));
        self.at = (self.at + 1) % RECENT;
        true
    }
}

fn write_packet(packet: &mut CachedPacket, out: &Outgoing, payload_type: u8, ssrc: u32) {
    let descriptor = packet.descriptor;
    let (header, payload) = packet.bytes.split_at_mut(HEADER_BYTES);
    header[0] = if packet.padding > 0 { 0xa0 } else { 0x80 };
    header[1] = u8::from(packet.marker) << 7 | payload_type;
    header[2..4].copy_from_slice(&(out.seq as u16).to_be_bytes());
    header[4..8].copy_from_slice(&out.rtp_time.to_be_bytes());
    header[8..12].copy_from_slice(&ssrc.to_be_bytes());
    if let Some(id) = descriptor.picture_id {
        id.write(payload, out.picture_offset);
    }
    if let Some(tl0) = descriptor.tl0 {
        tl0.write(payload, out.tl0_offset);
    }
}

const MAX_WISHES_PER_SECOND: u32 = 1;
// A viewer that loses a tenth of 2.5 Mbit/s needs 30 repairs a second; one that asks for much more has no link for it.
const REPAIR_RATE: f32 = 200.0;
const REPAIR_BURST: f32 = 200.0;
const REPEAT_GAP: Duration = Duration::from_millis(15);
const RECENT: usize = 16;
