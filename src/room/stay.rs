//! Coming, coming back, and getting lost: the life of a stay in a room.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use reelay_signaling::{Consent, ErrorCode, Grants, Join, ParticipantId, ResumeMedia, Role, RoomName, ServerMessage};

use super::member::{Door, Member, Outbound, SessionKey};
use super::state::RoomState;
use super::{Now, Options, What, display_name, person_key, refusal};
use crate::auth::{Caller, Grant, Refusal};
use crate::config::Watch;
use crate::places::Place;

/// Somebody at the door.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub caller: Caller,
    pub role: Role,
    pub name: String,
    pub person: String,
    pub consent: Consent,
    pub door: Door,
    /// For a connection that comes with the stay.
    pub setup: Option<Place>,
}

impl RoomState {
    /// Lets somebody in by a socket; the whole state is their first message.
    pub fn enter(
        &mut self,
        now: Now,
        caller: Caller,
        join: Join,
        session: (SessionKey, Outbound),
    ) -> Result<ParticipantId, Refusal> {
        may_enter_at_all(&self.options, &caller, join.role, &self.name)?;
        let name = match join.role {
            Role::Join => display_name(caller.name.as_deref().unwrap_or(&join.name), &self.options.limits)?,
            Role::Watch => String::new(),
        };
        let wording = join.wording.filter(|wording| wording.len() <= 64);
        let newcomer = Newcomer {
            person: person_key(&caller, join.person.as_deref(), None),
            caller,
            role: join.role,
            name,
            consent: join.consent,
            door: Door::Socket { session: Some(session), resume: String::new() },
            setup: None,
        };
        let index = self.admit(now, newcomer)?;
        let id = self.members[index].id.clone();
        self.members[index].announced = true;
        self.welcome(now, index, false);
        self.announce(index, wording);
        self.sync_legs();
        Ok(id)
    }

    /// Adds a member after all checks; says nothing to anybody yet.
    pub fn admit(&mut self, now: Now, newcomer: Newcomer) -> Result<usize, Refusal> {
        let Newcomer { caller, role, name, person, consent, door, setup } = newcomer;
        self.may_enter(&caller, role)?;
        let is_first = !self.members.iter().any(|member| member.host);
        let is_socket = matches!(door, Door::Socket { .. });
        let (grants, host) = self.grants_of(&caller, role, is_first && is_socket);
        let member = Member {
            id: self.new_id(),
            announced: false,
            role,
            name,
            person,
            grants,
            host,
            is_open: caller.open,
            consent,
            recorded: false,
            door,
            lost_at: None,
            expires: caller.expires.map(|wall| now.instant_of(wall)),
            was_warned: false,
            subject: caller.subject,
            address: caller.address,
            setup,
            peer: None,
            leg: None,
            leg_broken: false,
            tracks: Vec::new(),
            muted: BTreeSet::new(),
            blocked: BTreeSet::new(),
            candidates: 0,
        };
        self.members.push(member);
        Ok(self.members.len() - 1)
    }

    /// Tells the others and the observers of who was admitted last.
    pub fn announce(&mut self, index: usize, wording: Option<String>) {
        let member = &mut self.members[index];
        member.announced = true;
        tracing::info!(participant = %member.id, role = ?member.role, "participant joined");
        if !member.is_seated() {
            self.count_watchers();
            return;
        }
        let (newcomer, participant) = (member.id.clone(), member.participant());
        let joined = What::Joined {
            participant: member.id.clone(),
            person: member.person.clone(),
            name: member.name.clone(),
            consent: member.consent,
            wording,
        };
        let message = Arc::new(ServerMessage::ParticipantJoined { participant });
        for member in self.members.iter_mut().filter(|member| member.id != newcomer) {
            member.send(message.clone());
        }
        self.tell(joined);
    }

    /// The socket of a session ended without a word: the stay waits for it to come back.
    pub fn on_gone(&mut self, now: Now, session: SessionKey) {
        let Some(index) = self.index_of_session(session) else { return };
        let member = &mut self.members[index];
        if let Door::Socket { session, .. } = &mut member.door {
            *session = None;
        }
        self.set_lost(index, Some(now.at));
    }

    /// The connection of a stay was lost, or is back.
    pub fn set_lost(&mut self, index: usize, lost_at: Option<Instant>) {
        let member = &mut self.members[index];
        let was_lost = std::mem::replace(&mut member.lost_at, lost_at).is_some();
        if was_lost != lost_at.is_some() {
            self.show(index);
        }
    }

    /// What a caller may do here in this role, and whether they are host; on an open server that is who `is_next`.
    fn grants_of(&self, caller: &Caller, role: Role, is_next: bool) -> (Grants, bool) {
        if role == Role::Watch {
            return (Grants { subscribe: true, watch: true, ..Grants::default() }, false);
        }
        let mut grants = caller.grants_in(&self.name);
        if caller.open {
            grants.moderate = is_next;
            grants.admin = false;
        }
        (grants, grants.moderate)
    }

    /// A new token of somebody who is here: its grants and its end count from now on.
    pub fn renew(&mut self, now: Now, session: SessionKey, caller: Caller, reference: Option<String>) {
        let Some(index) = self.index_of_session(session) else { return };
        if let Err(refused) = self.may_renew(index, &caller) {
            self.members[index].send_error(refused.code, refused.message, reference);
            return;
        }
        let member = &self.members[index];
        let (grants, host) = self.grants_of(&caller, member.role, member.host);
        let mut member = self.members.remove(index);
        (member.expires, member.was_warned) = (caller.expires.map(|wall| now.instant_of(wall)), false);
        let in_ms = member.expires.map(|end| end.saturating_duration_since(now.at).as_millis() as u64);
        let has_changed = (member.grants, member.host) != (grants, host);
        (member.grants, member.host) = (grants, host);
        if !grants.publish {
            self.close_publisher(&mut member);
        }
        if !grants.subscribe {
            self.close_receiver(&mut member);
        }
        member.send(Arc::new(ServerMessage::Renewed { grants, in_ms }));
        self.members.insert(index, member);
        if has_changed {
            let member = &self.members[index];
            self.tell(What::RightsChanged { participant: member.id.clone(), person: member.person.clone() });
            self.show(index);
            self.sync_legs();
        }
    }

    fn may_renew(&self, index: usize, caller: &Caller) -> Result<(), Refusal> {
        let member = &self.members[index];
        may_enter_at_all(&self.options, caller, member.role, &self.name)?;
        if member.subject.is_some() && member.subject != caller.subject {
            return Err(refusal(ErrorCode::Forbidden, "the token is another person's"));
        }
        Ok(())
    }

    /// Comes back with the token of the last `joined`.
    pub fn resume(
        &mut self,
        now: Now,
        token: &str,
        media: ResumeMedia,
        session: (SessionKey, Outbound),
    ) -> Result<ParticipantId, Refusal> {
        let has_token = |member: &Member| matches!(&member.door, Door::Socket { resume, .. } if resume == token);
        let Some(index) = self.members.iter().position(has_token) else {
            return Err(resume_expired());
        };
        let member = &mut self.members[index];
        member.close(reelay_signaling::ClosedReason::Replaced, None);
        if let Door::Socket { session: slot, .. } = &mut member.door {
            *slot = Some(session);
        }
        let was_lost = member.lost_at.take().is_some();
        let id = member.id.clone();
        if media == ResumeMedia::New {
            self.start_over(index);
        }
        self.welcome(now, index, true);
        self.send_pending_offer(index);
        // After the welcome, which has to come first.
        if was_lost {
            self.show(index);
        }
        self.sync_legs();
        Ok(id)
    }

    // The client's connections are gone (a reload), so ours go too; what is published next continues the same files.
    fn start_over(&mut self, index: usize) {
        let mut member = self.members.remove(index);
        let had_tracks = !member.tracks.is_empty();
        self.close_media(&mut member);
        self.members.insert(index, member);
        if had_tracks {
            self.show(index);
        }
    }

    fn send_pending_offer(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.leg_broken = false;
        if let Some(offer) = member.leg.as_ref().and_then(|leg| leg.pending.clone()) {
            member.send(offer);
        }
    }

    fn may_enter(&self, caller: &Caller, role: Role) -> Result<(), Refusal> {
        let limits = &self.options.limits;
        let count = self.members.iter().filter(|member| member.role == role).count();
        match role {
            Role::Join => {
                if count >= limits.participants_per_room {
                    let limit = limits.participants_per_room;
                    let text = format!("this room is full: {limit} people (limits.participants_per_room)");
                    return Err(refusal(ErrorCode::RoomFull, text));
                }
            }
            Role::Watch => {
                may_enter_at_all(&self.options, caller, role, &self.name)?;
                if count >= limits.watchers_per_room {
                    let limit = limits.watchers_per_room;
                    let text = format!("{limit} already watch (limits.watchers_per_room)");
                    return Err(refusal(ErrorCode::LimitReached, text));
                }
            }
        }
        Ok(())
    }

    fn new_id(&self) -> ParticipantId {
        loop {
            let id = ParticipantId::from_random(rand::random());
            if self.index_of(&id).is_none() {
                return id;
            }
        }
    }
}

/// Whether the rights suffice, whatever room there is.
pub(super) fn may_enter_at_all(options: &Options, caller: &Caller, role: Role, room: &RoomName) -> Result<(), Refusal> {
    match (role, options.watch) {
        (Role::Join, _) => caller.require(Grant::Join, Some(room)),
        (Role::Watch, Watch::Off) => Err(refusal(ErrorCode::WatchOff, "watching is switched off on this server")),
        (Role::Watch, Watch::Link) => caller.require(Grant::Watch, Some(room)),
        (Role::Watch, Watch::Open) => Ok(()),
    }
}

/// The answer to a resume token that opens nothing.
pub(super) fn resume_expired() -> Refusal {
    refusal(ErrorCode::ResumeExpired, "this session is over; join again")
}
