//! WHIP and WHEP: stays whose client is no page but a session URL.

use reelay_signaling::{Consent, ErrorCode, Kind, LeaveReason, ParticipantId, Role, Source, TrackId};
use tokio::sync::oneshot;

use super::fragment::{Fragment, declarations, fragment_of, restarted_offer};
use super::member::Door;
use super::state::{About, Awaited, Effect, RoomState};
use super::stay::Newcomer;
use super::tracks::new_leg;
use super::{Now, Wanted, display_name, person_key, refusal};
use crate::auth::{Caller, Grant, Refusal};
use crate::media::{Command, DeclaredTrack, LegKey, MediaError, PeerKey};

/// The door of a stay that came by HTTP.
#[derive(Debug)]
pub struct WebDoor {
    /// The secret part of the session URL.
    pub(super) id: String,
    /// Digest of the token that made it; the same is wanted for PATCH and DELETE.
    pub(super) credential: Option<[u8; 32]>,
    /// Changes with each ICE restart.
    pub(super) etag: String,
    pub(super) kind: WebKind,
}

/// Which way the media flows.
#[derive(Debug)]
pub(super) enum WebKind {
    /// In. The offer is kept: a restart repeats it with other credentials.
    Whip { name: Option<String>, offer: String },
    /// Out.
    Whep { wanted: Wanted, following: Option<ParticipantId> },
}

/// What comes to a room by WHIP and WHEP.
#[derive(Debug)]
pub struct WebRequest {
    /// Who asks.
    pub caller: Caller,
    /// Digest of their token.
    pub credential: Option<[u8; 32]>,
    /// What they ask for.
    pub action: WebAction,
    /// The answer.
    pub reply: oneshot::Sender<Result<SdpAnswer, Refusal>>,
}

/// What is asked for.
#[derive(Debug)]
pub enum WebAction {
    /// POST to `/whip`.
    Publish {
        /// The new session.
        id: String,
        /// The name in the path.
        name: Option<String>,
        /// SDP.
        offer: String,
    },
    /// POST to `/whep`.
    View {
        /// The new session.
        id: String,
        /// Whom to see.
        wanted: Wanted,
        /// SDP.
        offer: String,
    },
    /// PATCH with candidates.
    Trickle {
        /// The session.
        id: String,
        /// `If-Match`.
        etag: String,
        /// The body.
        fragment: Fragment,
    },
    /// PATCH with new credentials.
    Restart {
        /// The session.
        id: String,
        /// The body.
        text: String,
    },
    /// DELETE.
    Delete {
        /// The session.
        id: String,
    },
}

impl WebAction {
    /// The session that it is about.
    pub fn id(&self) -> &str {
        match self {
            Self::Publish { id, .. }
            | Self::View { id, .. }
            | Self::Trickle { id, .. }
            | Self::Restart { id, .. }
            | Self::Delete { id } => id,
        }
    }
}

/// What goes back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SdpAnswer {
    /// SDP, or a fragment of it after a restart, or nothing.
    pub sdp: String,
    /// The ETag of the session now.
    pub etag: String,
}

impl RoomState {
    /// A request by WHIP or WHEP; the answer goes to its `reply`, at once or when the media plane has answered.
    pub fn on_web(&mut self, now: Now, request: WebRequest) {
        let WebRequest { caller, credential, action, reply } = request;
        match action {
            WebAction::Publish { id, name, offer } => {
                self.web_publish(now, (caller, credential), id, name, offer, reply)
            }
            WebAction::View { id, wanted, offer } => self.web_view(now, (caller, credential), id, wanted, offer, reply),
            WebAction::Trickle { id, etag, fragment } => {
                // An error means that the client has hung up.
                let _ = reply.send(self.web_trickle(&id, credential, &etag, fragment));
            }
            WebAction::Restart { id, text } => self.web_restart(&id, credential, &text, reply),
            WebAction::Delete { id } => {
                let found = self.index_of_web(&id, credential).map(|index| self.members[index].id.clone());
                let done = found.map(|member| {
                    self.remove(&member, LeaveReason::Left, None);
                    SdpAnswer::default()
                });
                let _ = reply.send(done);
            }
        }
    }

    fn web_publish(
        &mut self,
        now: Now,
        (caller, credential): (Caller, Option<[u8; 32]>),
        id: String,
        name: Option<String>,
        offer: String,
        reply: oneshot::Sender<Result<SdpAnswer, Refusal>>,
    ) {
        let index = match self.admit_publisher(now, caller, credential, id, name, &offer) {
            Ok(index) => index,
            Err(refused) => {
                let _ = reply.send(Err(refused));
                return;
            }
        };
        let peer = PeerKey(self.next_key());
        let member = &mut self.members[index];
        member.peer = Some(peer);
        let tracks = camera_tracks(&member.id);
        let about = About::Web { member: member.id.clone(), is_new: true, reply };
        let (answer, answered) = oneshot::channel();
        let command = Command::Publish { room: self.key, peer, offer, tracks, reply: answer };
        self.effects.push(Effect::Ask(command, Awaited::Text(answered), about));
        let after = self.options.limits.whip_idle_timeout.0;
        self.effects.push(Effect::Media(Command::CloseIdle { room: self.key, peer, after }));
    }

    fn admit_publisher(
        &mut self,
        now: Now,
        caller: Caller,
        credential: Option<[u8; 32]>,
        id: String,
        name: Option<String>,
        offer: &str,
    ) -> Result<usize, Refusal> {
        caller.require(Grant::Publish, Some(&self.name))?;
        self.check_sdp(offer)?;
        let setup = Some(self.setup_of(caller.address)?);
        let is_named = |web: &WebDoor| matches!(&web.kind, WebKind::Whip { name: theirs, .. } if *theirs == name);
        if name.is_some() && self.members.iter().filter_map(|member| member.web()).any(is_named) {
            return Err(refusal(ErrorCode::NameTaken, "somebody of this name publishes already"));
        }
        let shown = caller.name.as_deref().or(name.as_deref()).unwrap_or(NAMELESS);
        let newcomer = Newcomer {
            name: display_name(shown, &self.options.limits)?,
            person: person_key(&caller, None, name.as_deref()),
            role: Role::Join,
            consent: if caller.consent { Consent::Agreed } else { Consent::NotAsked },
            caller,
            door: Door::Web(WebDoor {
                id,
                credential,
                etag: new_etag(),
                kind: WebKind::Whip { name, offer: offer.to_owned() },
            }),
            setup,
        };
        self.admit(now, newcomer)
    }

    fn web_view(
        &mut self,
        now: Now,
        (caller, credential): (Caller, Option<[u8; 32]>),
        id: String,
        wanted: Wanted,
        offer: String,
        reply: oneshot::Sender<Result<SdpAnswer, Refusal>>,
    ) {
        let (following, tracks) = self.tracks_for(&wanted, None);
        let admitted = self.check_view(&wanted, following.as_ref(), &tracks).and_then(|()| {
            self.check_sdp(&offer)?;
            let kind = WebKind::Whep { wanted, following };
            let newcomer = Newcomer {
                person: person_key(&caller, None, None),
                role: Role::Watch,
                name: String::new(),
                consent: Consent::NotAsked,
                setup: Some(self.setup_of(caller.address)?),
                caller,
                door: Door::Web(WebDoor { id, credential, etag: new_etag(), kind }),
            };
            self.admit(now, newcomer)
        });
        let index = match admitted {
            Ok(index) => index,
            Err(refused) => {
                let _ = reply.send(Err(refused));
                return;
            }
        };
        let (room, leg) = (self.key, LegKey(self.next_key()));
        let member = &mut self.members[index];
        let mut connection = new_leg(leg);
        connection.tracks.clone_from(&tracks);
        member.leg = Some(connection);
        let about = About::Web { member: member.id.clone(), is_new: true, reply };
        let (answer, answered) = oneshot::channel();
        let command = Command::OpenWhepLeg { room, leg, offer, reply: answer };
        self.effects.push(Effect::Ask(command, Awaited::Text(answered), about));
        self.effects.push(Effect::Media(Command::SetTracks { room, leg, tracks }));
    }

    fn check_view(&self, wanted: &Wanted, whose: Option<&ParticipantId>, tracks: &[TrackId]) -> Result<(), Refusal> {
        match (wanted, whose) {
            (Wanted::Anybody, _) if tracks.is_empty() => {
                Err(refusal(ErrorCode::NobodyPublishes, "nobody publishes in this room"))
            }
            (Wanted::Participant(..) | Wanted::Named(..), None) => {
                Err(refusal(ErrorCode::ParticipantNotFound, "nobody of this id or name is in the room"))
            }
            _ => Ok(()),
        }
    }

    fn web_trickle(
        &mut self,
        id: &str,
        credential: Option<[u8; 32]>,
        etag: &str,
        fragment: Fragment,
    ) -> Result<SdpAnswer, Refusal> {
        let index = self.index_of_web(id, credential)?;
        let web = self.members[index].web().ok_or_else(not_found)?;
        if web.etag != etag {
            return Err(refusal(ErrorCode::PreconditionFailed, "the session's ETag is another one"));
        }
        let answer = SdpAnswer { sdp: String::new(), etag: web.etag.clone() };
        // A viewer's connection is ICE-lite: it answers checks and needs no candidates.
        if matches!(web.kind, WebKind::Whip { .. }) {
            for (mid, candidate) in fragment.candidates {
                self.peer_candidate(index, candidate, mid)?;
            }
        }
        Ok(answer)
    }

    fn web_restart(
        &mut self,
        id: &str,
        credential: Option<[u8; 32]>,
        text: &str,
        reply: oneshot::Sender<Result<SdpAnswer, Refusal>>,
    ) {
        let command = self.index_of_web(id, credential).and_then(|index| self.restart_command(index, text));
        match command {
            Ok((member, command, answered)) => {
                let about = About::Web { member, is_new: false, reply };
                self.effects.push(Effect::Ask(command, Awaited::Text(answered), about));
            }
            Err(refused) => {
                let _ = reply.send(Err(refused));
            }
        }
    }

    #[allow(clippy::type_complexity)]
    fn restart_command(
        &mut self,
        index: usize,
        text: &str,
    ) -> Result<(ParticipantId, Command, oneshot::Receiver<Result<String, MediaError>>), Refusal> {
        let room = self.key;
        let fragment = Fragment::parse(text);
        let member = &mut self.members[index];
        if fragment.credentials().is_none() {
            return Err(refusal(ErrorCode::BadSdp, "a restart carries a=ice-ufrag and a=ice-pwd"));
        }
        let (reply, answered) = oneshot::channel();
        let tracks = camera_tracks(&member.id);
        let (peer, leg) = (member.peer, member.leg.as_ref().map(|leg| leg.key));
        let Door::Web(web) = &mut member.door else { return Err(not_found()) };
        let command = match &mut web.kind {
            WebKind::Whip { offer, .. } => {
                let renewed = restarted_offer(offer, &fragment).ok_or_else(not_found)?;
                offer.clone_from(&renewed);
                let peer = peer.ok_or_else(not_found)?;
                Command::Publish { room, peer, offer: renewed, tracks, reply }
            }
            WebKind::Whep { .. } => {
                let leg = leg.ok_or_else(not_found)?;
                Command::RestartLeg { room, leg, fragment: Some(text.to_owned()), reply }
            }
        };
        member.candidates = 0;
        Ok((member.id.clone(), command, answered))
    }

    /// The media plane answered an offer or a restart.
    pub(super) fn on_web_answer(
        &mut self,
        _now: Now,
        id: &ParticipantId,
        is_new: bool,
        reply: oneshot::Sender<Result<SdpAnswer, Refusal>>,
        answer: Result<String, MediaError>,
    ) {
        let Some(index) = self.index_of(id) else {
            let _ = reply.send(Err(not_found()));
            return;
        };
        match answer {
            Ok(sdp) => {
                let member = &mut self.members[index];
                let is_whip = member.is_seated();
                let Some(web) = member.web_mut() else { return };
                if !is_new {
                    web.etag = new_etag();
                }
                let declared = if is_new && is_whip { declarations(&camera_tracks(id), &sdp) } else { Vec::new() };
                let sdp = if !is_new && is_whip { fragment_of(&sdp) } else { sdp };
                let is_heard = reply.send(Ok(SdpAnswer { sdp, etag: web.etag.clone() })).is_ok();
                if is_new && is_heard {
                    self.announce(index, None);
                    declared.into_iter().for_each(|what| self.tell(what));
                    self.sync_legs();
                } else if is_new {
                    // The client has hung up: nobody knows the session's URL.
                    self.forget_silently(index);
                }
            }
            Err(error) => {
                if is_new {
                    self.forget_silently(index);
                }
                let _ = reply.send(Err(Refusal { code: error.code, message: error.message }));
            }
        }
    }

    // Nobody was told of this stay, so nobody is told of its end.
    fn forget_silently(&mut self, index: usize) {
        let mut member = self.members.remove(index);
        self.close_media(&mut member);
        if let Some(web) = member.web() {
            self.effects.push(Effect::Forget(web.id.clone()));
        }
    }

    fn index_of_web(&self, id: &str, credential: Option<[u8; 32]>) -> Result<usize, Refusal> {
        let is_it = |web: &WebDoor| web.id == id;
        let index = self.members.iter().position(|member| member.web().is_some_and(is_it)).ok_or_else(not_found)?;
        if self.members[index].web().is_some_and(|web| web.credential != credential) {
            return Err(refusal(ErrorCode::Forbidden, "the session was made with another token"));
        }
        Ok(index)
    }
}

// By WHIP all m-lines are the camera's: the first of each kind.
fn camera_tracks(participant: &ParticipantId) -> Vec<DeclaredTrack> {
    let track = |kind| TrackId { participant: participant.clone(), source: Source::Camera, kind };
    [Kind::Audio, Kind::Video].map(|kind| DeclaredTrack { mid: None, track: track(kind) }).into()
}

fn not_found() -> Refusal {
    refusal(ErrorCode::SessionNotFound, "there is no such session")
}

fn new_etag() -> String {
    format!("\"{:016x}\"", rand::random::<u64>())
}

/// The name of a WHIP publisher that gave none.
const NAMELESS: &str = "Guest";
