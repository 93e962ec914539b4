//! WHEP: which one participant a viewer without a page receives, and who comes next.

use reelay_signaling::{Kind, ParticipantId, Source, TrackId};

use super::Wanted;
use super::member::Member;
use super::state::{Effect, RoomState};
use super::web::WebKind;
use crate::media::Command;

impl RoomState {
    /// The tracks for a WHEP viewer now, and whose they are. `following` stays as long as they publish.
    pub(super) fn tracks_for(
        &self,
        wanted: &Wanted,
        following: Option<&ParticipantId>,
    ) -> (Option<ParticipantId>, Vec<TrackId>) {
        let (whose, source) = match wanted {
            Wanted::Participant(id, source) => (self.index_of(id), *source),
            Wanted::Named(name, source) => (self.index_named(name, *source), *source),
            Wanted::Anybody => (self.index_followed(following), Source::Camera),
        };
        let Some(member) = whose.map(|index| &self.members[index]) else {
            return (None, Vec::new());
        };
        let halves = [Kind::Audio, Kind::Video].into_iter().filter(|kind| member.has_track(source, *kind));
        (Some(member.id.clone()), halves.map(|kind| member.track_id(source, kind)).collect())
    }

    /// Gives every WHEP viewer what they want, if that changed.
    pub(super) fn sync_followers(&mut self) {
        for index in 0..self.members.len() {
            let Some(web) = self.members[index].web() else { continue };
            let WebKind::Whep { wanted, following } = &web.kind else { continue };
            let (now_following, tracks) = self.tracks_for(wanted, following.as_ref());
            let member = &mut self.members[index];
            if let Some(web) = member.web_mut()
                && let WebKind::Whep { following, .. } = &mut web.kind
            {
                *following = now_following;
            }
            let Some(leg) = &mut member.leg else { continue };
            if leg.tracks != tracks {
                leg.tracks.clone_from(&tracks);
                let key = leg.key;
                self.effects.push(Effect::Media(Command::SetTracks { room: self.key, leg: key, tracks }));
            }
        }
    }

    // Two people may have the same name: who publishes the source comes first.
    fn index_named(&self, name: &str, source: Source) -> Option<usize> {
        let mut same_name = self.seats().filter(|(_, member)| member.name == name).peekable();
        let first = same_name.peek().map(|(index, _)| *index);
        same_name.find(|(_, member)| member.tracks.iter().any(|track| track.source == source)).map(|(i, _)| i).or(first)
    }

    // The longest-published participant with a camera, else one with a voice.
    fn index_followed(&self, following: Option<&ParticipantId>) -> Option<usize> {
        let pick = |kind| {
            let stays = self
                .seats()
                .find(|(_, member)| Some(&member.id) == following && member.has_track(Source::Camera, kind));
            let oldest = || {
                let live = self.seats().filter_map(|(i, member)| Some((member.track_since(Source::Camera, kind)?, i)));
                live.min().map(|(_, index)| index)
            };
            stays.map(|(index, _)| index).or_else(oldest)
        };
        pick(Kind::Video).or_else(|| pick(Kind::Audio))
    }

    fn seats(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.members.iter().enumerate().filter(|(_, member)| member.is_seated())
    }
}
