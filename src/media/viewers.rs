//! The receiving side of a room: its legs, the router that feeds them, and the commands about both.
//! Sans-IO like its parts; the shard brings datagrams, packets and time, and carries the events away.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reelay_signaling::{ErrorCode, Kind, TrackId};

use super::flood::Flood;
use super::leg::{Leg, LegEvent, LegMode, LegShared, SlotChange};
use super::router::{Downlink, Report, Router, RouterCounters, SubscriptionKey};
use super::{Event, InboundPacket, LegKey, LinkState, MediaError, Outbox, Route, SenderReport};

/// What the receiving side of a room has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewersEvent {
    /// For the control plane.
    Room(Event),
    /// The ICE names by which datagrams find a leg: these and no others.
    Ufrags {
        /// The connection.
        leg: LegKey,
        /// Its names; none when it is gone.
        ufrags: Vec<String>,
    },
    /// Datagrams from this source belong to this leg and may be let in.
    AddressChecked {
        /// The connection.
        leg: LegKey,
        /// The source.
        source: SocketAddr,
    },
    /// The publisher of this layer is to be asked for a keyframe.
    Keyframe {
        /// The track.
        track: TrackId,
        /// Which layer of it.
        layer: u8,
    },
}

/// The receiving side of one room.
pub struct Viewers {
    shared: Arc<LegShared>,
    router: Router,
    legs: Vec<Option<Box<Viewer>>>,
    by_key: HashMap<LegKey, usize>,
    /// Legs whose last burst has left something over.
    paced: Vec<usize>,
    swept: Instant,
    events: VecDeque<ViewersEvent>,
    dropped_by_closed: u64,
    flooded: u64,
}

struct Viewer {
    key: LegKey,
    leg: Leg,
    /// By slot.
    subscriptions: Vec<Option<SubscriptionKey>>,
    /// Slots on screen; `None`: all.
    wanted: Option<Vec<usize>>,
    is_paced: bool,
    flood: Flood,
}

/// The legs as the router sees them.
struct Fan<'a> {
    now: Instant,
    legs: &'a mut [Option<Box<Viewer>>],
    paced: &'a mut Vec<usize>,
    outbox: &'a mut Outbox,
}

impl Downlink for Fan<'_> {
    fn rtp(&mut self, leg: usize, kind: Kind, packet: &[u8]) {
        let Some(Some(viewer)) = self.legs.get_mut(leg) else { return };
        viewer.leg.send_rtp(self.now, kind, packet, self.outbox);
        if !viewer.is_paced && viewer.leg.is_paced() {
            viewer.is_paced = true;
            self.paced.push(leg);
        }
    }

    fn report(&mut self, leg: usize, report: &Report) {
        if let Some(Some(viewer)) = self.legs.get_mut(leg) {
            viewer.leg.send_report(report, self.outbox);
        }
    }
}

macro_rules! routed {
    ($self:ident, $now:expr, $outbox:expr, |$router:ident, $fan:ident| $body:expr) => {{
        let Viewers { router: $router, legs, paced, .. } = $self;
        let $fan = &mut Fan { now: $now, legs, paced, outbox: $outbox };
        $body
    }};
}

impl Viewers {
    /// No viewers yet.
    pub fn new(now: Instant, shared: Arc<LegShared>) -> Self {
        Self {
            shared,
            router: Router::default(),
            legs: Vec::new(),
            by_key: HashMap::new(),
            paced: Vec::new(),
            swept: now,
            events: VecDeque::new(),
            dropped_by_closed: 0,
            flooded: 0,
        }
    }

    /// Makes a leg whose offers we write.
    ///
    /// # Errors
    /// `bad-request` when the key is in use.
    pub fn open(&mut self, now: Instant, key: LegKey) -> Result<(), MediaError> {
        self.insert(now, key, LegMode::Own).map(|_| ())
    }

    /// Makes a leg from a WHEP client's offer and returns the answer.
    ///
    /// # Errors
    /// When the offer cannot be answered: see [`Leg::new`].
    pub fn open_whep(&mut self, now: Instant, key: LegKey, offer: &str) -> Result<String, MediaError> {
        let at = self.insert(now, key, LegMode::Whep(offer))?;
        let answer = self.legs[at].as_ref().and_then(|viewer| viewer.leg.whep_answer());
        Ok(answer.unwrap_or_default())
    }

    fn insert(&mut self, now: Instant, key: LegKey, mode: LegMode<'_>) -> Result<usize, MediaError> {
        if self.by_key.contains_key(&key) {
            let message = "there is such a connection already".to_owned();
            return Err(MediaError { code: ErrorCode::BadRequest, message });
        }
        let leg = Leg::new(now, self.shared.clone(), mode)?;
        let ufrags = leg.ufrags().map(str::to_owned).collect();
        self.events.push_back(ViewersEvent::Ufrags { leg: key, ufrags });
        let viewer = Viewer {
            key,
            leg,
            subscriptions: Vec::new(),
            wanted: None,
            is_paced: false,
            flood: Flood::new(now, MAX_DATAGRAMS_PER_SECOND),
        };
        let at = self.legs.iter().position(Option::is_none).unwrap_or_else(|| {
            self.legs.push(None);
            self.legs.len() - 1
        });
        self.legs[at] = Some(Box::new(viewer));
        self.by_key.insert(key, at);
        Ok(at)
    }

    /// Which tracks a leg carries from now on.
    pub fn set_tracks(&mut self, now: Instant, key: LegKey, tracks: &[TrackId], outbox: &mut Outbox) {
        let Some((at, viewer)) = self.find(key) else { return };
        viewer.leg.set_tracks(now, tracks);
        self.settle(now, at, outbox);
    }

    /// Which mids are on screen; the others are not sent. `None`: all.
    pub fn want(&mut self, now: Instant, key: LegKey, mids: Option<&[String]>) {
        let Some((at, viewer)) = self.find(key) else { return };
        viewer.wanted = mids.map(|mids| mids.iter().filter_map(|mid| viewer.leg.slot_of(mid)).collect());
        let Some(viewer) = &self.legs[at] else { return };
        for (slot, subscription) in viewer.subscriptions.iter().enumerate() {
            if let Some(subscription) = subscription {
                self.router.want(now, *subscription, viewer.wants(slot));
            }
        }
    }

    /// Takes a client's answer to offer `id`.
    ///
    /// # Errors
    /// See [`Leg::answer`]; `session-not-found` when the leg is gone.
    pub fn answer(
        &mut self,
        now: Instant,
        key: LegKey,
        id: u64,
        sdp: &str,
        outbox: &mut Outbox,
    ) -> Result<(), MediaError> {
        let (at, viewer) = self.find(key).ok_or_else(gone)?;
        let result = viewer.leg.answer(now, id, sdp, outbox);
        self.settle(now, at, outbox);
        result
    }

    /// Gives a leg new ICE credentials.
    ///
    /// # Errors
    /// See [`Leg::restart`]; `session-not-found` when the leg is gone.
    pub fn restart(
        &mut self,
        now: Instant,
        key: LegKey,
        fragment: Option<&str>,
        outbox: &mut Outbox,
    ) -> Result<String, MediaError> {
        let (at, viewer) = self.find(key).ok_or_else(gone)?;
        let result = viewer.leg.restart(now, fragment);
        self.settle(now, at, outbox);
        result
    }

    /// Closes a leg.
    pub fn close(&mut self, now: Instant, key: LegKey, outbox: &mut Outbox) {
        let Some((at, viewer)) = self.find(key) else { return };
        viewer.leg.close(now, outbox);
        self.settle(now, at, outbox);
    }

    /// Closes all legs.
    pub fn close_all(&mut self, now: Instant, outbox: &mut Outbox) {
        let keys: Vec<LegKey> = self.by_key.keys().copied().collect();
        keys.into_iter().for_each(|key| self.close(now, key, outbox));
    }

    /// A datagram for a leg; `route` leads back to where it came from.
    pub fn on_datagram(&mut self, now: Instant, key: LegKey, route: Route, data: &mut [u8], outbox: &mut Outbox) {
        let Some((at, viewer)) = self.find(key) else { return };
        if !viewer.flood.allow(now) {
            self.flooded += 1;
            return;
        }
        viewer.leg.on_datagram(now, route, data, outbox);
        self.settle(now, at, outbox);
    }

    /// A packet of a publisher.
    pub fn on_packet(&mut self, now: Instant, packet: &InboundPacket, outbox: &mut Outbox) {
        routed!(self, now, outbox, |router, fan| router.on_packet(now, packet, fan));
        self.collect();
    }

    /// A sender report of a publisher.
    pub fn on_report(&mut self, now: Instant, track: &TrackId, report: SenderReport, outbox: &mut Outbox) {
        routed!(self, now, outbox, |router, fan| router.on_report(now, track, report, fan));
    }

    /// A track has ended.
    pub fn end_track(&mut self, track: &TrackId) {
        self.router.end_track(track);
        self.collect();
    }

    /// Switches the forwarding of a track off or on.
    pub fn block(&mut self, now: Instant, track: &TrackId, is_blocked: bool) {
        self.router.block(now, track, is_blocked);
        self.collect();
    }

    /// Carries out what is due.
    pub fn on_timeout(&mut self, now: Instant, outbox: &mut Outbox) {
        routed!(self, now, outbox, |router, fan| router.on_timeout(now, fan));
        self.collect();
        let legs = &mut self.legs;
        self.paced.retain(|&at| {
            let Some(viewer) = legs.get_mut(at).and_then(Option::as_mut) else { return false };
            viewer.is_paced = viewer.leg.send_paced(now, outbox);
            viewer.is_paced
        });
        if now >= self.swept + SWEEP {
            self.swept = now;
            for at in 0..self.legs.len() {
                let Some(viewer) = &mut self.legs[at] else { continue };
                if viewer.leg.poll_timeout().is_some_and(|due| now >= due) || viewer.leg.has_old_names() {
                    viewer.leg.on_timeout(now, outbox);
                    self.settle(now, at, outbox);
                }
            }
        }
    }

    /// When [`Viewers::on_timeout`] has something to do. Legs have no timers of their own but are looked at five
    /// times a second; only bursts are finished by the millisecond.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sweep = (!self.by_key.is_empty()).then(|| self.swept + SWEEP);
        let paced = self.paced.iter().filter_map(|&at| self.legs[at].as_ref()?.leg.poll_paced());
        self.router.poll_timeout().into_iter().chain(sweep).chain(paced).min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ViewersEvent> {
        self.events.pop_front()
    }

    /// How many legs there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Counters since the beginning.
    pub fn counters(&self) -> RouterCounters {
        self.router.counters()
    }

    /// Packets dropped since the beginning because a viewer's burst was longer than its queue.
    pub fn dropped(&self) -> u64 {
        self.dropped_by_closed + self.legs.iter().flatten().map(|viewer| viewer.leg.dropped()).sum::<u64>()
    }

    /// Datagrams dropped since the beginning because a viewer sent too many.
    pub fn flooded(&self) -> u64 {
        self.flooded
    }

    /// Empties the events of a leg after each thing that was done to it.
    fn settle(&mut self, now: Instant, at: usize, outbox: &mut Outbox) {
        while let Some(viewer) = &mut self.legs[at] {
            let Some(event) = viewer.leg.poll_event() else { break };
            let key = viewer.key;
            match event {
                LegEvent::Offer(offer) => {
                    let (id, sdp, tracks) = (offer.id, offer.sdp, offer.tracks);
                    self.events.push_back(ViewersEvent::Room(Event::Offer { leg: key, id, sdp, tracks }));
                }
                LegEvent::State(state) => {
                    self.events.push_back(ViewersEvent::Room(Event::LegState { leg: key, state }));
                    if state == LinkState::Closed {
                        self.remove(at);
                    }
                }
                LegEvent::Slot(change) => self.change_slot(now, at, change),
                LegEvent::Nack { slot, lost } => {
                    if let Some(subscription) = viewer.subscription(slot) {
                        routed!(self, now, outbox, |router, fan| router.on_nack(now, subscription, &lost, fan));
                    }
                }
                LegEvent::KeyframeWanted { slot } => {
                    if let Some(subscription) = viewer.subscription(slot) {
                        self.router.on_keyframe_wanted(now, subscription);
                    }
                }
                LegEvent::AddressChecked(source) => {
                    self.events.push_back(ViewersEvent::AddressChecked { leg: key, source });
                }
                LegEvent::UfragsChanged => {
                    let ufrags = viewer.leg.ufrags().map(str::to_owned).collect();
                    self.events.push_back(ViewersEvent::Ufrags { leg: key, ufrags });
                }
            }
        }
        self.collect();
    }

    fn change_slot(&mut self, now: Instant, at: usize, change: SlotChange) {
        let Some(viewer) = &mut self.legs[at] else { return };
        match change {
            SlotChange::Open { slot, track, stream } => {
                let subscription = self.router.subscribe(now, at, &track, stream);
                if viewer.subscriptions.len() <= slot {
                    viewer.subscriptions.resize(slot + 1, None);
                }
                if let Some(before) = viewer.subscriptions[slot].replace(subscription) {
                    self.router.unsubscribe(before);
                }
                self.router.want(now, subscription, viewer.wants(slot));
            }
            SlotChange::Move { slot, track } => {
                if let Some(subscription) = viewer.subscription(slot) {
                    self.router.move_to(now, subscription, &track);
                }
            }
            SlotChange::Pause { slot } => {
                if let Some(subscription) = viewer.subscription(slot) {
                    self.router.detach(subscription);
                }
            }
            SlotChange::Stop { slot } => {
                if let Some(subscription) = viewer.subscriptions.get_mut(slot).and_then(Option::take) {
                    self.router.unsubscribe(subscription);
                }
            }
        }
    }

    fn remove(&mut self, at: usize) {
        let Some(viewer) = self.legs[at].take() else { return };
        self.by_key.remove(&viewer.key);
        self.paced.retain(|&paced| paced != at);
        self.dropped_by_closed += viewer.leg.dropped();
        viewer.subscriptions.iter().flatten().for_each(|&subscription| self.router.unsubscribe(subscription));
        self.events.push_back(ViewersEvent::Ufrags { leg: viewer.key, ufrags: Vec::new() });
    }

    fn collect(&mut self) {
        while let Some((track, layer)) = self.router.poll_keyframe() {
            self.events.push_back(ViewersEvent::Keyframe { track, layer });
        }
        if let Some(speakers) = self.router.poll_speaking() {
            self.events.push_back(ViewersEvent::Room(Event::Speaking(speakers)));
        }
    }

    fn find(&mut self, key: LegKey) -> Option<(usize, &mut Viewer)> {
        let at = *self.by_key.get(&key)?;
        self.legs[at].as_deref_mut().map(|viewer| (at, viewer))
    }
}

impl Viewer {
    fn subscription(&self, slot: usize) -> Option<SubscriptionKey> {
        self.subscriptions.get(slot).copied().flatten()
    }

    fn wants(&self, slot: usize) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&slot))
    }
}

fn gone() -> MediaError {
    MediaError { code: ErrorCode::SessionNotFound, message: "there is no such connection".to_owned() }
}

// Checks, reports and requests about 64 streams are a tenth of this.
const MAX_DATAGRAMS_PER_SECOND: u32 = 500;
const SWEEP: Duration = Duration::from_millis(200);

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
