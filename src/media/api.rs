//! What the control plane and the media plane say to each other: plain values, no `rtc` types.

use std::net::SocketAddr;
use std::time::Duration;

use reelay_signaling::{ErrorCode, ParticipantId, TrackId};
use tokio::sync::{mpsc, oneshot};

use super::{Codec, InboundPacket, SenderReport, Tap, TapFrom};

/// One life of a room; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomKey(pub u64);

/// One publishing connection; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(pub u64);

/// One receiving connection; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegKey(pub u64);

/// What the control plane asks of a shard. Answers come by the oneshot, everything else as [`Event`].
#[derive(Debug)]
pub enum Command {
    /// Make a room; `events` is bounded, and a room whose events are not read is closed.
    OpenRoom {
        /// The room.
        room: RoomKey,
        /// Where its events go.
        events: mpsc::Sender<Event>,
    },
    /// Close everything in a room.
    CloseRoom {
        /// The room.
        room: RoomKey,
    },
    /// Answer an offer of a publisher: the first one makes the peer, later ones renegotiate or restart ICE.
    Publish {
        /// The room.
        room: RoomKey,
        /// The connection.
        peer: PeerKey,
        /// SDP.
        offer: String,
        /// What each m-line carries. An m-line that is not listed is refused (port 0).
        tracks: Vec<DeclaredTrack>,
        /// SDP of the answer.
        reply: oneshot::Sender<Result<String, MediaError>>,
    },
    /// A candidate of a publisher, `candidate:…`; unusable ones (TCP, `.local`, component 2) are skipped.
    PeerCandidate {
        /// The room.
        room: RoomKey,
        /// The connection.
        peer: PeerKey,
        /// `candidate:…`.
        candidate: String,
        /// The m-line.
        mid: Option<String>,
    },
    /// Close a publishing connection; its tracks end.
    ClosePeer {
        /// The room.
        room: RoomKey,
        /// The connection.
        peer: PeerKey,
    },
    /// Close a publishing connection that sends no media for so long.
    CloseIdle {
        /// The room.
        room: RoomKey,
        /// The connection.
        peer: PeerKey,
        /// How long.
        after: Duration,
    },
    /// Switch a track off in the forwarding, whatever its publisher sends (a host's mute).
    Block {
        /// The room.
        room: RoomKey,
        /// The track.
        track: TrackId,
        /// Off or on.
        blocked: bool,
    },
    /// Make a receiving connection whose offers we write; they come as [`Event::Offer`].
    OpenLeg {
        /// The room.
        room: RoomKey,
        /// The connection.
        leg: LegKey,
    },
    /// Make a receiving connection from a WHEP client's offer (one audio, one video m-line at most).
    OpenWhepLeg {
        /// The room.
        room: RoomKey,
        /// The connection.
        leg: LegKey,
        /// SDP.
        offer: String,
        /// SDP of the answer.
        reply: oneshot::Sender<Result<String, MediaError>>,
    },
    /// Which tracks a leg carries from now on, in the order of slots. A WHEP leg takes one of each kind.
    SetTracks {
        /// The room.
        room: RoomKey,
        /// The connection.
        leg: LegKey,
        /// The tracks.
        tracks: Vec<TrackId>,
    },
    /// Which mids are on screen; the others are not sent, without an offer. `None`: all.
    Want {
        /// The room.
        room: RoomKey,
        /// The connection.
        leg: LegKey,
        /// mids.
        mids: Option<Vec<String>>,
    },
    /// The client's answer to offer `id`.
    LegAnswer {
        /// The room.
        room: RoomKey,
        /// The connection.
        leg: LegKey,
        /// Which offer.
        id: u64,
        /// SDP.
        answer: String,
        /// Nothing, or why the answer is refused.
        reply: oneshot::Sender<Result<(), MediaError>>,
    },
    /// New ICE credentials: for our own legs a new offer follows; WHEP legs give their new offer here and get an answer.
    RestartLeg {
        /// The room.
        room: RoomKey,
        /// The connection.
        leg: LegKey,
        /// For WHEP: an `a=ice-ufrag`/`a=ice-pwd` fragment (RFC 8840) of the client.
        fragment: Option<String>,
        /// For WHEP: our fragment. For our own legs: an empty text.
        reply: oneshot::Sender<Result<String, MediaError>>,
    },
    /// Close a receiving connection.
    CloseLeg {
        /// The room.
        room: RoomKey,
        /// The connection.
        leg: LegKey,
    },
    /// Let a recorder hear a track; it stays attached while the track ends and comes back.
    Tap {
        /// The room.
        room: RoomKey,
        /// The track.
        track: TrackId,
        /// Where its packets go.
        tap: Tap,
        /// Where in the track it begins.
        from: TapFrom,
    },
    /// End that.
    Untap {
        /// The room.
        room: RoomKey,
        /// The track.
        track: TrackId,
    },
    /// Ask the publisher of a video track for a keyframe (merged and limited here).
    Keyframe {
        /// The room.
        room: RoomKey,
        /// The track.
        track: TrackId,
    },
    /// Media that comes from no publisher, in order and when it is due: to the viewers of its tracks. They wait for the
    /// next keyframe, as nobody can be asked for one. Taps do not hear it.
    Feed {
        /// The room.
        room: RoomKey,
        /// The packets.
        packets: Vec<InboundPacket>,
        /// The clock of a track, after its first packet.
        report: Option<(TrackId, SenderReport)>,
    },
    /// Answered when everything that had arrived before is with its taps.
    Sync {
        /// The room.
        room: RoomKey,
        /// The answer.
        reply: oneshot::Sender<()>,
    },
    /// Numbers for `/metrics` and `/api/rooms`.
    Stats {
        /// The numbers.
        reply: oneshot::Sender<ShardStats>,
    },
    /// Close everything and end the thread.
    Stop,
}

impl Command {
    /// The room that it is about.
    pub fn room(&self) -> Option<RoomKey> {
        match self {
            Self::OpenRoom { room, .. }
            | Self::CloseRoom { room }
            | Self::Publish { room, .. }
            | Self::PeerCandidate { room, .. }
            | Self::ClosePeer { room, .. }
            | Self::CloseIdle { room, .. }
            | Self::Block { room, .. }
            | Self::OpenLeg { room, .. }
            | Self::OpenWhepLeg { room, .. }
            | Self::SetTracks { room, .. }
            | Self::Want { room, .. }
            | Self::LegAnswer { room, .. }
            | Self::RestartLeg { room, .. }
            | Self::CloseLeg { room, .. }
            | Self::Tap { room, .. }
            | Self::Untap { room, .. }
            | Self::Feed { room, .. }
            | Self::Sync { room, .. }
            | Self::Keyframe { room, .. } => Some(*room),
            Self::Stats { .. } | Self::Stop => None,
        }
    }
}

/// What an m-line of a publisher carries, already parsed and trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTrack {
    /// The m-line; `None` takes the m-lines of this kind in order (WHIP).
    pub mid: Option<String>,
    /// The track.
    pub track: TrackId,
}

/// What a shard tells the room.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A publishing connection changed.
    PeerState {
        /// The connection.
        peer: PeerKey,
        /// As it is now.
        state: LinkState,
    },
    /// The first packet of a track arrived (again).
    TrackStarted {
        /// Who sends it.
        peer: PeerKey,
        /// The track.
        track: TrackId,
        /// What it is.
        codec: Codec,
        /// Audio channels by the SDP: 2 unless `sprop-stereo=0` or absent.
        channels: u8,
    },
    /// A track ended: its m-line is inactive, BYE, or its connection is gone. Silence alone is no end.
    TrackEnded {
        /// Who sent it.
        peer: PeerKey,
        /// The track.
        track: TrackId,
    },
    /// A receiving connection changed.
    LegState {
        /// The connection.
        leg: LegKey,
        /// As it is now.
        state: LinkState,
    },
    /// A receiving connection has an offer for its client.
    Offer {
        /// The connection.
        leg: LegKey,
        /// To be named in the answer.
        id: u64,
        /// SDP.
        sdp: String,
        /// mid and track of each live slot.
        tracks: Vec<(String, TrackId)>,
    },
    /// Who speaks, loudest first; sent when it changes.
    Speaking(Vec<ParticipantId>),
    /// The room's media was closed after a fault of ours.
    Failed,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// ICE and DTLS are up.
    Connected,
    /// No packets or checks for a while; may come back.
    Disconnected,
    /// Will not come back without a restart.
    Failed,
    /// Gone.
    Closed,
}

/// Why the media plane refuses something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MediaError {
    /// For the client.
    pub code: ErrorCode,
    /// One sentence for the client.
    pub message: String,
}

/// Numbers of one shard since it began, and of now.
#[derive(Debug, Clone, Default)]
pub struct ShardStats {
    /// Rooms, publishing connections, receiving connections and tracks now.
    pub rooms: usize,
    /// Publishing connections now.
    pub peers: usize,
    /// Receiving connections now.
    pub legs: usize,
    /// Live tracks now.
    pub tracks: usize,
    /// Counters by their metric name (`media_packets_in_total`, `media_dropped_unverified_source_total`, …).
    pub counters: Vec<(&'static str, u64)>,
}

/// Where a shard listens.
#[derive(Debug, Clone)]
pub struct MediaAddresses {
    /// UDP port of each shard.
    pub ports: Vec<u16>,
    /// Addresses that go into candidates.
    pub candidates: Vec<SocketAddr>,
}
