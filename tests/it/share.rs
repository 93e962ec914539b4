//! Links to a span of a recording: what they open, and that they open nothing else.

use reelay::auth::Grant;
use reelay::webm::check::{State, check};
use serde_json::json;

use crate::export::{FILES, ID, put};
use crate::harness::{Answer, Server, until};
use crate::library_rights::{KEY, token};

fn ask(server: &Server, token: &str, body: &serde_json::Value) -> Answer {
    let headers = [("Authorization", token), ("Content-Type", "application/json")];
    server.send("POST", &format!("/api/recordings/{ID}/share"), &headers, body.to_string().as_bytes())
}

/// What the page asks the API for, by the query of its own address.
fn api(url: &str) -> String {
    format!("/api/recordings/{ID}/share?{}", url.split_once('?').unwrap().1)
}

#[test]
fn shared_link_opens_its_span_and_nothing_else() {
    let server = Server::start(&format!("[auth]\nkey = \"{KEY}\"\n"), put);
    let mine = token("team", &[Grant::Replay, Grant::Download]);
    let whole = until("it is listed", || {
        let answer = server.request("GET", &format!("/api/recordings/{ID}"), &[("Authorization", &mine)]);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(whole["share_url"], format!("/api/recordings/{ID}/share"));
    for (body, status) in [
        (json!({"from": 2_000, "to": 2_000}), 400),
        (json!({"from": 2_000, "to": 3_000, "participant": "paaaaaaaaaa"}), 404),
        (json!({"from": 2_000, "to": 3_000, "more": true}), 400),
    ] {
        assert_eq!(ask(&server, &mine, &body).status, status, "{body}");
    }
    let answer = ask(&server, &mine, &json!({"from": 7_500, "to": 9_000, "participant": "pabcdefghij"}));
    assert_eq!(answer.status, 201);
    assert!(answer.json()["expires_at"].is_string());
    let url = answer.json()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("/clip/{ID}?from=7500&to=9000&participant=pabcdefghij&exp=")), "{url}");

    let clip = server.get(&api(&url)).json();
    let names: Vec<&str> = clip["media"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, [FILES[0].0], "one person only");
    assert!(!clip.to_string().contains("Bo") && clip["whole_url"].is_null(), "{clip}");
    // It begins at the keyframe before, and who spoke then is known.
    assert_eq!((&clip["from_ms"], &clip["to_ms"]), (&json!(1_500), &json!(3_000)));
    assert_eq!(clip["events"], json!([{"t_ms": 0, "type": "speaking", "participants": ["pabcdefghij"]}]));
    assert_eq!(clip["started_at"], "2026-11-20T10:00:06Z");
    let said = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n<v Ada>late\n";
    assert_eq!(clip["captions"], json!([{"language": "en", "text": said}]));
    let media = clip["media"][FILES[0].0]["url"].as_str().unwrap();
    let film = server.get(media);
    assert_eq!(film.status, 200);
    assert!(check(&film.body[..], film.body.len() as u64, State::Closed).unwrap().is_sound());
    let part = server.request("GET", &format!("{media}&part=1"), &[("Range", "bytes=0-99")]);
    assert!(part.status == 206 && part.body == film.body[..100]);
    assert_eq!(server.get(clip["download_url"].as_str().unwrap()).status, 200);

    let other = FILES[1].0;
    for forged in [
        api(&url).replace("to=9000", "to=9001"),
        api(&url).replace("from=7500", "from=0"),
        api(&url).replace("&participant=pabcdefghij", ""),
        api(&url).replace("participant=pabcdefghij", "participant=p234567abcd"),
        api(&url).replace("&exp=", "&exp=9"),
        media.replace("to=9000", "to=9001"),
        media.replace("&shared", ""),
        media.replace(FILES[0].0, other),
        media.replace("/clip/", "/files/"),
        media.replace("/clip/", "/thumb/"),
        format!("/api/recordings/{ID}?{}", url.split_once('?').unwrap().1),
    ] {
        assert_eq!(server.get(&forged).status, 401, "{forged}");
    }
    // Without a signature it is as with the rest of the recording.
    let plain = format!("/api/recordings/{ID}/share?from=7500&to=9000");
    assert_eq!(server.get(&plain).status, 401);
    let replay = server.request("GET", &plain, &[("Authorization", &token("team", &[Grant::Replay]))]).json();
    assert_eq!(replay["media"].as_object().unwrap().len(), 2);
    assert!(replay["download_url"].is_null(), "{replay}");
    assert_eq!(replay["captions"][0]["text"], said);
    let of_bo = format!("{plain}&participant=p234567abcd");
    let of_bo = server.request("GET", &of_bo, &[("Authorization", &token("team", &[Grant::Replay]))]).json();
    assert_eq!((of_bo["files"].as_array().unwrap().len(), &of_bo["captions"]), (1, &json!([])), "what others say");
    assert_eq!(replay["whole_url"], format!("/recordings/{ID}?t=7.5,9"));
    assert_eq!(ask(&server, &token("team", &[Grant::Replay]), &json!({"from": 0, "to": 1})).status, 403);
    let all = server.request("GET", &plain, &[("Authorization", &mine)]).json();
    let archive = server.get(all["download_url"].as_str().unwrap());
    assert_eq!((archive.status, archive.header("content-type")), (200, "application/zip"));
    assert_eq!(server.get(&all["download_url"].as_str().unwrap().replace("to=9000", "to=9999")).status, 401);
    until("the log", || {
        let log = server.request("GET", "/api/audit", &[("Authorization", &token("", &[Grant::Admin]))]).json();
        let is_there = |entry: &serde_json::Value| {
            entry["action"] == "shared" && entry["what"] == "7500-9000 pabcdefghij" && entry["recording"] == ID
        };
        log["entries"].as_array()?.iter().any(is_there).then_some(())
    });
}

#[test]
fn shared_link_of_an_open_server_needs_no_signature() {
    let server = Server::start("", put);
    until("it is listed", || (server.get(&format!("/api/recordings/{ID}")).status == 200).then_some(()));
    let answer = ask(&server, "", &json!({"from": 0, "to": 3_000})).json();
    assert_eq!(answer, json!({"url": format!("/clip/{ID}?from=0&to=3000"), "expires_at": null}));
    let clip = server.get(&api(answer["url"].as_str().unwrap())).json();
    assert_eq!(
        (&clip["from_ms"], &clip["to_ms"], clip["files"].as_array().unwrap().len()),
        (&json!(0), &json!(3_000), 1)
    );
    let url = clip["media"][FILES[0].0]["url"].as_str().unwrap();
    assert_eq!(server.get(url).status, 200);
    assert_eq!(server.get(&format!("/api/recordings/{ID}/share?from=90000")).status, 404);

    // What captions say is found, and the list tells where.
    let found = |text: &str| server.get(&format!("/api/recordings?text={text}")).json()["recordings"][0].clone();
    assert_eq!(found("LAT")["said"], json!({"t_ms": 7_000, "who": "Ada", "text": "late", "language": "en"}));
    assert_eq!((&found("budget")["id"], &found("budget")["said"]), (&json!(ID), &json!(null)));
    assert_eq!(found("budget")["quality"], json!({"mark": "whole", "missing_ms": 0}));
}
