//! WHIP and WHEP at a real server: what is refused, with which code, and what pages of others may do.

use crate::harness::{Answer, Server};
use crate::socket::Socket;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

fn server() -> Server {
    Server::start("[limits]\nsdp_bytes = \"4KiB\"\n", |_| {})
}

fn check(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["status"], status);
}

#[test]
fn bad_offers_are_refused_with_a_code_and_leave_nothing_behind() {
    let server = server();
    let post = |path: &str, headers: &[(&str, &str)], body: &[u8]| server.send("POST", path, headers, body);
    check(&post("/whip/team/cam", &[("Content-Type", "text/plain")], b"v=0"), 415, "unsupported-media-type");
    check(&post("/whip/team/cam", &[], b"v=0"), 415, "unsupported-media-type");
    check(&post("/whip/team/cam", &[SDP], b"v=0\r\n"), 400, "bad-sdp");
    check(&post("/whip/team/cam", &[SDP], b""), 400, "bad-sdp");
    check(&post("/whip/team/cam", &[SDP], b"\xff\xfe"), 400, "bad-sdp");
    check(&post("/whip/team/cam", &[SDP], &[b'x'; 4 * 1024]), 400, "bad-sdp");
    check(&post("/whip/team/cam", &[SDP], &[b'x'; 4 * 1024 + 1]), 413, "too-large");
    check(&post("/whip/a%2Fb/cam", &[SDP], b"v=0"), 400, "bad-room-name");
    check(&post("/whip/..%2F..%2Fetc/cam", &[SDP], b"v=0"), 400, "bad-room-name");
    check(&post("/whip/.hidden/cam", &[SDP], b"v=0"), 400, "bad-room-name");
    check(&post("/whip/team/%00", &[SDP], b"v=0"), 400, "bad-name");
    check(&post(&format!("/whip/team/{}", "n".repeat(65)), &[SDP], b"v=0"), 400, "bad-name");
    assert_eq!(server.get("/api/rooms").json()["rooms"].as_array().unwrap().len(), 0);
}

#[test]
fn offer_without_a_common_codec_names_those_that_work() {
    let server = server();
    let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        a=fingerprint:sha-256 AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=setup:actpass\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=rtpmap:96 H264/90000\r\n";
    let answer = server.send("POST", "/whip/team/obs", &[SDP], offer.as_bytes());
    check(&answer, 406, "no-common-codec");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(["VP8", "AV1"].iter().all(|codec| detail.contains(codec)), "{detail}");
}

#[test]
fn nobody_to_view_is_said_with_when_to_come_back() {
    let server = server();
    let answer = server.send("POST", "/whep/team", &[SDP], b"v=0");
    check(&answer, 404, "nobody-publishes");
    assert_eq!(answer.header("retry-after"), "5");
    let (_ana, joined) = Socket::join(&server, "team", "Ana");
    check(&server.send("POST", "/whep/team", &[SDP], b"v=0"), 404, "nobody-publishes");
    check(&server.send("POST", "/whep/team/Bo", &[SDP], b"v=0"), 404, "participant-not-found");
    check(&server.send("POST", "/whep/team/Ana?source=desk", &[SDP], b"v=0"), 400, "bad-request");
    let id = joined["participant"].as_str().unwrap();
    check(&server.send("POST", &format!("/whep/team/{id}"), &[SDP], b"v=0"), 400, "bad-sdp");
}

#[test]
fn sessions_that_are_not_there_cannot_be_changed() {
    let server = server();
    for id in ["0123456789abcdef0123456789abcdef", "x", "%00", "..%2Fwhip"] {
        let path = format!("/sessions/{id}");
        check(&server.send("DELETE", &path, &[], b""), 404, "session-not-found");
        check(&server.send("PATCH", &path, &[FRAGMENT, ("If-Match", "\"x\"")], b""), 404, "session-not-found");
        check(&server.send("PATCH", &path, &[FRAGMENT, ("If-Match", "*")], b""), 404, "session-not-found");
        check(&server.send("PATCH", &path, &[FRAGMENT], b""), 428, "precondition-failed");
        check(&server.send("PATCH", &path, &[SDP], b""), 415, "unsupported-media-type");
    }
}

#[test]
fn wrong_methods_are_named() {
    let server = server();
    for (method, path) in [
        ("GET", "/whip/team/cam"),
        ("PUT", "/whep/team"),
        ("GET", "/sessions/1"),
        ("POST", "/api/rooms"),
        ("PATCH", "/api/rooms/team"),
        ("GET", "/api/drain"),
        ("DELETE", "/signal"),
    ] {
        check(&server.send(method, path, &[], b""), 405, "method-not-allowed");
    }
    check(&server.get("/nothing/here"), 404, "not-found");
    check(&server.get("/assets/../../etc/passwd"), 404, "not-found");
}

#[test]
fn pages_of_others_may_publish_and_view_but_not_use_the_api() {
    let server = server();
    let foreign = ("Origin", "https://other.example");
    let preflight = server.request("OPTIONS", "/whip/team/cam", &[foreign, ("Access-Control-Request-Method", "POST")]);
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, "*"));
    assert!(preflight.header("access-control-allow-methods").contains("PATCH"));
    assert_eq!(preflight.header("accept-post"), "application/sdp");
    let refused = server.send("POST", "/whip/team/cam", &[foreign, SDP], b"");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (400, "*"));
    assert!(refused.header("access-control-expose-headers").contains("location"));
    for (method, path) in
        [("GET", "/api/rooms"), ("POST", "/api/drain"), ("OPTIONS", "/api/rooms"), ("GET", "/metrics")]
    {
        let answer = server.send(method, path, &[foreign], b"");
        check(&answer, 403, "origin-refused");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    check(&server.request("GET", "/api/rooms", &[("Host", "rebound.example")]), 403, "origin-refused");
    check(&server.request("GET", "/", &[("Host", "rebound.example")]), 403, "origin-refused");
    check(&server.request("GET", "/", &[("X-Forwarded-For", "203.0.113.9")]), 403, "origin-refused");
}

#[test]
fn forwarded_host_is_believed_from_trusted_proxies_only() {
    let origin = ("Origin", "https://meet.example");
    let forwarded = ("X-Forwarded-Host", "meet.example");
    let key = format!("[auth]\nkey = \"{}\"\n", "k".repeat(32));
    let trusting = Server::start(&format!("{key}[http]\ntrusted_proxies = [\"127.0.0.1\"]\n"), |_| {});
    check(&trusting.request("GET", "/api/rooms", &[origin, forwarded]), 401, "unauthorized");
    check(&trusting.request("GET", "/api/rooms", &[origin]), 403, "origin-refused");
    let proto = |scheme| ("X-Forwarded-Proto", scheme);
    check(&trusting.request("GET", "/api/rooms", &[origin, forwarded, proto("https")]), 401, "unauthorized");
    check(&trusting.request("GET", "/api/rooms", &[origin, forwarded, proto("http")]), 403, "origin-refused");
    let careful = Server::start(&key, |_| {});
    check(&careful.request("GET", "/api/rooms", &[origin, forwarded]), 403, "origin-refused");
}

#[test]
fn pages_come_with_the_headers_that_keep_a_browser_careful() {
    let server = server();
    let page = server.get("/r/team");
    assert!(page.header("content-security-policy").contains("script-src 'self'"));
    assert!(!page.header("content-security-policy").contains("unsafe-eval"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(server.get("/api/rooms").header("x-content-type-options"), "nosniff");
}
