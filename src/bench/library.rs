//! How long a page of the library takes among many recordings, whatever it is filtered and ordered by.

use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use super::files::Size;
use super::process::Scratch;
use crate::recording::catalog::{Catalog, Entry, Filter, Scope, Sort};

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LibraryReport {
    /// Recordings in the catalogue.
    pub recordings: u32,
    /// What was asked for, and the median time of a page of 48 in milliseconds.
    pub pages: Vec<(String, f64)>,
    /// The slowest of them.
    pub slowest_ms: f64,
}

/// Measures pages, searches, filters and orders in a catalogue of its own.
///
/// # Errors
/// When the disk or the database fails.
pub fn library(size: Size) -> anyhow::Result<LibraryReport> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(size))
}

async fn measure(size: Size) -> anyhow::Result<LibraryReport> {
    let scratch = Scratch::new()?;
    let catalog = Catalog::open(&scratch.path().join("catalog.sqlite")).await?;
    let recordings = if size == Size::Full { 100_000 } else { 1_000 };
    eprintln!("{recordings} recordings");
    let rows: Vec<(Entry, Option<i64>)> =
        (0..recordings).map(|n| entry(n).map(|entry| (entry, None))).collect::<anyhow::Result<_>>()?;
    catalog.rebuild(rows, 0).await?;
    let text = |text: &str| Filter { text: Some(text.into()), ..Filter::default() };
    let person = |name: &str| Filter { person: Some(name.into()), ..Filter::default() };
    let ordered = |sort: Sort| Filter { sort, ..Filter::default() };
    let room: Option<reelay_signaling::RoomName> = "room-7".parse().ok();
    let asked = [
        ("newest", Filter::default()),
        ("oldest", ordered(Sort::Oldest)),
        ("longest", ordered(Sort::Longest)),
        ("largest", ordered(Sort::Largest)),
        ("one room", Filter { room: room.clone(), ..Filter::default() }),
        ("one room, longest", Filter { room: room.clone(), ..ordered(Sort::Longest) }),
        ("a person who is everywhere", person("ada")),
        ("that person, longest", Filter { sort: Sort::Longest, ..person("ada") }),
        ("a person of 200", person("guest 3")),
        ("state that all have", Filter { state: Some("complete".into()), ..Filter::default() }),
        ("state that none has", Filter { state: Some("failed".into()), ..Filter::default() }),
        ("a word that all have", text("meeting")),
        ("that word, longest", Filter { sort: Sort::Longest, ..text("meeting") }),
        ("one Chinese character", text("\u{4f1a}")),
        ("two Chinese characters", text("\u{5f00}\u{4f1a}")),
        ("two words, one rare", text("meeting 99")),
        ("a word and a person", Filter { person: Some("bo".into()), ..text("meeting 99") }),
        ("a word that none has", text("nowhere")),
        ("a month", Filter { from_ms: Some(START_MS), to_ms: Some(START_MS + 30 * DAY_MS), ..Filter::default() }),
        ("who may see one room", Filter { scope: Scope::Rooms(room.into_iter().collect()), ..Filter::default() }),
    ];
    let mut report = LibraryReport { recordings, ..LibraryReport::default() };
    for (name, filter) in asked {
        let first = Filter { limit: PAGE, ..filter };
        let ms = median(&catalog, &first).await?;
        report.pages.push((name.to_owned(), ms));
        report.slowest_ms = report.slowest_ms.max(ms);
    }
    // Far down the list a page costs what the first one costs.
    let mut far = Filter { limit: 5_000.min(recordings / 2), sort: Sort::Longest, ..Filter::default() };
    for _ in 0..10 {
        far.cursor = catalog.list(&far).await?.next.or(far.cursor);
    }
    let ms = median(&catalog, &Filter { limit: PAGE, ..far }).await?;
    report.pages.push(("the middle of the longest".to_owned(), ms));
    report.slowest_ms = report.slowest_ms.max(ms);
    catalog.close().await;
    Ok(report)
}

async fn median(catalog: &Catalog, filter: &Filter) -> anyhow::Result<f64> {
    let mut took = Vec::new();
    for _ in 0..RUNS {
        let began = Instant::now();
        catalog.list(filter).await?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    Ok(took[RUNS / 2])
}

fn entry(n: u32) -> anyhow::Result<Entry> {
    let names =
        ["Ada".to_owned(), "Bo".to_owned(), "\u{674e}\u{5c0f}\u{9f99}".to_owned(), format!("Guest {}", n % 500)];
    let people: Vec<_> = names.iter().map(|name| json!({"person": format!("key-{name}"), "name": name})).collect();
    let started = time::OffsetDateTime::from_unix_timestamp(START_MS / 1000 + i64::from(n) * 600)?;
    let mut entry = Entry::from_value(json!({
        "version": 1, "id": format!("01920000-0000-7000-8000-{n:012x}"), "room": format!("room-{}", n % 500), "state": "complete",
        "started_at": started.format(&time::format_description::well_known::Rfc3339)?, "duration_ms": n * 7919 % 7_200_000,
        "participants": people, "files": [{"file": "f", "bytes": u64::from(n) * 104_729 % 1_000_000_000}],
    }))?;
    entry.chat = Some(format!("minutes of meeting {n} \u{4eca}\u{5929}\u{5f00}\u{4f1a}"));
    Ok(entry)
}

impl std::fmt::Display for LibraryReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "a page of {PAGE} among {} recordings (wanted: under 50 ms)", self.recordings)?;
        for (name, ms) in &self.pages {
            writeln!(f, "{ms:>8.2} ms  {name}")?;
        }
        write!(f, "{:>8.2} ms  the slowest", self.slowest_ms)
    }
}

const PAGE: u32 = 48;
const RUNS: usize = 9;
const DAY_MS: i64 = 86_400_000;
const START_MS: i64 = 1_767_225_600_000;
