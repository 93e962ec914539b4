//! One stay in a room, and the way to its client.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use reelay_signaling::{
    ClosedReason, Consent, ErrorCode, Grants, Kind, Participant, ParticipantId, Role, ServerMessage, Source, TrackId,
    TrackState,
};
use tokio::sync::{mpsc, oneshot};

use super::web::WebDoor;
use crate::media::{LegKey, PeerKey};
use crate::places::Place;

/// One life of a socket; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey(pub u64);

/// A room's end of a client's socket: bounded; who does not read is let go.
#[derive(Debug)]
pub struct Outbound {
    queue: mpsc::Sender<Arc<ServerMessage>>,
    close: Option<oneshot::Sender<(ClosedReason, Option<String>)>>,
}

/// The socket's end.
#[derive(Debug)]
pub struct Inbox {
    /// Messages to write.
    pub messages: mpsc::Receiver<Arc<ServerMessage>>,
    /// The last word: write what waits (unless `dropped`), then this, then close.
    pub closed: oneshot::Receiver<(ClosedReason, Option<String>)>,
}

/// Both ends of the way to a client; `limit` messages may wait.
pub fn outbound(limit: usize) -> (Outbound, Inbox) {
    let (queue, messages) = mpsc::channel(limit);
    let (close, closed) = oneshot::channel();
    (Outbound { queue, close: Some(close) }, Inbox { messages, closed })
}

impl Outbound {
    /// Queues a message; a client that does not read is let go, and may come back by `resume`.
    fn send(&mut self, message: Arc<ServerMessage>) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(message) {
            metrics::counter!("sockets_dropped_slow_total").increment(1);
            self.close(ClosedReason::Dropped, None);
        }
    }

    /// Says the last word.
    pub(super) fn close(&mut self, reason: ClosedReason, by: Option<String>) {
        if let Some(close) = self.close.take() {
            // An error means that the socket is gone already.
            let _ = close.send((reason, by));
        }
    }
}

/// How a member is connected.
#[derive(Debug)]
pub(super) enum Door {
    Socket { session: Option<(SessionKey, Outbound)>, resume: String },
    Web(WebDoor),
}

/// The receiving connection of a member.
#[derive(Debug)]
pub(super) struct Leg {
    pub key: LegKey,
    pub tracks: Vec<TrackId>,
    /// The media plane's id of the first offer: clients count from 1 in each connection.
    pub first_offer: Option<u64>,
    /// The offer that has no answer yet, for a socket that comes back.
    pub pending: Option<Arc<ServerMessage>>,
}

/// A live track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Track {
    pub source: Source,
    pub kind: Kind,
    /// Rises with each start in this server: who is older comes first.
    pub since: u64,
}

/// One stay of one person: somebody in the roster, or a watcher.
#[derive(Debug)]
pub(super) struct Member {
    pub id: ParticipantId,
    /// The others know of this stay.
    pub announced: bool,
    pub role: Role,
    pub name: String,
    pub person: String,
    pub grants: Grants,
    pub host: bool,
    /// Came without a token, on an open server.
    pub is_open: bool,
    pub consent: Consent,
    pub recorded: bool,
    pub door: Door,
    /// When the socket, or the connection of a WHIP publisher, was lost.
    pub lost_at: Option<Instant>,
    /// When the token ends.
    pub expires: Option<Instant>,
    /// They were told that it ends.
    pub was_warned: bool,
    /// The token's `sub`.
    pub subject: Option<String>,
    /// Where they came from.
    pub address: Option<IpAddr>,
    /// Held while a media connection of this stay is being set up.
    pub setup: Option<Place>,
    pub peer: Option<PeerKey>,
    pub leg: Option<Leg>,
    /// The receiving connection broke and is not to be opened again by itself.
    pub leg_broken: bool,
    pub tracks: Vec<Track>,
    pub muted: BTreeSet<(Source, Kind)>,
    /// Switched off by a host, in the forwarding.
    pub blocked: BTreeSet<(Source, Kind)>,
    pub candidates: usize,
}

impl Member {
    /// The entry in the roster.
    pub fn participant(&self) -> Participant {
        let state = |track: &Track| TrackState {
            source: track.source,
            kind: track.kind,
            muted: self.muted.contains(&(track.source, track.kind)),
        };
        Participant {
            id: self.id.clone(),
            name: self.name.clone(),
            host: self.host,
            consent: self.consent,
            recorded: self.recorded,
            away: self.lost_at.is_some(),
            tracks: self.tracks.iter().map(state).collect(),
        }
    }

    pub fn track_id(&self, source: Source, kind: Kind) -> TrackId {
        TrackId { participant: self.id.clone(), source, kind }
    }

    pub fn has_track(&self, source: Source, kind: Kind) -> bool {
        self.track_since(source, kind).is_some()
    }

    /// The age of a live track; lower is older.
    pub fn track_since(&self, source: Source, kind: Kind) -> Option<u64> {
        self.tracks.iter().find(|track| track.source == source && track.kind == kind).map(|track| track.since)
    }

    /// In the roster, whatever the door.
    pub fn is_seated(&self) -> bool {
        self.role == Role::Join
    }

    /// May become host when the host leaves: a person at a socket of an open server.
    pub fn inherits_host(&self) -> bool {
        self.is_open && matches!(self.door, Door::Socket { .. })
    }

    pub fn web(&self) -> Option<&WebDoor> {
        match &self.door {
            Door::Web(web) => Some(web),
            Door::Socket { .. } => None,
        }
    }

    pub fn web_mut(&mut self) -> Option<&mut WebDoor> {
        match &mut self.door {
            Door::Web(web) => Some(web),
            Door::Socket { .. } => None,
        }
    }

    pub fn session(&self) -> Option<SessionKey> {
        match &self.door {
            Door::Socket { session: Some((key, _)), .. } => Some(*key),
            _ => None,
        }
    }

    /// Queues a message if there is a socket.
    pub fn send(&mut self, message: Arc<ServerMessage>) {
        if let Door::Socket { session: Some((_, outbound)), .. } = &mut self.door {
            outbound.send(message);
        }
    }

    pub fn send_error(&mut self, code: ErrorCode, message: impl Into<String>, reference: Option<String>) {
        self.send(Arc::new(ServerMessage::Error { code, message: message.into(), reference }));
    }

    /// Says the last word to the client.
    pub fn close(&mut self, reason: ClosedReason, by: Option<String>) {
        if let Door::Socket { session, .. } = &mut self.door
            && let Some((_, mut outbound)) = session.take()
        {
            outbound.close(reason, by);
        }
    }
}
