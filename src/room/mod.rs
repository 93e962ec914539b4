//! Who is in a room and what they may do: one task per room, a registry that owns them all.
//! Knows media as keys and commands and tells observers what happened; knows no consumer of that and no door.

mod event;
mod follow;
mod fragment;
mod member;
mod message;
mod registry;
mod state;
mod stay;
mod task;
mod tracks;
mod web;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reelay_signaling::{ErrorCode, ParticipantId, Source};

use crate::auth::{Caller, IceServers, Refusal};
use crate::config::{Limits, Watch};
use crate::media::{Command, RoomKey};
use crate::places::Places;

pub use event::{RoomEvent, What};
pub use fragment::Fragment;
pub use member::{Inbox, Outbound, SessionKey, outbound};
pub use registry::{RoomHandle, Rooms, Session};
pub use state::Snapshot;
pub use web::{SdpAnswer, WebAction, WebRequest};

/// What all rooms share.
#[derive(Clone)]
pub struct Options {
    /// How much is enough.
    pub limits: Limits,
    /// Places for media connections that are being set up, for each address.
    pub setups: Places,
    /// How long before the end of a token its holder is told.
    pub renew_warning: Duration,
    /// Who may watch.
    pub watch: Watch,
    /// False when this server never records.
    pub may_record: bool,
    /// True when people must agree before they are recorded.
    pub consent_required: bool,
    /// For clients.
    pub ice_servers: IceServers,
    /// Whether clients should send their cameras in several sizes.
    pub simulcast: bool,
    /// The program's version, for clients.
    pub version: &'static str,
}

/// The way to the media plane; gives a command back that it has no room for now.
pub type MediaLink = Arc<dyn Fn(RoomKey, Command) -> Result<(), Box<Command>> + Send + Sync>;

/// Both clocks at one instant.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For deadlines.
    pub at: Instant,
    /// For people and tokens.
    pub wall: SystemTime,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        // tokio's clock stands still in tests that say so.
        Self { at: tokio::time::Instant::now().into_std(), wall: SystemTime::now() }
    }

    /// The instant of a wall-clock time; the past is now.
    fn instant_of(&self, wall: SystemTime) -> Instant {
        self.at + wall.duration_since(self.wall).unwrap_or(Duration::ZERO)
    }
}

/// What a WHEP viewer wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Whoever publishes longest, and the next one when that ends.
    Anybody,
    /// One participant, by id.
    Participant(ParticipantId, Source),
    /// Whoever has this name.
    Named(String, Source),
}

fn refusal(code: ErrorCode, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

/// `text` as a name to show: trimmed, not empty, not too long, nothing that changes how the text around it reads.
fn display_name(text: &str, limits: &Limits) -> Result<String, Refusal> {
    let name = text.trim();
    if name.is_empty() {
        return Err(refusal(ErrorCode::BadName, "a name is needed"));
    }
    if name.chars().count() > limits.name_chars {
        let limit = limits.name_chars;
        return Err(refusal(ErrorCode::BadName, format!("a name has at most {limit} letters (limits.name_chars)")));
    }
    if name.chars().any(|c| c.is_control() || is_direction_mark(c)) {
        return Err(refusal(ErrorCode::BadName, "a name has no control characters"));
    }
    Ok(name.to_owned())
}

fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// The stable key of a person: the token's subject, else what the browser sent, else `fallback`, else a random one.
fn person_key(caller: &Caller, sent: Option<&str>, fallback: Option<&str>) -> String {
    let is_usable = |key: &&str| !key.is_empty() && key.chars().count() <= 64 && !key.chars().any(char::is_control);
    let chosen = caller.subject.as_deref().or(sent).or(fallback).filter(is_usable);
    chosen.map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned)
}

#[cfg(test)]
mod tests;
