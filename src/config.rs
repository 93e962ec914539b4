//! The settings: defaults, then a TOML file, then the environment, then flags. Every key is known or refused.
//! Knows how settings are read and written, not what they do.

mod keys;
mod units;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use units::{Size, Span, UnitError};

/// Everything that can be set. `reelay.example.toml` shows the defaults, with a sentence each.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Pages, API and signaling.
    pub http: Http,
    /// The media plane.
    pub media: Media,
    /// What is recorded, and where.
    pub recording: Recording,
    /// What is deleted to make room.
    pub retention: Retention,
    /// Who is told what became of recordings.
    pub webhooks: Webhooks,
    /// Defaults of a room.
    pub room: Room,
    /// The index of the recordings.
    pub catalog: Catalog,
    /// Who may do what.
    pub auth: Auth,
    /// How much is enough.
    pub limits: Limits,
    /// What is logged.
    pub log: Log,
}

/// Pages, API and signaling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    /// Address and port of pages, API and signaling. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Origins that may use the API from a browser beside the server's own: `https://meet.example.org`.
    pub origins: Vec<String>,
    /// Addresses of reverse proxies whose `X-Forwarded-For`, `-Host` and `-Proto` headers are believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// URL under which people reach this server, for links; empty: as it listens.
    #[serde(with = "optional")]
    pub public_url: Option<String>,
    /// Serve the pages from this folder instead of the built-in ones.
    #[serde(with = "optional")]
    pub web_dir: Option<PathBuf>,
    /// Certificate chain (PEM) for TLS; needs `tls_key`. Read again on SIGHUP.
    #[serde(with = "optional")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) for TLS.
    #[serde(with = "optional")]
    pub tls_key: Option<PathBuf>,
    /// Where `--lan` keeps its keys and certificates.
    pub lan_dir: PathBuf,
}

/// The media plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Media {
    /// UDP port; shard number n uses this plus n. Port 0 takes free ones.
    pub udp_port: u16,
    /// Media threads, one socket each. One carries about 2,000 viewers.
    pub shards: usize,
    /// Addresses to offer to browsers. Empty: every usable address of the machine, loopback included.
    pub addresses: Vec<IpAddr>,
    /// Public address of a 1:1 NAT in front of this machine, offered first.
    #[serde(with = "optional")]
    pub external_ip: Option<IpAddr>,
    /// STUN and TURN servers that clients are told about.
    pub ice_servers: Vec<String>,
    /// The user name for the TURN servers among them.
    pub turn_username: String,
    /// And the password.
    pub turn_credential: String,
    /// Instead of both: the secret shared with the TURN servers (`use-auth-secret` of coturn), for credentials that end.
    pub turn_secret: String,
    /// How long those are good.
    pub turn_lifetime: Span,
    /// Whether pages send their cameras in three sizes at once. Only the largest that comes is forwarded and recorded.
    pub simulcast: bool,
}

/// What is recorded, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recording {
    /// The folder of the recordings.
    pub dir: PathBuf,
    /// `auto`: from the first track on. `manual`: when somebody starts it. `off`: never.
    pub start: RecordingStart,
    /// `av`: sound and picture. `audio`: sound only.
    pub tracks: RecordingTracks,
    /// `notice`: people are told. `required`: nobody is recorded before they agreed. `auto`: `required` when the
    /// server can be reached from other machines, `notice` on this machine only.
    pub consent: RecordingConsent,
    /// How long an empty room keeps its recording open.
    pub linger: Span,
    /// Keep all that the recorder receives in this folder, for `reelay replay-capture`; empty: nothing is kept.
    #[serde(with = "optional")]
    pub capture_dir: Option<PathBuf>,
    /// How much all captures may take together; the oldest make room.
    pub capture_size: Size,
}

/// What is deleted to make room; nothing by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// Recordings that ended longer ago go. Zero: age deletes nothing.
    pub max_age: Span,
    /// When all recordings together have more, the oldest go. Zero: size deletes nothing.
    pub max_total: Size,
    /// When the disk has less free, the oldest go. Zero: a full disk deletes nothing.
    pub min_free: Size,
    /// How often that is looked at.
    pub every: Span,
}

/// Who is told what became of recordings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Webhooks {
    /// Where it is posted.
    pub urls: Vec<String>,
    /// The secret that signs it, at least 32 characters.
    pub secret: String,
}

/// Defaults of a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Room {
    /// Watching without joining. `off`: nobody. `link`: who has a token that allows it (on open loopback: anybody
    /// with the link). `open`: anybody.
    pub watch: Watch,
}

/// The index of the recordings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Catalog {
    /// Where the index lives; empty: `catalog.db` in the recordings folder.
    #[serde(with = "optional")]
    pub url: Option<String>,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// The secret that signs tokens, at least 32 characters. Empty: open, possible on loopback only.
    pub key: String,
    /// The longest life of a token.
    pub max_lifetime: Span,
    /// How long before the end of a token its holder is told.
    pub renew_warning: Span,
    /// How long a signed media URL works.
    pub media_url_lifetime: Span,
    /// How long a link to a shared span works.
    pub share_lifetime: Span,
}

/// How much is enough. Each refusal names the setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Rooms at the same time.
    pub rooms: usize,
    /// People in one room.
    pub participants_per_room: usize,
    /// Watchers of one room, WHEP included.
    pub watchers_per_room: usize,
    /// Recordings that are played by WHEP at the same time.
    pub playbacks: usize,
    /// Signaling sockets at the same time.
    pub sockets: usize,
    /// Signaling sockets of one address.
    pub sockets_per_address: usize,
    /// HTTP connections at the same time, sockets included.
    pub connections: usize,
    /// HTTP connections of one address; behind a trusted proxy, requests of one client that are being answered.
    pub connections_per_address: usize,
    /// New rooms that one address may open in a minute.
    pub new_rooms_per_minute: u32,
    /// Media connections of one media thread that are being set up.
    pub half_open_peers: usize,
    /// Media connections of one address that are being set up.
    pub half_open_per_address: usize,
    /// How long a media connection may take until its first check works.
    pub connect_timeout: Span,
    /// How long a WHIP publisher may send nothing.
    pub whip_idle_timeout: Span,
    /// How long a request may take to be asked.
    pub header_timeout: Span,
    /// Bytes a second that a request's body comes with at least.
    pub body_rate: Size,
    /// One signaling message.
    pub message_bytes: Size,
    /// Signaling messages of one client per second, on average.
    pub messages_per_second: u32,
    /// Signaling messages of one client in a row.
    pub message_burst: u32,
    /// Messages that wait for a slow client before it is dropped.
    pub send_queue: usize,
    /// One SDP.
    pub sdp_bytes: Size,
    /// Any other HTTP body.
    pub body_bytes: Size,
    /// Letters of a display name.
    pub name_chars: usize,
    /// Letters of a line of chat.
    pub chat_chars: usize,
    /// How long a new socket may take to say who it is.
    pub join_timeout: Span,
    /// How long a lost socket may take to come back.
    pub resume_timeout: Span,
    /// How often a socket is asked whether it lives.
    pub ping_interval: Span,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// Levels, as in `info` or `warn,reelay=debug`.
    pub filter: String,
    /// `text` for people, `json` for machines.
    pub format: LogFormat,
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }
    };
}

choice! {
    /// When a recording begins.
    RecordingStart {
        /// With the first published track.
        Auto,
        /// When somebody starts it.
        Manual,
        /// Never.
        Off,
    }
}
choice! {
    /// What is kept.
    RecordingTracks {
        /// Sound and picture.
        Av,
        /// Sound only.
        Audio,
    }
}
choice! {
    /// Whether people must agree before they are recorded.
    RecordingConsent {
        /// As the listener demands.
        Auto,
        /// They are told.
        Notice,
        /// They must agree.
        Required,
    }
}
choice! {
    /// Who may watch without joining.
    Watch {
        /// Nobody.
        Off,
        /// Who has the link and, with a key, its token.
        Link,
        /// Anybody.
        Open,
    }
}
choice! {
    /// How a log line looks.
    LogFormat {
        /// For people.
        Text,
        /// For machines.
        Json,
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            public_url: None,
            web_dir: None,
            tls_cert: None,
            tls_key: None,
            lan_dir: "data/lan".into(),
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            udp_port: 7342,
            shards: 1,
            addresses: Vec::new(),
            external_ip: None,
            ice_servers: Vec::new(),
            turn_username: String::new(),
            turn_credential: String::new(),
            turn_secret: String::new(),
            turn_lifetime: Span::from_secs(12 * 3600),
            simulcast: false,
        }
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            dir: "recordings".into(),
            start: RecordingStart::Auto,
            tracks: RecordingTracks::Av,
            consent: RecordingConsent::Auto,
            linger: Span::from_secs(60),
            capture_dir: None,
            capture_size: Size(1 << 30),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_age: Span::from_secs(0), max_total: Size(0), min_free: Size(0), every: Span::from_secs(600) }
    }
}

impl Default for Room {
    fn default() -> Self {
        Self { watch: Watch::Link }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            key: String::new(),
            max_lifetime: Span::from_secs(24 * 3600),
            renew_warning: Span::from_secs(60),
            media_url_lifetime: Span::from_secs(2 * 3600),
            share_lifetime: Span::from_secs(30 * 24 * 3600),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms: 100,
            participants_per_room: 25,
            watchers_per_room: 500,
            playbacks: 50,
            sockets: 4_000,
            sockets_per_address: 128,
            connections: 10_000,
            connections_per_address: 512,
            new_rooms_per_minute: 30,
            half_open_peers: 200,
            half_open_per_address: 32,
            connect_timeout: Span::from_secs(15),
            whip_idle_timeout: Span::from_secs(60),
            header_timeout: Span::from_secs(10),
            body_rate: Size(1024),
            message_bytes: Size(256 * 1024),
            messages_per_second: 50,
            message_burst: 200,
            send_queue: 256,
            sdp_bytes: Size(128 * 1024),
            body_bytes: Size(64 * 1024),
            name_chars: 64,
            chat_chars: 2_000,
            join_timeout: Span::from_secs(5),
            resume_timeout: Span::from_secs(30),
            ping_interval: Span::from_secs(3),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

/// Why the settings cannot be used; the text names the key and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file named by `--config` is not there.
    #[error("there is no settings file '{0}'")]
    NoFile(PathBuf),
    /// A key that nobody reads.
    #[error("{place}: unknown setting '{key}'{hint}")]
    UnknownKey {
        /// The key, with its section.
        key: String,
        /// Where it was found.
        place: String,
        /// `; did you mean '…'?`
        hint: String,
    },
    /// A value that does not fit.
    #[error("{0}")]
    Invalid(String),
}

impl Config {
    /// Reads the settings: defaults, `file` (or `reelay.toml` if there is one), `env`, then `flags` (`section.key`, value).
    ///
    /// # Errors
    /// [`ConfigError`] when a key is unknown or a value does not fit.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        let path = file.unwrap_or_else(|| Path::new(DEFAULT_FILE));
        if path.exists() {
            let toml = Figment::from(Toml::file(path));
            keys::refuse_unknown(&toml, &path.display().to_string())?;
            figment = figment.merge(toml);
        } else if file.is_some() {
            return Err(ConfigError::NoFile(path.to_owned()));
        }
        let env = keys::from_env(env)?;
        figment = figment.merge(env);
        for (key, value) in flags {
            figment = figment.merge(keys::one(key, value));
        }
        let config: Self = figment.extract().map_err(keys::explain)?;
        config.check()?;
        Ok(config)
    }

    /// True when only this machine can reach pages and API, as far as the settings say.
    pub fn is_loopback(&self) -> bool {
        let is_behind_proxy = self.http.public_url.is_some() || !self.http.trusted_proxies.is_empty();
        self.http.listen.ip().to_canonical().is_loopback() && !is_behind_proxy
    }

    /// Whether people must agree before they are recorded.
    pub fn consent_required(&self) -> bool {
        match self.recording.consent {
            RecordingConsent::Required => true,
            RecordingConsent::Notice => false,
            RecordingConsent::Auto => !self.is_loopback(),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let fail = |text: &str| Err(ConfigError::Invalid(text.to_owned()));
        if !self.auth.key.is_empty() && self.auth.key.chars().count() < MIN_KEY_CHARS {
            return fail("auth.key has fewer than 32 characters; `reelay serve --init` writes a good one");
        }
        if self.http.tls_cert.is_some() != self.http.tls_key.is_some() {
            return fail("http.tls_cert and http.tls_key belong together; one of them is missing");
        }
        if let Some(url) = &self.http.public_url
            && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        {
            return fail("http.public_url begins with http:// or https://");
        }
        let is_known = |url: &String| ["stun:", "stuns:", "turn:", "turns:"].iter().any(|kind| url.starts_with(kind));
        if !self.media.ice_servers.iter().all(is_known) {
            return fail("media.ice_servers are URLs that begin with stun:, stuns:, turn: or turns:");
        }
        let has_fixed = !self.media.turn_username.is_empty() && !self.media.turn_credential.is_empty();
        let has_turn = self.media.ice_servers.iter().any(|url| crate::auth::is_turn(url));
        if has_turn && !has_fixed && self.media.turn_secret.is_empty() {
            return fail(
                "media.ice_servers has a TURN server, so media.turn_secret is needed, or media.turn_username and media.turn_credential",
            );
        }
        let is_http = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if !self.webhooks.urls.iter().all(is_http) {
            return fail("webhooks.urls begin with http:// or https://");
        }
        if !self.webhooks.urls.is_empty() && self.webhooks.secret.chars().count() < MIN_KEY_CHARS {
            return fail("webhooks.secret has to have at least 32 characters");
        }
        if self.media.shards == 0 || self.media.shards > 64 {
            return fail("media.shards must be between 1 and 64");
        }
        if self.limits.messages_per_second == 0 || self.limits.message_burst == 0 || self.limits.send_queue < 16 {
            return fail(
                "limits.messages_per_second and limits.message_burst are at least 1, limits.send_queue at least 16",
            );
        }
        if self.limits.body_rate.0 == 0 || self.limits.header_timeout.0 < Duration::from_millis(100) {
            return fail("limits.body_rate is at least 1B, limits.header_timeout at least 100ms");
        }
        if self.limits.ping_interval.0 < Duration::from_millis(100) {
            return fail("limits.ping_interval is at least 100ms");
        }
        Ok(())
    }
}

/// The settings file that is read when none is named.
pub const DEFAULT_FILE: &str = "reelay.toml";
const MIN_KEY_CHARS: usize = 32;

/// An empty text in TOML means "not set".
mod optional {
    use super::*;

    pub(super) fn serialize<T: Serialize, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, T, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let raw = String::deserialize(deserializer)?;
        if raw.is_empty() { Ok(None) } else { raw.parse().map(Some).map_err(serde::de::Error::custom) }
    }
}

#[cfg(test)]
mod tests;
