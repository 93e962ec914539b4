//! The catalogue: filters, pages, deletion, rebuilding, orders. How long a page takes among
//! 100,000 is a bench: `reelay bench library`.

use serde_json::{Value, json};

use super::*;

async fn catalog() -> (tempfile::TempDir, Catalog) {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.sqlite")).await.unwrap();
    (dir, catalog)
}

fn entry(n: u32, room: &str, names: &[&str]) -> Entry {
    let people: Vec<Value> = names.iter().map(|name| json!({"person": format!("key-{name}"), "name": name})).collect();
    let minute = n % 60;
    let hour = n / 60 % 24;
    let day = 1 + n / 1440 % 28;
    let month = 1 + n / 1440 / 28 % 12;
    Entry::from_value(json!({
        "version": 1, "id": format!("01920000-0000-7000-8000-{n:012x}"), "room": room, "state": "complete",
        "started_at": format!("2026-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z"), "duration_ms": 60_000,
        "participants": people, "files": [{"file": "f", "bytes": 10}],
    }))
    .unwrap()
}

fn ids_of(page: &Page) -> Vec<u32> {
    let id = |summary: &String| serde_json::from_str::<Value>(summary).unwrap()["id"].as_str().unwrap().to_owned();
    page.summaries.iter().map(|s| u32::from_str_radix(&id(s)[24..], 16).unwrap()).collect()
}

async fn check(catalog: &Catalog, filter: Filter, expected: &[u32]) {
    let page = catalog.list(&Filter { limit: 50, ..filter.clone() }).await.unwrap();
    assert_eq!(ids_of(&page), expected, "{filter:?}");
}

#[tokio::test]
async fn lists_are_narrowed_by_every_filter() {
    let (_dir, catalog) = catalog().await;
    for (n, room, names) in
        [(1, "team-1", vec!["Ada", "李小龙"]), (2, "team-1", vec!["Bo"]), (3, "会议室", vec!["ada", "Zoë Müller"])]
    {
        catalog.upsert(&entry(n, room, &names), 0).await.unwrap();
    }
    let chat = Entry { chat: Some("今天开会吗\nbudget 2027".into()), ..entry(2, "team-1", &["Bo"]) };
    catalog.upsert(&chat, 1).await.unwrap();
    // A later change of the manifest keeps the chat.
    catalog.upsert(&entry(2, "team-1", &["Bo"]), 2).await.unwrap();

    let text = |text: &str| Filter { text: Some(text.into()), ..Filter::default() };
    check(&catalog, Filter::default(), &[3, 2, 1]).await;
    check(&catalog, Filter { room: "Team-1".parse().ok(), ..Filter::default() }, &[2, 1]).await;
    check(&catalog, Filter { person: Some("ADA".into()), ..Filter::default() }, &[3, 1]).await;
    check(&catalog, Filter { person: Some("key-Bo".into()), ..Filter::default() }, &[2]).await;
    check(&catalog, Filter { state: Some("failed".into()), ..Filter::default() }, &[]).await;
    check(&catalog, Filter { scope: Scope::Rooms(vec!["会议室".parse().unwrap()]), ..Filter::default() }, &[3]).await;
    check(&catalog, Filter { scope: Scope::Rooms(vec![]), ..Filter::default() }, &[]).await;
    let start = entry(2, "x", &[]).started_at_ms;
    check(&catalog, Filter { from_ms: Some(start), ..Filter::default() }, &[3, 2]).await;
    check(&catalog, Filter { to_ms: Some(start), ..Filter::default() }, &[1]).await;
    check(&catalog, text("开会"), &[2]).await;
    check(&catalog, text("会"), &[3, 2]).await;
    check(&catalog, text("会开"), &[]).await;
    check(&catalog, text("小龙"), &[1]).await;
    check(&catalog, text("BUD team-1"), &[2]).await;
    check(&catalog, text("muller"), &[3]).await;
    check(&catalog, text("\"'(*) NEAR"), &[]).await;
    check(&catalog, text("!"), &[]).await;
    check(&catalog, text("   "), &[3, 2, 1]).await;
    check(&catalog, Filter { room: "team-1".parse().ok(), person: Some("ada".into()), ..text("team") }, &[1]).await;
}

#[tokio::test]
async fn cursors_walk_through_everything_once() {
    let (_dir, catalog) = catalog().await;
    for n in 0..25 {
        // Many began in the same millisecond and share the low bits of their ids.
        let id = format!("01920000-0000-7000-8000-{:07x}00001", n).parse().unwrap();
        catalog.upsert(&Entry { id, ..entry(7, "r", &[]) }, 0).await.unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = catalog.list(&Filter { limit: 4, cursor, ..Filter::default() }).await.unwrap();
        seen.extend(page.summaries);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
}

#[tokio::test]
async fn what_is_deleted_is_not_listed_and_comes_back() {
    let (_dir, catalog) = catalog().await;
    let one = entry(1, "r", &["Ada"]);
    catalog.upsert(&one, 0).await.unwrap();
    assert!(catalog.mark_deleted(&one.id, Some(5)).await.unwrap());
    catalog.upsert(&one, 6).await.unwrap();
    check(&catalog, Filter::default(), &[]).await;
    assert_eq!(catalog.find(&one.id).await.unwrap().unwrap().deleted_at_ms, Some(5));
    assert_eq!(catalog.totals().await.unwrap(), Totals::default());
    assert_eq!(catalog.deleted_before(6).await.unwrap(), std::slice::from_ref(&one.id));
    assert!(catalog.mark_deleted(&one.id, None).await.unwrap());
    check(&catalog, Filter::default(), &[1]).await;
    assert_eq!(catalog.totals().await.unwrap(), Totals { recordings: 1, bytes: 10 });
    catalog.forget(&one.id).await.unwrap();
    assert_eq!(catalog.find(&one.id).await.unwrap(), None);
    check(&catalog, Filter { text: Some("ada".into()), ..Filter::default() }, &[]).await;
}

#[tokio::test]
async fn a_new_time_moves_a_recording_with_all_that_hangs_on_it() {
    let (_dir, catalog) = catalog().await;
    let chat = Some("hello".to_owned());
    catalog.upsert(&Entry { chat, ..entry(1, "r", &["Ada"]) }, 0).await.unwrap();
    catalog.upsert(&entry(2, "r", &[]), 0).await.unwrap();
    let moved = Entry { id: entry(1, "r", &[]).id, ..entry(3, "r", &["Ada"]) };
    catalog.upsert(&moved, 1).await.unwrap();
    let page = catalog.list(&Filter { limit: 9, text: Some("hello".into()), ..Filter::default() }).await.unwrap();
    assert_eq!(page.summaries.len(), 1);
    assert_eq!(catalog.find(&moved.id).await.unwrap().unwrap().manifest, moved.manifest);
    assert_eq!(catalog.list(&Filter { limit: 1, ..Filter::default() }).await.unwrap().summaries, [moved.summary]);
}

#[tokio::test]
async fn a_manifest_from_disk_does_not_undo_a_newer_row() {
    let (_dir, catalog) = catalog().await;
    let new = Entry { state: "complete".into(), ..entry(1, "r", &[]) };
    catalog.upsert(&new, 10).await.unwrap();
    catalog.upsert_older(&Entry { state: "recording".into(), ..new.clone() }, 10).await.unwrap();
    assert_eq!(catalog.find(&new.id).await.unwrap().unwrap().state, "complete");
    catalog.upsert_older(&Entry { state: "failed".into(), ..new.clone() }, 11).await.unwrap();
    assert_eq!(catalog.find(&new.id).await.unwrap().unwrap().state, "failed");
}

#[tokio::test]
async fn a_rebuild_gives_the_same_rows_and_the_file_opens_again() {
    let (dir, catalog) = catalog().await;
    let entries: Vec<Entry> = (0..20).map(|n| entry(n, "r", &["Ada"])).collect();
    for entry in entries.iter().rev() {
        catalog.upsert(entry, 0).await.unwrap();
    }
    let all = Filter { limit: 50, ..Filter::default() };
    let before = catalog.list(&all).await.unwrap();
    catalog.close().await;
    let catalog = Catalog::open(&dir.path().join("catalog.sqlite")).await.unwrap();
    let deleted = |n: usize| (n == 3).then_some(9);
    let rows = entries.into_iter().enumerate().map(|(n, entry)| (entry, deleted(n)));
    assert_eq!(catalog.rebuild(rows, 1).await.unwrap(), 20);
    let after = catalog.list(&all).await.unwrap();
    assert_eq!(after.summaries.len(), 19);
    assert!(after.summaries.iter().all(|summary| before.summaries.contains(summary)));
}

#[tokio::test]
async fn sizes_are_added_up_from_a_time_on_without_the_trash() {
    let (_dir, catalog) = catalog().await;
    let entries: Vec<Entry> = (1..4).map(|n| Entry { size_bytes: 10_i64.pow(n), ..entry(n, "team", &[]) }).collect();
    for entry in &entries {
        catalog.upsert(entry, 0).await.unwrap();
    }
    catalog.mark_deleted(&entries[2].id, Some(1)).await.unwrap();
    assert_eq!(catalog.bytes_since(0).await.unwrap(), 110);
    assert_eq!(catalog.bytes_since(entries[1].started_at_ms).await.unwrap(), 100);
    assert_eq!(catalog.bytes_since(i64::MAX).await.unwrap(), 0);
}

#[tokio::test]
async fn every_order_is_walked_through_once_page_by_page() {
    let (_dir, catalog) = catalog().await;
    // Lengths and sizes that many share, and a person and a word that all have.
    for n in 0..23_u32 {
        let chat = Some("budget".to_owned());
        let (duration_ms, size_bytes) = (i64::from(n * 7 % 5), i64::from(n * 11 % 6));
        catalog.upsert(&Entry { duration_ms, size_bytes, chat, ..entry(n, "r", &["Ada"]) }, 0).await.unwrap();
    }
    let newest: Vec<u32> = (0..23).rev().collect();
    let by = |value: fn(u32) -> u32| {
        let mut ids = newest.clone();
        ids.sort_by_key(|n| std::cmp::Reverse((value(*n), *n)));
        ids
    };
    let orders = [
        (Sort::Newest, newest.clone()),
        (Sort::Oldest, (0..23).collect()),
        (Sort::Longest, by(|n| n * 7 % 5)),
        (Sort::Largest, by(|n| n * 11 % 6)),
    ];
    for (sort, expected) in orders {
        for (text, person) in [(None, None), (Some("budget"), None), (None, Some("ada")), (Some("bud"), Some("ada"))] {
            let (text, person) = (text.map(str::to_owned), person.map(str::to_owned));
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let filter =
                    Filter { sort, cursor, text: text.clone(), person: person.clone(), limit: 4, ..Filter::default() };
                let page = catalog.list(&filter).await.unwrap();
                seen.extend(ids_of(&page));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected, "{sort:?} {text:?} {person:?}");
        }
    }
}

#[tokio::test]
async fn a_catalogue_from_before_captions_keeps_what_it_finds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.sqlite");
    let pool =
        SqlitePoolOptions::new().connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true));
    let pool = pool.await.unwrap();
    let before = migrations().into_iter().filter(|migration| migration.version < 6).collect();
    Migrator::with_migrations(before).run(&pool).await.unwrap();
    let one = entry(1, "r", &["Ada"]);
    let row = "INSERT INTO recordings (seq, id, room, state, started_at_ms, duration_ms, size_bytes, files_count, summary, \
        updated_at_ms, manifest_mtime_ns) VALUES (5, ?, 'r', 'complete', 0, 0, 0, 0, '{}', 0, 7)";
    sqlx::query(row).bind(one.id.as_str()).execute(&pool).await.unwrap();
    let row =
        "INSERT INTO search (rowid, title, tags, room, people, chat) VALUES (5, '', '', 'r', 'Ada', 'the budget')";
    sqlx::query(row).execute(&pool).await.unwrap();
    pool.close().await;

    let catalog = Catalog::open(&path).await.unwrap();
    let found = |text: &str| Filter { text: Some(text.into()), limit: 9, ..Filter::default() };
    assert_eq!(catalog.list(&found("budget")).await.unwrap().summaries, ["{}"]);
    assert_eq!(catalog.known().await.unwrap()[0].manifest_mtime_ns, 0);
    let said = Entry { said: Some("今天开会".into()), ..one };
    catalog.upsert(&said, 0).await.unwrap();
    assert_eq!(catalog.list(&found("budget 会")).await.unwrap().summaries.len(), 1);
}
