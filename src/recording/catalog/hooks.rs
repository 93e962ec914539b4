//! The part of the database that is no index: what webhooks have to tell, and how far each target has heard.

use sqlx::Row;

use super::{Catalog, CatalogError};

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEvent {
    /// Rises by one for each.
    pub n: i64,
    /// What happened.
    pub event: String,
    /// JSON.
    pub body: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

impl Catalog {
    /// Keeps something to be told; false when the same was kept before. What is older than `forget_ms` goes.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn keep_hook(
        &self,
        key: &str,
        (event, body): (&str, &str),
        now_ms: i64,
        forget_ms: i64,
    ) -> Result<bool, CatalogError> {
        sqlx::query("DELETE FROM hook_events WHERE at_ms < ?").bind(forget_ms).execute(&self.pool).await?;
        // An insert that is ignored would use up a number, and a gap looks like something missed.
        let query = sqlx::query(
            "INSERT INTO hook_events (key, event, body, at_ms) SELECT ?, ?, ?, ? \
             WHERE NOT EXISTS (SELECT 1 FROM hook_events WHERE key = ?)",
        );
        let done = query.bind(key).bind(event).bind(body).bind(now_ms).bind(key).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }

    /// The last event that a target has taken. A new target hears what comes from now on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn hook_position(&self, url: &str) -> Result<i64, CatalogError> {
        let query = "INSERT OR IGNORE INTO hook_targets (url, done) \
                     VALUES (?, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'hook_events'), 0))";
        sqlx::query(query).bind(url).execute(&self.pool).await?;
        let query = sqlx::query("SELECT done FROM hook_targets WHERE url = ?");
        Ok(query.bind(url).fetch_one(&self.pool).await?.try_get(0)?)
    }

    /// A target has taken event `n`.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn hook_done(&self, url: &str, n: i64) -> Result<(), CatalogError> {
        let query = sqlx::query("UPDATE hook_targets SET done = ? WHERE url = ?").bind(n).bind(url);
        query.execute(&self.pool).await?;
        Ok(())
    }

    /// Every target hears again what came after event `n`.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn rewind_hooks(&self, n: i64) -> Result<(), CatalogError> {
        sqlx::query("UPDATE hook_targets SET done = min(done, ?)").bind(n).execute(&self.pool).await?;
        Ok(())
    }

    /// The number of the last event; 0 when there was none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_hook(&self) -> Result<i64, CatalogError> {
        let query = sqlx::query("SELECT coalesce(max(n), 0) FROM hook_events");
        Ok(query.fetch_one(&self.pool).await?.try_get(0)?)
    }

    /// Up to `limit` events after number `after`, in order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn hooks_after(&self, after: i64, limit: u32) -> Result<Vec<HookEvent>, CatalogError> {
        let query = sqlx::query("SELECT n, event, body, at_ms FROM hook_events WHERE n > ? ORDER BY n LIMIT ?");
        let mut events = Vec::new();
        for row in query.bind(after).bind(limit).fetch_all(&self.pool).await? {
            let (n, event, body, at_ms) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            events.push(HookEvent { n, event, body, at_ms });
        }
        Ok(events)
    }
}
