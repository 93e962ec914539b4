//! Stable error codes, the same on the socket and in `application/problem+json`.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// A stable code that a client can react to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl ErrorCode {
            /// Every code there is.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name),*];

            /// The code as it goes over the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The message or body is not what the protocol allows.
    BadRequest => "bad-request",
    /// The message type is not known to this server.
    UnknownMessage => "unknown-message",
    /// The first message was not `join` or `resume`.
    JoinFirst => "join-first",
    /// The room name is not valid.
    BadRoomName => "bad-room-name",
    /// The display name is empty, too long or has control characters.
    BadName => "bad-name",
    /// The SDP cannot be read or breaks a rule.
    BadSdp => "bad-sdp",
    /// The offer has no codec that this server records; the message names those that work.
    NoCommonCodec => "no-common-codec",
    /// The answer takes the DTLS role that this server must have.
    DtlsRole => "dtls-role",
    /// A token is needed.
    Unauthorized => "unauthorized",
    /// The token is expired.
    TokenExpired => "token-expired",
    /// The token does not allow this.
    Forbidden => "forbidden",
    /// The page's origin is not allowed.
    OriginRefused => "origin-refused",
    /// No media connection came about in time.
    NoConnection => "no-connection",
    /// No such room.
    RoomNotFound => "room-not-found",
    /// The room has as many people as it may have.
    RoomFull => "room-full",
    /// The server has as many rooms as it may have.
    TooManyRooms => "too-many-rooms",
    /// A setting's limit is reached; the message names it.
    LimitReached => "limit-reached",
    /// Too many messages in a short time.
    TooFast => "too-fast",
    /// Too large; the message names the limit.
    TooLarge => "too-large",
    /// The body of a request trickles in; the message names the limit.
    TooSlow => "too-slow",
    /// Watching is not allowed in this room.
    WatchOff => "watch-off",
    /// The session to resume is gone.
    ResumeExpired => "resume-expired",
    /// Another live publisher has this name.
    NameTaken => "name-taken",
    /// Nobody publishes in this room.
    NobodyPublishes => "nobody-publishes",
    /// No such participant.
    ParticipantNotFound => "participant-not-found",
    /// No such session.
    SessionNotFound => "session-not-found",
    /// No such recording.
    RecordingNotFound => "recording-not-found",
    /// No such file in the recording.
    FileNotFound => "file-not-found",
    /// The recording still runs.
    RecordingActive => "recording-active",
    /// Somebody wants the recording to be kept.
    RecordingKept => "recording-kept",
    /// Recording is switched off on this server.
    RecordingOff => "recording-off",
    /// Nothing is being recorded.
    NotRecording => "not-recording",
    /// The disk has no room for a new recording.
    DiskFull => "disk-full",
    /// The server has more to do than it can.
    Overloaded => "overloaded",
    /// The server is about to stop and takes nothing new.
    Draining => "draining",
    /// The range cannot be served.
    RangeNotSatisfiable => "range-not-satisfiable",
    /// The precondition failed.
    PreconditionFailed => "precondition-failed",
    /// What was asked for needs ffmpeg, and the server has none.
    NoFfmpeg => "no-ffmpeg",
    /// The media type is not the one expected.
    UnsupportedMediaType => "unsupported-media-type",
    /// The method is not allowed here.
    MethodNotAllowed => "method-not-allowed",
    /// No such page or route.
    NotFound => "not-found",
    /// A fault of the server; the log has the details.
    Internal => "internal",
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
