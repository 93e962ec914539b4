//! Limits at a real server: just within and just beyond, and the refusal names its setting. Behind a trusted proxy the
//! forwarded address counts, which lets one machine play several clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reelay::auth::Grant;
use serde_json::{Value, json};

use crate::access::{KEY, token};
use crate::harness::{Answer, Server, until};
use crate::publisher::Publisher;
use crate::socket::Socket;

const PROTOCOL: (&str, &str) = ("Sec-WebSocket-Protocol", "reelay.v1");
const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const ANA: (&str, &str) = ("X-Forwarded-For", "203.0.113.1");
const BO: (&str, &str) = ("X-Forwarded-For", "198.51.100.7, 203.0.113.2");

/// A server behind a proxy, with these limits.
fn behind_proxy(limits: &str) -> Server {
    let settings = format!("[http]\ntrusted_proxies = [\"127.0.0.1\"]\n[auth]\nkey = \"{KEY}\"\n[limits]\n{limits}\n");
    Server::start(&settings, |_| {})
}

fn bearer() -> String {
    format!("Bearer {}", token("", &[Grant::Admin], 600))
}

fn check_refused(answer: &Answer, status: u16, code: &str, limit: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{answer:?}");
    assert!(answer.json()["detail"].as_str().unwrap().contains(limit), "{answer:?}");
}

#[test]
fn sockets_of_one_address_are_limited_and_others_come_in() {
    let server = behind_proxy("sockets_per_address = 2\nheader_timeout = \"300ms\"");
    let open = |from| Socket::try_open(&server, &[PROTOCOL, from]);
    let first = open(ANA).ok().unwrap();
    let _second = open(ANA).ok().unwrap();
    assert_eq!(open(ANA).err(), Some(503));
    let head = format!(
        "GET /signal HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}: {}\r\n{}: {}\r\n\r\n",
        server.address, PROTOCOL.0, PROTOCOL.1, ANA.0, ANA.1
    );
    let (refused, _) = dawdle(&server, head.as_bytes());
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("limit-reached"), "{refused}");
    assert!(refused.contains("limits.sockets_per_address"), "{refused}");
    assert!(open(BO).is_ok());
    drop(first);
    until("a free place", || open(ANA).ok());
}

#[test]
fn requests_of_one_address_behind_a_proxy_are_limited_and_others_answered() {
    let server = behind_proxy("connections_per_address = 2");
    let key = bearer();
    let listen = |from| server.open("GET", "/api/events", &[from, ("Authorization", key.as_str())]);
    let (first, second) = (listen(ANA), listen(ANA));
    assert_eq!((first.status, second.status), (200, 200));
    check_refused(&server.request("GET", "/healthz", &[ANA]), 503, "limit-reached", "limits.connections_per_address");
    assert_eq!(server.request("GET", "/healthz", &[BO]).status, 200);
    assert_eq!(server.get("/healthz").status, 200, "the proxy itself is not counted");
    drop(first);
    until("a free place", || (server.request("GET", "/healthz", &[ANA]).status == 200).then_some(()));
}

#[test]
fn rooms_that_one_address_opens_in_a_minute_are_limited() {
    let server = behind_proxy("new_rooms_per_minute = 2");
    let key = token("", &[Grant::Admin], 600);
    let join = |room: &str, from| {
        let mut socket = Socket::try_open(&server, &[PROTOCOL, from]).ok().unwrap();
        socket.say(json!({"type": "join", "room": room, "name": "Me", "token": key}));
        let answer = socket.next().unwrap();
        (socket, answer)
    };
    let (_one, first) = join("one", ANA);
    let (_two, second) = join("two", ANA);
    assert_eq!((&first["type"], &second["type"]), (&json!("joined"), &json!("joined")));
    let (_three, refused) = join("three", ANA);
    assert_eq!(refused["code"], "too-fast", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("limits.new_rooms_per_minute"), "{refused}");
    assert_eq!(join("one", ANA).1["type"], "joined", "a room that is live is not opened");
    assert_eq!(join("three", BO).1["type"], "joined");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_that_never_connect_are_limited_by_address_and_freed_in_time() {
    let server = behind_proxy("half_open_per_address = 2\nconnect_timeout = \"2s\"");
    let key = bearer();
    let offer = Publisher::new(1).await.offer().await;
    let post = |name: &str, from| {
        let path = format!("/whip/team/{name}");
        server.send("POST", &path, &[SDP, from, ("Authorization", key.as_str())], offer.as_bytes())
    };
    let (one, two) = (post("one", ANA), post("two", ANA));
    assert_eq!((one.status, two.status), (201, 201), "{one:?} {two:?}");
    check_refused(&post("three", ANA), 503, "limit-reached", "limits.half_open_per_address");
    assert_eq!(post("four", BO).status, 201);
    let roster = || server.request("GET", "/api/rooms", &[("Authorization", key.as_str())]).json();
    assert_eq!(roster()["rooms"][0]["participants"].as_array().unwrap().len(), 3);
    until("the end of them", || roster()["rooms"].as_array()?.is_empty().then_some(()));
    assert_eq!(post("three", ANA).status, 201, "their places are free, and their names");
    assert_eq!(post("one", ANA).status, 201);
    let session = one.header("location");
    let gone = server.request("DELETE", session, &[("Authorization", key.as_str())]);
    assert_eq!((gone.status, gone.json()["code"].as_str()), (404, Some("session-not-found")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_publish_is_told_so_and_stays_in_the_room() {
    let server = Server::start("[limits]\nconnect_timeout = \"1s\"\n", |_| {});
    let (mut ana, _) = Socket::join(&server, "team", "Ana");
    let (mut bo, _) = Socket::join(&server, "team", "Bo");
    let tracks =
        json!([{"mid": "0", "source": "camera", "kind": "audio"}, {"mid": "1", "source": "camera", "kind": "video"}]);
    ana.say(json!({"type": "publish", "sdp": Publisher::new(1).await.offer().await, "tracks": tracks}));
    ana.wait("published");
    let error = ana.wait("error");
    assert_eq!(error["code"], "no-connection");
    assert!(error["message"].as_str().unwrap().contains("limits.connect_timeout"), "{error}");
    ana.say(json!({"type": "chat", "text": "still here"}));
    assert_eq!(bo.wait("chat")["text"], "still here");
    let again = Publisher::new(2).await;
    ana.say(json!({"type": "publish", "sdp": again.offer().await, "tracks": tracks}));
    again.accept(ana.wait("published")["sdp"].as_str().unwrap()).await;
    again.connected().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whip_publisher_that_sends_nothing_any_more_is_freed() {
    let server = Server::start("[limits]\nwhip_idle_timeout = \"1s\"\n", |_| {});
    let (mut ana, _) = Socket::join(&server, "team", "Ana");
    let publisher = Publisher::new(1).await;
    let created = server.send("POST", "/whip/team/cam", &[SDP], publisher.offer().await.as_bytes());
    publisher.accept(std::str::from_utf8(&created.body).unwrap()).await;
    publisher.connected().await;
    let id = ana.wait("participant-joined")["participant"]["id"].clone();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(2_500) {
        publisher.play(20).await;
    }
    let rooms = server.get("/api/rooms/team").json();
    assert!(rooms["participants"].as_array().unwrap().iter().any(|person| person["id"] == id), "who sends stays");
    let left = ana.wait("participant-left");
    assert_eq!((&left["participant"], &left["reason"]), (&id, &json!("lost")));
    let session = created.header("location");
    assert_eq!(server.request("DELETE", session, &[]).status, 404);
}

/// Sends these bytes and nothing more; what comes back until the server hangs up, and how long that took.
fn dawdle(server: &Server, bytes: &[u8]) -> (String, Duration) {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    (String::from_utf8_lossy(&answer).into_owned(), begin.elapsed())
}

#[test]
fn who_does_not_ask_in_time_is_sent_away_and_others_are_answered() {
    let server = Server::start("[limits]\nheader_timeout = \"300ms\"\n", |_| {});
    let host = format!("Host: {}\r\n", server.address);
    let idle = format!("GET /healthz HTTP/1.1\r\n{host}\r\n");
    let half = format!("GET /healthz HTTP/1.1\r\n{host}X-Slow: ");
    for bytes in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "G", half.as_str(), idle.as_str()] {
        let (answer, took) = dawdle(&server, bytes.as_bytes());
        assert!(took < Duration::from_secs(10), "{bytes:?} held a connection for {took:?}");
        assert_eq!(answer.contains("\"status\":\"ok\""), bytes == idle, "{bytes:?}: {answer}");
        assert_eq!(server.get("/healthz").status, 200);
    }
}

#[test]
fn body_that_trickles_in_is_refused_and_the_limit_named() {
    let server = Server::start("[limits]\nheader_timeout = \"300ms\"\nbody_rate = \"100KiB\"\n", |_| {});
    let head = |length: usize| {
        let host = server.address;
        format!(
            "POST /whip/team/cam HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let (answer, took) = dawdle(&server, format!("{}v=0", head(1000)).as_bytes());
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("too-slow"), "{answer}");
    assert!(answer.contains("limits.body_rate"), "{answer}");
    // What is there at once pays for the rest of the time.
    let answer = server.send("POST", "/whip/team/cam", &[SDP], &[b'x'; 100 * 1024]);
    assert_eq!((answer.status, &answer.json()["code"]), (400, &Value::from("bad-sdp")));
}
