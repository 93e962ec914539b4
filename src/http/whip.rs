//! WHIP (RFC 9725): publish by one POST. A WHIP publisher is a participant like any other.
//! The session URL serves WHEP too: PATCH and DELETE are the same for both.

use std::time::SystemTime;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reelay_signaling::{ErrorCode, RoomName};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::caller::digest_of;
use super::error::{Path, Problem, ProblemBody};
use crate::auth::{Caller, IceServers, links};
use crate::room::{Fragment, SdpAnswer, WebAction};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(publish_named))
        .routes(routes!(publish))
        .routes(routes!(patch_session, delete_session))
}

/// Publish into a room under a name.
#[utoipa::path(
    post, path = "/whip/{room}/{name}", tag = "whip",
    params(("room" = String, Path), ("name" = String, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses(
        (status = 201, description = "SDP answer; `Location` is the session", body = String, content_type = "application/sdp"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn publish_named(
    State(app): State<App>,
    caller: Caller,
    Path((room, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    start(app, caller, &room, Some(name), request).await
}

/// Publish into a room without a name.
#[utoipa::path(
    post, path = "/whip/{room}", tag = "whip",
    params(("room" = String, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses(
        (status = 201, description = "SDP answer; `Location` is the session", body = String, content_type = "application/sdp"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn publish(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    start(app, caller, &room, None, request).await
}

async fn start(
    app: App,
    caller: Caller,
    room: &str,
    name: Option<String>,
    request: Request,
) -> Result<Response, Problem> {
    let room: RoomName = room.parse()?;
    let credential = digest_of(&app, request.headers());
    let offer = text_body(&app, SDP, request).await?;
    let id = new_session_id();
    let action = WebAction::Publish { id: id.clone(), name, offer };
    let answer = app.rooms.web_open(&room, (caller, credential), action).await?;
    Ok(created(&app, &id, answer))
}

/// Send candidates, or restart ICE (`If-Match: *`).
#[utoipa::path(
    patch, path = "/sessions/{id}", tag = "whip",
    params(("id" = String, Path)),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses(
        (status = 200, description = "ICE restarted", body = String, content_type = "application/trickle-ice-sdpfrag"),
        (status = 204, description = "Candidates taken"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn patch_session(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let credential = digest_of(&app, request.headers());
    let if_match = request.headers().get(header::IF_MATCH).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = text_body(&app, FRAGMENT, request).await?;
    let Some(etag) = if_match else {
        let mut problem = Problem::new(ErrorCode::PreconditionFailed, "If-Match is needed: the ETag, or * to restart");
        problem.status = StatusCode::PRECONDITION_REQUIRED;
        return Err(problem);
    };
    if app.playbacks.has(&id) {
        return patch_playback(&app, &id, credential, etag, text).await;
    }
    if etag == "*" {
        let answer = app.rooms.web_act((caller, credential), WebAction::Restart { id, text }).await?;
        let headers = [(header::CONTENT_TYPE, FRAGMENT.to_owned()), (header::ETAG, answer.etag)];
        return Ok((StatusCode::OK, headers, answer.sdp).into_response());
    }
    let action = WebAction::Trickle { id, etag, fragment: Fragment::parse(&text) };
    app.rooms.web_act((caller, credential), action).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn patch_playback(
    app: &App,
    id: &str,
    credential: Option<[u8; 32]>,
    etag: String,
    text: String,
) -> Result<Response, Problem> {
    if etag != "*" {
        app.playbacks.trickle(id, credential, &etag)?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if Fragment::parse(&text).credentials().is_none() {
        return Err(Problem::new(ErrorCode::BadSdp, "a restart carries a=ice-ufrag and a=ice-pwd"));
    }
    let answer = app.playbacks.restart(id, credential, text).await?;
    let headers = [(header::CONTENT_TYPE, FRAGMENT.to_owned()), (header::ETAG, answer.etag)];
    Ok((StatusCode::OK, headers, answer.sdp).into_response())
}

/// End a session.
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "whip",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "Ended"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn delete_session(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let credential = digest_of(&app, &headers);
    if app.playbacks.has(&id) {
        app.playbacks.leave(&id, credential)?;
        return Ok(StatusCode::OK);
    }
    app.rooms.web_act((caller, credential), WebAction::Delete { id }).await?;
    Ok(StatusCode::OK)
}

/// The answer to a POST of WHIP or WHEP.
pub(super) fn created(app: &App, id: &str, answer: SdpAnswer) -> Response {
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, format!("/sessions/{id}")),
        (header::ETAG, answer.etag),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::HeaderName::from_static("accept-patch"), FRAGMENT.to_owned()),
    ];
    let mut response = (StatusCode::CREATED, headers, answer.sdp).into_response();
    let servers = IceServers::new(&app.config.media).for_client(SystemTime::now(), "web");
    for link in links(&servers).iter().filter_map(|link| link.parse().ok()) {
        response.headers_mut().append(header::LINK, link);
    }
    response
}

/// The body as text, if it is of the wanted type and not too large.
pub(super) async fn text_body(app: &App, wanted: &str, request: Request<Body>) -> Result<String, Problem> {
    let sent = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let sent = sent.split(';').next().unwrap_or("").trim();
    if !sent.eq_ignore_ascii_case(wanted) {
        return Err(Problem::new(ErrorCode::UnsupportedMediaType, format!("the body has to be {wanted}")));
    }
    let limit = app.config.limits.sdp_bytes;
    let bytes = to_bytes(request.into_body(), limit.0 as usize)
        .await
        .map_err(|_| Problem::new(ErrorCode::TooLarge, format!("an SDP has at most {limit} (limits.sdp_bytes)")))?;
    String::from_utf8(bytes.into()).map_err(|_| Problem::new(ErrorCode::BadSdp, "the body is not UTF-8"))
}

/// 128 random bits.
pub(super) fn new_session_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The media type of an SDP.
pub(super) const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
