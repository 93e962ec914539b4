//! WHEP: view one participant, or whoever publishes, by one POST. The session URL is WHIP's.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header;
use axum::response::Response;
use reelay_signaling::{ErrorCode, RoomName, Source};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::caller::digest_of;
use super::error::{Path, Problem, ProblemBody, Query};
use super::whip::{SDP, created, new_session_id, text_body};
use crate::audit::{Action, By, To};
use crate::auth::{Caller, Grant};
use crate::config::Watch;
use crate::room::{Wanted, WebAction};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(view)).routes(routes!(view_one))
}

#[derive(Debug, Deserialize)]
struct ViewQuery {
    source: Option<String>,
}

/// View whoever publishes longest in a room, and the next one when that ends.
#[utoipa::path(
    post, path = "/whep/{room}", tag = "whep",
    params(("room" = String, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses(
        (status = 201, description = "SDP answer; `Location` is the session", body = String, content_type = "application/sdp"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn view(State(app): State<App>, Path(room): Path<String>, request: Request) -> Result<Response, Problem> {
    start(app, &room, Wanted::Anybody, request).await
}

/// View one participant, by id or by name.
#[utoipa::path(
    post, path = "/whep/{room}/{who}", tag = "whep",
    params(
        ("room" = String, Path),
        ("who" = String, Path, description = "id of a participant, or the name of a live one"),
        ("source" = Option<String>, Query, description = "`camera` (default) or `screen1` to `screen3`"),
    ),
    request_body(content = String, content_type = "application/sdp"),
    responses(
        (status = 201, description = "SDP answer; `Location` is the session", body = String, content_type = "application/sdp"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn view_one(
    State(app): State<App>,
    Path((room, who)): Path<(String, String)>,
    Query(query): Query<ViewQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let source: Source = query.source.as_deref().unwrap_or("camera").parse()?;
    let wanted = match who.parse() {
        Ok(id) => Wanted::Participant(id, source),
        Err(_) => Wanted::Named(who, source),
    };
    start(app, &room, wanted, request).await
}

async fn start(app: App, room: &str, wanted: Wanted, request: Request) -> Result<Response, Problem> {
    let room: RoomName = room.parse()?;
    let credential = digest_of(&app, request.headers());
    let (mut parts, body) = request.into_parts();
    let caller = match Caller::from_request_parts(&mut parts, &app).await {
        // In rooms that anybody may watch nobody needs a token.
        Err(_) if credential.is_none() && app.config.room.watch == Watch::Open => Caller::nobody(),
        caller => caller?,
    };
    // Before anything else: who may not watch learns nothing of who publishes.
    if app.config.room.watch == Watch::Link {
        caller.require(Grant::Watch, Some(&room))?;
    }
    let offer = text_body(&app, SDP, Request::from_parts(parts, body)).await?;
    let id = new_session_id();
    let action = WebAction::View { id: id.clone(), wanted, offer };
    let by = By::from(&caller);
    let answer = app.rooms.web_open(&room, (caller, credential), action).await.map_err(|refused| {
        let may_come = matches!(refused.code, ErrorCode::NobodyPublishes);
        let problem = Problem::from(refused);
        if may_come { problem.with_header(header::RETRY_AFTER, RETRY_SECONDS) } else { problem }
    })?;
    app.audit.note(Action::WatchedLive, by, To { room: Some(room.as_str().to_owned()), ..To::default() });
    Ok(created(&app, &id, answer))
}

const RETRY_SECONDS: &str = "5";
