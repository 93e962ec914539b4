//! One publisher: its offers, its connection, its m-lines and what they carry.
//! Knows nothing of who listens: packets and events come out as [`PeerAction`]s.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reelay_signaling::{ErrorCode, TrackId};

use super::flood::Flood;
use super::interceptors::SharedReceiver;
use super::link::{Link, LinkEvent, LinkShared};
use super::nack::NackOptions;
use super::outbox::Route;
use super::peer_plan::{Plan, PlannedLine, plan};
use super::receiver::{Received, ReceivedPacket, Receiver, ReceiverCounters};
use super::sdp_answer::write_answer;
use super::sdp_in::{MAX_CANDIDATES, Offer, OfferLimits, bad, read_offer};
use super::{Codec, DeclaredTrack, Event, InboundPacket, LinkState, MediaError, PeerKey, SenderReport};

/// Limits for one publisher.
#[derive(Debug, Clone, Copy)]
pub struct PeerLimits {
    /// For its offers.
    pub offer: OfferLimits,
    /// From the offer to the first ICE check that works.
    pub ice: Duration,
    /// From there to the end of the DTLS handshake.
    pub dtls: Duration,
    /// How long a failed connection waits for a restart.
    pub failed: Duration,
    /// SSRCs in the life of a connection, retransmissions included.
    pub ssrcs: usize,
    /// Packets a second, in the mean of a few seconds.
    pub packets_per_second: u32,
    /// For what is missing.
    pub nack: NackOptions,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            offer: OfferLimits::default(),
            ice: Duration::from_secs(15),
            dtls: Duration::from_secs(10),
            failed: Duration::from_secs(60),
            ssrcs: 256,
            packets_per_second: 8_000,
            nack: NackOptions::default(),
        }
    }
}

/// What a peer needs of its shard.
pub struct PeerContext<'a> {
    /// Certificate and crypto.
    pub shared: &'a LinkShared,
    /// Limits.
    pub limits: &'a PeerLimits,
    /// Our addresses, for ICE.
    pub addresses: &'a [SocketAddr],
    /// What the answer tells of them.
    pub candidates: &'a [SocketAddr],
    /// Our port.
    pub port: u16,
}

/// What a peer wants done.
#[derive(Debug)]
pub enum PeerAction {
    /// Tell the room.
    Tell(Event),
    /// Forward and record.
    Packet(InboundPacket),
    /// Forward and record.
    Report(TrackId, SenderReport),
    /// A track is over, for those who hear it.
    Ended(TrackId),
    /// Remove the peer.
    Remove,
}

/// See the module.
pub struct Peer {
    key: PeerKey,
    link: Link,
    receiver: SharedReceiver,
    lines: Vec<PlannedLine>,
    live: Vec<Option<Codec>>,
    session: (u64, u64),
    phase: Phase,
    was_connected: bool,
    remote_candidates: usize,
    ssrcs: HashSet<u32>,
    flood: Flood,
    goodbye: Option<Goodbye>,
    idle: Option<Idle>,
    actions: VecDeque<PeerAction>,
    /// Media that came before the end of the handshake, which it may overtake; it cannot be decrypted yet.
    early: Vec<(Instant, Route, u16, Vec<u8>)>,
    early_bytes: usize,
    dropped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Checking { until: Instant },
    Handshake { until: Instant },
    Connected,
    Disconnected,
    Failed { until: Instant },
    Over,
}

/// A DTLS alert after the handshake: probably the other side has closed. Whoever forges one cannot silence it as well.
#[derive(Debug, Clone, Copy)]
struct Goodbye {
    at: Instant,
    packets: u64,
}

/// A connection that is closed when no media comes for so long.
#[derive(Debug, Clone, Copy)]
struct Idle {
    after: Duration,
    last: Instant,
    /// When to look next; a later packet moves `last` only.
    check: Instant,
}

impl Peer {
    /// Makes a peer from its first offer; the answer comes with it.
    ///
    /// # Errors
    /// `bad-sdp` and `no-common-codec`, with a sentence for the client.
    pub fn open(
        now: Instant,
        context: &PeerContext<'_>,
        key: PeerKey,
        (offer, tracks): (&str, &[DeclaredTrack]),
    ) -> Result<(Self, String), MediaError> {
        let offer = read_offer(offer, context.limits.offer)?;
        let plan = plan(&offer, tracks, &[])?;
        let receiver = SharedReceiver::new(Receiver::new(context.limits.nack));
        let transport = (offer.transport.clone(), context.addresses.to_vec());
        let link = Link::new(now, context.shared, transport, receiver.clone()).map_err(refused_transport)?;
        let mut peer = Self {
            key,
            link,
            receiver,
            lines: Vec::new(),
            live: Vec::new(),
            // JSEP: 63 random bits.
            session: (rand::random::<u64>() >> 1, 1),
            phase: Phase::Checking { until: now + context.limits.ice },
            was_connected: false,
            remote_candidates: 0,
            ssrcs: HashSet::new(),
            flood: Flood::new(now, context.limits.packets_per_second),
            goodbye: None,
            idle: None,
            actions: VecDeque::new(),
            early: Vec::new(),
            early_bytes: 0,
            dropped: 0,
        };
        let answer = peer.apply(context, &offer, plan);
        Ok((peer, answer))
    }

    /// Answers a later offer: more or fewer m-lines, or new ICE credentials.
    ///
    /// # Errors
    /// As for [`Peer::open`]; the connection goes on as it was.
    pub fn renegotiate(
        &mut self,
        now: Instant,
        context: &PeerContext<'_>,
        (offer, tracks): (&str, &[DeclaredTrack]),
    ) -> Result<String, MediaError> {
        let offer = read_offer(offer, context.limits.offer)?;
        let plan = plan(&offer, tracks, &self.lines)?;
        let (old, new) = (self.link.remote(), &offer.transport);
        if old.fingerprint != new.fingerprint {
            return Err(bad("the certificate has changed; open a new connection for it"));
        }
        if (&old.ufrag, &old.pwd) != (&new.ufrag, &new.pwd) {
            let remote = super::sdp_in::RemoteTransport { setup: old.setup, is_lite: old.is_lite, ..new.clone() };
            self.link.restart(now, remote).map_err(refused_transport)?;
            self.remote_candidates = 0;
            if self.phase != Phase::Connected {
                self.phase = Phase::Checking { until: now + context.limits.ice };
            }
        }
        self.session.1 += 1;
        Ok(self.apply(context, &offer, plan))
    }

    /// Our user name and password for ICE, as they are now.
    pub fn credentials(&self) -> (&str, &str) {
        (&self.link.local().ufrag, &self.link.local().pwd)
    }

    /// Whether the connection has never stood.
    pub fn is_half_open(&self) -> bool {
        !self.was_connected
    }

    /// How many tracks flow.
    pub fn live_tracks(&self) -> usize {
        self.live.iter().flatten().count()
    }

    /// Numbers of what was received, and of what was dropped before it was looked at.
    pub fn counters(&self) -> (ReceiverCounters, u64) {
        (self.receiver.lock().counters(), self.dropped)
    }

    /// A trickled candidate.
    pub fn add_candidate(&mut self, address: SocketAddr) {
        if self.remote_candidates < MAX_CANDIDATES {
            self.remote_candidates += 1;
            self.link.add_remote_candidate(address);
        }
    }

    /// The round trip that an ICE check took.
    pub fn on_rtt(&mut self, rtt: Duration) {
        self.receiver.lock().set_rtt(rtt);
    }

    /// Asks the publisher for a keyframe. Returns false if this peer does not send that layer.
    pub fn request_keyframe(&mut self, now: Instant, track: &TrackId, layer: u8) -> bool {
        let Some(line) = self.lines.iter().position(|line| line.track.as_ref() == Some(track)) else { return false };
        self.receiver.lock().request_keyframe(now, line, layer)
    }

    /// Takes a datagram from a checked source.
    pub fn on_datagram(&mut self, now: Instant, (route, port): (Route, u16), limits: &PeerLimits, bytes: &[u8]) {
        let is_wanted = match bytes.first() {
            Some(0..=3) => true,
            Some(&first @ 20..=63) => {
                if first == DTLS_ALERT && self.was_connected && self.goodbye.is_none() {
                    let packets = self.receiver.lock().counters().packets;
                    self.goodbye = Some(Goodbye { at: now, packets });
                }
                true
            }
            Some(128..=191) => self.flood.allow(now) && self.knows_ssrc(bytes, limits.ssrcs),
            _ => false,
        };
        let is_media = matches!(bytes.first(), Some(128..=191));
        if is_wanted && is_media && !self.was_connected {
            self.early_bytes += bytes.len() + EARLY_OVERHEAD;
            if self.early_bytes <= EARLY_BYTES {
                self.early.push((now, route, port, bytes.to_vec()));
            }
        } else if is_wanted {
            self.link.on_datagram(now, route, port, bytes);
        } else {
            self.dropped += 1;
        }
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, now: Instant, limits: &PeerLimits) {
        self.link.on_timeout(now);
        match self.phase {
            Phase::Checking { until } | Phase::Handshake { until } if now >= until => self.fail(now, limits),
            Phase::Failed { until } if now >= until => self.close(),
            _ => {}
        }
        if let Some(goodbye) = self.goodbye
            && now >= goodbye.at + GOODBYE_DOUBT
        {
            self.goodbye = None;
            if self.receiver.lock().counters().packets == goodbye.packets {
                self.close();
            }
        }
        if let Some(idle) = &mut self.idle
            && now >= idle.check
        {
            idle.check = idle.last + idle.after;
            if now >= idle.check {
                self.close();
            }
        }
    }

    /// When [`Peer::on_timeout`] is to be called.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Checking { until } | Phase::Handshake { until } | Phase::Failed { until } => Some(until),
            Phase::Connected | Phase::Disconnected => None,
            Phase::Over => return None,
        };
        let goodbye = self.goodbye.map(|goodbye| goodbye.at + GOODBYE_DOUBT);
        let idle = self.idle.map(|idle| idle.check);
        [own, goodbye, idle, self.link.poll_timeout()].into_iter().flatten().min()
    }

    /// Takes in what the connection has to say; to be called after each batch, before polling.
    pub fn settle(&mut self, now: Instant, limits: &PeerLimits) {
        while let Some(event) = self.link.poll_event() {
            self.on_link(now, limits, event);
        }
        loop {
            let received = self.receiver.lock().poll();
            match received {
                Some(Received::Packet(packet)) => self.on_packet(packet),
                Some(Received::Report { line, report }) => {
                    if let Some(track) = self.lines.get(line).and_then(|line| line.track.clone()) {
                        self.actions.push_back(PeerAction::Report(track, report));
                    }
                }
                Some(Received::Ended { line }) => self.end(line),
                None => break,
            }
        }
        self.link.discard_reads();
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<PeerAction> {
        self.actions.pop_front()
    }

    /// What to send next.
    pub fn poll_datagram(&mut self) -> Option<(Route, bytes::BytesMut)> {
        self.link.poll_datagram()
    }

    /// Closes the connection when it carries no media for so long.
    pub fn close_idle(&mut self, now: Instant, after: Duration) {
        self.idle = Some(Idle { after, last: now, check: now + after });
    }

    /// Ends the connection and its tracks.
    pub fn close(&mut self) {
        if self.phase == Phase::Over {
            return;
        }
        self.phase = Phase::Over;
        self.link.close();
        self.end_all();
        self.tell_state(LinkState::Closed);
        self.actions.push_back(PeerAction::Remove);
    }

    fn apply(&mut self, context: &PeerContext<'_>, offer: &Offer, plan: Plan) -> String {
        for line in 0..self.lines.len() {
            let stays = plan.lines.get(line).is_some_and(|new| new.receives && new.track == self.lines[line].track);
            if !stays {
                self.end(line);
            }
        }
        self.live.resize(plan.lines.len(), None);
        self.lines = plan.lines;
        self.receiver.lock().configure(plan.receiver_lines, plan.extensions);
        for &candidate in &offer.candidates {
            self.add_candidate(candidate);
        }
        write_answer(offer, &plan.verdicts, self.link.local(), self.session, context.candidates)
    }

    fn on_packet(&mut self, packet: ReceivedPacket) {
        let Some(line) = self.lines.get(packet.line) else { return };
        let Some(track) = line.track.clone() else { return };
        if let Some(idle) = &mut self.idle {
            idle.last = packet.arrival;
        }
        let live = &mut self.live[packet.line];
        if *live != Some(packet.codec) {
            let had_other = live.replace(packet.codec).is_some();
            let (peer, codec, channels) = (self.key, packet.codec, line.channels);
            if had_other {
                self.actions.push_back(PeerAction::Ended(track.clone()));
                self.actions.push_back(PeerAction::Tell(Event::TrackEnded { peer, track: track.clone() }));
            }
            let track = track.clone();
            self.actions.push_back(PeerAction::Tell(Event::TrackStarted { peer, track, codec, channels }));
        }
        self.actions.push_back(PeerAction::Packet(InboundPacket {
            track,
            layer: packet.layer,
            ssrc: packet.ssrc,
            codec: packet.codec,
            seq: packet.seq,
            rtp_time: packet.rtp_time,
            marker: packet.marker,
            audio_level: packet.audio_level,
            arrival: packet.arrival,
            payload: packet.payload,
        }));
    }

    fn on_link(&mut self, now: Instant, limits: &PeerLimits, event: LinkEvent) {
        match event {
            LinkEvent::IceConnected => {
                if !self.was_connected && matches!(self.phase, Phase::Checking { .. }) {
                    self.phase = Phase::Handshake { until: now + limits.dtls };
                }
            }
            LinkEvent::Connected if self.phase != Phase::Over => {
                self.was_connected = true;
                for (arrival, route, port, bytes) in std::mem::take(&mut self.early) {
                    self.link.on_datagram(arrival, route, port, &bytes);
                }
                if self.phase != Phase::Connected {
                    self.phase = Phase::Connected;
                    self.tell_state(LinkState::Connected);
                }
            }
            LinkEvent::Disconnected if self.phase == Phase::Connected => {
                self.phase = Phase::Disconnected;
                self.tell_state(LinkState::Disconnected);
            }
            LinkEvent::Failed => self.fail(now, limits),
            LinkEvent::Connected | LinkEvent::Disconnected => {}
        }
    }

    fn fail(&mut self, now: Instant, limits: &PeerLimits) {
        if matches!(self.phase, Phase::Failed { .. } | Phase::Over) {
            return;
        }
        self.end_all();
        self.tell_state(LinkState::Failed);
        self.phase = Phase::Failed { until: now + limits.failed };
        if !self.was_connected {
            self.close();
        }
    }

    fn end(&mut self, line: usize) {
        if self.live.get_mut(line).is_none_or(|live| live.take().is_none()) {
            return;
        }
        if let Some(track) = self.lines[line].track.clone() {
            self.actions.push_back(PeerAction::Ended(track.clone()));
            self.actions.push_back(PeerAction::Tell(Event::TrackEnded { peer: self.key, track }));
        }
    }

    fn end_all(&mut self) {
        for line in 0..self.lines.len() {
            self.end(line);
        }
    }

    fn tell_state(&mut self, state: LinkState) {
        self.actions.push_back(PeerAction::Tell(Event::PeerState { peer: self.key, state }));
    }

    /// SRTP keeps state for each SSRC for ever, so their number is bounded before anything is decrypted.
    fn knows_ssrc(&mut self, bytes: &[u8], most: usize) -> bool {
        // RFC 5761: payload types 64 to 95 with the marker bit are RTCP, whose SSRC comes earlier.
        let at = if matches!(bytes.get(1), Some(192..=223)) { 4 } else { 8 };
        let Some(ssrc) = bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes) else {
            return false;
        };
        self.ssrcs.contains(&ssrc) || (self.ssrcs.len() < most && self.ssrcs.insert(ssrc))
    }
}

fn refused_transport(error: rtc::shared::error::Error) -> MediaError {
    tracing::debug!(%error, "transport parameters refused");
    MediaError { code: ErrorCode::BadSdp, message: "the offer's ICE or DTLS parameters cannot be used".into() }
}

const DTLS_ALERT: u8 = 21;
const GOODBYE_DOUBT: Duration = Duration::from_secs(2);
/// Two seconds of 1 Mbit/s, of each connection that is being set up.
const EARLY_BYTES: usize = 256 * 1024;
const EARLY_OVERHEAD: usize = 64;

#[cfg(test)]
mod tests;
