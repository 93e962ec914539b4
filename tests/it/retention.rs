//! What the settings delete at a real server: shown before, written down after, never what is kept.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Server, until};

fn id(n: u32) -> String {
    format!("0192abcd-0000-7000-8000-{n:012x}")
}

fn put(dir: &Path, n: u32) {
    let folder = dir.join(id(n));
    fs::create_dir(&folder).unwrap();
    let file = "pabcdefghij-camera-1.webm";
    fs::write(folder.join(file), vec![0; 1000]).unwrap();
    let manifest = json!({"version": 1, "id": id(n), "room": "team", "state": "complete",
        "started_at": format!("2026-01-0{n}T10:00:00Z"), "duration_ms": 1000, "participants": [],
        "files": [{"file": file, "participant": "pabcdefghij", "source": "camera", "bytes": 1000}]});
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

#[test]
fn nothing_is_deleted_by_default_and_the_preview_says_so() {
    let server = Server::start("", |dir| put(dir, 1));
    let preview = until("the list", || {
        let preview = server.get("/api/retention").json();
        (preview["total_bytes"] == 1000).then_some(preview)
    });
    assert_eq!((&preview["would_go"], &preview["max_age_s"]), (&json!([]), &json!(null)));
    assert!(preview["free_bytes"].as_u64().unwrap() > 0, "{preview}");
}

#[test]
fn oldest_that_is_not_kept_goes_and_the_log_says_why() {
    let server = Server::start("[retention]\nmax_total = \"2kB\"\nevery = \"1s\"\n", |dir| {
        put(dir, 1);
        fs::write(dir.join(id(1)).join("notes.json"), r#"{"keep": true}"#).unwrap();
    });
    until("the kept one", || (server.get("/api/retention").json()["kept"] == 1).then_some(()));
    let recordings = server.recordings();
    (2..=3).for_each(|n| put(&recordings, n));
    let reindex = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_reelay"));
        let output = command.args(["reindex", "--recordings", "recordings"]).current_dir(server.dir.path()).output();
        assert!(output.unwrap().status.success());
    };
    reindex();
    let log = until("the deletion", || {
        let log = server.get("/api/audit").json();
        (!log["entries"].as_array()?.is_empty()).then_some(log)
    });
    let entry = &log["entries"][0];
    assert_eq!((&entry["action"], &entry["who"]), (&json!("deleted"), &json!("retention")));
    assert_eq!((&entry["recording"], &entry["what"]), (&json!(id(2)), &json!("retention.max_total")));
    let left = server.get("/api/recordings").json();
    assert_eq!(ids(&left["recordings"]), [id(3), id(1)]);
    let preview = server.get("/api/retention").json();
    assert_eq!((&preview["would_go"], &preview["max_total_bytes"]), (&json!([]), &json!(2000)));
    let back = server.request("POST", &format!("/api/recordings/{}/undo", id(2)), &[]);
    assert_eq!(back.status, 204, "it can be taken back for a while");
}
