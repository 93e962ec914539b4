//! The state of one room: who is there, what they were told, what is due. Commands and events come out as [`Effect`]s.
//! Time is an argument; nothing here waits.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use reelay_signaling::{
    ChatLine, ClosedReason, ErrorCode, Joined, LeaveReason, Participant, ParticipantId, RoomName, RoomRecording,
    ServerMessage,
};
use tokio::sync::oneshot;

use super::fragment::declarations;
use super::member::{Door, Member, SessionKey};
use super::web::SdpAnswer;
use super::{Now, Options, RoomEvent, What, refusal};
use crate::auth::Refusal;
use crate::media::{Command, DeclaredTrack, MediaError, PeerKey, RoomKey};
use crate::places::Place;

/// What the room's task has to carry out.
#[derive(Debug)]
pub(super) enum Effect {
    /// A command to the media plane.
    Media(Command),
    /// A command whose answer comes back to [`RoomState::on_answer`].
    Ask(Command, Awaited, About),
    /// To the observers.
    Tell(RoomEvent),
    /// An answer of the observers that comes back to [`RoomState::on_answer`].
    Await(Awaited, About),
    /// The registry forgets this WHIP or WHEP session.
    Forget(String),
}

/// The answer of the media plane, or of the observer, when it comes.
#[derive(Debug)]
pub(super) enum Awaited {
    Text(oneshot::Receiver<Result<String, MediaError>>),
    Done(oneshot::Receiver<Result<(), MediaError>>),
    Observed(oneshot::Receiver<Result<(), ErrorCode>>),
}

/// What an answer is about.
#[derive(Debug)]
pub(super) enum About {
    Publish { member: ParticipantId, peer: PeerKey, tracks: Vec<DeclaredTrack>, reference: Option<String> },
    Recording { member: ParticipantId, reference: Option<String> },
    Offer { member: ParticipantId, reference: Option<String> },
    Restart { member: ParticipantId, reference: Option<String> },
    Web { member: ParticipantId, is_new: bool, reply: oneshot::Sender<Result<SdpAnswer, Refusal>> },
}

/// A live room as `/api/rooms` shows it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its name.
    pub room: RoomName,
    /// The roster.
    pub participants: Vec<Participant>,
    /// Viewers without a seat.
    pub watchers: u32,
    /// What the recording does.
    pub recording: RoomRecording,
}

/// One life of a room.
pub(super) struct RoomState {
    pub key: RoomKey,
    pub name: RoomName,
    pub options: Arc<Options>,
    /// For peer and leg keys; shared by all rooms.
    pub keys: Arc<AtomicU64>,
    /// In the order of coming.
    pub members: Vec<Member>,
    pub chat: VecDeque<ChatLine>,
    pub recording: RoomRecording,
    /// The call was ended for all.
    pub ended: bool,
    pub watchers: u32,
    pub effects: Vec<Effect>,
    /// The observers know of this room.
    was_told: bool,
}

impl RoomState {
    pub fn new(key: RoomKey, name: RoomName, options: Arc<Options>, keys: Arc<AtomicU64>) -> Self {
        let recording = RoomRecording { consent_required: options.consent_required, ..RoomRecording::default() };
        Self {
            key,
            name,
            options,
            keys,
            members: Vec::new(),
            chat: VecDeque::new(),
            recording,
            ended: false,
            watchers: 0,
            effects: Vec::new(),
            was_told: false,
        }
    }

    /// True when nobody is left: the room is over.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            room: self.name.clone(),
            participants: self.roster(),
            watchers: self.watchers,
            recording: self.recording.clone(),
        }
    }

    pub fn roster(&self) -> Vec<Participant> {
        self.members.iter().filter(|member| member.announced && member.is_seated()).map(Member::participant).collect()
    }

    pub fn index_of(&self, id: &ParticipantId) -> Option<usize> {
        self.members.iter().position(|member| member.id == *id)
    }

    pub fn index_of_session(&self, session: SessionKey) -> Option<usize> {
        self.members.iter().position(|member| member.session() == Some(session))
    }

    /// The next instant at which [`Self::on_timeout`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let resume = self.options.limits.resume_timeout.0;
        let lost = self.members.iter().filter_map(|member| Some(member.lost_at? + resume));
        let ends = self.members.iter().filter_map(|member| {
            let end = member.expires?;
            Some(if member.was_warned { end } else { self.warning_before(end) })
        });
        lost.chain(ends).min()
    }

    /// Lets go who did not come back in time, and whose token is over.
    pub fn on_timeout(&mut self, now: Now) {
        let resume = self.options.limits.resume_timeout.0;
        let is_gone = |member: &&Member| member.lost_at.is_some_and(|lost| lost + resume <= now.at);
        let gone: Vec<_> = self.members.iter().filter(is_gone).map(|member| member.id.clone()).collect();
        for id in gone {
            self.remove(&id, LeaveReason::Lost, None);
        }
        let is_expired = |member: &&Member| member.expires.is_some_and(|expires| expires <= now.at);
        let expired: Vec<_> = self.members.iter().filter(is_expired).map(|member| member.id.clone()).collect();
        for id in expired {
            self.remove(&id, LeaveReason::Left, Some((ClosedReason::Expired, None)));
        }
        for index in 0..self.members.len() {
            let Some(end) = self.members[index].expires else { continue };
            if !self.members[index].was_warned && self.warning_before(end) <= now.at {
                self.members[index].was_warned = true;
                let in_ms = end.saturating_duration_since(now.at).as_millis() as u64;
                self.members[index].send(Arc::new(ServerMessage::Expiring { in_ms }));
            }
        }
    }

    fn warning_before(&self, end: Instant) -> Instant {
        end.checked_sub(self.options.renew_warning).unwrap_or(end)
    }

    /// Takes a member out, with the last word to their client if there is one to say.
    pub fn remove(&mut self, id: &ParticipantId, reason: LeaveReason, last: Option<(ClosedReason, Option<String>)>) {
        let Some(index) = self.index_of(id) else { return };
        let mut member = self.members.remove(index);
        tracing::info!(participant = %member.id, ?reason, "participant left");
        self.close_media(&mut member);
        if let Some(web) = member.web() {
            self.effects.push(Effect::Forget(web.id.clone()));
        }
        if let Some((reason, by)) = last {
            member.close(reason, by);
        }
        if member.is_seated() {
            self.broadcast(ServerMessage::ParticipantLeft { participant: member.id.clone(), reason });
            self.tell(What::Left { participant: member.id.clone(), reason });
            self.pass_on_host(&member);
        } else {
            self.count_watchers();
        }
        self.sync_legs();
    }

    /// Closes the connections of a member that goes, or that starts over.
    pub fn close_media(&mut self, member: &mut Member) {
        self.close_publisher(member);
        self.close_receiver(member);
    }

    /// Closes the publishing connection of a member that offers another in its place.
    pub(super) fn close_publisher_of(&mut self, index: usize) {
        let mut member = self.members.remove(index);
        self.close_publisher(&mut member);
        self.members.insert(index, member);
        self.show(index);
        self.sync_legs();
    }

    /// Closes the publishing connection.
    pub fn close_publisher(&mut self, member: &mut Member) {
        if let Some(peer) = member.peer.take() {
            self.effects.push(Effect::Media(Command::ClosePeer { room: self.key, peer }));
        }
        for track in std::mem::take(&mut member.tracks) {
            self.tell(What::TrackEnded { track: member.track_id(track.source, track.kind) });
        }
        member.setup = None;
        member.candidates = 0;
    }

    /// Closes the receiving connection.
    pub fn close_receiver(&mut self, member: &mut Member) {
        if let Some(leg) = member.leg.take() {
            self.effects.push(Effect::Media(Command::CloseLeg { room: self.key, leg: leg.key }));
        }
        member.leg_broken = false;
    }

    /// A place for a connection that is being set up.
    pub fn setup_of(&self, address: Option<IpAddr>) -> Result<Place, Refusal> {
        let setups = &self.options.setups;
        setups.take(address).ok_or_else(|| {
            let text = format!(
                "{} media connections of this address are being set up (limits.half_open_per_address); try again in a moment",
                setups.limit()
            );
            refusal(ErrorCode::LimitReached, text)
        })
    }

    /// The last word to the observers, if they ever heard of this room.
    pub fn finish(&mut self) {
        if self.was_told {
            self.tell(What::Closed { ended: self.ended });
        }
    }

    /// Ends the room for all.
    pub fn end(&mut self, reason: ClosedReason, by: Option<&str>) {
        let everybody: Vec<_> = self.members.iter().map(|member| member.id.clone()).collect();
        for id in everybody {
            self.remove(&id, LeaveReason::Left, Some((reason, by.map(str::to_owned))));
        }
    }

    pub fn broadcast(&mut self, message: ServerMessage) {
        let message = Arc::new(message);
        for member in &mut self.members {
            member.send(message.clone());
        }
    }

    /// Tells everybody how a member is now.
    pub fn show(&mut self, index: usize) {
        let member = &self.members[index];
        if member.announced && member.is_seated() {
            let participant = member.participant();
            self.broadcast(ServerMessage::ParticipantUpdated { participant });
        }
    }

    pub fn tell(&mut self, what: What) {
        if !std::mem::replace(&mut self.was_told, true) {
            self.tell(What::Opened);
        }
        self.effects.push(Effect::Tell(RoomEvent { room: self.key, name: self.name.clone(), what }));
    }

    /// Counts the watchers and says so if their number changed.
    pub fn count_watchers(&mut self) {
        let count = self.watchers_now();
        if count != self.watchers {
            self.watchers = count;
            self.broadcast(ServerMessage::Watchers { count });
            self.tell(What::Watchers(count));
        }
    }

    fn watchers_now(&self) -> u32 {
        self.members.iter().filter(|member| member.announced && !member.is_seated()).count() as u32
    }

    /// The whole state for who just came, or came back. Renews the resume token.
    pub fn welcome(&mut self, now: Now, index: usize, resumed: bool) {
        let resume_token = format!("{:x}-{:032x}", self.key.0, rand::random::<u128>());
        let (participants, watchers) = (self.roster(), self.watchers_now());
        let chat = self.chat.iter().cloned().collect();
        let ice_servers = self.options.ice_servers.for_client(now.wall, self.members[index].id.as_str());
        let member = &mut self.members[index];
        if let Door::Socket { resume, .. } = &mut member.door {
            resume.clone_from(&resume_token);
        }
        let joined = Joined {
            room: self.name.clone(),
            participant: member.id.clone(),
            role: member.role,
            grants: member.grants,
            resumed,
            resume: resume_token,
            participants,
            recording: self.recording.clone(),
            chat,
            watchers,
            ice_servers,
            simulcast: self.options.simulcast,
            version: self.options.version.to_owned(),
        };
        member.send(Arc::new(ServerMessage::Joined(Box::new(joined))));
    }

    pub fn next_key(&self) -> u64 {
        self.keys.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    /// The media plane answered.
    pub fn on_answer(&mut self, now: Now, about: About, answer: Result<String, MediaError>) {
        match about {
            About::Publish { member, peer, tracks, reference } => {
                self.on_published(&member, (peer, tracks), reference, answer);
            }
            About::Recording { member, reference }
            | About::Offer { member, reference }
            | About::Restart { member, reference } => {
                if let (Err(error), Some(index)) = (answer, self.index_of(&member)) {
                    self.members[index].send_error(error.code, error.message, reference);
                }
            }
            About::Web { member, is_new, reply } => self.on_web_answer(now, &member, is_new, reply, answer),
        }
    }

    fn on_published(
        &mut self,
        id: &ParticipantId,
        (peer, tracks): (PeerKey, Vec<DeclaredTrack>),
        reference: Option<String>,
        answer: Result<String, MediaError>,
    ) {
        let Some(index) = self.index_of(id) else { return };
        let member = &mut self.members[index];
        if member.peer != Some(peer) {
            return;
        }
        match answer {
            Ok(sdp) => {
                let declared = declarations(&tracks, &sdp);
                member.send(Arc::new(ServerMessage::Published { sdp, reference }));
                declared.into_iter().for_each(|what| self.tell(what));
            }
            Err(error) => {
                if member.tracks.is_empty() && error.code != ErrorCode::Overloaded {
                    // The first offer was refused, so there may be no connection behind the key.
                    (member.peer, member.setup) = (None, None);
                    self.effects.push(Effect::Media(Command::ClosePeer { room: self.key, peer }));
                }
                self.members[index].send_error(error.code, error.message, reference);
            }
        }
    }

    // On an open server somebody is always host; with a key, the token says who.
    fn pass_on_host(&mut self, gone: &Member) {
        let has_host = self.members.iter().any(|member| member.host);
        if !gone.host || has_host {
            return;
        }
        let next = self.members.iter().position(|member| member.is_seated() && member.inherits_host());
        if let Some(index) = next {
            self.members[index].host = true;
            self.members[index].grants.moderate = true;
            self.show(index);
        }
    }
}
