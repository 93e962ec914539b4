//! `/api/retention`: what would be deleted now, and when the disk will be full.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::error::{Problem, ProblemBody};
use crate::auth::{Caller, Grant};
use crate::recording::retention::{Item, Reason, bytes_per_day, full_at_ms};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(retention))
}

/// What the rules mean today.
#[derive(Debug, Serialize, ToSchema)]
struct RetentionAnswer {
    /// `retention.max_age` in seconds; null when age deletes nothing.
    max_age_s: Option<u64>,
    /// `retention.max_total`; null when size deletes nothing.
    max_total_bytes: Option<u64>,
    /// `retention.min_free`; null when a full disk deletes nothing.
    min_free_bytes: Option<u64>,
    /// What the next look deletes, oldest first. What went is in the audit log.
    would_go: Vec<Going>,
    /// Recordings that are marked to be kept.
    kept: usize,
    /// All recordings together.
    total_bytes: u64,
    /// Free on their disk.
    free_bytes: Option<u64>,
    /// What the last week has brought, by day.
    bytes_per_day: u64,
    /// The day on which the disk is full if it goes on like this; null when that is years away.
    full_on: Option<String>,
}

/// A recording that has to go.
#[derive(Debug, Serialize, ToSchema)]
struct Going {
    id: String,
    room: String,
    /// RFC 3339, UTC.
    started_at: String,
    size_bytes: u64,
    /// `age`, `total` or `free`.
    #[schema(value_type = String)]
    reason: Reason,
}

/// What would be deleted now, and when the disk will be full
#[utoipa::path(
    get,
    path = "/api/retention",
    tag = "operation",
    responses(
        (status = 200, description = "What the rules mean today", body = RetentionAnswer),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn retention(State(app): State<App>, caller: Caller) -> Result<Json<RetentionAnswer>, Problem> {
    caller.require(Grant::Admin, None)?;
    let items = app.library.catalog().items().await.map_err(Problem::internal)?;
    let free = app.recorder.free().map(|(bytes, _)| bytes);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let going = app.retention.plan(&items, now, free.unwrap_or(u64::MAX));
    let each_day = bytes_per_day(&items, now);
    let full_at = free.and_then(|free| full_at_ms(free, each_day, now));
    Ok(Json(RetentionAnswer {
        max_age_s: app.retention.max_age.map(|age| age.as_secs()),
        max_total_bytes: app.retention.max_total,
        min_free_bytes: app.retention.min_free,
        would_go: going.into_iter().map(|(item, reason)| answer(item, reason)).collect(),
        kept: items.iter().filter(|item| item.is_kept).count(),
        total_bytes: items.iter().map(|item| item.bytes).sum(),
        free_bytes: free,
        bytes_per_day: each_day,
        full_on: full_at.map(moment).map(|text| text.chars().take(10).collect()),
    }))
}

fn answer(item: &Item, reason: Reason) -> Going {
    Going {
        id: item.id.to_string(),
        room: item.room.clone(),
        started_at: moment(item.started_at_ms),
        size_bytes: item.bytes,
        reason,
    }
}

fn moment(ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
