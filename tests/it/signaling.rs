//! `/signal` of a real server: who gets in, what is answered, what a lost or rude client costs the others.

use serde_json::json;
use tungstenite::Message;

use crate::harness::Server;
use crate::socket::Socket;

fn server() -> Server {
    Server::start("", |_| {})
}

fn set(settings: &str) -> Server {
    Server::start(settings, |_| {})
}

#[test]
fn people_see_each_other_come_write_and_go() {
    let server = server();
    let (mut ana, joined) = Socket::join(&server, "Team", "Ana");
    assert_eq!((&joined["room"], &joined["resumed"]), (&json!("team"), &json!(false)));
    assert_eq!(joined["participants"][0]["host"], true);
    let (mut bo, joined) = Socket::join(&server, "team", "Bo <b>");
    assert_eq!(joined["participants"].as_array().unwrap().len(), 2);
    assert_eq!(ana.wait("participant-joined")["participant"]["name"], "Bo <b>");
    bo.say(json!({"type": "chat", "text": "你好"}));
    assert_eq!(ana.wait("chat")["text"], "你好");
    assert_eq!(bo.wait("chat")["name"], "Bo <b>");
    let rooms = server.get("/api/rooms").json();
    assert_eq!(rooms["rooms"][0]["participants"][1]["name"], "Bo <b>");
    bo.say(json!({"type": "leave"}));
    assert_eq!(ana.wait("participant-left")["reason"], "left");
    ana.say(json!({"type": "leave"}));
    assert_eq!(ana.end(), None);
    crate::harness::until("the end of the room", || {
        server.get("/api/rooms").json()["rooms"].as_array()?.is_empty().then_some(())
    });
}

#[test]
fn watcher_is_counted_and_not_in_the_roster() {
    let server = server();
    let (mut ana, _) = Socket::join(&server, "team", "Ana");
    let mut watcher = Socket::open(&server);
    watcher.say(json!({"type": "join", "room": "team", "role": "watch"}));
    let joined = watcher.wait("joined");
    assert_eq!((&joined["watchers"], joined["participants"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(ana.wait("watchers")["count"], 1);
    watcher.say(json!({"type": "chat", "text": "hi"}));
    assert_eq!(watcher.error().0, "forbidden");
    drop(watcher);
}

#[test]
fn bad_messages_are_answered_and_not_fatal() {
    let server = server();
    let (mut ana, _) = Socket::join(&server, "team", "Ana");
    let mut check = |text: &str, code: &str, reference: Option<&str>| {
        ana.text(text);
        assert_eq!(ana.error(), (code.to_owned(), reference.map(str::to_owned)), "{text}");
    };
    check("{", "bad-request", None);
    check("[]", "bad-request", None);
    check(r#"{"type":"later","ref":"1"}"#, "unknown-message", Some("1"));
    check(r#"{"type":"chat","ref":"2"}"#, "bad-request", Some("2"));
    check(r#"{"type":"join","room":"x","name":"y","ref":"3"}"#, "bad-request", Some("3"));
    check(r#"{"type":"answer","id":1,"sdp":"","ref":"4"}"#, "bad-request", Some("4"));
    check(r#"{"type":"candidate","target":"publish","candidate":"x","ref":"5"}"#, "bad-request", Some("5"));
    let track = r#"[{"mid":"0","source":"camera","kind":"video"}]"#;
    check(&format!(r#"{{"type":"publish","sdp":"garbage","tracks":{track},"ref":"6"}}"#), "bad-sdp", Some("6"));
    check(&format!(r#"{{"type":"chat","text":"{}","ref":"7"}}"#, "x".repeat(2_001)), "too-large", Some("7"));
    check(&format!(r#"{{"type":"chat","text":"{}"}}"#, "x".repeat(300 * 1024)), "too-large", None);
    let padded = |size: usize| {
        let frame = r#"{"type":"later","pad":""}"#.len();
        format!(r#"{{"type":"later","pad":"{}"}}"#, "x".repeat(size - frame))
    };
    ana.text(&padded(256 * 1024));
    assert_eq!(ana.error().0, "unknown-message", "just within limits.message_bytes");
    ana.text(&padded(256 * 1024 + 1));
    assert_eq!(ana.error().0, "too-large");
    ana.raw(Message::binary(vec![0; 10]));
    assert_eq!(ana.error().0, "bad-request");
    ana.say(json!({"type": "chat", "text": "still here"}));
    assert_eq!(ana.wait("chat")["text"], "still here");
}

#[test]
fn names_and_rooms_are_checked_at_the_door() {
    let server = server();
    let mut socket = Socket::open(&server);
    for room in ["", "a/b", "..", "a b", "<b>", "a\u{0}b", &"x".repeat(65), &"x".repeat(10_000)] {
        socket.say(json!({"type": "join", "room": room, "name": "Ana"}));
        assert_eq!(socket.error().0, "bad-room-name", "{room:?}");
    }
    for name in ["", "a\u{0}b", &"x".repeat(65), &"x".repeat(10_000)] {
        socket.say(json!({"type": "join", "room": "team", "name": name}));
        assert_eq!(socket.error().0, "bad-name", "{name:?}");
    }
    socket.say(json!({"type": "chat", "text": "hello"}));
    assert_eq!(socket.error().0, "join-first");
    socket.say(json!({"type": "join", "room": "会议室", "name": "x".repeat(64)}));
    assert_eq!(socket.wait("joined")["room"], "会议室");
}

#[test]
fn who_says_nothing_is_sent_away() {
    let server = set("[limits]\njoin_timeout = \"100ms\"\n");
    let mut socket = Socket::open(&server);
    assert_eq!(socket.error().0, "join-first");
    assert_eq!(socket.end(), None);
}

#[test]
fn only_our_own_pages_open_a_socket() {
    let server = server();
    let protocol = ("Sec-WebSocket-Protocol", "reelay.v1");
    let own = format!("http://{}", server.address);
    let status = |headers: &[(&'static str, &str)]| Socket::try_open(&server, headers).err();
    assert_eq!(status(&[protocol]), None);
    assert_eq!(status(&[protocol, ("Origin", own.as_str())]), None);
    assert_eq!(status(&[protocol, ("Origin", "https://evil.example")]), Some(403));
    assert_eq!(status(&[protocol, ("Origin", "null")]), Some(403));
    assert_eq!(status(&[protocol, ("Host", "evil.example")]), Some(403));
    assert_eq!(status(&[]), Some(400));
    assert_eq!(status(&[("Sec-WebSocket-Protocol", "other.v1")]), Some(400));
    let named = set("[http]\norigins = [\"https://meet.example\"]\n");
    assert!(Socket::try_open(&named, &[protocol, ("Origin", "https://meet.example")]).is_ok());
    assert_eq!(Socket::try_open(&named, &[protocol, ("Origin", "https://evil.example")]).err(), Some(403));
}

#[test]
fn lost_socket_comes_back_to_its_place() {
    let server = server();
    let (mut bo, _) = Socket::join(&server, "team", "Bo");
    let (ana, joined) = Socket::join(&server, "team", "Ana");
    bo.wait("participant-joined");
    drop(ana);
    let mut back = Socket::open(&server);
    let token = joined["resume"].clone();
    back.say(json!({"type": "resume", "token": token, "media": "kept"}));
    let again = back.wait("joined");
    assert_eq!((&again["participant"], &again["resumed"]), (&joined["participant"], &json!(true)));
    assert_ne!(again["resume"], token);
    let mut second = Socket::open(&server);
    second.say(json!({"type": "resume", "token": token, "media": "kept"}));
    assert_eq!(second.error().0, "resume-expired");
    second.say(json!({"type": "resume", "token": again["resume"], "media": "new"}));
    second.wait("joined");
    assert_eq!(back.end().as_deref(), Some("replaced"));
    bo.say(json!({"type": "chat", "text": "did anybody leave?"}));
    loop {
        match bo.next().unwrap()["type"].as_str().unwrap() {
            "chat" => break,
            kind => assert!(kind != "participant-left" && kind != "participant-joined", "the place was kept"),
        }
    }
}

#[test]
fn lost_socket_that_stays_away_is_gone() {
    let server = set("[limits]\nresume_timeout = \"100ms\"\n");
    let (mut bo, _) = Socket::join(&server, "team", "Bo");
    let (ana, joined) = Socket::join(&server, "team", "Ana");
    drop(ana);
    assert_eq!(bo.wait("participant-left")["reason"], "lost");
    let mut back = Socket::open(&server);
    back.say(json!({"type": "resume", "token": joined["resume"], "media": "kept"}));
    assert_eq!(back.error().0, "resume-expired");
    back.say(json!({"type": "join", "room": "team", "name": "Ana"}));
    assert_ne!(back.wait("joined")["participant"], joined["participant"]);
}

#[test]
fn limits_hold_and_name_themselves() {
    let server = set("[limits]\nparticipants_per_room = 2\nrooms = 1\nwatchers_per_room = 1\n");
    let (mut ana, _) = Socket::join(&server, "team", "Ana");
    let (_bo, _) = Socket::join(&server, "team", "Bo");
    let refused = |message: serde_json::Value, code: &str, limit: &str| {
        let mut socket = Socket::open(&server);
        socket.say(message);
        let error = socket.wait("error");
        assert_eq!(error["code"], code);
        assert!(error["message"].as_str().unwrap().contains(limit), "{error}");
    };
    refused(json!({"type": "join", "room": "team", "name": "Cy"}), "room-full", "limits.participants_per_room");
    refused(json!({"type": "join", "room": "other", "name": "Cy"}), "too-many-rooms", "limits.rooms");
    let mut watcher = Socket::open(&server);
    watcher.say(json!({"type": "join", "room": "team", "role": "watch"}));
    watcher.wait("joined");
    refused(json!({"type": "join", "room": "team", "role": "watch"}), "limit-reached", "limits.watchers_per_room");
    ana.say(json!({"type": "chat", "text": "undisturbed"}));
    ana.wait("chat");
}

#[test]
fn sockets_are_counted() {
    let server = set("[limits]\nsockets = 2\n");
    let protocol = [("Sec-WebSocket-Protocol", "reelay.v1")];
    let first = Socket::open(&server);
    let (_second, _) = Socket::join(&server, "team", "Ana");
    assert_eq!(Socket::try_open(&server, &protocol).err(), Some(503));
    drop(first);
    crate::harness::until("a free place", || Socket::try_open(&server, &protocol).ok());
}

#[test]
fn flood_is_slowed_and_then_ended_and_others_do_not_notice() {
    let server = set("[limits]\nmessages_per_second = 1\nmessage_burst = 10\n");
    let (mut bo, _) = Socket::join(&server, "team", "Bo");
    let (mut ana, _) = Socket::join(&server, "team", "Ana");
    for n in 0..11 {
        ana.say(json!({"type": "chat", "text": "x", "ref": n.to_string()}));
    }
    assert_eq!(ana.error(), ("too-fast".to_owned(), Some("10".to_owned())));
    for _ in 0..2_000 {
        ana.say(json!({"type": "chat", "text": "x"}));
    }
    assert_eq!(ana.end().as_deref(), Some("dropped"));
    bo.say(json!({"type": "chat", "text": "fine"}));
    while bo.wait("chat")["text"] != "fine" {}
}

#[test]
fn host_puts_out_and_ends_for_all() {
    let server = server();
    let (mut ana, _) = Socket::join(&server, "team", "Ana");
    let (mut bo, joined) = Socket::join(&server, "team", "Bo");
    bo.say(json!({"type": "moderate", "action": "end", "ref": "1"}));
    assert_eq!(bo.error(), ("forbidden".to_owned(), Some("1".to_owned())));
    ana.say(json!({"type": "moderate", "action": "remove", "participant": joined["participant"]}));
    assert_eq!(bo.end().as_deref(), Some("removed"));
    let (cy, _) = Socket::join(&server, "team", "Cy");
    ana.say(json!({"type": "moderate", "action": "end"}));
    assert_eq!(cy.end().as_deref(), Some("ended"));
    assert_eq!(ana.end().as_deref(), Some("ended"));
}

#[test]
fn who_falls_silent_is_shown_away_and_then_gone() {
    let server = set("[limits]\nping_interval = \"200ms\"\nresume_timeout = \"1s\"\n");
    let (silent, joined) = Socket::join(&server, "team", "Ana");
    let (mut bo, _) = Socket::join(&server, "team", "Bo");
    // Nobody reads this socket any more, so nobody answers its pings; the connection itself stands.
    let update = bo.wait("participant-updated");
    assert_eq!((&update["participant"]["id"], &update["participant"]["away"]), (&joined["participant"], &json!(true)));
    let left = bo.wait("participant-left");
    assert_eq!((&left["participant"], &left["reason"]), (&joined["participant"], &json!("lost")));
    drop(silent);
}

#[test]
fn who_reads_too_slowly_is_dropped_and_comes_back_to_the_same_place() {
    let server = set(
        "[limits]\nsend_queue = 16\nresume_timeout = \"2s\"\nmessages_per_second = 100000\nmessage_burst = 100000\n",
    );
    let (slow, joined) = Socket::join(&server, "team", "Slow");
    let (mut bo, _) = Socket::join(&server, "team", "Bo");
    let line = "x".repeat(2_000);
    // Until what the kernel keeps for the slow one is full, and the queue behind it too.
    let away = loop {
        bo.say(json!({"type": "chat", "text": line}));
        match bo.next().unwrap() {
            message if message["type"] == "participant-updated" => break message,
            _ => {}
        }
    };
    assert_eq!((&away["participant"]["id"], &away["participant"]["away"]), (&joined["participant"], &json!(true)));
    let mut back = Socket::open(&server);
    back.say(json!({"type": "resume", "token": joined["resume"], "media": "kept"}));
    let resumed = back.wait("joined");
    assert_eq!((&resumed["participant"], &resumed["resumed"]), (&joined["participant"], &json!(true)));
    drop(slow);
    drop(back);
    assert_eq!(bo.wait("participant-left")["reason"], "lost", "nobody is left behind as a ghost");
}
