//! Recorder taps of a room: which track each hears, and which one layer of it. Pure but for handing over.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reelay_signaling::{Kind, TrackId};

use crate::rtp::{av1, vp8, vp9};

use super::layers::{Layers, MAX_LAYERS};
use super::{Codec, InboundPacket, SenderReport, Tap, TapFrom, TapItem, TapPacket};

/// The taps of one room.
#[derive(Default)]
pub struct Taps {
    by_track: HashMap<TrackId, TapState>,
    /// What tracks without a tap began with: a recorder hears of a track only after its first packets are here.
    openings: HashMap<TrackId, Opening>,
}

/// The first second of a track, until somebody taps it or it is over.
struct Opening {
    began: Instant,
    bytes: usize,
    items: Vec<Early>,
}

enum Early {
    Packet(InboundPacket),
    Report(SenderReport),
}

struct TapState {
    tap: Tap,
    /// Payloads are copied into one allocation after the other: an own one for each would cost more than its bytes.
    slab: BytesMut,
    /// The layer that goes out.
    layer: Option<u8>,
    sent: Layers,
    /// When the first packet came.
    began: Option<Instant>,
    asked: Option<Instant>,
}

impl Taps {
    /// Attaches a tap; the one before it on this track is gone. Returns false when it begins in the middle of the track.
    pub fn insert(&mut self, track: TrackId, tap: Tap, from: TapFrom) -> bool {
        let opening = self.openings.remove(&track).filter(|_| from == TapFrom::FirstPacket);
        let state =
            TapState { tap, slab: BytesMut::new(), layer: None, sent: Layers::default(), began: None, asked: None };
        self.by_track.insert(track.clone(), state);
        let items = opening.map(|opening| opening.items).unwrap_or_default();
        let is_from_start = !items.is_empty();
        for item in items {
            match item {
                // A wish for another layer comes again with the next packet.
                Early::Packet(packet) => drop(self.on_packet(packet.arrival, &packet)),
                Early::Report(report) => self.on_report(&track, report),
            }
        }
        is_from_start
    }

    /// Takes a tap off.
    pub fn remove(&mut self, track: &TrackId) {
        if let Some(state) = self.by_track.remove(track) {
            self.openings.extend(state.began.map(|began| (track.clone(), Opening::over(began))));
        }
    }

    /// Which layer of a track is recorded now.
    pub fn layer(&self, track: &TrackId) -> Option<u8> {
        self.by_track.get(track)?.layer
    }

    /// A packet; returns the layer of which a keyframe is needed to move there.
    pub fn on_packet(&mut self, now: Instant, packet: &InboundPacket) -> Option<u8> {
        let Some(state) = self.by_track.get_mut(&packet.track) else {
            self.keep(now, &packet.track, packet.payload.len(), || {
                // A queue of slices would pin the buffers that they were cut from.
                Early::Packet(InboundPacket { payload: Bytes::copy_from_slice(&packet.payload), ..packet.clone() })
            });
            return None;
        };
        let layer = packet.layer;
        if usize::from(layer) >= MAX_LAYERS {
            return None;
        }
        state.began.get_or_insert(now);
        state.sent.on_packet(packet);
        let best = state.sent.highest_live().unwrap_or(layer);
        let current = *state.layer.get_or_insert(layer);
        let mut wish = None;
        if best != current && layer == best {
            if starts_keyframe(packet.codec, &packet.payload) {
                state.layer = Some(best);
            } else if state.asked.is_none_or(|last| now >= last + ASK_AGAIN) {
                state.asked = Some(now);
                wish = Some(best);
            }
        }
        if state.layer == Some(layer) && !state.tap.send(TapItem::Packet(copied(packet, &mut state.slab))) {
            // The recorder is gone.
            self.by_track.remove(&packet.track);
        }
        wish
    }

    /// A sender report of one of a track's streams.
    pub fn on_report(&mut self, track: &TrackId, report: SenderReport) {
        if self.by_track.contains_key(track) {
            self.tell(track, TapItem::Report(report));
        } else {
            self.keep(report.arrival, track, 0, || Early::Report(report));
        }
    }

    /// The track has ended; the tap stays for when it comes back.
    pub fn on_ended(&mut self, track: &TrackId, kind: Kind) {
        self.openings.remove(track);
        self.tell(track, TapItem::Ended(kind));
        if let Some(state) = self.by_track.get_mut(track) {
            state.layer = None;
            (state.sent, state.began) = (Layers::default(), None);
        }
    }

    fn keep(&mut self, now: Instant, track: &TrackId, bytes: usize, item: impl FnOnce() -> Early) {
        let opening = match self.openings.get_mut(track) {
            Some(opening) => opening,
            None => self.openings.entry(track.clone()).or_insert(Opening { began: now, bytes: 0, items: Vec::new() }),
        };
        opening.bytes += bytes + OPENING_ITEM_BYTES;
        if now.saturating_duration_since(opening.began) < OPENING && opening.bytes <= OPENING_BYTES {
            opening.items.push(item());
        } else {
            // Half an opening would be a hole in the file: all of it or nothing.
            opening.bytes = OPENING_BYTES;
            opening.items = Vec::new();
        }
    }

    fn tell(&mut self, track: &TrackId, item: TapItem) {
        let Some(state) = self.by_track.get(track) else { return };
        if !state.tap.send(item) {
            self.by_track.remove(track);
        }
    }
}

impl Opening {
    /// One that keeps nothing any more.
    fn over(began: Instant) -> Self {
        Self { began, bytes: OPENING_BYTES, items: Vec::new() }
    }
}

fn copied(packet: &InboundPacket, slab: &mut BytesMut) -> TapPacket {
    // A slice of the datagram would pin the buffer that it was read into.
    if slab.capacity() < packet.payload.len() {
        *slab = BytesMut::with_capacity(SLAB_BYTES.max(packet.payload.len()));
    }
    slab.extend_from_slice(&packet.payload);
    TapPacket {
        kind: packet.codec.kind(),
        codec: packet.codec,
        ssrc: packet.ssrc,
        seq: packet.seq,
        rtp_time: packet.rtp_time,
        marker: packet.marker,
        arrival: packet.arrival,
        audio_level: packet.audio_level,
        payload: slab.split().freeze(),
    }
}

/// Whether a payload is the first of a keyframe.
pub(super) fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    let found = match codec {
        Codec::Opus => Some(true),
        Codec::Vp8 => vp8::descriptor(payload).map(|d| d.is_start && vp8::is_keyframe(&payload[d.length..])),
        Codec::Vp9 => vp9::descriptor(payload).map(|d| d.spatial_id == 0 && d.is_start && !d.is_inter),
        Codec::Av1 => av1::aggregation(payload).map(|a| a.starts_sequence),
    };
    found.unwrap_or(false)
}

const OPENING: Duration = Duration::from_secs(1);
const OPENING_BYTES: usize = 2 * 1024 * 1024;
const OPENING_ITEM_BYTES: usize = 64;
const SLAB_BYTES: usize = 16 * 1024;
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::super::{TapKey, TapMessage};
    use super::*;

    const KEYFRAME: &[u8] = &[0x10, 0x00, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0];
    const DELTA: &[u8] = &[0x10, 0x01, 0, 0];

    struct Case {
        taps: Taps,
        track: TrackId,
        queue: Receiver<TapMessage>,
        now: Instant,
    }

    impl Case {
        fn new() -> Self {
            let (sender, queue) = channel();
            let track: TrackId = "paaaaaaaaaa/camera/video".parse().unwrap();
            let mut taps = Taps::default();
            taps.insert(track.clone(), Tap::new(TapKey(1), sender).0, TapFrom::Now);
            Self { taps, track, queue, now: Instant::now() }
        }

        fn packet(&mut self, ms: u64, layer: u8, payload: &'static [u8]) -> Option<u8> {
            let arrival = self.now + Duration::from_millis(ms);
            let packet = InboundPacket {
                track: self.track.clone(),
                layer,
                ssrc: 100 + u32::from(layer),
                codec: Codec::Vp8,
                seq: 1,
                rtp_time: ms as u32 * 90,
                marker: true,
                audio_level: None,
                arrival,
                payload: Bytes::from_static(payload),
            };
            self.taps.on_packet(arrival, &packet)
        }

        fn ssrcs(&self) -> Vec<u32> {
            let ssrc = |(_, item): TapMessage| match item {
                TapItem::Packet(packet) => packet.ssrc,
                _ => 0,
            };
            self.queue.try_iter().map(ssrc).collect()
        }
    }

    #[test]
    fn one_layer_goes_out_and_a_better_one_waits_for_its_keyframe() {
        let mut case = Case::new();
        assert_eq!(case.packet(0, 0, KEYFRAME), None);
        assert_eq!(case.packet(10, 1, DELTA), Some(1));
        assert_eq!(case.packet(20, 1, DELTA), None, "asked a moment ago");
        assert_eq!(case.packet(30, 0, DELTA), None);
        assert_eq!(case.packet(40, 1, KEYFRAME), None);
        assert_eq!(case.packet(50, 0, DELTA), None);
        assert_eq!(case.packet(60, 1, DELTA), None);
        assert_eq!(case.ssrcs(), [100, 100, 101, 101]);
    }

    #[test]
    fn a_layer_that_stops_gives_way_to_the_next_below() {
        let mut case = Case::new();
        case.packet(0, 1, KEYFRAME);
        case.packet(10, 0, DELTA);
        for ms in [43, 76, 109, 142, 175, 208, 241, 274] {
            assert_eq!(case.packet(ms, 0, DELTA), None);
        }
        assert_eq!(case.packet(307, 0, DELTA), Some(0));
        assert_eq!(case.packet(340, 0, KEYFRAME), None);
        assert_eq!(case.ssrcs(), [101, 100]);
    }

    #[test]
    fn a_tap_that_comes_in_time_hears_a_track_from_its_first_packet() {
        let mut case = Case::new();
        let track = case.track.clone();
        let tap = case.taps.by_track.remove(&track).unwrap().tap;
        case.packet(0, 0, KEYFRAME);
        case.packet(10, 0, DELTA);
        case.taps.insert(track.clone(), tap.clone(), TapFrom::FirstPacket);
        case.packet(20, 0, DELTA);
        assert_eq!(case.ssrcs(), [100, 100, 100]);
        case.taps.remove(&track);
        case.packet(30, 0, DELTA);
        case.taps.insert(track, tap, TapFrom::FirstPacket);
        assert!(case.ssrcs().is_empty(), "what was not tapped for a while stays unheard");
    }

    #[test]
    fn a_tap_from_now_or_too_late_hears_nothing_of_before() {
        for (from, late_ms) in [(TapFrom::Now, 10), (TapFrom::FirstPacket, 1_010)] {
            let mut case = Case::new();
            let track = case.track.clone();
            let tap = case.taps.by_track.remove(&track).unwrap().tap;
            case.packet(0, 0, KEYFRAME);
            case.packet(late_ms, 0, DELTA);
            case.taps.insert(track, tap, from);
            assert!(case.ssrcs().is_empty(), "{from:?}");
        }
    }

    #[test]
    fn a_tap_outlives_its_track_and_goes_with_its_recorder() {
        let mut case = Case::new();
        case.packet(0, 1, KEYFRAME);
        let track = case.track.clone();
        case.taps.on_ended(&track, Kind::Video);
        case.packet(10, 0, DELTA);
        assert_eq!(case.ssrcs(), [101, 0, 100]);
        case.queue = channel().1;
        case.packet(20, 0, DELTA);
        assert!(case.taps.by_track.is_empty());
    }
}
