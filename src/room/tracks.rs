//! What the media plane reports, and who receives which tracks because of it.

use std::sync::Arc;

use reelay_signaling::{ErrorCode, LeaveReason, ResumeMedia, ServerMessage, SubscribeTrack, TrackId};
use tokio::sync::oneshot;

use super::member::{Door, Leg, Member, Track};
use super::state::{About, Awaited, Effect, RoomState};
use super::{Now, What, refusal};
use crate::auth::Refusal;
use crate::media::{Codec, Command, Event, LegKey, LinkState, PeerKey};

impl RoomState {
    /// Something happened in the media plane.
    pub fn on_media(&mut self, now: Now, event: Event) {
        match event {
            Event::PeerState { peer, state } => self.on_peer_state(now, peer, state),
            Event::TrackStarted { peer, track, codec, channels } => self.on_track_started(peer, track, codec, channels),
            Event::TrackEnded { peer, track } => self.on_track_ended(peer, &track),
            Event::LegState { leg, state } => self.on_leg_state(now, leg, state),
            Event::Offer { leg, id, sdp, tracks } => self.on_offer(leg, id, sdp, tracks),
            Event::Speaking(participants) => {
                self.broadcast(ServerMessage::Speaking { participants: participants.clone() });
                self.tell(What::Speaking(participants));
            }
            Event::Failed => {
                tracing::error!(room = self.key.0, "media of the room failed, everybody is let go");
                self.end(reelay_signaling::ClosedReason::Dropped, None);
            }
        }
    }

    fn on_track_started(&mut self, peer: PeerKey, id: TrackId, codec: Codec, channels: u8) {
        let Some(index) = self.index_of_peer(peer).filter(|index| self.members[*index].id == id.participant) else {
            return;
        };
        let since = self.next_key();
        let member = &mut self.members[index];
        if !member.has_track(id.source, id.kind) {
            member.tracks.push(Track { source: id.source, kind: id.kind, since });
        }
        let muted = member.muted.contains(&(id.source, id.kind));
        let blocked = member.blocked.contains(&(id.source, id.kind));
        tracing::info!(track = %id, ?codec, "track started");
        self.tell(What::TrackStarted { track: id.clone(), codec, channels });
        if muted {
            self.tell(What::Muted { track: id.clone(), muted });
        }
        if blocked {
            self.effects.push(Effect::Media(Command::Block { room: self.key, track: id, blocked }));
        }
        self.show(index);
        self.sync_legs();
    }

    fn on_track_ended(&mut self, peer: PeerKey, id: &TrackId) {
        let Some(index) = self.index_of_peer(peer) else { return };
        let member = &mut self.members[index];
        let Some(at) = member.tracks.iter().position(|live| live.source == id.source && live.kind == id.kind) else {
            return;
        };
        member.tracks.remove(at);
        tracing::info!(track = %id, "track ended");
        self.tell(What::TrackEnded { track: id.clone() });
        self.show(index);
        self.sync_legs();
    }

    fn on_peer_state(&mut self, now: Now, peer: PeerKey, state: LinkState) {
        let Some(index) = self.index_of_peer(peer) else { return };
        let is_web = self.members[index].web().is_some();
        let was_setup = match state {
            LinkState::Connected | LinkState::Closed => self.members[index].setup.take().is_some(),
            LinkState::Disconnected | LinkState::Failed => false,
        };
        match state {
            LinkState::Connected if is_web => self.set_lost(index, None),
            LinkState::Disconnected | LinkState::Failed if is_web => {
                let since = self.members[index].lost_at.unwrap_or(now.at);
                self.set_lost(index, Some(since));
            }
            LinkState::Closed if is_web => {
                let id = self.members[index].id.clone();
                self.members[index].peer = None;
                self.remove(&id, LeaveReason::Lost, None);
            }
            LinkState::Closed => {
                let mut member = self.members.remove(index);
                member.peer = None;
                for track in std::mem::take(&mut member.tracks) {
                    self.tell(What::TrackEnded { track: member.track_id(track.source, track.kind) });
                }
                member.candidates = 0;
                if was_setup {
                    let limit = self.options.limits.connect_timeout;
                    let text = format!("no media connection came about within {limit} (limits.connect_timeout)");
                    member.send_error(ErrorCode::NoConnection, text, None);
                }
                self.members.insert(index, member);
                self.show(index);
                self.sync_legs();
            }
            _ => {}
        }
    }

    fn on_leg_state(&mut self, now: Now, leg: LegKey, state: LinkState) {
        let Some(index) = self.index_of_leg(leg) else { return };
        let member = &mut self.members[index];
        let is_web = member.web().is_some();
        match state {
            LinkState::Connected if is_web => (member.lost_at, member.setup) = (None, None),
            LinkState::Disconnected | LinkState::Failed if is_web => {
                member.lost_at.get_or_insert(now.at);
            }
            LinkState::Closed if is_web => {
                let id = member.id.clone();
                member.leg = None;
                self.remove(&id, LeaveReason::Lost, None);
            }
            LinkState::Closed => {
                member.leg = None;
                member.leg_broken = true;
                let text = "the receiving connection is closed; `restart` opens a new one";
                member.send_error(ErrorCode::SessionNotFound, text, None);
            }
            _ => {}
        }
    }

    fn on_offer(&mut self, leg: LegKey, id: u64, sdp: String, tracks: Vec<(String, TrackId)>) {
        let Some(index) = self.index_of_leg(leg) else { return };
        let member = &mut self.members[index];
        let Some(leg) = &mut member.leg else { return };
        let first = *leg.first_offer.get_or_insert(id);
        let named = |(mid, track): (String, TrackId)| SubscribeTrack {
            mid,
            participant: track.participant,
            source: track.source,
            kind: track.kind,
        };
        let tracks = tracks.into_iter().map(named).collect();
        let offer = Arc::new(ServerMessage::Offer { id: id.saturating_sub(first) + 1, sdp, tracks });
        leg.pending = Some(offer.clone());
        member.send(offer);
    }

    /// The client's answer to an offer of ours.
    pub(super) fn leg_answer(
        &mut self,
        index: usize,
        id: u64,
        answer: String,
        reference: Option<String>,
    ) -> Result<(), Refusal> {
        self.check_sdp(&answer)?;
        let room = self.key;
        let member = &mut self.members[index];
        let Some((leg, first)) = member.leg.as_mut().and_then(|leg| Some((leg.key, leg.first_offer?))) else {
            return Err(refusal(ErrorCode::BadRequest, "there is no offer to answer"));
        };
        let is_pending =
            |offer: &Arc<ServerMessage>| matches!(**offer, ServerMessage::Offer { id: of, .. } if of == id);
        if let Some(connection) = &mut member.leg {
            connection.pending.take_if(|offer| is_pending(offer));
        }
        let id = first.saturating_add(id).saturating_sub(1);
        let (reply, answered) = oneshot::channel();
        let about = About::Offer { member: member.id.clone(), reference };
        let command = Command::LegAnswer { room, leg, id, answer, reply };
        self.effects.push(Effect::Ask(command, Awaited::Done(answered), about));
        Ok(())
    }

    /// New ICE credentials for the receiving connection; a new connection if there is none, or if the client has given
    /// it up.
    pub(super) fn restart_leg(
        &mut self,
        index: usize,
        media: ResumeMedia,
        reference: Option<String>,
    ) -> Result<(), Refusal> {
        let room = self.key;
        let member = &mut self.members[index];
        member.leg_broken = false;
        if media == ResumeMedia::New
            && let Some(leg) = member.leg.take()
        {
            self.effects.push(Effect::Media(Command::CloseLeg { room, leg: leg.key }));
        }
        let member = &self.members[index];
        let Some(leg) = member.leg.as_ref().map(|leg| leg.key) else {
            self.sync_legs();
            return Ok(());
        };
        let (reply, answered) = oneshot::channel();
        let about = About::Restart { member: member.id.clone(), reference };
        let command = Command::RestartLeg { room, leg, fragment: None, reply };
        self.effects.push(Effect::Ask(command, Awaited::Text(answered), about));
        Ok(())
    }

    /// Which m-lines are on screen.
    pub(super) fn want(&mut self, index: usize, mids: Vec<String>) -> Result<(), Refusal> {
        if mids.len() > MAX_WANTED || mids.iter().any(|mid| mid.len() > 16) {
            return Err(refusal(ErrorCode::TooLarge, "at most 64 mids of 16 bytes"));
        }
        if let Some(leg) = self.members[index].leg.as_ref().map(|leg| leg.key) {
            self.effects.push(Effect::Media(Command::Want { room: self.key, leg, mids: Some(mids) }));
        }
        Ok(())
    }

    /// Brings every receiving connection in step with the live tracks: all but one's own, oldest first.
    /// A connection is opened with the first track there is.
    pub fn sync_legs(&mut self) {
        self.sync_followers();
        let room = self.key;
        let live: Vec<TrackId> = self.live_tracks();
        for index in 0..self.members.len() {
            let member = &self.members[index];
            if !matches!(member.door, Door::Socket { .. }) || !member.grants.subscribe || member.leg_broken {
                continue;
            }
            let tracks: Vec<TrackId> = live.iter().filter(|track| track.participant != member.id).cloned().collect();
            if tracks.is_empty() && member.leg.is_none() {
                continue;
            }
            if member.leg.as_ref().is_some_and(|leg| leg.tracks == tracks) {
                continue;
            }
            let key = match &member.leg {
                Some(leg) => leg.key,
                None => {
                    let leg = LegKey(self.next_key());
                    self.effects.push(Effect::Media(Command::OpenLeg { room, leg }));
                    leg
                }
            };
            let leg = self.members[index].leg.get_or_insert_with(|| new_leg(key));
            leg.tracks.clone_from(&tracks);
            self.effects.push(Effect::Media(Command::SetTracks { room, leg: key, tracks }));
        }
    }

    fn live_tracks(&self) -> Vec<TrackId> {
        let of = |member: &'_ Member| {
            let id = |track: &Track| (track.since, member.track_id(track.source, track.kind));
            member.tracks.iter().map(id).collect::<Vec<_>>()
        };
        let mut tracks: Vec<_> = self.members.iter().flat_map(of).collect();
        tracks.sort_by_key(|(since, _)| *since);
        tracks.into_iter().map(|(_, track)| track).collect()
    }

    pub(super) fn index_of_peer(&self, peer: PeerKey) -> Option<usize> {
        self.members.iter().position(|member| member.peer == Some(peer))
    }

    pub(super) fn index_of_leg(&self, leg: LegKey) -> Option<usize> {
        self.members.iter().position(|member| member.leg.as_ref().is_some_and(|mine| mine.key == leg))
    }
}

/// A connection that was just opened.
pub(super) fn new_leg(key: LegKey) -> Leg {
    Leg { key, tracks: Vec::new(), first_offer: None, pending: None }
}

const MAX_WANTED: usize = 64;
