//! The rules of ARCHITECTURE.md that a machine can check: who may name whom, and what pure code must not do.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of ours that a module may name (`crate::…`). What is missing here may name everything.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("src/rtp", &["rtp"]),
    ("src/webm", &["webm", "rtp"]),
    ("src/media", &["media", "rtp"]),
    ("src/room", &["room", "media", "config", "auth", "places"]),
    ("src/playback", &["playback", "recording", "media", "webm", "rtp", "places"]),
    ("src/render", &["render", "recording"]),
    ("src/recording", &["recording", "media", "webm", "rtp"]),
];

/// Crates that only some places may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("rtc::", &["src/media", "src/bench", "src/cli/client", "src/cli/publish", "src/cli/watch"]),
    ("webrtc::", &["src/cli/publish", "src/cli/watch", "src/cli/client"]),
    ("axum::", &["src/http"]),
    ("webm_iterable::", &["src/webm"]),
    ("sqlx::", &["src/recording/catalog"]),
    ("quinn_udp::", &["src/media", "src/bench"]),
];

/// Decisions take time and bytes as arguments.
const PURE: &[&str] = &[
    "signaling/src",
    "src/rtp",
    "src/webm",
    "src/media/router",
    "src/media/cache",
    "src/media/rewrite",
    "src/media/keyframe",
    "src/media/speaking",
    "src/playback/script",
    "src/playback/stream",
    "src/recording/timeline",
    "src/recording/clock",
    "src/recording/manifest",
    "src/recording/report",
    "src/recording/life",
    "src/room/floor",
];
const IMPURE_WORDS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "tokio::",
    "std::fs",
    "std::net::Udp",
    "std::net::Tcp",
    "thread::",
    "async fn",
];

/// Where `unsafe` may stand.
const UNSAFE_IN: &[&str] = &["src/media/socket"];

const MAX_LINES: usize = 600;

#[test]
fn dependencies_point_one_way() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        for (module, allowed) in MAY_NAME {
            if !path.starts_with(module) {
                continue;
            }
            for name in named_modules(&text) {
                if !allowed.contains(&name.as_str()) {
                    faults.push(format!("{path} names crate::{name}"));
                }
            }
        }
        for (word, places) in ONLY_IN {
            let is_allowed = places.iter().any(|place| path.starts_with(place)) || path.starts_with("tests/");
            if !is_allowed && code_lines(&text).any(|(_, line)| names_crate(line, word)) {
                faults.push(format!("{path} names {word}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn pure_modules_have_no_clock_file_socket_or_task() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if !PURE.iter().any(|pure| path.starts_with(pure)) || path.ends_with("tests.rs") {
            continue;
        }
        for (number, line) in code_lines(&text) {
            if let Some(word) = IMPURE_WORDS.iter().find(|word| line.contains(**word)) {
                faults.push(format!("{path}:{number} has {word}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_stay_small_and_safe() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        if text.lines().count() > MAX_LINES {
            faults.push(format!("{path} has more than {MAX_LINES} lines"));
        }
        let may_be_unsafe = UNSAFE_IN.iter().any(|place| path.starts_with(place)) || path.starts_with("tests/");
        if !may_be_unsafe && code_lines(&text).any(|(_, line)| line.contains("unsafe {")) {
            faults.push(format!("{path} has unsafe code"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<String> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "no module doc: {silent:?}");
}

/// Path (relative, with slashes) and text of every Rust file of ours.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "signaling/src", "tests"] {
        collect(&root.join(folder), &mut files);
    }
    assert!(files.len() > 10, "the sources were not found");
    let relative = |file: &Path| file.strip_prefix(root).expect("it is below the root").to_string_lossy().to_string();
    files.iter().map(|file| (relative(file), fs::read_to_string(file).expect("a source is text"))).collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_foreign = path.file_name().is_some_and(|name| name == "node_modules");
        if path.is_dir() && !is_foreign {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Numbered lines before the inline tests, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or(line)))
}

fn named_modules(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (_, line) in code_lines(text) {
        for part in line.split("crate::").skip(1) {
            names.push(part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    names
}

/// True if `line` names the crate itself: `webrtc::` is not `rtc::`.
fn names_crate(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}
