//! A room with clients that are queues, and a media plane that is a list of commands.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use reelay_signaling::{
    ClientMessage, ClosedReason, Consent, ErrorCode, Join, Kind, ParticipantId, PublishTrack, ResumeMedia, Role,
    RoomName, ServerMessage, Source, TrackId,
};

use super::super::member::SessionKey;
use super::super::state::{About, Effect, RoomState};
use super::super::*;
use crate::auth::{Caller, Grant, Scope};
use crate::media::{Codec, Event, PeerKey, RoomKey};

pub(super) struct World {
    pub room: RoomState,
    pub now: Now,
    pub sessions: u64,
}

pub(super) struct Client {
    pub id: ParticipantId,
    pub session: SessionKey,
    pub inbox: Inbox,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = options();
        change(&mut options);
        let name: RoomName = "team".parse().unwrap();
        let room = RoomState::new(RoomKey(7), name, Arc::new(options), Arc::new(AtomicU64::new(100)));
        let now = Now { at: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) };
        Self { room, now, sessions: 0 }
    }

    pub fn pass(&mut self, time: Duration) {
        self.now.at += time;
        self.now.wall += time;
        self.room.on_timeout(self.now);
    }

    pub fn enter_as(&mut self, caller: Caller, name: &str, role: Role) -> Result<Client, ErrorCode> {
        self.sessions += 1;
        let session = SessionKey(self.sessions);
        let (out, inbox) = outbound(self.room.options.limits.send_queue);
        let join = Join {
            room: self.room.name.clone(),
            name: name.into(),
            role,
            person: None,
            token: None,
            consent: Consent::NotAsked,
            wording: None,
        };
        let id = self.room.enter(self.now, caller, join, (session, out)).map_err(|refused| refused.code)?;
        Ok(Client { id, session, inbox })
    }

    pub fn join(&mut self, name: &str) -> Client {
        self.enter_as(Caller::open(), name, Role::Join).unwrap()
    }

    pub fn say(&mut self, client: &Client, message: ClientMessage) {
        self.room.on_message(self.now, client.session, message, Some("r".into()));
    }

    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.room.effects)
    }

    /// Publishes camera and microphone, and lets their first packets arrive.
    pub fn publish(&mut self, client: &Client) -> PeerKey {
        let track = |mid: &str, kind| PublishTrack { mid: mid.into(), source: Source::Camera, kind };
        let tracks = vec![track("0", Kind::Audio), track("1", Kind::Video)];
        self.say(client, ClientMessage::Publish { sdp: "offer".into(), tracks, media: ResumeMedia::Kept });
        let asked = self.effects().into_iter().find_map(|effect| match effect {
            Effect::Ask(_, _, about @ About::Publish { .. }) => Some(about),
            _ => None,
        });
        let Some(About::Publish { peer, .. }) = &asked else { panic!("no publish was asked for") };
        let peer = *peer;
        self.room.on_answer(self.now, asked.unwrap(), Ok("answer".into()));
        for (kind, codec) in [(Kind::Audio, Codec::Opus), (Kind::Video, Codec::Vp8)] {
            let track = TrackId { participant: client.id.clone(), source: Source::Camera, kind };
            self.room.on_media(self.now, Event::TrackStarted { peer, track, codec, channels: 2 });
        }
        peer
    }

    pub fn resume(&mut self, token: &str, media: ResumeMedia) -> Result<Client, ErrorCode> {
        self.sessions += 1;
        let session = SessionKey(self.sessions);
        let (out, inbox) = outbound(64);
        let id = self.room.resume(self.now, token, media, (session, out)).map_err(|refused| refused.code)?;
        Ok(Client { id, session, inbox })
    }
}

/// The settings of a room in these tests.
pub(super) fn options() -> Options {
    Options {
        limits: Limits::default(),
        setups: Places::new(Limits::default().half_open_per_address),
        renew_warning: Duration::from_secs(60),
        watch: Watch::Link,
        may_record: true,
        consent_required: false,
        ice_servers: IceServers::default(),
        simulcast: false,
        version: "test",
    }
}

impl Client {
    pub fn read(&mut self) -> Vec<ServerMessage> {
        std::iter::from_fn(|| self.inbox.messages.try_recv().ok()).map(|message| (*message).clone()).collect()
    }

    pub fn resume_token(&mut self) -> String {
        let joined = self.read().into_iter().find_map(|message| match message {
            ServerMessage::Joined(joined) => Some(joined.resume),
            _ => None,
        });
        joined.unwrap()
    }

    pub fn errors(&mut self) -> Vec<ErrorCode> {
        let code = |message| match message {
            ServerMessage::Error { code, .. } => Some(code),
            _ => None,
        };
        self.read().into_iter().filter_map(code).collect()
    }

    pub fn closed(&mut self) -> Option<ClosedReason> {
        self.inbox.closed.try_recv().ok().map(|(reason, _)| reason)
    }
}

pub(super) fn media(effects: &[Effect]) -> Vec<&Command> {
    let mut commands = Vec::new();
    for effect in effects {
        if let Effect::Media(command) | Effect::Ask(command, ..) = effect {
            commands.push(command);
        }
    }
    commands
}

pub(super) fn told(effects: &[Effect]) -> Vec<&What> {
    let mut events = Vec::new();
    for effect in effects {
        if let Effect::Tell(event) = effect {
            events.push(&event.what);
        }
    }
    events
}

pub(super) fn keyed(grants: &[Grant]) -> Caller {
    let mut caller = Caller { open: false, scope: Scope::Every, grants: Default::default(), ..Caller::open() };
    grants.iter().for_each(|grant| grant.add_to(&mut caller.grants));
    caller
}
