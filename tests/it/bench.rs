//! The bench does what it says; how fast that is, only a release build on a quiet machine can tell.

use std::process::Command;

fn bench(arguments: &[&str]) -> serde_json::Value {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_reelay"));
    let output = command.arg("bench").args(arguments).arg("--json").env("TMPDIR", dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it leaves nothing behind");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn packets_reach_viewers_and_files() {
    let said = bench(&["fanout", "--viewers", "3", "--seconds", "1"]);
    assert!(said["packets"].as_u64().unwrap() > 300 && said["us_per_packet"].as_f64().unwrap() > 0.0, "{said}");
    let said = bench(&["record", "--publishers", "3", "--seconds", "1"]);
    assert_eq!((said["files"].as_u64(), said["open_files"].as_u64()), (Some(3), Some(0)), "{said}");
}

#[test]
fn files_are_made_repaired_closed_and_listed() {
    let said = bench(&["files", "--tiny"]);
    assert_eq!((said["recordings"].as_u64(), said["growth_hours"].as_u64()), (Some(100), Some(24)), "{said}");
    assert!(said["repaired_bytes"].as_u64().unwrap() >= 10_000_000, "{said}");
    let memory = said["bytes_per_recording"].as_u64().unwrap();
    assert!(memory < 2_000_000 && said["growth_bytes"].as_u64().unwrap() < 2_000_000, "{said}");
}

#[test]
fn pages_of_the_library_are_asked_for_in_every_way() {
    let said = bench(&["library", "--tiny"]);
    assert_eq!((said["recordings"].as_u64(), said["pages"].as_array().unwrap().len()), (Some(1_000), 21), "{said}");
}
