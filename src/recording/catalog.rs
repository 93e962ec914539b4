//! The catalogue: an index over the manifests in the recordings folder, in SQLite. The only module that speaks SQL.
//! It holds nothing that the folder does not know, so it may be deleted and rebuilt at any time.

mod entry;
mod hooks;
mod list;
mod words;

use std::path::Path;
use std::time::Duration;

use reelay_signaling::RecordingId;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, SqlSafeStr, SqliteConnection, SqlitePool};

use super::retention::Item;
pub use entry::{Entry, EntryError, chat_of};
pub use hooks::HookEvent;
pub use list::{Cursor, Filter, Page, Scope, Sort};
pub use words::Terms;

/// The index over all recordings. Clones share one pool of connections.
#[derive(Debug, Clone)]
pub struct Catalog {
    pool: SqlitePool,
}

/// Why the catalogue did not answer: its file cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// SQLite's own word.
    #[error("the catalogue does not answer")]
    Database(#[from] sqlx::Error),
    /// The tables could not be brought to this version.
    #[error("the catalogue is of another version")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// One recording with its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The room it is of.
    pub room: String,
    /// Its state.
    pub state: String,
    /// The manifest as JSON.
    pub manifest: String,
    /// When it was put into the trash, if it is there.
    pub deleted_at_ms: Option<i64>,
}

impl Found {
    /// How long it is.
    pub fn duration_ms(&self) -> u64 {
        #[derive(serde::Deserialize)]
        struct Length {
            #[serde(default)]
            duration_ms: u64,
        }
        serde_json::from_str::<Length>(&self.manifest).map_or(0, |length| length.duration_ms)
    }

    /// True when somebody wants it to be kept.
    pub fn is_kept(&self) -> bool {
        #[derive(serde::Deserialize)]
        struct Mark {
            #[serde(default)]
            keep: bool,
        }
        serde_json::from_str::<Mark>(&self.manifest).is_ok_and(|mark| mark.keep)
    }
}

/// What the catalogue remembers of a recording's manifest on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Which recording.
    pub id: RecordingId,
    /// When the manifest that was read had been written; 0 when it did not come from disk.
    pub manifest_mtime_ns: i64,
    /// When it was put into the trash, if it is there.
    pub deleted_at_ms: Option<i64>,
}

/// What the whole catalogue adds up to, without what is in the trash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Recordings.
    pub recordings: i64,
    /// Bytes of their files.
    pub bytes: i64,
}

impl Catalog {
    /// Opens the catalogue, or makes it, and brings its tables to this version.
    ///
    /// # Errors
    /// When the file cannot be opened or is not a catalogue.
    pub async fn open(path: &Path) -> Result<Self, CatalogError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // The folder is the truth: a power cut may lose the last rows, the next start finds them again.
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await?;
        migrator().run(&pool).await?;
        Ok(Self { pool })
    }

    /// Puts a manifest in, or what changed of it. What is in the trash stays there.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn upsert(&self, entry: &Entry, now_ms: i64) -> Result<(), CatalogError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        put(&mut tx, entry, now_ms).await?;
        Ok(tx.commit().await?)
    }

    /// As [`Self::upsert`] for a manifest read from disk at `read_ms`: a row that was written since then is newer.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn upsert_older(&self, entry: &Entry, read_ms: i64) -> Result<(), CatalogError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let newer = sqlx::query("SELECT 1 FROM recordings WHERE id = ? AND updated_at_ms >= ?");
        if newer.bind(entry.id.as_str()).bind(read_ms).fetch_optional(&mut *tx).await?.is_none() {
            put(&mut tx, entry, read_ms).await?;
        }
        Ok(tx.commit().await?)
    }

    /// One page of what the filter leaves.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, filter: &Filter) -> Result<Page, CatalogError> {
        let Some(mut query) = list::query(filter) else { return Ok(Page::default()) };
        let mut rows = query.build().fetch_all(&self.pool).await?;
        let limit = filter.limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let cursor = |row: &SqliteRow| Ok::<_, sqlx::Error>(Cursor { seq: row.try_get(0)?, value: row.try_get(1)? });
        let next = if has_more { rows.last().map(cursor).transpose()? } else { None };
        let summaries = rows.iter().map(|row| row.try_get(2)).collect::<Result<_, _>>()?;
        Ok(Page { summaries, next })
    }

    /// One recording, also when it is in the trash.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(&self, id: &RecordingId) -> Result<Option<Found>, CatalogError> {
        let query = sqlx::query(
            "SELECT r.room, r.state, m.json, r.deleted_at_ms FROM recordings r JOIN manifests m USING (seq) WHERE r.id = ?",
        );
        let Some(row) = query.bind(id.as_str()).fetch_optional(&self.pool).await? else { return Ok(None) };
        Ok(Some(Found {
            room: row.try_get(0)?,
            state: row.try_get(1)?,
            manifest: row.try_get(2)?,
            deleted_at_ms: row.try_get(3)?,
        }))
    }

    /// Marks a recording as deleted at this time, or (`None`) takes that back. False when it is not known.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn mark_deleted(&self, id: &RecordingId, at_ms: Option<i64>) -> Result<bool, CatalogError> {
        let query = sqlx::query("UPDATE recordings SET deleted_at_ms = ? WHERE id = ?").bind(at_ms).bind(id.as_str());
        Ok(query.execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Forgets a recording for good.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn forget(&self, id: &RecordingId) -> Result<(), CatalogError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        remove(&mut tx, id.as_str()).await?;
        Ok(tx.commit().await?)
    }

    /// What went into the trash before `before_ms`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deleted_before(&self, before_ms: i64) -> Result<Vec<RecordingId>, CatalogError> {
        let query = sqlx::query("SELECT id FROM recordings WHERE deleted_at_ms < ? ORDER BY deleted_at_ms LIMIT 1000");
        ids(query.bind(before_ms).fetch_all(&self.pool).await?)
    }

    /// Every recording that is not in the trash, for the rules of what is deleted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn items(&self) -> Result<Vec<Item>, CatalogError> {
        let query = sqlx::query(
            "SELECT id, room, state, started_at_ms, duration_ms, size_bytes, coalesce(json_extract(summary, '$.keep'), 0) \
             FROM recordings WHERE deleted_at_ms IS NULL",
        );
        let mut items = Vec::new();
        for row in query.fetch_all(&self.pool).await? {
            let Ok(id) = row.try_get::<&str, _>(0)?.parse() else { continue };
            let (started_at_ms, duration_ms): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
            items.push(Item {
                id,
                room: row.try_get(1)?,
                is_active: super::library::is_active(row.try_get(2)?),
                started_at_ms,
                ended_at_ms: started_at_ms.saturating_add(duration_ms),
                bytes: row.try_get::<i64, _>(5)?.max(0) as u64,
                is_kept: row.try_get::<i64, _>(6)? != 0,
            });
        }
        Ok(items)
    }

    /// Every recording that is known, with what is in the trash.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn known(&self) -> Result<Vec<Known>, CatalogError> {
        let query = sqlx::query("SELECT id, manifest_mtime_ns, deleted_at_ms FROM recordings");
        let mut known = Vec::new();
        for row in query.fetch_all(&self.pool).await? {
            if let Ok(id) = row.try_get::<&str, _>(0)?.parse() {
                known.push(Known { id, manifest_mtime_ns: row.try_get(1)?, deleted_at_ms: row.try_get(2)? });
            }
        }
        Ok(known)
    }

    /// Takes the place of everything that was there: each entry, and when it was deleted if it is in the trash.
    ///
    /// # Errors
    /// When the database does not take it; then it is as it was before.
    pub async fn rebuild(
        &self,
        entries: impl IntoIterator<Item = (Entry, Option<i64>)>,
        now_ms: i64,
    ) -> Result<u64, CatalogError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for statement in ["DELETE FROM search", "DELETE FROM people", "DELETE FROM manifests", "DELETE FROM recordings"]
        {
            sqlx::query(statement).execute(&mut *tx).await?;
        }
        let mut count = 0;
        for (entry, deleted_at_ms) in entries {
            put(&mut tx, &entry, now_ms).await?;
            if deleted_at_ms.is_some() {
                let query = sqlx::query("UPDATE recordings SET deleted_at_ms = ? WHERE id = ?");
                query.bind(deleted_at_ms).bind(entry.id.as_str()).execute(&mut *tx).await?;
            }
            count += 1;
        }
        tx.commit().await?;
        Ok(count)
    }

    /// What the catalogue adds up to.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn totals(&self) -> Result<Totals, CatalogError> {
        let query =
            sqlx::query("SELECT count(*), coalesce(sum(size_bytes), 0) FROM recordings WHERE deleted_at_ms IS NULL");
        let row = query.fetch_one(&self.pool).await?;
        Ok(Totals { recordings: row.try_get(0)?, bytes: row.try_get(1)? })
    }

    /// Bytes of everything that began at or after `from_ms`, without what is in the trash.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn bytes_since(&self, from_ms: i64) -> Result<i64, CatalogError> {
        let query = sqlx::query(
            "SELECT coalesce(sum(size_bytes), 0) FROM recordings INDEXED BY recordings_sizes WHERE seq >= ? AND deleted_at_ms IS NULL",
        );
        Ok(query.bind(from_ms.clamp(0, MAX_MS) << SEQ_BITS).fetch_one(&self.pool).await?.try_get(0)?)
    }

    /// Answers when the database does: for the readiness probe.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), CatalogError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes the file; clones of this catalogue answer no more.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn put(tx: &mut SqliteConnection, entry: &Entry, now_ms: i64) -> Result<(), sqlx::Error> {
    let known = sqlx::query("SELECT seq, started_at_ms FROM recordings WHERE id = ?");
    let known = known.bind(entry.id.as_str()).fetch_optional(&mut *tx).await?;
    let mut chat = entry.chat.as_deref().map(words::split);
    let mut said = entry.said.as_deref().map(words::split);
    let seq = match known {
        Some(row) => {
            let (old, started_at_ms): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            if chat.is_none() || said.is_none() {
                let query = sqlx::query("SELECT chat, said FROM search WHERE rowid = ?").bind(old);
                if let Some(row) = query.fetch_optional(&mut *tx).await? {
                    chat = chat.or(row.try_get(0)?);
                    said = said.or(row.try_get(1)?);
                }
            }
            sqlx::query("DELETE FROM search WHERE rowid = ?").bind(old).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM people WHERE seq = ?").bind(old).execute(&mut *tx).await?;
            let seq = if started_at_ms == entry.started_at_ms { old } else { free_seq(tx, entry).await? };
            sqlx::query("UPDATE recordings SET seq = ? WHERE id = ?")
                .bind(seq)
                .bind(entry.id.as_str())
                .execute(&mut *tx)
                .await?;
            seq
        }
        None => free_seq(tx, entry).await?,
    };
    sqlx::query(
        "INSERT INTO recordings (seq, id, room, state, started_at_ms, duration_ms, size_bytes, files_count, summary, \
         updated_at_ms, manifest_mtime_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET room = excluded.room, \
         state = excluded.state, started_at_ms = excluded.started_at_ms, duration_ms = excluded.duration_ms, \
         size_bytes = excluded.size_bytes, files_count = excluded.files_count, summary = excluded.summary, \
         updated_at_ms = excluded.updated_at_ms, manifest_mtime_ns = excluded.manifest_mtime_ns",
    )
    .bind(seq)
    .bind(entry.id.as_str())
    .bind(&entry.room)
    .bind(&entry.state)
    .bind(entry.started_at_ms)
    .bind(entry.duration_ms)
    .bind(entry.size_bytes)
    .bind(entry.files_count)
    .bind(&entry.summary)
    .bind(now_ms)
    .bind(entry.manifest_mtime_ns)
    .execute(&mut *tx)
    .await?;
    sqlx::query("INSERT INTO manifests (seq, json) VALUES (?, ?) ON CONFLICT (seq) DO UPDATE SET json = excluded.json")
        .bind(seq)
        .bind(&entry.manifest)
        .execute(&mut *tx)
        .await?;
    for who in entry.people.iter().flat_map(|(person, name)| [folded(person), folded(name)]) {
        if !who.is_empty() {
            let query = sqlx::query("INSERT OR IGNORE INTO people (who, seq) VALUES (?, ?)").bind(who).bind(seq);
            query.execute(&mut *tx).await?;
        }
    }
    let names: Vec<&str> = entry.people.iter().map(|(_, name)| name.as_str()).collect();
    sqlx::query("INSERT INTO search (rowid, title, tags, room, people, chat, said) VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(seq)
        .bind(words::split(&entry.title))
        .bind(words::split(&entry.tags.join("\n")))
        .bind(words::split(&entry.room))
        .bind(words::split(&names.join("\n")))
        .bind(chat)
        .bind(said)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

// The time, then bits of the id, so that the number is the same after a rebuild; the next free one if it is taken.
async fn free_seq(tx: &mut SqliteConnection, entry: &Entry) -> Result<i64, sqlx::Error> {
    let tail = entry.id.as_str().get(31..).and_then(|tail| i64::from_str_radix(tail, 16).ok()).unwrap_or_default();
    let mut seq = (entry.started_at_ms << SEQ_BITS) | (tail & ((1 << SEQ_BITS) - 1));
    while let Some(row) =
        sqlx::query("SELECT id FROM recordings WHERE seq = ?").bind(seq).fetch_optional(&mut *tx).await?
    {
        if row.try_get::<&str, _>(0)? == entry.id.as_str() {
            break;
        }
        seq = seq.saturating_sub(1);
    }
    Ok(seq)
}

async fn remove(tx: &mut SqliteConnection, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM search WHERE rowid = (SELECT seq FROM recordings WHERE id = ?)")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM recordings WHERE id = ?").bind(id).execute(&mut *tx).await?;
    Ok(())
}

fn ids(rows: Vec<SqliteRow>) -> Result<Vec<RecordingId>, CatalogError> {
    let mut ids = Vec::with_capacity(rows.len());
    for row in rows {
        // Only parsed ids go in.
        ids.extend(row.try_get::<&str, _>(0)?.parse::<RecordingId>());
    }
    Ok(ids)
}

fn folded(name: &str) -> String {
    name.to_lowercase()
}

fn migrator() -> Migrator {
    Migrator::with_migrations(migrations())
}

fn migrations() -> Vec<Migration> {
    let simple = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    vec![
        simple(1, "catalog", include_str!("catalog/migrations/0001_catalog.sql")),
        simple(2, "posters", include_str!("catalog/migrations/0002_posters.sql")),
        simple(3, "sizes", include_str!("catalog/migrations/0003_sizes.sql")),
        simple(4, "webhooks", include_str!("catalog/migrations/0004_webhooks.sql")),
        simple(5, "orders", include_str!("catalog/migrations/0005_orders.sql")),
        simple(6, "said", include_str!("catalog/migrations/0006_said.sql")),
    ]
}

const SEQ_BITS: u32 = 20;
const MAX_MS: i64 = (1 << 43) - 1;
const CONNECTIONS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
