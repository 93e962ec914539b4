//! Signed media URLs: what `<video>`, `<img>`, downloads and EventSource load, which cannot send a header.
//! A signature covers the path and its end, so that it opens one file for a while and nothing else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reelay_signaling::ErrorCode;
use ring::hmac;
use serde::Deserialize;

use super::{Auth, Refusal};

/// The part of a query that carries a signature.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SignedQuery {
    /// Seconds since 1970: works until then.
    pub exp: Option<u64>,
    /// HMAC of path and `exp`.
    pub sig: Option<String>,
}

impl Auth {
    /// `path` with a signature that holds for the set time from `now`; unchanged on an open server.
    /// `path` is without query; what the caller appends is not covered.
    pub fn sign_url(&self, path: &str, now: SystemTime) -> String {
        self.sign(path, now, self.media_url_lifetime).map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    }

    /// How long a signed media URL works.
    pub fn media_url_lifetime(&self) -> Duration {
        self.media_url_lifetime
    }

    /// The query with a signature over `text` for so long; `None` on an open server.
    pub fn sign(&self, text: &str, now: SystemTime, lifetime: Duration) -> Option<String> {
        let key = self.key.as_ref()?;
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default() + lifetime;
        // Rounded up to a minute: the same file keeps its URL, and a browser its cache, for that long.
        let exp = (seconds.as_secs() / ROUND_SECONDS + 1) * ROUND_SECONDS;
        let sig = URL_SAFE_NO_PAD.encode(hmac::sign(&key.media, &covered(text, exp)));
        Some(format!("exp={exp}&sig={sig}"))
    }

    /// Whether the request carries a valid signature for `path`. `Ok(false)`: it carries none, ask for a token.
    ///
    /// # Errors
    /// `token-expired` or `unauthorized` when a signature is there and not good.
    pub fn check_url(&self, path: &str, query: &SignedQuery, now: SystemTime) -> Result<bool, Refusal> {
        let Some(key) = &self.key else {
            return Ok(true);
        };
        let (Some(exp), Some(sig)) = (query.exp, &query.sig) else {
            return Ok(false);
        };
        let bad = || Refusal::new(ErrorCode::Unauthorized, "the link is not valid");
        let sig = URL_SAFE_NO_PAD.decode(sig).map_err(|_| bad())?;
        hmac::verify(&key.media, &covered(path, exp), &sig).map_err(|_| bad())?;
        if now.duration_since(UNIX_EPOCH).unwrap_or_default() > Duration::from_secs(exp) {
            return Err(Refusal::new(ErrorCode::TokenExpired, "the link is over; load the page again"));
        }
        Ok(true)
    }
}

/// The key for media URLs, so that a signature of one kind is never taken for the other.
pub(super) fn derive(key: &str) -> hmac::Key {
    let token_key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&token_key, b"reelay media url 1").as_ref())
}

fn covered(path: &str, exp: u64) -> Vec<u8> {
    format!("{exp} {path}").into_bytes()
}

const ROUND_SECONDS: u64 = 60;
