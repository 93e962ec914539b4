//! Who is listed, heard and quoted in a recording, by their consent.

use reelay_signaling::{Consent, Kind, ParticipantId, Source, TrackId};
use serde_json::{Map, Value, json};

use super::{Action, Life, PersonChange, Session};
use crate::media::{RoomKey, TapFrom};
use crate::recording::api::Tracks;

impl Life {
    /// Lists a person in the recording: by name when recorded, by id alone when declined, not at all before an answer.
    pub(super) fn list(&mut self, session: Session, room: RoomKey, id: &ParticipantId) {
        let Some(consent) = self.person(room, id).map(|person| person.consent) else { return };
        let recorded = self.is_recordable(consent);
        let Some(person) = self.rooms.get_mut(&room).and_then(|room| room.people.get_mut(id)) else { return };
        if person.listed == Some(recorded) || (!recorded && consent == Consent::NotAsked) {
            return;
        }
        let is_new = person.listed.is_none();
        person.listed = Some(recorded);
        let (key, name) =
            if recorded { (person.person.clone(), person.name.clone()) } else { (String::new(), String::new()) };
        if recorded && is_new {
            let joined = json!({"type": "joined", "participant": id, "person": key, "name": name});
            self.actions.push_back(Action::Event(session, joined));
        }
        let change = PersonChange::There { id: id.clone(), person: key, name, recorded };
        self.actions.push_back(Action::Person(session, change));
    }

    pub(super) fn tap(&mut self, session: Session, room: RoomKey, id: &TrackId, from: TapFrom) {
        let Some(consent) = self.person(room, &id.participant).map(|person| person.consent) else { return };
        let is_wanted = self.tracks == Tracks::Av || id.kind == Kind::Audio;
        if !is_wanted || !self.is_recordable(consent) {
            return;
        }
        let person = self.rooms.get_mut(&room).and_then(|room| room.people.get_mut(&id.participant));
        let Some(track) = person.and_then(|person| person.tracks.get_mut(id)) else { return };
        if track.sends.is_some() && !std::mem::replace(&mut track.is_tapped, true) {
            self.actions.push_back(Action::Tap(session, room, id.clone(), from));
            self.actions.push_back(Action::Tell(room));
        }
    }

    pub(super) fn untap(&mut self, session: Session, room: RoomKey, id: &TrackId) {
        let person = self.rooms.get_mut(&room).and_then(|room| room.people.get_mut(&id.participant));
        let Some(track) = person.and_then(|person| person.tracks.get_mut(id)) else { return };
        if std::mem::take(&mut track.is_tapped) {
            self.actions.push_back(Action::Untap(session, room, id.clone()));
        }
    }

    pub(super) fn speaking(&mut self, room: RoomKey, participants: &[ParticipantId]) {
        let Ok(session) = self.session(room) else { return };
        let is_recorded = |id: &&ParticipantId| self.person(room, id).is_some_and(|p| self.is_recordable(p.consent));
        let heard: Vec<&ParticipantId> = participants.iter().filter(is_recorded).collect();
        let said = json!({"type": "speaking", "participants": heard});
        self.event(session, said);
    }

    pub(super) fn track_event(&mut self, room: RoomKey, id: &TrackId, starts: bool) {
        let is_screen = matches!(id.source, Source::Screen(_)) && id.kind == Kind::Video;
        let (kind, said) = match (is_screen, starts) {
            (true, _) => ("screen", json!({"source": id.source, "on": starts})),
            (false, true) => ("published", json!({"source": id.source, "kind": id.kind})),
            (false, false) => ("ended", json!({"source": id.source, "kind": id.kind})),
        };
        self.personal_event(room, &id.participant, kind, said);
    }

    /// An event of somebody: written only while they are recorded and it is not paused.
    pub(super) fn personal_event(&mut self, room: RoomKey, id: &ParticipantId, kind: &str, said: Value) {
        let Ok(session) = self.session(room) else { return };
        let Some(person) = self.person(room, id) else { return };
        if !self.is_recordable(person.consent) {
            return;
        }
        let mut line = Map::new();
        line.insert("type".into(), json!(kind));
        line.insert("participant".into(), json!(id));
        line.insert("person".into(), json!(person.person));
        if let Value::Object(said) = said {
            line.extend(said);
        }
        self.event(session, Value::Object(line));
    }

    /// The answer itself is kept for all; who declined is named by id alone.
    pub(super) fn consent_event(
        &mut self,
        session: Session,
        room: RoomKey,
        id: &ParticipantId,
        answer: Consent,
        wording: &str,
    ) {
        let person = self.person(room, id).filter(|_| answer == Consent::Agreed).map(|person| person.person.clone());
        let line =
            json!({"type": "consent", "participant": id, "person": person, "answer": answer, "wording": wording});
        self.event(session, line);
    }

    pub(super) fn event(&mut self, session: Session, line: Value) {
        let is_paused = self.recordings.get(&session).is_some_and(|recording| recording.is_paused);
        let is_kept = !matches!(line["type"].as_str(), Some("chat" | "speaking"));
        if !is_paused || is_kept {
            self.actions.push_back(Action::Event(session, line));
        }
    }
}
