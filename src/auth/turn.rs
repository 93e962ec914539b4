//! Which STUN and TURN servers a client is told about, and with which credentials: fixed ones, or ones that end, made
//! from a secret shared with the TURN server (`use-auth-secret` of coturn).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reelay_signaling::IceServer;
use ring::hmac;

use crate::config::Media;

/// See the module.
#[derive(Clone, Default)]
pub struct IceServers {
    stun: Vec<String>,
    turn: Vec<String>,
    access: Access,
}

#[derive(Clone, Default)]
enum Access {
    #[default]
    None,
    Fixed(String, String),
    Ending(hmac::Key, Duration),
}

impl IceServers {
    /// What the settings say.
    pub fn new(media: &Media) -> Self {
        let (turn, stun) = media.ice_servers.iter().cloned().partition(|url| is_turn(url));
        let access = if !media.turn_secret.is_empty() {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, media.turn_secret.as_bytes());
            Access::Ending(key, media.turn_lifetime.0)
        } else if !media.turn_username.is_empty() {
            Access::Fixed(media.turn_username.clone(), media.turn_credential.clone())
        } else {
            Access::None
        };
        Self { stun, turn, access }
    }

    /// What `who` is told at `now`.
    pub fn for_client(&self, now: SystemTime, who: &str) -> Vec<IceServer> {
        let mut servers = Vec::new();
        if !self.stun.is_empty() {
            servers.push(IceServer { urls: self.stun.clone(), username: None, credential: None });
        }
        if !self.turn.is_empty() {
            let (username, credential) = self.credentials(now, who);
            servers.push(IceServer { urls: self.turn.clone(), username, credential });
        }
        servers
    }

    fn credentials(&self, now: SystemTime, who: &str) -> (Option<String>, Option<String>) {
        match &self.access {
            Access::None => (None, None),
            Access::Fixed(username, credential) => (Some(username.clone()), Some(credential.clone())),
            Access::Ending(key, lifetime) => {
                let end = (now + *lifetime).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let username = format!("{end}:{who}");
                let credential = STANDARD.encode(hmac::sign(key, username.as_bytes()));
                (Some(username), Some(credential))
            }
        }
    }
}

/// A server in a log shows no credentials.
impl fmt::Debug for IceServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServers").field("stun", &self.stun).field("turn", &self.turn).finish_non_exhaustive()
    }
}

/// Whether a URL needs credentials.
pub fn is_turn(url: &str) -> bool {
    url.starts_with("turn:") || url.starts_with("turns:")
}

/// One `Link` header value for each URL (RFC 9725 §4.6).
pub fn links(servers: &[IceServer]) -> Vec<String> {
    let mut links = Vec::new();
    for server in servers {
        for url in &server.urls {
            let mut link = format!("<{url}>; rel=\"ice-server\"");
            if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
                let (username, credential) = (quoted(username), quoted(credential));
                link += &format!("; username={username}; credential={credential}; credential-type=\"password\"");
            }
            links.push(link);
        }
    }
    links
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    const URLS: [&str; 3] = ["stun:a.example:3478", "turn:b.example?transport=udp", "turns:b.example"];

    fn media(change: impl FnOnce(&mut Media)) -> Media {
        let mut media = Media { ice_servers: URLS.map(str::to_owned).into(), ..Media::default() };
        change(&mut media);
        media
    }

    #[test]
    fn fixed_credentials_go_with_turn_and_not_with_stun() {
        let set = |media: &mut Media| (media.turn_username, media.turn_credential) = ("me".into(), "a\"b\\c".into());
        let servers = IceServers::new(&media(set)).for_client(UNIX_EPOCH, "p1");
        assert_eq!((&servers[0].urls[..], &servers[0].username), (&[URLS[0].to_owned()][..], &None));
        assert_eq!((servers[1].urls.len(), servers[1].username.as_deref()), (2, Some("me")));
        let links = links(&servers);
        assert_eq!(links[0], "<stun:a.example:3478>; rel=\"ice-server\"");
        assert_eq!(
            links[1],
            "<turn:b.example?transport=udp>; rel=\"ice-server\"; username=\"me\"; credential=\"a\\\"b\\\\c\"; credential-type=\"password\""
        );
        assert!(IceServers::default().for_client(UNIX_EPOCH, "p1").is_empty());
    }

    #[test]
    fn ending_credentials_are_those_that_coturn_makes() {
        let set = |media: &mut Media| (media.turn_secret, media.turn_lifetime) = ("north".into(), Span::from_secs(600));
        let now = UNIX_EPOCH + Duration::from_secs(1_433_895_918 - 600);
        let servers = IceServers::new(&media(set)).for_client(now, "ana");
        assert_eq!(servers[1].username.as_deref(), Some("1433895918:ana"));
        // printf 1433895918:ana | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(servers[1].credential.as_deref(), Some("UEvMTxR/7RpRQbjI1FG7VnVqzWs="));
        assert!(!format!("{:?}", IceServers::new(&media(set))).contains("north"));
    }
}
