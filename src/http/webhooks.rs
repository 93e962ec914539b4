//! `/api/webhooks`: what was told to other programs, how far each has heard, and telling it again.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::error::{Json as Body, Problem, ProblemBody};
use crate::auth::{Caller, Grant};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(webhooks)).routes(routes!(replay))
}

/// What was told and to whom.
#[derive(Debug, Serialize, ToSchema)]
struct WebhooksAnswer {
    /// In the order of the settings.
    targets: Vec<Target>,
    /// The last hundred events, oldest first.
    events: Vec<Event>,
}

/// Somebody who is told.
#[derive(Debug, Serialize, ToSchema)]
struct Target {
    /// Without its query, which may be a secret.
    url: String,
    /// The last event that it took.
    done: i64,
}

/// Something that was told, or waits to be.
#[derive(Debug, Serialize, ToSchema)]
struct Event {
    /// Comes as `Reelay-Delivery`.
    n: i64,
    /// `recording-finished`, `recording-failed`, `recording-repaired`, `recording-deleted` or `recording-restored`.
    event: String,
    /// What is sent.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    body: Value,
}

/// From where to tell again.
#[derive(Debug, Deserialize, ToSchema)]
struct ReplayBody {
    /// Events after this number; 0 for all that are still known (30 days).
    after: i64,
}

/// What was told to other programs
#[utoipa::path(
    get,
    path = "/api/webhooks",
    tag = "operation",
    responses(
        (status = 200, description = "What and to whom", body = WebhooksAnswer),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn webhooks(State(app): State<App>, caller: Caller) -> Result<Json<WebhooksAnswer>, Problem> {
    caller.require(Grant::Admin, None)?;
    let catalog = app.library.catalog();
    let mut targets = Vec::new();
    for target in app.hooks.targets() {
        let done = catalog.hook_position(&target.to_string()).await.map_err(Problem::internal)?;
        let url = target.to_string();
        targets.push(Target { url: url.split('?').next().unwrap_or_default().to_owned(), done });
    }
    let last = catalog.last_hook().await.map_err(Problem::internal)?;
    let events = catalog.hooks_after(last - SHOWN, SHOWN as u32).await.map_err(Problem::internal)?;
    let event = |event: crate::recording::catalog::HookEvent| Event {
        n: event.n,
        event: event.event,
        body: serde_json::from_str(&event.body).unwrap_or_default(),
    };
    Ok(Json(WebhooksAnswer { targets, events: events.into_iter().map(event).collect() }))
}

/// Tell again what came after an event
///
/// To every target, in order; receivers know what they have by `Reelay-Delivery`.
#[utoipa::path(
    post,
    path = "/api/webhooks/replay",
    tag = "operation",
    request_body = ReplayBody,
    responses(
        (status = 202, description = "It is on its way"),
        (status = "4XX", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn replay(State(app): State<App>, caller: Caller, request: Request) -> Result<StatusCode, Problem> {
    caller.require(Grant::Admin, None)?;
    let Body(ReplayBody { after }) = Body::from_request(request, &app).await?;
    app.library.catalog().rewind_hooks(after.max(0)).await.map_err(Problem::internal)?;
    app.hooks.wake();
    Ok(StatusCode::ACCEPTED)
}

const SHOWN: i64 = 100;
