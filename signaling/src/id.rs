//! Names and ids, parsed once at the edge and trusted everywhere behind it.

use std::fmt;
use std::str::FromStr;

use caseless::Caseless;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::model::Kind;

/// Why a text is not the id it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A room name has 1 to 64 letters, digits, `-`, `_` or `.`, and no leading dot.
    #[error("a room name has 1 to 64 letters, digits, '-', '_' or '.', and does not begin with a dot")]
    RoomName,
    /// A participant id is `p` and 10 characters of base32.
    #[error("not a participant id")]
    ParticipantId,
    /// A source is `camera` or `screen1` to `screen3`.
    #[error("a source is 'camera' or 'screen1' to 'screen3'")]
    Source,
    /// A track id is `<participant>/<source>/<audio|video>`.
    #[error("a track id is '<participant>/<source>/<audio|video>'")]
    TrackId,
    /// A recording id is a lower-case UUID.
    #[error("not a recording id")]
    RecordingId,
}

/// The name people choose for a room: NFC, case-folded, never a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(String);

impl RoomName {
    /// The name as it is shown and compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = IdError;

    fn from_str(raw: &str) -> Result<Self, IdError> {
        // A folded letter has at most three characters, so anything longer cannot come out short enough.
        if raw.len() > 4 * 4 * MAX_ROOM_CHARS {
            return Err(IdError::RoomName);
        }
        let name: String = raw.chars().nfc().default_case_fold().nfc().collect();
        let length = name.chars().count();
        let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.') || is_combining(c);
        if length == 0 || length > MAX_ROOM_CHARS || name.starts_with('.') || !name.chars().all(is_allowed) {
            return Err(IdError::RoomName);
        }
        Ok(Self(name))
    }
}

// Many scripts write vowels as combining marks; without them their words would be no room names.
fn is_combining(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

const MAX_ROOM_CHARS: usize = 64;

/// One stay of one person in a room, made by the server: `p` and 10 characters of base32.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParticipantId(String);

impl ParticipantId {
    /// Makes the id from 50 random bits.
    pub fn from_random(bits: u64) -> Self {
        let digit = |i: u32| BASE32[(bits >> (5 * i)) as usize & 31] as char;
        Self(std::iter::once('p').chain((0..ID_DIGITS).map(digit)).collect())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ParticipantId {
    type Err = IdError;

    fn from_str(raw: &str) -> Result<Self, IdError> {
        let digits = raw.strip_prefix('p').ok_or(IdError::ParticipantId)?;
        let is_valid = digits.len() == ID_DIGITS as usize && digits.bytes().all(|b| BASE32.contains(&b));
        if is_valid { Ok(Self(raw.to_owned())) } else { Err(IdError::ParticipantId) }
    }
}

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const ID_DIGITS: u32 = 10;

/// What a participant publishes from: the camera with its microphone, or one of three screens with their sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// Camera and microphone.
    Camera,
    /// A shared screen, numbered from 1 to 3.
    Screen(u8),
}

impl FromStr for Source {
    type Err = IdError;

    fn from_str(raw: &str) -> Result<Self, IdError> {
        match raw {
            "camera" => Ok(Self::Camera),
            "screen" | "screen1" => Ok(Self::Screen(1)),
            "screen2" => Ok(Self::Screen(2)),
            "screen3" => Ok(Self::Screen(3)),
            _ => Err(IdError::Source),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Camera => f.write_str("camera"),
            Self::Screen(n) => write!(f, "screen{n}"),
        }
    }
}

/// One published audio or video flow: `<participant>/<source>/<audio|video>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrackId {
    /// Who publishes it.
    pub participant: ParticipantId,
    /// What it shows or says.
    pub source: Source,
    /// Audio or video.
    pub kind: Kind,
}

impl FromStr for TrackId {
    type Err = IdError;

    fn from_str(raw: &str) -> Result<Self, IdError> {
        let mut parts = raw.split('/');
        let (Some(participant), Some(source), Some(kind), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdError::TrackId);
        };
        let kind = match kind {
            "audio" => Kind::Audio,
            "video" => Kind::Video,
            _ => return Err(IdError::TrackId),
        };
        Ok(Self { participant: participant.parse()?, source: source.parse()?, kind })
    }
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.participant, self.source, self.kind)
    }
}

/// One recording, and the name of its folder: a lower-case, hyphenated UUID (version 7, so ids sort by time).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordingId(String);

impl RecordingId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RecordingId {
    type Err = IdError;

    fn from_str(raw: &str) -> Result<Self, IdError> {
        let is_valid = raw.len() == 36
            && raw.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
            });
        if is_valid { Ok(Self(raw.to_owned())) } else { Err(IdError::RecordingId) }
    }
}

macro_rules! text_id {
    ($($id:ty),*) => {$(
        impl TryFrom<String> for $id {
            type Error = IdError;
            fn try_from(raw: String) -> Result<Self, IdError> {
                raw.parse()
            }
        }
        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.to_string()
            }
        }
    )*};
}

macro_rules! shown_as_text {
    ($($id:ty),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

text_id!(RoomName, ParticipantId, Source, TrackId, RecordingId);
shown_as_text!(RoomName, ParticipantId, RecordingId);

#[cfg(test)]
mod tests {
    use super::*;

    fn check_room(raw: &str, expected: Option<&str>) {
        let parsed = raw.parse::<RoomName>().ok();
        assert_eq!(parsed.as_ref().map(RoomName::as_str), expected, "{raw:?}");
    }

    #[test]
    fn room_names_are_normalised_and_never_paths() {
        check_room("Team-1", Some("team-1"));
        check_room("Straße", Some("strasse"));
        check_room("e\u{301}tude", Some("étude"));
        check_room("会议室", Some("会议室"));
        check_room("हिन्दी", Some("हिन्दी"));
        for bad in ["", ".hidden", "..", "a/b", "a\\b", "a b", "a\0b", "<b>", "a%2fb"] {
            check_room(bad, None);
        }
        check_room(&"x".repeat(64), Some(&"x".repeat(64)));
        check_room(&"x".repeat(65), None);
        check_room(&"x".repeat(10_000), None);
    }

    #[test]
    fn ids_survive_a_round_trip() {
        let participant = ParticipantId::from_random(0x0123_4567_89ab_cdef);
        assert_eq!(participant.as_str().parse(), Ok(participant.clone()));
        let track = TrackId { participant, source: Source::Screen(2), kind: Kind::Audio };
        assert_eq!(track.to_string().parse(), Ok(track));
        assert!("p123".parse::<ParticipantId>().is_err());
        assert!("01920000-0000-7000-8000-00000000000g".parse::<RecordingId>().is_err());
        assert!("../00000-0000-7000-8000-000000000000".parse::<RecordingId>().is_err());
    }
}
