//! `/api/audit`: the audit log, for who may do everything.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::error::{Problem, ProblemBody, Query};
use super::segment::on_disk;
use crate::audit::{Action, Entry, Wanted};
use crate::auth::{Caller, Grant};
use reelay_signaling::ErrorCode;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(audit))
}

/// Which part of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Entries after this number.
    #[serde(default)]
    after: u64,
    /// How many at most: 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The last entries instead of the first ones.
    #[serde(default)]
    latest: bool,
    /// About this recording.
    recording: Option<String>,
    /// Of this kind: see `action` of an entry.
    #[param(value_type = Option<String>)]
    action: Option<Action>,
    /// By this `sub`, or part of the server: `retention` deletes by the rules.
    who: Option<String>,
}

/// A part of the log, oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct AuditAnswer {
    entries: Vec<Entry>,
    /// For `after`, when there may be more.
    next: Option<u64>,
}

/// Who watched, downloaded, deleted and changed rights
///
/// `reelay audit` checks on the server itself that no line was changed or taken out.
#[utoipa::path(
    get,
    path = "/api/audit",
    tag = "operation",
    params(AuditQuery),
    responses(
        (status = 200, description = "A part of the log", body = AuditAnswer),
        (status = 400, description = "`bad-request`", content_type = "application/problem+json", body = ProblemBody),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn audit(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<AuditQuery>, Problem>,
) -> Result<Json<AuditAnswer>, Problem> {
    caller.require(Grant::Admin, None)?;
    let Query(AuditQuery { after, limit, latest, recording, action, who }) = query?;
    let limit = limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::new(ErrorCode::BadRequest, "limit is between 1 and 1000"));
    }
    let wanted = Wanted { after, limit, is_latest: latest, recording, action, who };
    let entries = on_disk(move || app.audit.read(&wanted).map_err(Problem::internal)).await?;
    let next = entries.last().filter(|_| entries.len() == limit && !latest).map(|entry| entry.n);
    Ok(Json(AuditAnswer { entries, next }))
}
