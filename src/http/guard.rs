//! What holds for every request: who may call from where, and the headers that keep a browser careful.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use reelay_signaling::ErrorCode;

use super::app::App;
use super::caller::{address_of, peer_of};
use super::error::Problem;
use crate::places::Place;

/// Whom a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Our own pages, and origins that the settings name.
    Ours,
    /// Every page, without credentials of the browser: WHIP, WHEP and signed URLs.
    Everybody,
    /// Pages and their parts.
    Page,
}

/// Checks `Host` and `Origin`, answers preflights, and adds the headers.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let reach = reach_of(request.uri(), app.auth.is_open());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match check(&app, &request, reach).and_then(|()| place_of(&app, &request)) {
        Ok(_) if is_preflight(&request) && reach != Reach::Page => preflight(request.uri().path()),
        Ok(place) => next.run(request).await.map(|body| Body::new(Held { body, _place: place })),
        Err(problem) => problem.into_response(),
    };
    let is_refused = response.status() == StatusCode::FORBIDDEN && reach == Reach::Ours;
    let headers = response.headers_mut();
    set(headers, "x-content-type-options", "nosniff");
    set(headers, "referrer-policy", "no-referrer");
    match (reach, origin) {
        (Reach::Everybody, _) => allow(headers, HeaderValue::from_static("*")),
        (Reach::Ours, Some(origin)) if !is_refused => {
            allow(headers, origin);
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        (Reach::Page, _) => {
            set(headers, "content-security-policy", CONTENT_POLICY);
            set(headers, "permissions-policy", PERMISSIONS);
            set(headers, "cross-origin-opener-policy", "same-origin");
        }
        _ => {}
    }
    response
}

fn check(app: &App, request: &Request, reach: Reach) -> Result<(), Problem> {
    let host = host_of(app, request);
    if app.auth.is_open() && !host.as_deref().is_some_and(is_local) {
        let text = "without a key this server answers only to localhost or an IP address";
        return Err(Problem::new(ErrorCode::OriginRefused, text));
    }
    if app.auth.is_open() && FORWARDED.iter().any(|name| request.headers().contains_key(*name)) {
        let text = "without a key this server serves this computer only, and this request came through a proxy";
        return Err(Problem::new(ErrorCode::OriginRefused, text));
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    if reach != Reach::Ours {
        return Ok(());
    }
    let origin = origin.to_str().unwrap_or_default();
    let is_same = host.as_deref().is_some_and(|host| is_origin_of(origin, host));
    let is_same = is_same && scheme_of(app, request).is_none_or(|scheme| origin.starts_with(&format!("{scheme}://")));
    if is_same || app.config.http.origins.iter().any(|allowed| allowed.trim_end_matches('/') == origin) {
        return Ok(());
    }
    Err(Problem::new(ErrorCode::OriginRefused, "pages of this origin may not use this server (http.origins)"))
}

/// Clients of a trusted proxy share its connections, so it is their requests that are counted.
fn place_of(app: &App, request: &Request) -> Result<Option<Place>, Problem> {
    if !is_proxied(app, request) {
        return Ok(None);
    }
    let address = address_of(app, request.extensions(), request.headers());
    app.connections.take(address).map(Some).ok_or_else(|| {
        let limit = app.connections.limit();
        let text = format!("{limit} requests of this address are being answered (limits.connections_per_address)");
        Problem::new(ErrorCode::LimitReached, text)
    })
}

/// An answer that keeps its place until it is read.
struct Held {
    body: Body,
    _place: Option<Place>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The host and port by which the client knows this server.
fn host_of(app: &App, request: &Request) -> Option<String> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let forwarded = text(HeaderName::from_static("x-forwarded-host")).filter(|_| is_proxied(app, request));
    let host = forwarded.or_else(|| text(header::HOST)).or_else(|| request.uri().authority().map(|a| a.as_str()))?;
    Some(host.trim().to_ascii_lowercase())
}

/// The scheme that the client of a trusted proxy used, if the proxy tells.
fn scheme_of<'a>(app: &App, request: &'a Request) -> Option<&'a str> {
    let scheme = request.headers().get("x-forwarded-proto").filter(|_| is_proxied(app, request))?;
    Some(scheme.to_str().ok()?.split(',').next_back()?.trim())
}

fn is_proxied(app: &App, request: &Request) -> bool {
    peer_of(request.extensions()).is_some_and(|peer| app.config.http.trusted_proxies.contains(&peer))
}

/// `localhost` or an address: names that no foreign DNS server can point here.
fn is_local(host: &str) -> bool {
    let name = without_port(host);
    name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// `https://host:port` is the origin of `host:port`; default ports are not written.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let rest = rest.to_ascii_lowercase();
    rest.trim_end_matches(default_port) == host.trim_end_matches(default_port)
}

fn reach_of(uri: &Uri, is_open: bool) -> Reach {
    let path = uri.path();
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    let is_signed = uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("sig=")));
    // Where nothing has to be signed, a signature proves nothing either.
    let is_media = is_signed && !is_open && begins(&["/api/recordings/"]) && path.split('/').count() == MEDIA_PARTS;
    let is_playback = !is_open && is_playback(path);
    if begins(&["/whip/", "/whep/", "/sessions/"]) || is_media || is_playback {
        Reach::Everybody
    } else if begins(&["/api/", "/signal", "/ingest", "/audio/", "/metrics"]) {
        Reach::Ours
    } else {
        Reach::Page
    }
}

/// `/api/recordings/{id}/whep`
fn is_playback(path: &str) -> bool {
    path.starts_with("/api/recordings/") && path.ends_with("/whep") && path.split('/').count() == PLAYBACK_PARTS
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
}

fn preflight(path: &str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    set(headers, "access-control-allow-methods", "GET, HEAD, POST, PATCH, DELETE, OPTIONS");
    set(headers, "access-control-allow-headers", "authorization, content-type, if-match, if-range, range");
    set(headers, "access-control-max-age", "86400");
    if path.starts_with("/whip/") || path.starts_with("/whep/") || is_playback(path) {
        set(headers, "accept-post", "application/sdp");
    }
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    set(headers, "access-control-expose-headers", EXPOSED);
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

// `/api/recordings/{id}/{door}/{file}`, and the empty part before the first slash.
const MEDIA_PARTS: usize = 6;
const PLAYBACK_PARTS: usize = 5;
// What reverse proxies add: their clients are not on this computer.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];
const EXPOSED: &str = "location, etag, link, accept-patch, accept-ranges, content-range, content-length, content-disposition, retry-after";
const CONTENT_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";
const PERMISSIONS: &str = "camera=(self), microphone=(self), display-capture=(self), geolocation=()";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_addresses_are_local() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]", "192.0.2.7"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["", "example.org", "localhost.example.org", "127.0.0.1.example.org:80", "evil"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn origin_is_ours_when_host_and_port_are() {
        for (origin, host) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("https://meet.example", "meet.example"),
            ("https://meet.example", "meet.example:443"),
            ("http://meet.example:80", "meet.example"),
        ] {
            assert!(is_origin_of(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8080"),
            ("https://meet.example.evil", "meet.example"),
            ("null", "meet.example"),
            ("", ""),
        ] {
            assert!(!is_origin_of(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn paths_are_for_whom_they_should_be() {
        let reach = |path: &str| reach_of(&path.parse().unwrap(), false);
        let signed = "/api/recordings/1/files/a.webm?sig=x".parse().unwrap();
        assert_eq!(reach_of(&signed, true), Reach::Ours);
        assert_eq!(reach("/api/recordings/1?sig=x"), Reach::Ours);
        assert_eq!(reach("/whip/team/obs"), Reach::Everybody);
        assert_eq!(reach("/api/recordings/1/files/a.webm?exp=1&sig=x"), Reach::Everybody);
        assert_eq!(reach("/api/recordings/1/files/a.webm"), Reach::Ours);
        assert_eq!(reach("/api/rooms?sig=x"), Reach::Ours);
        assert_eq!(reach("/signal"), Reach::Ours);
        let playback = "/api/recordings/1/whep".parse().unwrap();
        assert_eq!((reach_of(&playback, false), reach_of(&playback, true)), (Reach::Everybody, Reach::Ours));
        assert_eq!(reach("/api/recordings/1/files/whep"), Reach::Ours);
        assert_eq!(reach("/r/team"), Reach::Page);
    }
}
