//! Who asks: the token of the `Authorization` header as an extractor for every route.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, header};

use super::app::App;
use super::error::Problem;
use crate::auth::Caller;

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let address = address_of(app, &parts.extensions, &parts.headers);
        Ok(app.auth.caller(bearer_of(&parts.headers))?.at(address))
    }
}

/// Where a client is, by the connection or by what a trusted proxy says.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub Option<IpAddr>);

impl FromRequestParts<App> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self(address_of(app, &parts.extensions, &parts.headers)))
    }
}

/// Who is at the other end of the connection.
pub(super) fn peer_of(extensions: &Extensions) -> Option<IpAddr> {
    Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip().to_canonical())
}

/// The client's address; `None` where nobody knows it.
pub(super) fn address_of(app: &App, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let trusted = &app.config.http.trusted_proxies;
    match peer_of(extensions)? {
        peer if trusted.contains(&peer) => forwarded_for(headers, trusted),
        peer => Some(peer),
    }
}

/// The last address of `X-Forwarded-For` that is no proxy of ours: what stands before it anybody may have written.
fn forwarded_for(headers: &HeaderMap, trusted: &[IpAddr]) -> Option<IpAddr> {
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let first_foreign = hops.find(|hop| !read_address(hop).is_some_and(|ip| trusted.contains(&ip)))?;
    read_address(first_foreign)
}

fn read_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let ip = text.trim_matches(['[', ']']).parse().ok().or_else(with_port)?;
    Some(IpAddr::to_canonical(&ip))
}

/// The token of `Authorization: Bearer …`.
pub(super) fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A digest of that token, to know it again without keeping it; nothing where tokens mean nothing.
pub(super) fn digest_of(app: &App, headers: &HeaderMap) -> Option<[u8; 32]> {
    if app.auth.is_open() {
        return None;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, bearer_of(headers)?.as_bytes());
    digest.as_ref().try_into().ok()
}

/// The token of a request whose head was taken apart.
pub(super) fn bearer(parts: &Parts) -> Option<&str> {
    bearer_of(&parts.headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_foreign_hop_is_the_client() {
        let trusted: Vec<IpAddr> = ["127.0.0.1", "10.0.0.1"].map(|ip| ip.parse().unwrap()).into();
        let check = |lines: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            lines.iter().for_each(|line| _ = headers.append("x-forwarded-for", line.parse().unwrap()));
            let expected = expected.map(|ip| ip.parse().unwrap());
            assert_eq!(forwarded_for(&headers, &trusted), expected, "{lines:?}");
        };
        check(&[], None);
        check(&["203.0.113.9"], Some("203.0.113.9"));
        check(&["198.51.100.1, 203.0.113.9"], Some("203.0.113.9"));
        check(&["198.51.100.1", "203.0.113.9, 10.0.0.1"], Some("203.0.113.9"));
        check(&["203.0.113.9:4711,127.0.0.1"], Some("203.0.113.9"));
        check(&["[2001:db8::1]:80"], Some("2001:db8::1"));
        check(&["203.0.113.9, unknown"], None);
        check(&["10.0.0.1"], None);
    }
}
