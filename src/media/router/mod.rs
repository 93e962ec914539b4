//! The tracks of a room and who gets them: one packet in, one for each viewer out, in the viewer's own numbers.
//! Pure: time is an argument, packets leave through a [`Downlink`]. Knows no connection and no encryption.

mod subscription;
mod track;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use reelay_signaling::{Kind, ParticipantId, Source, TrackId};

use super::cache::CachedPacket;
use super::descriptor::Descriptor;
use super::layers::Layers;
use super::speaking::Speaking;
use super::{InboundPacket, SenderReport};
use subscription::{Repair, Subscription};
use track::Track;

pub use subscription::{Report, SlotCodec, SlotStream};

/// What carries packets to viewers; a leg is named by its index in the room.
pub trait Downlink {
    /// A whole RTP packet, plain.
    fn rtp(&mut self, leg: usize, kind: Kind, packet: &[u8]);
    /// A sender report.
    fn report(&mut self, leg: usize, report: &Report);
}

/// Names a subscription; given out again after [`Router::unsubscribe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionKey(usize);

/// Counters since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouterCounters {
    /// Packets sent to viewers for the first time.
    pub forwarded: u64,
    /// Packets of publishers that were here before or came too late.
    pub dropped_duplicates: u64,
    /// Packets that viewers asked for again.
    pub nacked: u64,
    /// Of those: sent again.
    pub repaired: u64,
    /// Of those: refused, because a viewer asked too often.
    pub limited: u64,
    /// Keyframe requests of viewers.
    pub keyframes_wanted: u64,
    /// Keyframe requests to publishers.
    pub keyframes_asked: u64,
}

/// The tracks and subscriptions of one room.
#[derive(Default)]
pub struct Router {
    tracks: Vec<Option<Track>>,
    by_id: HashMap<TrackId, usize>,
    subscriptions: Vec<Option<Subscription>>,
    /// Subscriptions in the order in which they get their next sender report.
    reports: VecDeque<(Instant, usize, u32)>,
    /// Counts the uses of each subscription index, so that a stale entry of `reports` is known.
    lives: Vec<u32>,
    asked: VecDeque<(TrackId, u8)>,
    speaking: Speaking,
    audio: Option<CachedPacket>,
    scratch: Vec<u8>,
    layers_checked: Option<Instant>,
    counters: RouterCounters,
    seed: u16,
}

impl Router {
    /// A packet of a publisher.
    pub fn on_packet<D: Downlink>(&mut self, now: Instant, packet: &InboundPacket, down: &mut D) {
        let track_index = self.track_index(&packet.track);
        let Some(track) = &mut self.tracks[track_index] else { return };
        if packet.track.kind == Kind::Audio {
            if let Some(level) =
                packet.audio_level.filter(|_| packet.track.source == Source::Camera && !track.is_blocked)
            {
                self.speaking.on_level(now, &packet.track.participant, level);
            }
            self.forward_audio(now, track_index, packet, down);
            return;
        }
        let (layer_index, is_new) = track.layer_of(packet);
        if is_new {
            self.aim(track_index);
        }
        let Some(track) = &mut self.tracks[track_index] else { return };
        let descriptor = Descriptor::read(packet.codec, &packet.payload);
        if descriptor.starts_keyframe {
            track.layers[layer_index].keyframes.answered();
        }
        if is_new {
            self.ask(now);
        }
        let Some(track) = &mut self.tracks[track_index] else { return };
        if track.subscribers.is_empty() || track.is_blocked {
            return;
        }
        if track.layers[layer_index].ends_before(packet) {
            self.flush(now, track_index, layer_index, down);
        }
        let Some(track) = &mut self.tracks[track_index] else { return };
        let layer = &mut track.layers[layer_index];
        if !layer.take(packet, descriptor) {
            self.counters.dropped_duplicates += 1;
            return;
        }
        if packet.marker {
            self.flush(now, track_index, layer_index, down);
        }
    }

    fn forward_audio<D: Downlink>(&mut self, now: Instant, track_index: usize, packet: &InboundPacket, down: &mut D) {
        let Some(track) = &mut self.tracks[track_index] else { return };
        let (layer_index, _) = track.layer_of(packet);
        if track.subscribers.is_empty() || track.is_blocked {
            return;
        }
        let Some(seq) = track.layers[layer_index].accept_audio(packet.seq) else {
            self.counters.dropped_duplicates += 1;
            return;
        };
        let cached = CachedPacket::audio(self.audio.take(), packet);
        let cached = self.audio.insert(cached);
        for &at in &track.subscribers {
            let Some(subscription) = &mut self.subscriptions[at] else { continue };
            if subscription.is_wanted {
                let before = subscription.packets;
                subscription.forward_audio(track, layer_index, cached, seq, now, down);
                self.counters.forwarded += u64::from(subscription.packets.wrapping_sub(before));
            }
        }
    }

    fn flush<D: Downlink>(&mut self, now: Instant, track_index: usize, layer_index: usize, down: &mut D) {
        let Some(track) = &mut self.tracks[track_index] else { return };
        track.layers[layer_index].level_sizes();
        for at in 0..track.subscribers.len() {
            let Some(subscription) = &mut self.subscriptions[track.subscribers[at]] else { continue };
            if subscription.is_wanted {
                let before = subscription.packets;
                subscription.forward(track, layer_index, now, down);
                self.counters.forwarded += u64::from(subscription.packets.wrapping_sub(before));
            }
        }
        track.layers[layer_index].flushed();
    }

    /// A sender report of a publisher.
    pub fn on_report<D: Downlink>(&mut self, now: Instant, id: &TrackId, report: SenderReport, down: &mut D) {
        let Some(track) = self.by_id.get(id).and_then(|&at| self.tracks[at].as_mut()) else { return };
        let Some(layer) = track.layers.iter_mut().find(|layer| layer.ssrc == report.ssrc) else { return };
        let is_first = layer.report.is_none();
        layer.report = Some(report);
        let layer = &*layer;
        if !is_first {
            return;
        }
        for &at in &track.subscribers {
            let Some(subscription) = &mut self.subscriptions[at] else { continue };
            if subscription.flowing().is_some_and(|source| source.layer == layer.number) {
                subscription.report(layer, now, down);
            }
        }
    }

    /// A track has ended; its subscriptions wait for it to come back.
    pub fn end_track(&mut self, id: &TrackId) {
        if id.kind == Kind::Audio && id.source == Source::Camera {
            self.speaking.forget(&id.participant);
        }
        let Some(&at) = self.by_id.get(id) else { return };
        if let Some(track) = &mut self.tracks[at] {
            track.layers.clear();
            track.sent = Layers::default();
            for &subscriber in &track.subscribers {
                if let Some(subscription) = &mut self.subscriptions[subscriber] {
                    subscription.interrupt();
                }
            }
        }
        self.drop_unused(at);
    }

    /// Switches the forwarding of a track off or on.
    pub fn block(&mut self, now: Instant, id: &TrackId, is_blocked: bool) {
        let at = self.track_index(id);
        let Some(track) = &mut self.tracks[at] else { return };
        track.is_blocked = is_blocked;
        if is_blocked && id.kind == Kind::Audio && id.source == Source::Camera {
            self.speaking.forget(&id.participant);
        }
        track.layers.iter_mut().for_each(track::Layer::forget_packets);
        for &subscriber in &track.subscribers {
            if let Some(subscription) = &mut self.subscriptions[subscriber] {
                subscription.interrupt();
            }
        }
        self.aim(at);
        self.ask(now);
        self.drop_unused(at);
    }

    /// Sends a track, now or when it begins, to a slot of a leg.
    pub fn subscribe(&mut self, now: Instant, leg: usize, id: &TrackId, stream: SlotStream) -> SubscriptionKey {
        let track_index = self.track_index(id);
        // Where a viewer's numbers begin is no secret, it only has to differ.
        self.seed = self.seed.wrapping_mul(25_173).wrapping_add(13_849) ^ stream.ssrc as u16;
        let subscription = Subscription::new(now, leg, track_index, id.kind, stream, self.seed);
        let at = self.subscriptions.iter().position(Option::is_none).unwrap_or_else(|| {
            self.subscriptions.push(None);
            self.lives.push(0);
            self.subscriptions.len() - 1
        });
        self.subscriptions[at] = Some(subscription);
        self.lives[at] += 1;
        if let Some(track) = &mut self.tracks[track_index] {
            track.subscribers.push(at);
        }
        self.reports.push_back((now + REPORT_INTERVAL, at, self.lives[at]));
        self.aim(track_index);
        self.ask(now);
        SubscriptionKey(at)
    }

    /// Moves another track of the same kind into a slot; its numbers and its clock go on.
    pub fn move_to(&mut self, now: Instant, key: SubscriptionKey, id: &TrackId) {
        let track_index = self.track_index(id);
        let Some(subscription) = &mut self.subscriptions[key.0] else { return };
        let before = std::mem::replace(&mut subscription.track, track_index);
        if before == track_index {
            return;
        }
        subscription.interrupt();
        self.leave(before, key.0);
        if let Some(track) = &mut self.tracks[track_index] {
            track.subscribers.push(key.0);
        }
        self.aim(track_index);
        self.ask(now);
    }

    /// Leaves a slot empty until [`Router::move_to`].
    pub fn detach(&mut self, key: SubscriptionKey) {
        let Some(subscription) = &mut self.subscriptions[key.0] else { return };
        let before = std::mem::replace(&mut subscription.track, NOWHERE);
        subscription.interrupt();
        self.leave(before, key.0);
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, key: SubscriptionKey) {
        if let Some(subscription) = self.subscriptions[key.0].take() {
            self.leave(subscription.track, key.0);
        }
    }

    /// Stops sending for a while, or goes on with the next keyframe.
    pub fn want(&mut self, now: Instant, key: SubscriptionKey, is_wanted: bool) {
        let Some(subscription) = &mut self.subscriptions[key.0] else { return };
        if subscription.is_wanted == is_wanted {
            return;
        }
        subscription.is_wanted = is_wanted;
        subscription.interrupt();
        let track = subscription.track;
        self.aim(track);
        self.ask(now);
    }

    /// A viewer has lost packets.
    pub fn on_nack<D: Downlink>(&mut self, now: Instant, key: SubscriptionKey, lost: &[u16], down: &mut D) {
        let Some(subscription) = self.subscriptions.get_mut(key.0).and_then(Option::as_mut) else { return };
        let Some(track) = self.tracks.get_mut(subscription.track).and_then(Option::as_mut) else { return };
        for &seq in lost {
            self.counters.nacked += 1;
            match subscription.repair(now, seq, track, &mut self.scratch, down) {
                Repair::Sent => self.counters.repaired += 1,
                Repair::Limited => self.counters.limited += 1,
                Repair::Gone | Repair::Unknown => {}
            }
        }
    }

    /// A viewer cannot go on without a keyframe.
    pub fn on_keyframe_wanted(&mut self, now: Instant, key: SubscriptionKey) {
        self.counters.keyframes_wanted += 1;
        let Some(subscription) = self.subscriptions.get_mut(key.0).and_then(Option::as_mut) else { return };
        if !subscription.may_wish(now) {
            return;
        }
        let source = subscription.flowing();
        let Some(track) = self.tracks.get_mut(subscription.track).and_then(Option::as_mut) else { return };
        let number = source.map(|source| source.layer).or_else(|| track.highest_live());
        if let Some(layer) = number.and_then(|number| track.layer(number)) {
            layer.keyframes.want();
        }
        self.ask(now);
    }

    /// Carries out what is due.
    pub fn on_timeout<D: Downlink>(&mut self, now: Instant, down: &mut D) {
        for track_index in 0..self.tracks.len() {
            let layers = self.tracks[track_index].as_ref().map_or(0, |track| track.layers.len());
            for layer_index in 0..layers {
                let due = self.tracks[track_index].as_ref().and_then(|track| track.layers[layer_index].due());
                if due.is_some_and(|due| now >= due) {
                    self.flush(now, track_index, layer_index, down);
                }
            }
        }
        if self.layers_checked.is_none_or(|last| now >= last + LAYER_CHECK) {
            self.layers_checked = Some(now);
            for track_index in 0..self.tracks.len() {
                if self.tracks[track_index].as_ref().is_some_and(|track| track.layers.len() > 1) {
                    self.aim(track_index);
                    self.ask(now);
                }
            }
        }
        self.ask(now);
        self.send_reports(now, down);
        self.speaking.on_timeout(now);
    }

    /// When [`Router::on_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let layers = || self.tracks.iter().flatten().flat_map(|track| &track.layers);
        let frames = layers().filter_map(|layer| layer.due());
        let keyframes = layers().filter_map(|layer| layer.keyframes.poll_timeout().flatten());
        let reports = self.reports.front().map(|report| report.0);
        let has_layers = self.tracks.iter().flatten().any(|track| track.layers.len() > 1);
        let check = self.layers_checked.filter(|_| has_layers).map(|last| last + LAYER_CHECK);
        frames.chain(keyframes).chain(reports).chain(check).chain(self.speaking.poll_timeout()).min()
    }

    /// The next publisher's layer to be asked for a keyframe.
    pub fn poll_keyframe(&mut self) -> Option<(TrackId, u8)> {
        self.asked.pop_front()
    }

    /// Who speaks, when that has changed.
    pub fn poll_speaking(&mut self) -> Option<Vec<ParticipantId>> {
        self.speaking.poll()
    }

    /// Counters since the beginning.
    pub fn counters(&self) -> RouterCounters {
        self.counters
    }

    fn send_reports<D: Downlink>(&mut self, now: Instant, down: &mut D) {
        while self.reports.front().is_some_and(|report| now >= report.0) {
            let Some((_, at, life)) = self.reports.pop_front() else { return };
            let Some(subscription) = self.subscriptions[at].as_mut().filter(|_| self.lives[at] == life) else {
                continue;
            };
            self.reports.push_back((now + REPORT_INTERVAL, at, life));
            let Some(track) = self.tracks.get(subscription.track).and_then(Option::as_ref) else { continue };
            let flowing = subscription.flowing().filter(|_| subscription.is_wanted);
            if let Some(layer) = flowing.and_then(|source| track.layers.iter().find(|l| l.number == source.layer)) {
                subscription.report(layer, now, down);
            }
        }
    }

    /// Tells the subscriptions of a track which layer to take, and notes what keyframes they need for it.
    fn aim(&mut self, track_index: usize) {
        let Some(track) = self.tracks.get_mut(track_index).and_then(Option::as_mut) else { return };
        let mut needs_keyframe = false;
        for &at in &track.subscribers {
            if let Some(subscription) = &mut self.subscriptions[at] {
                needs_keyframe |= subscription.aim(track_index, track);
            }
        }
        if needs_keyframe
            && !track.is_blocked
            && let Some(layer) = track.highest_live().and_then(|number| track.layer(number))
        {
            layer.keyframes.want();
        }
    }

    fn ask(&mut self, now: Instant) {
        for track in self.tracks.iter_mut().flatten() {
            for layer in &mut track.layers {
                if layer.keyframes.poll(now) {
                    self.counters.keyframes_asked += 1;
                    self.asked.push_back((track.id.clone(), layer.number));
                }
            }
        }
    }

    fn track_index(&mut self, id: &TrackId) -> usize {
        if let Some(&at) = self.by_id.get(id) {
            return at;
        }
        let at = self.tracks.iter().position(Option::is_none).unwrap_or_else(|| {
            self.tracks.push(None);
            self.tracks.len() - 1
        });
        self.tracks[at] = Some(Track::new(id.clone()));
        self.by_id.insert(id.clone(), at);
        at
    }

    fn leave(&mut self, track_index: usize, subscriber: usize) {
        let Some(track) = self.tracks.get_mut(track_index).and_then(Option::as_mut) else { return };
        track.subscribers.retain(|&at| at != subscriber);
        if track.subscribers.is_empty() {
            track.layers.iter_mut().for_each(track::Layer::forget_packets);
        }
        self.drop_unused(track_index);
    }

    fn drop_unused(&mut self, track_index: usize) {
        let is_unused = |track: &Track| track.subscribers.is_empty() && track.layers.is_empty() && !track.is_blocked;
        if self.tracks[track_index].as_ref().is_some_and(is_unused)
            && let Some(track) = self.tracks[track_index].take()
        {
            self.by_id.remove(&track.id);
        }
    }
}

// The track of a subscription that has none.
const NOWHERE: usize = usize::MAX;
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const LAYER_CHECK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
