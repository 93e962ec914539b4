//! Who may do what: tokens, grants, and signed media URLs. One rule for every door, denied by default.
//! Knows neither HTTP nor sockets; the doors hand in texts and get a [`Caller`] or a [`Refusal`].

mod jwt;
mod link;
mod signed;
mod turn;

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reelay_signaling::{ErrorCode, Grants, RoomName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use jwt::install_crypto;
pub use link::link;
pub use signed::SignedQuery;
pub use turn::{IceServers, is_turn, links};

/// The rights of this server: open on a loopback address, or guarded by a key.
#[derive(Clone)]
pub struct Auth {
    key: Option<Key>,
    max_lifetime: Duration,
    media_url_lifetime: Duration,
}

#[derive(Clone)]
struct Key {
    token: String,
    media: ring::hmac::Key,
}

/// One right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// Join a room.
    Join,
    /// Publish media.
    Publish,
    /// Receive media.
    Subscribe,
    /// Watch without joining.
    Watch,
    /// Start, stop, pause and resume a recording.
    Record,
    /// Replay recordings.
    Replay,
    /// Download recordings.
    Download,
    /// Delete recordings.
    Delete,
    /// Mute, remove, end the call for all.
    Moderate,
    /// Everything, in every room.
    Admin,
}

/// The rooms that a token speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scope {
    /// None: only an `admin` grant helps.
    #[default]
    None,
    /// One room.
    Room(RoomName),
    /// Every room, written `*`.
    Every,
}

/// Who asks, and what the token allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    /// What is allowed, in the rooms of `scope`.
    pub grants: Grants,
    /// Where.
    pub scope: Scope,
    /// The token's `sub`: the person, stable over tokens.
    pub subject: Option<String>,
    /// The token's `name`: the name to show, which the client cannot change.
    pub name: Option<String>,
    /// When the token ends; acts on live sessions too.
    pub expires: Option<SystemTime>,
    /// The token says that this person agreed to be recorded (for publishers without a page).
    pub consent: bool,
    /// No key is set: this machine only, everybody may do everything.
    pub open: bool,
    /// Where they are, if the door has told.
    pub address: Option<IpAddr>,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// The person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sub: Option<String>,
    /// The name to show.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// A room, or `*`.
    #[serde(skip_serializing_if = "Scope::is_none", default)]
    pub room: Scope,
    /// What is allowed there; what is not written is denied.
    #[serde(default, serialize_with = "only_given")]
    pub grants: Grants,
    /// The person agreed to be recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub consent: bool,
    /// Seconds since 1970: not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Seconds since 1970: made at.
    #[serde(default)]
    pub iat: u64,
    /// Seconds since 1970: ends at.
    pub exp: u64,
    /// Always [`AUDIENCE`].
    pub aud: String,
}

/// Why a caller may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// `unauthorized`, `token-expired` or `forbidden`.
    pub code: ErrorCode,
    /// One sentence.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Auth {
    /// Open when `key` is empty.
    pub fn new(key: &str, max_lifetime: Duration, media_url_lifetime: Duration) -> Self {
        jwt::install_crypto();
        let key = (!key.is_empty()).then(|| Key { token: key.to_owned(), media: signed::derive(key) });
        Self { key, max_lifetime, media_url_lifetime }
    }

    /// True when no key is set.
    pub fn is_open(&self) -> bool {
        self.key.is_none()
    }

    /// The caller behind a token, or behind none.
    ///
    /// # Errors
    /// `unauthorized` without a token or with a bad one, `token-expired` when it is over.
    pub fn caller(&self, token: Option<&str>) -> Result<Caller, Refusal> {
        let Some(key) = &self.key else {
            return Ok(Caller::open());
        };
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Err(Refusal::new(ErrorCode::Unauthorized, "this server wants a token"));
        };
        jwt::read(token, &key.token, self.max_lifetime).map(Caller::from)
    }

    /// Makes a token; `claims.exp` may be at most the longest life away.
    ///
    /// # Errors
    /// A sentence when no key is set or the life is too long.
    pub fn token(&self, claims: &Claims) -> Result<String, Refusal> {
        let Some(key) = &self.key else {
            return Err(Refusal::new(ErrorCode::BadRequest, "no auth.key is set, so tokens mean nothing here"));
        };
        jwt::write(claims, &key.token, self.max_lifetime)
    }

    /// The longest life of a token.
    pub fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }
}

impl Caller {
    /// Everybody on an open loopback server.
    pub fn open() -> Self {
        Self {
            grants: all_grants(),
            scope: Scope::Every,
            subject: None,
            name: None,
            expires: None,
            consent: true,
            open: true,
            address: None,
        }
    }

    /// Somebody without a token, where none is needed.
    pub fn nobody() -> Self {
        Self { grants: Grants::default(), scope: Scope::None, consent: false, open: false, ..Self::open() }
    }

    /// The same caller, at this address.
    pub fn at(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }

    /// Whether `grant` is given, in `room` if one is meant; without a room it must hold for every room.
    ///
    /// # Errors
    /// `forbidden`, naming the grant.
    pub fn require(&self, grant: Grant, room: Option<&RoomName>) -> Result<(), Refusal> {
        if self.allows(grant, room) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::Forbidden, format!("the token does not allow '{}' here", grant.as_str())))
    }

    /// The same as a yes or no, for lists that show only what may be seen.
    pub fn allows(&self, grant: Grant, room: Option<&RoomName>) -> bool {
        if self.grants.admin {
            return true;
        }
        let in_scope = match (&self.scope, room) {
            (Scope::Every, _) => true,
            (Scope::Room(mine), Some(room)) => mine == room,
            _ => false,
        };
        in_scope && grant.of(&self.grants)
    }

    /// What this caller may do in `room`, as told to the client.
    pub fn grants_in(&self, room: &RoomName) -> Grants {
        if self.grants.admin {
            return all_grants();
        }
        if self.allows_room(room) { self.grants } else { Grants::default() }
    }

    /// The one room that the token speaks of, if it is one.
    pub fn only_room(&self) -> Option<&RoomName> {
        match &self.scope {
            Scope::Room(room) if !self.grants.admin => Some(room),
            _ => None,
        }
    }

    fn allows_room(&self, room: &RoomName) -> bool {
        match &self.scope {
            Scope::Every => true,
            Scope::Room(mine) => mine == room,
            Scope::None => false,
        }
    }
}

impl From<Claims> for Caller {
    fn from(claims: Claims) -> Self {
        Self {
            grants: claims.grants,
            scope: claims.room,
            subject: claims.sub,
            name: claims.name,
            expires: UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp)),
            consent: claims.consent,
            open: false,
            address: None,
        }
    }
}

impl Grant {
    /// Every right there is.
    pub const ALL: [Self; 10] = [
        Self::Join,
        Self::Publish,
        Self::Subscribe,
        Self::Watch,
        Self::Record,
        Self::Replay,
        Self::Download,
        Self::Delete,
        Self::Moderate,
        Self::Admin,
    ];

    /// As written in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Watch => "watch",
            Self::Record => "record",
            Self::Replay => "replay",
            Self::Download => "download",
            Self::Delete => "delete",
            Self::Moderate => "moderate",
            Self::Admin => "admin",
        }
    }

    /// Switches this right on.
    pub fn add_to(self, grants: &mut Grants) {
        *self.field(grants) = true;
    }

    fn of(self, grants: &Grants) -> bool {
        let mut copy = *grants;
        *self.field(&mut copy)
    }

    fn field(self, grants: &mut Grants) -> &mut bool {
        match self {
            Self::Join => &mut grants.join,
            Self::Publish => &mut grants.publish,
            Self::Subscribe => &mut grants.subscribe,
            Self::Watch => &mut grants.watch,
            Self::Record => &mut grants.record,
            Self::Replay => &mut grants.replay,
            Self::Download => &mut grants.download,
            Self::Delete => &mut grants.delete,
            Self::Moderate => &mut grants.moderate,
            Self::Admin => &mut grants.admin,
        }
    }
}

impl std::str::FromStr for Grant {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|grant| grant.as_str() == raw);
        known.ok_or_else(|| format!("'{raw}' is none of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

// A short token makes a QR code that a phone can read from a distance.
fn only_given<S: Serializer>(grants: &Grants, serializer: S) -> Result<S::Ok, S::Error> {
    let given = Grant::ALL.into_iter().filter(|grant| grant.of(grants));
    serializer.collect_map(given.map(|grant| (grant.as_str(), true)))
}

/// Every right.
pub fn all_grants() -> Grants {
    let mut grants = Grants::default();
    Grant::ALL.into_iter().for_each(|grant| grant.add_to(&mut grants));
    grants
}

impl Scope {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str(""),
            Self::Every => serializer.serialize_str("*"),
            Self::Room(room) => serializer.serialize_str(room.as_str()),
        }
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "" => Ok(Self::None),
            "*" => Ok(Self::Every),
            room => room.parse().map(Self::Room).map_err(serde::de::Error::custom),
        }
    }
}

/// A new secret for `auth.key`: 256 random bits.
pub fn new_key() -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// The `aud` of our tokens.
pub const AUDIENCE: &str = "reelay";

#[cfg(test)]
mod tests;
