//! The media of one room: its publishers, who owns which track, its recorder taps, its viewers.
//! One room's fault stays with it: the shard calls everything here inside `catch_unwind`.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use reelay_signaling::TrackId;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::admit::Admit;
use super::counters::Counters;
use super::outbox::{Outbox, Route};
use super::peer::{Peer, PeerAction, PeerContext};
use super::sdp_in::read_candidate;
use super::taps::Taps;
use super::viewers::{Viewers, ViewersEvent};
use super::{Command, DeclaredTrack, Event, LegKey, MediaError, PeerKey, RoomKey};

/// Whom a datagram is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// A publisher.
    Peer(RoomKey, PeerKey),
    /// A viewer.
    Leg(RoomKey, LegKey),
}

impl Target {
    /// Its room.
    pub fn room(self) -> RoomKey {
        match self {
            Self::Peer(room, _) | Self::Leg(room, _) => room,
        }
    }
}

/// What a room may use while it is being called.
pub struct Turn<'a> {
    /// The time of this batch.
    pub now: Instant,
    /// Where datagrams go.
    pub outbox: &'a mut Outbox,
    /// Who may send us what.
    pub admit: &'a mut Admit<Target>,
    /// What the shard counts.
    pub counters: &'a mut Counters,
    /// What peers need.
    pub context: PeerContext<'a>,
}

/// See the module.
pub struct Room {
    key: RoomKey,
    events: mpsc::Sender<Event>,
    peers: HashMap<PeerKey, PeerState>,
    /// Which publisher a live track comes from.
    owners: HashMap<TrackId, PeerKey>,
    blocked: HashSet<TrackId>,
    taps: Taps,
    viewers: Viewers,
    /// The ICE names of legs, as `admit` knows them.
    leg_names: HashMap<LegKey, Vec<String>>,
    /// Peers to be settled at the end of the turn.
    touched: Vec<PeerKey>,
    is_unread: bool,
}

struct PeerState {
    peer: Peer,
    deadline: Option<Instant>,
    ufrag: String,
}

impl Room {
    /// An empty room that tells `events` what happens.
    pub fn new(key: RoomKey, events: mpsc::Sender<Event>, viewers: Viewers) -> Self {
        Self {
            key,
            events,
            peers: HashMap::new(),
            owners: HashMap::new(),
            blocked: HashSet::new(),
            taps: Taps::default(),
            viewers,
            leg_names: HashMap::new(),
            touched: Vec::new(),
            is_unread: false,
        }
    }

    /// Whether its events went unread, so that it must be closed.
    pub fn is_unread(&self) -> bool {
        self.is_unread
    }

    /// How many publishers, and how many of their connections have never stood.
    pub fn peers(&self) -> (usize, usize) {
        (self.peers.len(), self.peers.values().filter(|state| state.peer.is_half_open()).count())
    }

    /// How many receiving connections there are.
    pub fn legs(&self) -> usize {
        self.viewers.len()
    }

    /// Whether there is this publisher.
    pub fn has_peer(&self, key: PeerKey) -> bool {
        self.peers.contains_key(&key)
    }

    /// How many tracks flow.
    pub fn live_tracks(&self) -> usize {
        self.peers.values().map(|state| state.peer.live_tracks()).sum()
    }

    /// Adds what its publishers have counted.
    pub fn count(&self, counters: &mut Counters) {
        for state in self.peers.values() {
            counters.add_peer(state.peer.counters());
        }
        counters.add_viewers(self.viewers.counters(), self.viewers.dropped(), self.viewers.flooded());
    }

    /// Everything in it that the shard knows by name.
    pub fn targets(&self) -> Vec<Target> {
        let peers = self.peers.keys().map(|&peer| Target::Peer(self.key, peer));
        peers.chain(self.leg_names.keys().map(|&leg| Target::Leg(self.key, leg))).collect()
    }

    /// The room failed: its last word.
    pub fn tell_failed(&self) {
        let _ = self.events.try_send(Event::Failed);
    }

    /// Carries out a command of this room.
    pub fn on_command(&mut self, turn: &mut Turn<'_>, command: Command) {
        match command {
            Command::Publish { peer, offer, tracks, reply, .. } => {
                let answer = self.publish(turn, peer, &offer, &tracks);
                answer_to(reply, answer);
            }
            Command::PeerCandidate { peer, candidate, .. } => {
                if let (Some(state), Some(address)) = (self.peers.get_mut(&peer), read_candidate(&candidate)) {
                    state.peer.add_candidate(address);
                    self.touch(peer);
                }
            }
            Command::ClosePeer { peer, .. } => {
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.peer.close();
                    self.touch(peer);
                }
            }
            Command::CloseIdle { peer, after, .. } => {
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.peer.close_idle(turn.now, after);
                    self.touch(peer);
                }
            }
            Command::Block { track, blocked, .. } => {
                self.viewers.block(turn.now, &track, blocked);
                if blocked {
                    self.blocked.insert(track);
                } else if self.blocked.remove(&track) {
                    self.request_keyframe(turn.now, &track, None);
                }
            }
            Command::Tap { track, tap, from, .. } => {
                if !self.taps.insert(track.clone(), tap, from) {
                    self.request_keyframe(turn.now, &track, None);
                }
            }
            Command::Untap { track, .. } => self.taps.remove(&track),
            Command::Keyframe { track, .. } => {
                let layer = self.taps.layer(&track);
                self.request_keyframe(turn.now, &track, layer);
            }
            command => self.on_leg_command(turn, command),
        }
    }

    fn on_leg_command(&mut self, turn: &mut Turn<'_>, command: Command) {
        let (now, viewers, outbox) = (turn.now, &mut self.viewers, &mut *turn.outbox);
        match command {
            Command::OpenLeg { leg, .. } => {
                if let Err(error) = viewers.open(now, leg) {
                    warn!(room = self.key.0, leg = leg.0, %error, "receiving connection refused");
                }
            }
            Command::OpenWhepLeg { leg, offer, reply, .. } => answer_to(reply, viewers.open_whep(now, leg, &offer)),
            Command::SetTracks { leg, tracks, .. } => viewers.set_tracks(now, leg, &tracks, outbox),
            Command::Want { leg, mids, .. } => viewers.want(now, leg, mids.as_deref()),
            Command::LegAnswer { leg, id, answer, reply, .. } => {
                answer_to(reply, viewers.answer(now, leg, id, &answer, outbox));
            }
            Command::RestartLeg { leg, fragment, reply, .. } => {
                answer_to(reply, viewers.restart(now, leg, fragment.as_deref(), outbox));
            }
            Command::CloseLeg { leg, .. } => viewers.close(now, leg, outbox),
            Command::Feed { packets, report, .. } => {
                packets.iter().for_each(|packet| viewers.on_packet(now, packet, outbox));
                if let Some((track, report)) = report {
                    viewers.on_report(now, &track, report, outbox);
                }
            }
            _ => {}
        }
    }

    /// A datagram from a checked source.
    pub fn on_datagram(&mut self, turn: &mut Turn<'_>, target: Target, route: Route, bytes: &mut [u8]) {
        match target {
            Target::Peer(_, key) => {
                if let Some(state) = self.peers.get_mut(&key) {
                    state.peer.on_datagram(turn.now, (route, turn.context.port), turn.context.limits, bytes);
                    self.touch(key);
                }
            }
            Target::Leg(_, key) => self.viewers.on_datagram(turn.now, key, route, bytes, turn.outbox),
        }
    }

    /// One of our checks was answered after `rtt`.
    pub fn on_rtt(&mut self, target: Target, rtt: Duration) {
        if let Target::Peer(_, key) = target
            && let Some(state) = self.peers.get_mut(&key)
        {
            state.peer.on_rtt(rtt);
        }
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        for (&key, state) in &mut self.peers {
            if state.deadline.is_some_and(|deadline| deadline <= now) {
                state.peer.on_timeout(now, turn.context.limits);
                self.touched.push(key);
            }
        }
        if self.viewers.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.viewers.on_timeout(now, turn.outbox);
        }
    }

    /// When [`Room::on_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let peers = self.peers.values().filter_map(|state| state.deadline);
        peers.chain(self.viewers.poll_timeout()).min()
    }

    /// Carries on what the turn has begun: forwards, records, tells, sends.
    pub fn settle(&mut self, turn: &mut Turn<'_>) {
        // A packet of one peer may ask another for a keyframe, so this goes on until nobody is left.
        self.settle_viewers(turn);
        while let Some(key) = self.touched.pop() {
            self.touched.retain(|other| *other != key);
            let Some(state) = self.peers.get_mut(&key) else { continue };
            state.peer.settle(turn.now, turn.context.limits);
            let mut is_over = false;
            while let Some(action) = self.peers.get_mut(&key).and_then(|state| state.peer.poll_action()) {
                is_over |= matches!(action, PeerAction::Remove);
                self.on_action(turn, key, action);
            }
            self.send(turn, key);
            if is_over {
                self.remove(turn, key);
            }
            self.settle_viewers(turn);
        }
    }

    fn settle_viewers(&mut self, turn: &mut Turn<'_>) {
        while let Some(event) = self.viewers.poll_event() {
            match event {
                ViewersEvent::Room(event) => self.tell(event),
                ViewersEvent::Keyframe { track, layer } => self.request_keyframe(turn.now, &track, Some(layer)),
                ViewersEvent::AddressChecked { leg, source } => {
                    turn.admit.checked(turn.now, source, Target::Leg(self.key, leg));
                }
                ViewersEvent::Ufrags { leg, ufrags } => self.rename_leg(turn, leg, ufrags),
            }
        }
    }

    fn rename_leg(&mut self, turn: &mut Turn<'_>, leg: LegKey, names: Vec<String>) {
        let target = Target::Leg(self.key, leg);
        for old in self.leg_names.remove(&leg).unwrap_or_default() {
            turn.admit.unregister(&old);
        }
        if names.is_empty() {
            turn.admit.forget(target);
            return;
        }
        names.iter().for_each(|name| turn.admit.register(name, None, target));
        self.leg_names.insert(leg, names);
    }

    /// Closes everything in it.
    pub fn close(&mut self, turn: &mut Turn<'_>) {
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            if let Some(state) = self.peers.get_mut(&key) {
                state.peer.close();
            }
            self.touch(key);
        }
        self.viewers.close_all(turn.now, turn.outbox);
        self.settle(turn);
    }

    fn publish(
        &mut self,
        turn: &mut Turn<'_>,
        key: PeerKey,
        offer: &str,
        tracks: &[DeclaredTrack],
    ) -> Result<String, MediaError> {
        let target = Target::Peer(self.key, key);
        let answer = if let Some(state) = self.peers.get_mut(&key) {
            state.peer.renegotiate(turn.now, &turn.context, (offer, tracks))?
        } else {
            let (peer, answer) = Peer::open(turn.now, &turn.context, key, (offer, tracks))?;
            self.peers.insert(key, PeerState { peer, deadline: None, ufrag: String::new() });
            answer
        };
        if let Some(state) = self.peers.get_mut(&key) {
            let (ufrag, pwd) = state.peer.credentials();
            if ufrag != state.ufrag {
                turn.admit.register(ufrag, Some(pwd), target);
                let old = std::mem::replace(&mut state.ufrag, ufrag.to_owned());
                turn.admit.unregister(&old);
            }
        }
        self.touch(key);
        Ok(answer)
    }

    fn on_action(&mut self, turn: &mut Turn<'_>, key: PeerKey, action: PeerAction) {
        match action {
            PeerAction::Tell(event) => {
                if let Event::TrackStarted { track, .. } = &event {
                    self.owners.insert(track.clone(), key);
                }
                self.tell(event);
            }
            PeerAction::Packet(packet) => {
                if !self.owns(key, &packet.track) {
                    return;
                }
                if self.blocked.contains(&packet.track) {
                    turn.counters.dropped_blocked += 1;
                    return;
                }
                if let Some(layer) = self.taps.on_packet(turn.now, &packet) {
                    self.request_keyframe(turn.now, &packet.track, Some(layer));
                }
                self.viewers.on_packet(turn.now, &packet, turn.outbox);
            }
            PeerAction::Report(track, report) => {
                if self.owns(key, &track) {
                    self.taps.on_report(&track, report);
                    self.viewers.on_report(turn.now, &track, report, turn.outbox);
                }
            }
            PeerAction::Ended(track) => {
                if self.owners.get(&track) == Some(&key) {
                    self.owners.remove(&track);
                    self.taps.on_ended(&track, track.kind);
                    self.viewers.end_track(&track);
                }
            }
            PeerAction::Remove => {}
        }
    }

    /// Whether a track's packets are taken from this peer: after a reload the old connection may still be there.
    fn owns(&mut self, key: PeerKey, track: &TrackId) -> bool {
        match self.owners.get(track) {
            Some(owner) => *owner == key,
            None => {
                self.owners.insert(track.clone(), key);
                true
            }
        }
    }

    fn request_keyframe(&mut self, now: Instant, track: &TrackId, layer: Option<u8>) {
        let Some(&owner) = self.owners.get(track) else { return };
        let Some(state) = self.peers.get_mut(&owner) else { return };
        let mut is_asked = false;
        for layer in layer.map_or(0..MAX_LAYERS, |layer| layer..layer + 1) {
            is_asked |= state.peer.request_keyframe(now, track, layer);
        }
        if is_asked {
            self.touch(owner);
        }
    }

    fn send(&mut self, turn: &mut Turn<'_>, key: PeerKey) {
        let Some(state) = self.peers.get_mut(&key) else { return };
        while let Some((route, bytes)) = state.peer.poll_datagram() {
            turn.admit.on_send(turn.now, Target::Peer(self.key, key), route.to, &bytes);
            turn.outbox.datagram(route, |buffer| buffer.extend_from_slice(&bytes));
        }
        state.deadline = state.peer.poll_timeout();
    }

    fn remove(&mut self, turn: &mut Turn<'_>, key: PeerKey) {
        turn.admit.forget(Target::Peer(self.key, key));
        self.owners.retain(|_, owner| *owner != key);
        if let Some(state) = self.peers.remove(&key) {
            turn.counters.add_peer(state.peer.counters());
        }
    }

    fn tell(&mut self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.is_unread = true;
        }
    }

    fn touch(&mut self, key: PeerKey) {
        if !self.touched.contains(&key) {
            self.touched.push(key);
        }
    }
}

fn answer_to<T>(reply: oneshot::Sender<T>, answer: T) {
    // Whoever asked may have gone away.
    let _ = reply.send(answer);
}

const MAX_LAYERS: u8 = 4;
