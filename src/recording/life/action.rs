//! What the life of recordings asks to be done.

use reelay_signaling::{ParticipantId, RoomName, Source, TrackId};
use serde_json::Value;

use crate::media::{Codec, RoomKey, TapFrom};

/// One recording, before it has a name on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session(pub u64);

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A recording begins; nothing is on disk before the first block.
    Begin {
        /// Which.
        session: Session,
        /// The name of the room.
        name: RoomName,
        /// Who started it, if a person did.
        by: Option<String>,
    },
    /// It is over; close its files.
    Close {
        /// Which.
        session: Session,
        /// For the manifest: `stopped`, `ended`, `shutdown`.
        reason: &'static str,
    },
    /// Cut all its files now.
    Pause(Session),
    /// Go on now.
    Resume(Session),
    /// Hear this track, into this recording.
    Tap(Session, RoomKey, TrackId, TapFrom),
    /// Hear it no more.
    Untap(Session, RoomKey, TrackId),
    /// What is known of a track that is or will be heard.
    Track(Session, TrackId, TrackChange),
    /// A source will not come back: close its file.
    EndSource(Session, ParticipantId, Source, &'static str),
    /// The person withdrew: a gap in the files.
    Withdraw(Session, ParticipantId),
    /// Somebody is part of the recording, or listed as not recorded.
    Person(Session, PersonChange),
    /// A line for `events.jsonl`; `t_ms` and `at` are added.
    Event(Session, Value),
    /// Tell the room how its recording is.
    Tell(RoomKey),
    /// Ask those in the room who have not answered.
    AskConsent(RoomKey, Option<String>),
}

/// What became of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackChange {
    /// It sends this.
    Started(Codec, u8),
    /// It sends nothing until it starts again.
    Ended,
    /// Its owner or a host switched it off, or on.
    Muted(bool),
    /// Its source may send this by its SDP.
    Declared {
        /// Sound.
        audio: bool,
        /// Picture.
        video: bool,
    },
}

/// Somebody in a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonChange {
    /// Is there, with name and key if recorded.
    There {
        /// Who.
        id: ParticipantId,
        /// Stable key; empty if not recorded.
        person: String,
        /// Name; empty if not recorded.
        name: String,
        /// Goes into the files.
        recorded: bool,
    },
    /// Went.
    Left(ParticipantId),
}

/// How the recording of a room is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Not.
    Off,
    /// It runs.
    On(Session),
    /// It is paused.
    Paused(Session),
}
