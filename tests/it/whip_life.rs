//! A WHIP session from POST to DELETE, with a real publisher: trickle, ICE restart, and what the room sees of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Server, until};
use crate::publisher::Publisher;
use crate::socket::Socket;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

fn post(server: &Server, path: &str, offer: &str) -> Answer {
    server.send("POST", path, &[SDP], offer.as_bytes())
}

fn line<'a>(sdp: &'a str, prefix: &str) -> &'a str {
    sdp.lines().find(|line| line.starts_with(prefix)).unwrap_or_default().trim()
}

/// Credentials and candidates of an offer, as a client would PATCH them.
fn fragment(offer: &str) -> String {
    let wanted = |line: &&str| ["a=ice-ufrag:", "a=ice-pwd:"].iter().any(|prefix| line.starts_with(prefix));
    let mut lines: Vec<&str> = offer.lines().filter(wanted).take(2).collect();
    lines.extend([line(offer, "m="), line(offer, "a=mid:")]);
    lines.extend(offer.lines().filter(|line| line.starts_with("a=candidate:")));
    lines.join("\r\n") + "\r\n"
}

/// The first answer with what a restart's answer says anew.
fn renewed(answer: &str, fragment: &str) -> String {
    let renew = |old: &str| match old {
        _ if old.starts_with("a=ice-ufrag:") => line(fragment, "a=ice-ufrag:").to_owned(),
        _ if old.starts_with("a=ice-pwd:") => line(fragment, "a=ice-pwd:").to_owned(),
        _ => old.to_owned(),
    };
    answer.lines().map(renew).collect::<Vec<_>>().join("\r\n") + "\r\n"
}

fn recorded_ms(server: &Server) -> u64 {
    server.get("/api/rooms/team").json()["recording"]["duration_ms"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_comes_restarts_and_goes() {
    let server = Server::start("[recording]\nlinger = \"0s\"\n", |_| {});
    let (mut ana, _) = Socket::join(&server, "team", "Ana");
    let publisher = Publisher::new(1).await;
    let offer = publisher.offer().await;
    let created = post(&server, "/whip/team/cam", &offer);
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!((created.header("content-type"), created.header("accept-patch")), (SDP.1, FRAGMENT.1));
    let (session, etag) = (created.header("location").to_owned(), created.header("etag").to_owned());
    assert!(session.strip_prefix("/sessions/").is_some_and(|id| id.len() == 32), "{session}");
    assert!(etag.starts_with('"') && etag.ends_with('"'));
    let answer = String::from_utf8(created.body).unwrap();
    assert_eq!(ana.wait("participant-joined")["participant"]["name"], "cam");

    let again = post(&server, "/whip/team/cam", &Publisher::new(2).await.offer().await);
    assert_eq!((again.status, &again.json()["code"]), (409, &Value::from("name-taken")));

    let patch =
        |etag: &str, body: &str| server.send("PATCH", &session, &[FRAGMENT, ("If-Match", etag)], body.as_bytes());
    assert_eq!(patch(&etag, &fragment(&offer)).status, 204);
    assert_eq!(patch("\"stale\"", &fragment(&offer)).status, 412);
    assert_eq!(patch(&etag, &"a=candidate:1 1 udp 1 192.0.2.9 9 typ host\r\n".repeat(65)).status, 503);

    publisher.accept(&answer).await;
    publisher.connected().await;
    play_until(&publisher, || recorded_ms(&server) > 500).await;
    let tracks = ana.wait("participant-updated")["participant"]["tracks"].as_array().unwrap().len();
    assert!(tracks > 0);

    publisher.connection.restart_ice().await.unwrap();
    assert_eq!(patch("*", "a=ice-ufrag:x\r\n").status, 400);
    let restarted = patch("*", &fragment(&publisher.offer().await));
    assert_eq!((restarted.status, restarted.header("content-type")), (200, FRAGMENT.1), "{restarted:?}");
    let new_etag = restarted.header("etag").to_owned();
    assert_ne!(new_etag, etag);
    let text = String::from_utf8(restarted.body).unwrap();
    assert_ne!(line(&text, "a=ice-ufrag:"), line(&answer, "a=ice-ufrag:"));
    publisher.accept(&renewed(&answer, &text)).await;
    let before = recorded_ms(&server);
    play_until(&publisher, || recorded_ms(&server) > before + 1_000).await;
    assert_eq!(patch(&etag, "").status, 412);
    assert_eq!(patch(&new_etag, "").status, 204);

    assert_eq!(server.send("DELETE", &session, &[], b"").status, 200);
    assert_eq!(ana.wait("participant-left")["reason"], "left");
    assert_eq!(server.send("DELETE", &session, &[], b"").status, 404);
    ana.say(json!({"type": "leave"}));
    let done = until("the end of the recording", || {
        let list = server.get("/api/recordings").json();
        (list["recordings"][0]["state"] == "complete").then(|| list["recordings"][0].clone())
    });
    assert_eq!((&done["files_count"], &done["participants"].as_array().unwrap().len()), (&Value::from(1), &2));
}

async fn play_until(publisher: &Publisher, is_done: impl Fn() -> bool) {
    let wait = async {
        while !is_done() {
            publisher.play(20).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("media is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_of_stun_and_turn_servers_with_credentials_that_end() {
    let settings = "[media]\nice_servers = [\"stun:a.example\", \"turn:b.example\"]\nturn_secret = \"north\"\nturn_lifetime = \"1h\"\n";
    let server = Server::start(settings, |_| {});
    let (_ana, joined) = Socket::join(&server, "team", "Ana");
    let servers = &joined["ice_servers"];
    assert_eq!(servers[0], json!({"urls": ["stun:a.example"]}));
    assert_eq!(servers[1]["urls"], json!(["turn:b.example"]));
    let username = servers[1]["username"].as_str().unwrap();
    assert!(username.ends_with(joined["participant"].as_str().unwrap()), "{username}");
    let created = post(&server, "/whip/team/cam", &Publisher::new(1).await.offer().await);
    let links: Vec<_> = created.headers.iter().filter(|(name, _)| name == "link").map(|(_, value)| value).collect();
    assert_eq!(links[0], "<stun:a.example>; rel=\"ice-server\"");
    assert!(
        links[1].starts_with("<turn:b.example>; rel=\"ice-server\"; username=\"") && links[1].contains("credential=\""),
        "{links:?}"
    );
    assert!(!server.get("/api/config").json().to_string().contains("turn"), "what anybody may read has no credentials");
}
