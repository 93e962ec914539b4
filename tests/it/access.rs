//! Every door × every kind of caller on a server with a key. A new route has to be put into the table.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reelay::auth::{AUDIENCE, Auth, Claims, Grant};
use reelay_signaling::Grants;
use serde_json::{Value, json};

use crate::harness::Server;
use crate::socket::Socket;

pub const KEY: &str = "0123456789abcdef0123456789abcdef";
const HOUR: Duration = Duration::from_secs(3600);
const RECORDING: &str = "0192abcd-0000-7000-8000-000000000001";

/// Who may pass a door.
#[derive(Clone, Copy)]
enum Needs<'a> {
    Nothing,
    AnyToken,
    /// One of these in the room `team`, or `admin`.
    InTeam(&'a [Grant]),
    /// One of these in all rooms, or `admin`.
    Everywhere(&'a [Grant]),
}

struct Caller {
    name: &'static str,
    token: Option<String>,
    /// Grants in `team`; `None`: not known to the server at all.
    grants: Option<Vec<Grant>>,
    is_everywhere: bool,
}

pub fn token(room: &str, grants: &[Grant], life: i64) -> String {
    let mut given = Grants::default();
    grants.iter().for_each(|grant| grant.add_to(&mut given));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = Claims {
        sub: Some("someone".into()),
        name: Some("Someone".into()),
        room: serde_json::from_value(Value::from(room)).unwrap(),
        grants: given,
        consent: false,
        nbf: None,
        iat: now,
        exp: now.saturating_add_signed(life),
        aud: AUDIENCE.into(),
    };
    Auth::new(KEY, HOUR, HOUR).token(&claims).unwrap()
}

fn callers() -> Vec<Caller> {
    let known = |name, room: &str, grants: &[Grant]| Caller {
        name,
        token: Some(token(room, grants, 600)),
        grants: Some(if room == "team" || room == "*" || grants == [Grant::Admin] { grants.to_vec() } else { vec![] }),
        is_everywhere: room == "*",
    };
    let unknown = |name, token: Option<String>| Caller { name, token, grants: None, is_everywhere: false };
    let not_admin: Vec<Grant> = Grant::ALL.into_iter().filter(|grant| *grant != Grant::Admin).collect();
    let forged = Auth::new(&"f".repeat(32), HOUR, HOUR);
    let mut callers = vec![
        unknown("nobody", None),
        unknown("garbage", Some("a.b.c".into())),
        unknown("expired", Some(token("team", &not_admin, -600))),
        unknown("unsigned", Some(token("*", &not_admin, 600).rsplit_once('.').unwrap().0.to_owned() + ".")),
        known("other room", "other", &not_admin),
        known("no grants", "team", &[]),
        known("no room", "", &not_admin),
        known("everything but admin, everywhere", "*", &not_admin),
        known("admin", "", &[Grant::Admin]),
    ];
    let claims = json!({"grants": {"admin": true}});
    assert!(forged.caller(Some(&claims.to_string())).is_err());
    callers.extend(not_admin.iter().map(|grant| known(grant.as_str(), "team", &[*grant])));
    callers
}

/// Method, path as OpenAPI writes it, path to ask for, and what it needs.
fn doors() -> Vec<(&'static str, &'static str, String, Needs<'static>)> {
    use Grant as G;
    use Needs::{AnyToken, Everywhere, InTeam, Nothing};
    const SEES: &[Grant] = &[G::Join, G::Watch, G::Record, G::Moderate, G::Replay];
    let recording = |rest: &str| format!("/api/recordings/{RECORDING}{rest}");
    vec![
        ("GET", "/api/config", "/api/config".into(), Nothing),
        ("GET", "/healthz", "/healthz".into(), Nothing),
        ("GET", "/readyz", "/readyz".into(), Nothing),
        ("GET", "/metrics", "/metrics".into(), Everywhere(&[])),
        ("GET", "/api/audit", "/api/audit".into(), Everywhere(&[])),
        ("GET", "/api/webhooks", "/api/webhooks".into(), Everywhere(&[])),
        ("POST", "/api/webhooks/replay", "/api/webhooks/replay".into(), Everywhere(&[])),
        ("GET", "/api/retention", "/api/retention".into(), Everywhere(&[])),
        ("GET", "/api/events", "/api/events".into(), Everywhere(&[G::Replay])),
        ("GET", "/api/events", "/api/events?room=team".into(), InTeam(&[G::Replay])),
        ("GET", "/api/rooms", "/api/rooms".into(), AnyToken),
        ("GET", "/api/rooms/{room}", "/api/rooms/team".into(), InTeam(SEES)),
        ("DELETE", "/api/rooms/{room}", "/api/rooms/team".into(), InTeam(&[G::Moderate])),
        ("POST", "/api/rooms/{room}/recording", "/api/rooms/team/recording".into(), InTeam(&[G::Record])),
        ("DELETE", "/api/rooms/{room}/recording", "/api/rooms/team/recording".into(), InTeam(&[G::Record])),
        ("POST", "/api/rooms/{room}/recording/pause", "/api/rooms/team/recording/pause".into(), InTeam(&[G::Record])),
        ("POST", "/api/rooms/{room}/recording/resume", "/api/rooms/team/recording/resume".into(), InTeam(&[G::Record])),
        (
            "POST",
            "/api/rooms/{room}/participants/{id}/mute",
            "/api/rooms/team/participants/pabcdefghij/mute".into(),
            InTeam(&[G::Moderate]),
        ),
        (
            "DELETE",
            "/api/rooms/{room}/participants/{id}",
            "/api/rooms/team/participants/pabcdefghij".into(),
            InTeam(&[G::Moderate]),
        ),
        ("POST", "/whip/{room}/{name}", "/whip/team/cam".into(), InTeam(&[G::Publish])),
        ("POST", "/whip/{room}", "/whip/team".into(), InTeam(&[G::Publish])),
        ("POST", "/whep/{room}", "/whep/team".into(), InTeam(&[G::Watch])),
        ("POST", "/whep/{room}/{who}", "/whep/team/Ana".into(), InTeam(&[G::Watch])),
        ("POST", "/api/recordings/{id}/whep", recording("/whep"), InTeam(&[G::Replay])),
        ("PATCH", "/sessions/{id}", "/sessions/1".into(), AnyToken),
        ("DELETE", "/sessions/{id}", "/sessions/1".into(), AnyToken),
        ("GET", "/api/recordings", "/api/recordings".into(), AnyToken),
        ("GET", "/api/recordings/{id}", recording(""), InTeam(&[G::Replay])),
        ("DELETE", "/api/recordings/{id}", recording(""), InTeam(&[G::Delete])),
        ("PATCH", "/api/recordings/{id}", recording(""), InTeam(&[G::Record, G::Delete])),
        ("GET", "/api/jobs/{id}", "/api/jobs/none".into(), AnyToken),
        ("GET", "/api/jobs/{id}/file", "/api/jobs/none/file".into(), AnyToken),
        ("DELETE", "/api/jobs/{id}", "/api/jobs/none".into(), AnyToken),
        ("POST", "/api/drain", "/api/drain".into(), Everywhere(&[])),
    ]
}

impl Caller {
    fn may(&self, needs: Needs<'_>) -> bool {
        let has = |grants: &[Grant]| {
            let mine = self.grants.as_deref().unwrap_or_default();
            mine.contains(&Grant::Admin) || grants.iter().any(|grant| mine.contains(grant))
        };
        match needs {
            Needs::Nothing => true,
            Needs::AnyToken => self.grants.is_some(),
            Needs::InTeam(grants) => has(grants),
            Needs::Everywhere(grants) => has(&[]) || (self.is_everywhere && has(grants)),
        }
    }
}

fn server() -> Server {
    Server::start(&format!("[auth]\nkey = \"{KEY}\"\n[recording]\nconsent = \"notice\"\n"), |dir| {
        let folder = dir.join(RECORDING);
        std::fs::create_dir(&folder).unwrap();
        let manifest = json!({"version": 1, "id": RECORDING, "room": "team", "state": "complete",
            "started_at": "2026-11-20T10:00:00Z", "participants": [], "files": []});
        std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    })
}

#[test]
fn every_route_opens_for_whom_it_should_and_for_nobody_else() {
    let server = server();
    let admin = format!("Bearer {}", token("", &[Grant::Admin], 600));
    crate::harness::until("the first look through the folder", || {
        let list = server.request("GET", "/api/recordings", &[("Authorization", &admin)]).json();
        (list["recordings"].as_array()?.len() == 1).then_some(())
    });
    for caller in callers() {
        for (method, _, path, needs) in doors() {
            let ends_the_test = path.ends_with("/drain") || (method == "DELETE" && path.starts_with("/api/recordings"));
            if ends_the_test && caller.may(needs) {
                continue;
            }
            let bearer = caller.token.as_ref().map(|token| format!("Bearer {token}"));
            let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
            let headers =
                [headers.as_slice(), &[("Content-Length", "0"), ("Content-Type", "application/sdp")]].concat();
            let answer = server.open(method, &path, &headers);
            let who = caller.name;
            if caller.may(needs) {
                assert!(!matches!(answer.status, 401 | 403), "{method} {path} refuses {who}: {}", answer.status);
            } else if caller.grants.is_none() {
                assert_eq!(answer.status, 401, "{method} {path} for {who}");
            } else {
                // What a caller may not see may as well not be there.
                assert!(matches!(answer.status, 403 | 404), "{method} {path} for {who}: {}", answer.status);
                let code = answer.finish().json()["code"].as_str().unwrap().to_owned();
                assert!(["forbidden", "recording-not-found"].contains(&code.as_str()), "{method} {path} {who}: {code}");
            }
        }
    }
}

#[test]
fn link_to_the_news_is_signed_for_whom_they_are() {
    let server = server();
    for caller in callers().into_iter().filter(|caller| caller.grants.is_some()) {
        let bearer = format!("Bearer {}", caller.token.as_ref().unwrap());
        let list = server.request("GET", "/api/recordings", &[("Authorization", &bearer)]);
        let Some(url) = list.json()["events_url"].as_str().map(str::to_owned) else { continue };
        let status = server.open("GET", &url, &[]).status;
        let is_for_other = url.contains("room=other");
        let may = is_for_other || caller.may(Needs::InTeam(&[Grant::Replay]));
        assert_eq!(status, if may { 200 } else { 401 }, "{}: {url}", caller.name);
    }
}

#[test]
fn every_route_of_the_description_is_in_the_table() {
    let server = server();
    let description = server.get("/api/openapi.json").json();
    let table = doors();
    let mut missing = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let is_known =
                table.iter().any(|(known, written, ..)| known.eq_ignore_ascii_case(method) && written == path);
            // The doors of one recording have a table of their own, in `library_rights`.
            let is_of_recording = path.starts_with("/api/recordings/{id}/");
            if !is_known && !is_of_recording {
                missing.push(format!("{method} {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "nobody says who may use {missing:?}");
}

#[test]
fn every_message_is_carried_out_for_whom_it_should_be() {
    let server = server();
    let host = token("team", &[Grant::Join, Grant::Moderate], 600);
    let (mut ana, ana_is) = enter(&server, Some(&host), "join").unwrap();
    for caller in callers() {
        let may_join = caller.may(Needs::InTeam(&[Grant::Join]));
        let may_watch = caller.may(Needs::InTeam(&[Grant::Watch]));
        let who = caller.name;
        let refused = if caller.grants.is_none() { ["unauthorized", "token-expired"] } else { ["forbidden"; 2] };
        match enter(&server, caller.token.as_deref(), "watch") {
            Ok(_) => assert!(may_watch, "{who} watches"),
            Err(code) => assert!(!may_watch && refused.contains(&code.as_str()), "{who} cannot watch: {code}"),
        }
        let (mut socket, joined) = match enter(&server, caller.token.as_deref(), "join") {
            Ok(entered) => entered,
            Err(code) => {
                assert!(!may_join && refused.contains(&code.as_str()), "{who} cannot join: {code}");
                continue;
            }
        };
        assert!(may_join, "{who} joins");
        let mut check = |message: Value, grant: Grant| {
            let is_allowed = caller.may(Needs::InTeam(&[grant]));
            assert_eq!(joined["grants"][grant.as_str()], is_allowed, "{who}");
            let mut marked = message.clone();
            marked["ref"] = json!(grant.as_str());
            socket.say(marked);
            // Each of them is refused in any case: for want of a right, or of something to do it to.
            let (code, reference) = socket.error();
            assert_eq!(reference.as_deref(), Some(grant.as_str()), "{who}: {message} {code}");
            assert_eq!(code == "forbidden", !is_allowed, "{who}: {message} {code}");
        };
        let tracks = json!([{"mid": "0", "source": "camera", "kind": "audio"}]);
        check(json!({"type": "publish", "sdp": "x", "tracks": tracks}), Grant::Publish);
        check(json!({"type": "recording", "action": "stop"}), Grant::Record);
        let mute = json!({"type": "moderate", "action": "mute", "participant": ana_is["participant"],
            "source": "camera", "kind": "audio"});
        check(mute, Grant::Moderate);
        socket.say(json!({"type": "leave"}));
        socket.end();
    }
    ana.say(json!({"type": "chat", "text": "still here"}));
    while ana.wait("chat")["text"] != "still here" {}
}

fn enter(server: &Server, token: Option<&str>, role: &str) -> Result<(Socket, Value), String> {
    let mut socket = Socket::open(server);
    socket.say(json!({"type": "join", "room": "team", "name": "Me", "role": role, "token": token}));
    loop {
        let message = socket.next().unwrap();
        match message["type"].as_str().unwrap() {
            "joined" => return Ok((socket, message)),
            "error" => return Err(message["code"].as_str().unwrap().to_owned()),
            _ => {}
        }
    }
}

#[test]
fn token_that_ends_puts_its_holder_out_of_a_running_call() {
    let server = server();
    let (socket, _) = enter(&server, Some(&token("team", &[Grant::Join], 1)), "join").unwrap();
    assert_eq!(socket.end().as_deref(), Some("expired"));
}

#[test]
fn who_brings_a_new_token_in_time_stays_and_may_what_that_says() {
    let server = server();
    let (mut socket, joined) = enter(&server, Some(&token("team", &[Grant::Join, Grant::Record], 3)), "join").unwrap();
    assert_eq!(joined["grants"]["record"], true);
    let left = socket.wait("expiring")["in_ms"].as_u64().unwrap();
    assert!(left <= 3_000, "{left}");
    for (bad, code) in [("a.b.c".into(), "unauthorized"), (token("other", &[Grant::Join], 600), "forbidden")] {
        socket.say(json!({"type": "renew", "token": bad, "ref": code}));
        assert_eq!(socket.error(), (code.to_owned(), Some(code.to_owned())));
    }
    socket.say(json!({"type": "renew", "token": token("team", &[Grant::Join], 600)}));
    let renewed = socket.wait("renewed");
    assert!(renewed["in_ms"].as_u64().unwrap() > 500_000, "{renewed}");
    assert_eq!((&renewed["grants"]["join"], &renewed["grants"]["record"]), (&json!(true), &json!(false)));
    socket.say(json!({"type": "recording", "action": "stop", "ref": "1"}));
    assert_eq!(socket.error(), ("forbidden".to_owned(), Some("1".to_owned())));
    std::thread::sleep(std::time::Duration::from_millis(left));
    socket.say(json!({"type": "chat", "text": "still here"}));
    assert_eq!(socket.wait("chat")["text"], "still here", "the old token's end is past");
}
