//! A published track as the router sees it: its layers, their caches and keyframe requests.

use std::time::{Duration, Instant};

use reelay_signaling::{Kind, TrackId};

use crate::media::cache::{CachedPacket, HEADER_BYTES, Inserted, PacketCache};
use crate::media::descriptor::Descriptor;
use crate::media::keyframe::KeyframeRequests;
use crate::media::layers::Layers;
use crate::media::rewrite::{Incoming, SeqUnwrapper, SourceKey, ticks};
use crate::media::{Codec, InboundPacket, SenderReport};

/// A track and who receives it.
pub(super) struct Track {
    pub id: TrackId,
    pub codec: Codec,
    pub layers: Vec<Layer>,
    pub sent: Layers,
    /// Indices of subscriptions.
    pub subscribers: Vec<usize>,
    pub is_blocked: bool,
}

/// One encoding of a track.
pub(super) struct Layer {
    pub number: u8,
    /// The SSRC, and how many it has had before.
    pub ssrc: u32,
    pub life: u32,
    seq: SeqUnwrapper,
    /// Bit n: the packet n before the newest has come (audio, which has no cache).
    seen: u64,
    pub cache: PacketCache,
    /// Numbers of the packets that wait for the end of their frame.
    pub pending: Vec<u64>,
    pending_since: Option<Instant>,
    pending_time: u32,
    pub keyframes: KeyframeRequests,
    pub report: Option<SenderReport>,
}

impl Track {
    pub fn new(id: TrackId) -> Self {
        let codec = if id.kind == Kind::Audio { Codec::Opus } else { Codec::Vp8 };
        Self { id, codec, layers: Vec::new(), sent: Layers::default(), subscribers: Vec::new(), is_blocked: false }
    }

    /// The index of the layer that `packet` belongs to, and whether the layer or its SSRC is new.
    pub fn layer_of(&mut self, packet: &InboundPacket) -> (usize, bool) {
        self.sent.on_packet(packet);
        let is_new_codec = std::mem::replace(&mut self.codec, packet.codec) != packet.codec;
        let Some(at) = self.layers.iter().position(|layer| layer.number == packet.layer) else {
            self.layers.push(Layer::new(packet));
            return (self.layers.len() - 1, true);
        };
        let layer = &mut self.layers[at];
        let is_new = layer.ssrc != packet.ssrc || is_new_codec;
        if is_new {
            layer.begin_life(packet);
        }
        (at, is_new)
    }

    /// The number of the highest layer that is sent.
    pub fn highest_live(&self) -> Option<u8> {
        self.sent.highest_live()
    }

    pub fn layer(&mut self, number: u8) -> Option<&mut Layer> {
        self.layers.iter_mut().find(|layer| layer.number == number)
    }

    /// Media time from the packet with `from_time` of layer `from` to the one with `to_time` of layer `to`, by
    /// the publisher's own clock.
    pub fn elapsed(&self, from: &Layer, from_time: u32, to: &Layer, to_time: u32) -> Option<u32> {
        let hz = self.codec.clock_hz();
        let ntp = |layer: &Layer, time: u32| {
            let report = layer.report.filter(|report| report.ssrc == layer.ssrc)?;
            let ahead = i64::from(time.wrapping_sub(report.rtp_time) as i32);
            Some(i128::from(report.ntp) + ((i128::from(ahead) << 32) / i128::from(hz)))
        };
        let elapsed = ((ntp(to, to_time)? - ntp(from, from_time)?) * i128::from(hz) + (1 << 31)) >> 32;
        (1..=i128::from(hz) * MAX_STEP_S).contains(&elapsed).then_some(elapsed as u32)
    }
}

impl Layer {
    fn new(packet: &InboundPacket) -> Self {
        Self {
            number: packet.layer,
            ssrc: packet.ssrc,
            life: 0,
            seq: SeqUnwrapper::default(),
            seen: 0,
            cache: PacketCache::default(),
            pending: Vec::new(),
            pending_since: None,
            pending_time: 0,
            keyframes: KeyframeRequests::default(),
            report: None,
        }
    }

    fn begin_life(&mut self, packet: &InboundPacket) {
        self.ssrc = packet.ssrc;
        self.life += 1;
        self.seq = SeqUnwrapper::default();
        self.seen = 0;
        self.forget_packets();
        self.report = None;
    }

    /// Nobody receives the layer any more, or it begins anew.
    pub fn forget_packets(&mut self) {
        self.cache.clear();
        self.flushed();
        self.keyframes = KeyframeRequests::default();
    }

    /// The unwrapped number of an audio packet, unless it was here before or comes too late.
    pub fn accept_audio(&mut self, seq: u16) -> Option<u64> {
        let before = self.seq.newest();
        let seq = self.seq.unwrap(seq);
        match before {
            Some(newest) if seq <= newest => {
                let bit = 1u64.checked_shl(u32::try_from(newest - seq).ok()?)?;
                if self.seen & bit != 0 {
                    return None;
                }
                self.seen |= bit;
            }
            Some(newest) => {
                let ahead = u32::try_from(seq - newest).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            }
            None => self.seen = 1,
        }
        Some(seq)
    }

    pub fn source(&self, track: usize) -> SourceKey {
        SourceKey { track, layer: self.number, life: self.life }
    }

    /// Keeps a packet and puts it in line. Returns false for what was here before or comes too late.
    pub fn take(&mut self, packet: &InboundPacket, descriptor: Descriptor) -> bool {
        let seq = self.seq.unwrap(packet.seq);
        let inserted = self.cache.insert(seq, &packet.payload, |bytes| CachedPacket {
            rtp_time: packet.rtp_time,
            marker: packet.marker,
            arrival: packet.arrival,
            descriptor,
            padding: 0,
            bytes,
        });
        if inserted != Inserted::New {
            return false;
        }
        self.cache.expire(packet.arrival);
        self.pending.push(seq);
        self.pending_time = packet.rtp_time;
        self.pending_since.get_or_insert(packet.arrival);
        true
    }

    /// Whether what waits has to go before `packet`, the first of another frame, is taken.
    pub fn ends_before(&self, packet: &InboundPacket) -> bool {
        !self.pending.is_empty() && self.pending_time != packet.rtp_time
    }

    pub fn due(&self) -> Option<Instant> {
        self.pending_since.map(|since| since + FRAME_WAIT)
    }

    pub fn flushed(&mut self) {
        self.pending.clear();
        self.pending_since = None;
    }

    /// Gives the packets of a frame the same size where little is missing, so that they make one GSO run:
    /// Chromium cuts frames to sizes that differ by one byte, with the larger packets last.
    pub fn level_sizes(&mut self) {
        if self.pending.len() < 2 {
            return;
        }
        let sizes = self.pending.iter().filter_map(|&seq| self.cache.get_mut(seq).map(|packet| packet.bytes.len()));
        let largest = sizes.max().unwrap_or(0);
        let last = self.pending.len() - 1;
        for (at, &seq) in self.pending.iter().enumerate() {
            let Some(packet) = self.cache.get_mut(seq) else { continue };
            let missing = largest - packet.bytes.len();
            let has_payload = packet.bytes.len() > HEADER_BYTES;
            if at < last && (1..=MAX_PADDING).contains(&missing) && packet.padding == 0 && has_payload {
                packet.bytes.resize(largest, 0);
                if let Some(count) = packet.bytes.last_mut() {
                    *count = missing as u8;
                }
                packet.padding = missing as u8;
            }
        }
    }

    /// The publisher's clock at `now`: NTP time and RTP timestamp of one instant.
    pub fn clock_at(&self, now: Instant, hz: u32) -> Option<(u64, u32)> {
        let report = self.report.filter(|report| report.ssrc == self.ssrc)?;
        let elapsed = now.saturating_duration_since(report.arrival);
        let ntp = report.ntp.wrapping_add(((elapsed.as_nanos() << 32) / 1_000_000_000) as u64);
        Some((ntp, report.rtp_time.wrapping_add(ticks(now, report.arrival, hz))))
    }
}

impl CachedPacket {
    /// An audio packet, in the buffer of the one before it.
    pub(super) fn audio(before: Option<Self>, packet: &InboundPacket) -> Self {
        let mut bytes = before.map(|before| before.bytes).unwrap_or_default();
        bytes.clear();
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend_from_slice(&packet.payload);
        Self {
            rtp_time: packet.rtp_time,
            marker: packet.marker,
            arrival: packet.arrival,
            descriptor: Descriptor::default(),
            padding: 0,
            bytes,
        }
    }

    pub(super) fn incoming(&self, seq: u64) -> Incoming {
        Incoming { seq, rtp_time: self.rtp_time, arrival: self.arrival, descriptor: self.descriptor }
    }

    /// The payload without padding.
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..self.bytes.len() - usize::from(self.padding)]
    }
}

/// How long the packets of a frame wait for its last one; they mostly arrive together anyway.
pub(super) const FRAME_WAIT: Duration = Duration::from_micros(1500);
const MAX_PADDING: usize = 8;
const MAX_STEP_S: i128 = 10;
