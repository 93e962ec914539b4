//! What a client at a socket says, carried out or refused.

use std::collections::BTreeSet;

use reelay_signaling::{
    ChatLine, ClientMessage, Consent, ErrorCode, Kind, LeaveReason, Moderation, ParticipantId, PublishTrack,
    RecordingAction, RecordingEvent, ResumeMedia, RoomRecording, ServerMessage, Source, Target, TrackId,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::oneshot;

use super::member::SessionKey;
use super::state::{About, Awaited, Effect, RoomState};
use super::{Now, What, refusal};
use crate::auth::Refusal;
use crate::media::{Command, DeclaredTrack, PeerKey};

impl RoomState {
    /// A message of a session; a refusal goes back with its `ref`.
    pub fn on_message(&mut self, now: Now, session: SessionKey, message: ClientMessage, reference: Option<String>) {
        let Some(index) = self.index_of_session(session) else { return };
        if let Err(refused) = self.carry_out(now, index, message, reference.clone())
            && let Some(index) = self.index_of_session(session)
        {
            self.members[index].send_error(refused.code, refused.message, reference);
        }
    }

    fn carry_out(
        &mut self,
        now: Now,
        index: usize,
        message: ClientMessage,
        reference: Option<String>,
    ) -> Result<(), Refusal> {
        match message {
            ClientMessage::Join(_) | ClientMessage::Resume { .. } => {
                Err(refusal(ErrorCode::BadRequest, "this socket is in a room already"))
            }
            ClientMessage::Publish { sdp, tracks, media } => self.publish(index, (sdp, media), tracks, reference),
            ClientMessage::Candidate { target, candidate, mid } => self.candidate(index, target, candidate, mid),
            ClientMessage::Answer { id, sdp } => self.leg_answer(index, id, sdp, reference),
            ClientMessage::Restart { media } => self.restart_leg(index, media, reference),
            ClientMessage::Subscribe { want } => self.want(index, want),
            ClientMessage::Mute { source, kind, muted } => self.mute(index, source, kind, muted),
            ClientMessage::Recording { action } => {
                let member = &self.members[index];
                if !member.grants.record {
                    return Err(refusal(ErrorCode::Forbidden, "you may not start or stop the recording here"));
                }
                self.recording_action(action, index, reference)
            }
            ClientMessage::Consent { answer, wording } => self.consent(index, answer, wording),
            ClientMessage::Chat { text } => self.chat(now, index, text),
            ClientMessage::Moderate(moderation) => {
                let member = &self.members[index];
                if !member.host && !member.grants.moderate {
                    return Err(refusal(ErrorCode::Forbidden, "only a host may do this"));
                }
                let by = Some(member.name.clone());
                self.moderate(moderation, by.as_deref())
            }
            // The door reads tokens, and hands in who they speak of.
            ClientMessage::Renew { .. } => Err(refusal(ErrorCode::BadRequest, "nobody has read this token")),
            ClientMessage::Leave => {
                let id = self.members[index].id.clone();
                self.remove(&id, LeaveReason::Left, None);
                Ok(())
            }
        }
    }

    fn publish(
        &mut self,
        index: usize,
        (offer, media): (String, ResumeMedia),
        tracks: Vec<PublishTrack>,
        reference: Option<String>,
    ) -> Result<(), Refusal> {
        if !self.members[index].grants.publish || !self.members[index].is_seated() {
            return Err(refusal(ErrorCode::Forbidden, "you may not publish here"));
        }
        self.check_sdp(&offer)?;
        let tracks = declared(&self.members[index].id, tracks)?;
        if media == ResumeMedia::New {
            self.close_publisher_of(index);
        }
        let peer = match self.members[index].peer {
            Some(peer) => peer,
            None => {
                self.members[index].setup = Some(self.setup_of(self.members[index].address)?);
                PeerKey(self.next_key())
            }
        };
        let member = &mut self.members[index];
        member.peer = Some(peer);
        // They are counted for each set of ICE credentials.
        member.candidates = 0;
        let (reply, answer) = oneshot::channel();
        let about = About::Publish { member: member.id.clone(), peer, tracks: tracks.clone(), reference };
        let command = Command::Publish { room: self.key, peer, offer, tracks, reply };
        self.effects.push(Effect::Ask(command, Awaited::Text(answer), about));
        Ok(())
    }

    pub(super) fn check_sdp(&self, sdp: &str) -> Result<(), Refusal> {
        let limit = self.options.limits.sdp_bytes;
        if sdp.len() as u64 > limit.0 {
            return Err(refusal(ErrorCode::TooLarge, format!("an SDP has at most {limit} (limits.sdp_bytes)")));
        }
        Ok(())
    }

    fn candidate(
        &mut self,
        index: usize,
        target: Target,
        candidate: String,
        mid: Option<String>,
    ) -> Result<(), Refusal> {
        // The subscribing connection is ICE-lite: it answers checks and needs no candidates.
        if target == Target::Subscribe || candidate.is_empty() {
            return Ok(());
        }
        self.peer_candidate(index, candidate, mid)
    }

    pub(super) fn peer_candidate(
        &mut self,
        index: usize,
        candidate: String,
        mid: Option<String>,
    ) -> Result<(), Refusal> {
        if candidate.len() > MAX_CANDIDATE_BYTES || mid.as_ref().is_some_and(|mid| mid.len() > MAX_MID_BYTES) {
            return Err(refusal(ErrorCode::TooLarge, "a candidate has at most 1024 bytes, a mid 16"));
        }
        let member = &mut self.members[index];
        let Some(peer) = member.peer else {
            return Err(refusal(ErrorCode::BadRequest, "a candidate comes after the first offer"));
        };
        member.candidates += 1;
        if member.candidates > MAX_CANDIDATES {
            return Err(refusal(ErrorCode::LimitReached, format!("an offer has at most {MAX_CANDIDATES} candidates")));
        }
        self.effects.push(Effect::Media(Command::PeerCandidate { room: self.key, peer, candidate, mid }));
        Ok(())
    }

    fn mute(&mut self, index: usize, source: Source, kind: Kind, muted: bool) -> Result<(), Refusal> {
        let room = self.key;
        let member = &mut self.members[index];
        if !member.is_seated() {
            return Err(refusal(ErrorCode::Forbidden, "who watches has nothing to switch off"));
        }
        let half = (source, kind);
        let has_changed = if muted { member.muted.insert(half) } else { member.muted.remove(&half) };
        let track = member.track_id(source, kind);
        if !muted && member.blocked.remove(&half) {
            self.effects.push(Effect::Media(Command::Block { room, track: track.clone(), blocked: false }));
        }
        if has_changed {
            self.tell(What::Muted { track, muted });
            self.show(index);
        }
        Ok(())
    }

    fn consent(&mut self, index: usize, consent: Consent, wording: String) -> Result<(), Refusal> {
        if consent == Consent::NotAsked {
            return Err(refusal(ErrorCode::BadRequest, "the answer is 'agreed' or 'declined'"));
        }
        if wording.len() > MAX_WORDING_BYTES {
            return Err(refusal(ErrorCode::TooLarge, "the version of the words has at most 64 bytes"));
        }
        let member = &mut self.members[index];
        if !member.is_seated() {
            return Err(refusal(ErrorCode::Forbidden, "who watches is not recorded"));
        }
        let has_changed = member.consent != consent;
        member.consent = consent;
        let participant = member.id.clone();
        self.tell(What::Consent { participant, consent, wording });
        if has_changed {
            self.show(index);
        }
        Ok(())
    }

    fn chat(&mut self, now: Now, index: usize, text: String) -> Result<(), Refusal> {
        let limit = self.options.limits.chat_chars;
        let member = &self.members[index];
        if !member.is_seated() {
            return Err(refusal(ErrorCode::Forbidden, "who watches cannot write"));
        }
        if text.trim().is_empty() {
            return Err(refusal(ErrorCode::BadRequest, "the line is empty"));
        }
        if text.chars().count() > limit {
            return Err(refusal(
                ErrorCode::TooLarge,
                format!("a line has at most {limit} letters (limits.chat_chars)"),
            ));
        }
        let whole_ms = OffsetDateTime::from(now.wall);
        let whole_ms = whole_ms.replace_millisecond(whole_ms.millisecond()).unwrap_or(whole_ms);
        let at = whole_ms.format(&Rfc3339).unwrap_or_default();
        let line = ChatLine { participant: member.id.clone(), name: member.name.clone(), text, at };
        self.chat.push_back(line.clone());
        if self.chat.len() > CHAT_LINES {
            self.chat.pop_front();
        }
        self.tell(What::Chat(line.clone()));
        self.broadcast(ServerMessage::Chat(line));
        Ok(())
    }

    /// A host, or the API, does something to others.
    pub fn moderate(&mut self, moderation: Moderation, by: Option<&str>) -> Result<(), Refusal> {
        self.moderated(moderation.clone(), by)?;
        self.tell(What::Moderated { moderation, by: by.map(str::to_owned) });
        Ok(())
    }

    fn moderated(&mut self, moderation: Moderation, by: Option<&str>) -> Result<(), Refusal> {
        match moderation {
            Moderation::Mute { participant, source, kind } => {
                let index = self.seat_of(&participant)?;
                self.mute_other(index, source, kind, by)
            }
            Moderation::Remove { participant } => {
                self.seat_of(&participant)?;
                let last = (reelay_signaling::ClosedReason::Removed, by.map(str::to_owned));
                self.remove(&participant, LeaveReason::Removed, Some(last));
                Ok(())
            }
            Moderation::End => {
                self.ended = true;
                self.end(reelay_signaling::ClosedReason::Ended, by);
                Ok(())
            }
        }
    }

    fn mute_other(&mut self, index: usize, source: Source, kind: Kind, by: Option<&str>) -> Result<(), Refusal> {
        let room = self.key;
        let member = &mut self.members[index];
        if !member.has_track(source, kind) {
            return Err(refusal(ErrorCode::ParticipantNotFound, "they send no such track"));
        }
        member.blocked.insert((source, kind));
        let has_changed = member.muted.insert((source, kind));
        let track = member.track_id(source, kind);
        let by = by.unwrap_or(API_NAME).to_owned();
        member.send(std::sync::Arc::new(ServerMessage::MuteRequested { source, kind, by }));
        self.effects.push(Effect::Media(Command::Block { room, track: track.clone(), blocked: true }));
        if has_changed {
            self.tell(What::Muted { track, muted: true });
            self.show(index);
        }
        Ok(())
    }

    fn seat_of(&self, id: &ParticipantId) -> Result<usize, Refusal> {
        let index = self.index_of(id).filter(|index| self.members[*index].is_seated());
        index.ok_or_else(|| refusal(ErrorCode::ParticipantNotFound, "nobody with this id is in the room"))
    }

    fn recording_action(
        &mut self,
        action: RecordingAction,
        index: usize,
        reference: Option<String>,
    ) -> Result<(), Refusal> {
        if !self.options.may_record {
            return Err(refusal(ErrorCode::RecordingOff, RECORDING_OFF));
        }
        let member = &self.members[index];
        let about = About::Recording { member: member.id.clone(), reference };
        let by = Some(member.name.clone());
        let (answer, answered) = oneshot::channel();
        self.tell(What::Recording { action, by, answer });
        self.effects.push(Effect::Await(Awaited::Observed(answered), about));
        Ok(())
    }

    /// The recorder's state of this room, and who is in the files.
    pub fn on_recording(&mut self, recording: RoomRecording, recorded: &[ParticipantId]) {
        let mut changed = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            let is_recorded = recorded.contains(&member.id);
            if member.is_seated() && member.recorded != is_recorded {
                member.recorded = is_recorded;
                changed.push(index);
            }
        }
        self.recording = recording.clone();
        self.broadcast(ServerMessage::Recording(recording));
        changed.into_iter().for_each(|index| self.show(index));
    }

    /// Something happened to a recording of this room.
    pub fn on_recording_event(&mut self, event: RecordingEvent) {
        self.broadcast(ServerMessage::RecordingEvent(event));
    }

    /// The recorder wants to record who has not been asked yet.
    pub fn on_consent_wanted(&mut self, by: Option<&str>) {
        let message = std::sync::Arc::new(ServerMessage::ConsentRequested { by: by.map(str::to_owned) });
        for member in &mut self.members {
            if member.is_seated() && member.consent == Consent::NotAsked {
                member.send(message.clone());
            }
        }
    }
}

/// The declaration of a `publish` as track ids of this participant.
fn declared(participant: &ParticipantId, tracks: Vec<PublishTrack>) -> Result<Vec<DeclaredTrack>, Refusal> {
    let bad = |text: &str| Err(refusal(ErrorCode::BadRequest, text));
    if tracks.is_empty() || tracks.len() > MAX_PUBLISHED {
        return bad("a publish names 1 to 8 tracks");
    }
    let mids: BTreeSet<_> = tracks.iter().map(|track| track.mid.clone()).collect();
    let halves: BTreeSet<_> = tracks.iter().map(|track| (track.source, track.kind)).collect();
    if mids.len() != tracks.len() || halves.len() != tracks.len() {
        return bad("each m-line carries one track, and each track is on one m-line");
    }
    if mids.iter().any(|mid| mid.is_empty() || mid.len() > MAX_MID_BYTES) {
        return bad("a mid has 1 to 16 bytes");
    }
    let id =
        |track: &PublishTrack| TrackId { participant: participant.clone(), source: track.source, kind: track.kind };
    Ok(tracks.iter().map(|track| DeclaredTrack { mid: Some(track.mid.clone()), track: id(track) }).collect())
}

const CHAT_LINES: usize = 50;
const RECORDING_OFF: &str = "recording is switched off on this server (recording.start)";
const MAX_CANDIDATES: usize = 64;
const MAX_CANDIDATE_BYTES: usize = 1024;
const MAX_MID_BYTES: usize = 16;
const MAX_WORDING_BYTES: usize = 64;
// Camera and three screens, each with sound.
const MAX_PUBLISHED: usize = 8;
/// Shown when somebody is muted through the API without a name.
const API_NAME: &str = "the host";
