//! A leg: the receiving connection of one viewer, made from the family's parts. ICE-lite, DTLS server, SRTP, and
//! the SDP for it. Sans-IO: datagrams and time come in, datagrams go into an [`Outbox`], the rest is events.
//! Knows slots and SSRCs; what flows in them is the router's matter.

mod dtls;
mod hello;
mod ice;
mod mode;
mod offer;
mod pacer;
mod rtcp;
mod sdp;
mod shared;
mod srtp;
mod whep;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use reelay_signaling::{ErrorCode, Kind, TrackId};

use super::router::Report;
use super::{LinkState, MediaError, Outbox, Route};
use dtls::{Dtls, DtlsEvent, Handshake};
use ice::IceLite;
use mode::Mode;
use offer::Offering;
use pacer::Pacer;
use rtcp::Feedback;
use sdp::{Description, Fingerprint, Setup, bad, fail};
use srtp::Srtp;
use whep::Whep;

pub use offer::{Offer, SlotChange};
pub use shared::LegShared;

/// Who writes the m-lines.
#[derive(Debug, Clone, Copy)]
pub enum LegMode<'a> {
    /// We do: our own pages.
    Own,
    /// The client does: this is its WHEP offer.
    Whep(&'a str),
}

/// What a leg has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegEvent {
    /// An offer for the client.
    Offer(Offer),
    /// The connection changed.
    State(LinkState),
    /// What flows changed.
    Slot(SlotChange),
    /// The viewer has lost packets of a slot.
    Nack {
        /// The slot.
        slot: usize,
        /// Their sequence numbers.
        lost: Vec<u16>,
    },
    /// The viewer cannot go on without a keyframe.
    KeyframeWanted {
        /// The slot.
        slot: usize,
    },
    /// A source has passed an ICE check: its datagrams may be let in.
    AddressChecked(SocketAddr),
    /// The ICE names of the leg have changed.
    UfragsChanged,
}

/// One receiving connection.
pub struct Leg {
    shared: Arc<LegShared>,
    rng: StdRng,
    mode: Mode,
    ice: IceLite,
    dtls: Dtls,
    /// Done before the answer was there.
    handshake: Option<Box<Handshake>>,
    fingerprint: Option<Fingerprint>,
    srtp: Option<Srtp>,
    route: Option<Route>,
    is_nominated: bool,
    /// Sources that have passed a check, the newest last.
    checked: VecDeque<SocketAddr>,
    state: Option<LinkState>,
    /// The last check or packet; `None` while nobody is expected to send any.
    heard: Option<Instant>,
    answer_due: Option<Instant>,
    pacer: Pacer,
    /// What flows once the connection stands.
    waiting: Vec<SlotChange>,
    events: VecDeque<LegEvent>,
    rtcp: Vec<u8>,
}

impl Leg {
    /// Makes a leg.
    ///
    /// # Errors
    /// When a WHEP offer cannot be answered: `bad-sdp`, `no-common-codec`, `dtls-role`, `too-large`.
    pub fn new(now: Instant, shared: Arc<LegShared>, mode: LegMode<'_>) -> Result<Self, MediaError> {
        let mut rng = shared.rng();
        let ice = IceLite::new(&mut rng);
        let (mode, fingerprint) = match mode {
            LegMode::Own => (Mode::Own(Offering::new(&mut rng)), None),
            LegMode::Whep(offer) => {
                let offer = Description::read(offer)?;
                (Mode::Whep(Whep::read(&offer, &mut rng)?), offer.fingerprint())
            }
        };
        let heard = fingerprint.is_some().then_some(now);
        Ok(Self {
            dtls: Dtls::new(shared.clone()),
            shared,
            rng,
            mode,
            ice,
            handshake: None,
            fingerprint,
            srtp: None,
            route: None,
            is_nominated: false,
            checked: VecDeque::new(),
            state: None,
            heard,
            answer_due: None,
            pacer: Pacer::new(now),
            waiting: Vec::new(),
            events: VecDeque::new(),
            rtcp: Vec::new(),
        })
    }

    /// The ICE names by which datagrams find this leg: `ours` of USERNAME `ours:theirs`.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        self.ice.ufrags()
    }

    /// The answer to a WHEP client's offer; `None` for our own pages.
    pub fn whep_answer(&self) -> Option<String> {
        match &self.mode {
            Mode::Own(_) => None,
            Mode::Whep(whep) => Some(whep.answer(self.ice.credentials(), &self.shared)),
        }
    }

    /// The slot of a mid.
    pub fn slot_of(&self, mid: &str) -> Option<usize> {
        match &self.mode {
            Mode::Own(_) => mid.parse().ok(),
            Mode::Whep(whep) => whep.slot_of(mid),
        }
    }

    /// Which tracks to carry from now on, in the order of slots.
    pub fn set_tracks(&mut self, now: Instant, tracks: &[TrackId]) {
        let changes = match &mut self.mode {
            Mode::Own(offering) => offering.set_tracks(tracks, &mut self.rng),
            Mode::Whep(whep) => whep.set_tracks(tracks),
        };
        self.announce(changes);
        self.offer(now);
    }

    /// Takes the client's answer to offer `id`.
    ///
    /// # Errors
    /// `bad-sdp`, `dtls-role`, `too-large`, `bad-request` for an offer that never was.
    pub fn answer(&mut self, now: Instant, id: u64, answer: &str, outbox: &mut Outbox) -> Result<(), MediaError> {
        let Mode::Own(offering) = &mut self.mode else {
            return Err(fail(ErrorCode::BadRequest, "a WHEP connection has no offers to answer"));
        };
        let answer = Description::read(answer)?;
        match answer.setup() {
            Some(Setup::Active) => {}
            Some(Setup::Passive) => {
                return Err(fail(ErrorCode::DtlsRole, "this server is the DTLS server: answer a=setup:active"));
            }
            _ => return Err(bad("the answer has no a=setup:active")),
        }
        let fingerprint = answer.fingerprint().ok_or_else(|| bad("the answer has no a=fingerprint"))?;
        if self.fingerprint.as_ref().is_some_and(|known| *known != fingerprint) {
            return Err(bad("the certificate of a connection cannot change"));
        }
        let changes = offering.answer(id, &answer, &mut self.rng)?;
        if !offering.is_waiting() {
            self.answer_due = None;
        }
        if self.fingerprint.replace(fingerprint).is_none() {
            self.heard = Some(now);
        }
        self.announce(changes);
        self.open(now, outbox);
        if self.state == Some(LinkState::Closed) {
            return Err(bad("the certificate is not the one of the answer"));
        }
        self.offer(now);
        Ok(())
    }

    /// New ICE credentials, DTLS kept. Our own pages get a new offer for it. `fragment` is what a WHEP client has
    /// sent; the answer to it is empty when it asks for no restart.
    ///
    /// # Errors
    /// `bad-sdp`, `too-large` for a fragment that cannot be read.
    pub fn restart(&mut self, now: Instant, fragment: Option<&str>) -> Result<String, MediaError> {
        if let (Mode::Whep(whep), Some(fragment)) = (&mut self.mode, fragment)
            && !whep.wants_restart(fragment)?
        {
            return Ok(String::new());
        }
        self.ice.restart(now, &mut self.rng);
        self.is_nominated = false;
        self.events.push_back(LegEvent::UfragsChanged);
        if let Some(heard) = &mut self.heard {
            *heard = now;
        }
        match &mut self.mode {
            Mode::Own(offering) => {
                offering.renew();
                self.offer(now);
                Ok(String::new())
            }
            Mode::Whep(whep) => Ok(whep.fragment(self.ice.credentials(), &self.shared)),
        }
    }

    /// A datagram of the viewer; `route` leads back to where it came from.
    pub fn on_datagram(&mut self, now: Instant, route: Route, data: &mut [u8], outbox: &mut Outbox) {
        if self.state == Some(LinkState::Closed) {
            return;
        }
        match data.first() {
            Some(0..=3) => self.on_check(now, route, data, outbox),
            Some(20..=63) if self.is_checked(route.to) => self.on_dtls(now, route, data, outbox),
            Some(128..=191) if self.is_checked(route.to) => self.on_rtcp(now, data),
            _ => {}
        }
    }

    fn on_check(&mut self, now: Instant, route: Route, data: &[u8], outbox: &mut Outbox) {
        let Some(checked) = self.ice.on_datagram(route.to, data, self.shared.crypto()) else { return };
        if !self.is_checked(route.to) {
            self.checked.push_back(route.to);
            if self.checked.len() > MAX_CHECKED {
                self.checked.pop_front();
            }
        }
        self.events.push_back(LegEvent::AddressChecked(route.to));
        outbox.datagram(route, |buf| buf.extend_from_slice(&checked.response));
        // The pair that the client uses is the one it last nominated; before the first nomination any will do.
        if checked.is_nominated || !self.is_nominated && self.route.is_none() {
            self.route = Some(route);
            self.is_nominated |= checked.is_nominated;
        }
        self.hear(now);
    }

    fn on_dtls(&mut self, now: Instant, route: Route, data: &[u8], outbox: &mut Outbox) {
        if !self.is_nominated {
            self.route = Some(route);
        }
        let event = self.dtls.on_datagram(now, data);
        self.transmit(outbox);
        match event {
            Some(DtlsEvent::Done(handshake)) => {
                self.handshake = Some(handshake);
                self.open(now, outbox);
            }
            Some(DtlsEvent::Closed) => self.become_closed(),
            None => {}
        }
    }

    /// Opens SRTP once the handshake is done and the answer says whose certificate it must have.
    fn open(&mut self, now: Instant, outbox: &mut Outbox) {
        let (Some(handshake), Some(fingerprint)) = (&self.handshake, &self.fingerprint) else { return };
        if !fingerprint.matches(&handshake.certificate) {
            self.close(now, outbox);
            return;
        }
        self.srtp = Srtp::new(&handshake.keys, self.shared.crypto());
        self.handshake = None;
        self.set_state(LinkState::Connected);
        self.hear(now);
        for change in std::mem::take(&mut self.waiting) {
            self.events.push_back(LegEvent::Slot(change));
        }
    }

    fn on_rtcp(&mut self, now: Instant, data: &[u8]) {
        let Some(srtp) = &mut self.srtp else { return };
        if !data.get(1).is_some_and(|packet_type| (192..=223).contains(packet_type)) {
            return;
        }
        let Some(packet) = srtp.open_rtcp(data) else { return };
        self.hear(now);
        let (mode, events) = (&self.mode, &mut self.events);
        rtcp::read(&packet, |feedback| match feedback {
            Feedback::Lost { ssrc, first, mask } => {
                let Some(slot) = mode.slot(ssrc) else { return };
                let lost = (0..16).filter(|bit| mask >> bit & 1 == 1).map(|bit| first.wrapping_add(bit + 1));
                let lost = std::iter::once(first).chain(lost);
                match events.back_mut() {
                    Some(LegEvent::Nack { slot: last, lost: all }) if *last == slot => {
                        if all.len() < MAX_LOST {
                            all.extend(lost);
                        }
                    }
                    _ => events.push_back(LegEvent::Nack { slot, lost: lost.collect() }),
                }
            }
            Feedback::Keyframe { ssrc } => {
                let event = mode.slot(ssrc).map(|slot| LegEvent::KeyframeWanted { slot });
                if event.is_some() && events.back() != event.as_ref() {
                    events.extend(event);
                }
            }
            Feedback::Reception { .. } => {}
        });
    }

    /// Sends a plain RTP packet.
    pub fn send_rtp(&mut self, now: Instant, kind: Kind, packet: &[u8], outbox: &mut Outbox) {
        let (Some(srtp), Some(route)) = (&mut self.srtp, self.route) else { return };
        let Some(sealed) = srtp.seal_rtp(packet) else { return };
        // Sound is little and late at once; pictures wait for their turn.
        let ready = if kind == Kind::Audio { Some(sealed) } else { self.pacer.push(now, sealed) };
        if let Some(sealed) = ready {
            outbox.datagram(route, |buf| buf.extend_from_slice(&sealed));
        }
    }

    /// Sends a sender report.
    pub fn send_report(&mut self, report: &Report, outbox: &mut Outbox) {
        let (Some(srtp), Some(route)) = (&mut self.srtp, self.route) else { return };
        self.rtcp.clear();
        rtcp::write_report(report, self.mode.cname(report.ssrc), &mut self.rtcp);
        let Some(sealed) = srtp.seal_rtcp(&self.rtcp) else { return };
        outbox.datagram(route, |buf| buf.extend_from_slice(&sealed));
    }

    /// Carries out what is due.
    pub fn on_timeout(&mut self, now: Instant, outbox: &mut Outbox) {
        if self.state == Some(LinkState::Closed) {
            return;
        }
        if self.answer_due.is_some_and(|due| now >= due) {
            self.close(now, outbox);
            return;
        }
        if !self.dtls.on_timeout(now) && self.srtp.is_none() {
            self.set_state(LinkState::Failed);
        }
        self.transmit(outbox);
        if self.ice.on_timeout(now) {
            self.events.push_back(LegEvent::UfragsChanged);
        }
        self.send_paced(now, outbox);
        let silence = self.heard.map_or(Duration::ZERO, |heard| now.saturating_duration_since(heard));
        if silence >= CLOSED_AFTER {
            self.close(now, outbox);
        } else if silence >= FAILED_AFTER {
            self.set_state(LinkState::Failed);
        } else if silence >= DISCONNECTED_AFTER && self.state == Some(LinkState::Connected) {
            self.set_state(LinkState::Disconnected);
        }
    }

    /// Sends what a burst has left over, as far as it may go. Returns true while more waits.
    pub fn send_paced(&mut self, now: Instant, outbox: &mut Outbox) -> bool {
        if let Some(route) = self.route {
            while let Some(sealed) = self.pacer.pop(now) {
                outbox.datagram(route, |buf| buf.extend_from_slice(&sealed));
            }
        }
        self.is_paced()
    }

    /// Whether a burst has left something over.
    pub fn is_paced(&self) -> bool {
        self.pacer.poll_timeout().is_some()
    }

    /// When the rest of a burst may go.
    pub fn poll_paced(&self) -> Option<Instant> {
        self.pacer.poll_timeout()
    }

    /// Whether ICE names from before a restart are still answered.
    pub fn has_old_names(&self) -> bool {
        self.ice.ufrags().count() > 1
    }

    /// Packets dropped because bursts were longer than the viewer's queue.
    pub fn dropped(&self) -> u64 {
        self.pacer.dropped()
    }

    /// When [`Leg::on_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silence = match self.state {
            Some(LinkState::Closed) => None,
            Some(LinkState::Failed) => self.heard.map(|heard| heard + CLOSED_AFTER),
            Some(LinkState::Connected) => self.heard.map(|heard| heard + DISCONNECTED_AFTER),
            _ => self.heard.map(|heard| heard + FAILED_AFTER),
        };
        let handshake = self.dtls.poll_timeout().filter(|_| self.srtp.is_none());
        [self.answer_due, handshake, silence, self.pacer.poll_timeout()].into_iter().flatten().min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<LegEvent> {
        self.events.pop_front()
    }

    /// Says goodbye and takes nothing any more.
    pub fn close(&mut self, now: Instant, outbox: &mut Outbox) {
        self.dtls.close(now);
        self.transmit(outbox);
        self.become_closed();
    }

    fn become_closed(&mut self) {
        self.srtp = None;
        self.answer_due = None;
        self.set_state(LinkState::Closed);
    }

    fn announce(&mut self, changes: Vec<SlotChange>) {
        for change in changes {
            if self.srtp.is_some() {
                self.events.push_back(LegEvent::Slot(change));
            } else {
                self.waiting.push(change);
            }
        }
    }

    fn offer(&mut self, now: Instant) {
        let Mode::Own(offering) = &mut self.mode else { return };
        if let Some(offer) = offering.poll_offer(self.ice.credentials(), &self.shared) {
            self.answer_due = Some(now + ANSWER_WAIT);
            self.events.push_back(LegEvent::Offer(offer));
        }
    }

    fn transmit(&mut self, outbox: &mut Outbox) {
        let Some(route) = self.route else { return };
        while let Some(datagram) = self.dtls.poll_transmit() {
            outbox.datagram(route, |buf| buf.extend_from_slice(&datagram));
        }
    }

    fn hear(&mut self, now: Instant) {
        if self.heard.is_some() {
            self.heard = Some(now);
        }
        if self.srtp.is_some() && matches!(self.state, Some(LinkState::Disconnected | LinkState::Failed)) {
            self.set_state(LinkState::Connected);
        }
    }

    fn set_state(&mut self, state: LinkState) {
        if self.state.replace(state) != Some(state) {
            self.events.push_back(LegEvent::State(state));
        }
    }

    fn is_checked(&self, source: SocketAddr) -> bool {
        self.checked.contains(&source)
    }
}

// How long a client may take for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
const DISCONNECTED_AFTER: Duration = Duration::from_secs(10);
// RFC 7675 §5.1.
const FAILED_AFTER: Duration = Duration::from_secs(30);
// As long as a lost viewer may take to ask for a restart.
const CLOSED_AFTER: Duration = Duration::from_secs(90);
// A viewer that has lost more at once is better served by a keyframe.
const MAX_LOST: usize = 256;
// A browser has a few addresses, and a new port after each restart.
const MAX_CHECKED: usize = 16;

#[cfg(test)]
mod tests;
