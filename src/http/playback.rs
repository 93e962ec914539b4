//! WHEP of a recording: it plays like somebody who publishes now, for as many viewers as come.
//! The session URL is that of all WHIP and WHEP sessions.

use axum::extract::{Request, State};
use axum::response::Response;
use reelay_signaling::{ErrorCode, RecordingId, RoomName, Source};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, Phase};
use super::caller::digest_of;
use super::error::{Path, Problem, ProblemBody, Query};
use super::segment::problem;
use super::whip::{SDP, created, new_session_id, text_body};
use crate::audit::{Action, By, To};
use crate::auth::{Caller, Grant};
use crate::playback::{View, Wanted, What};
use crate::recording::library::is_active;
use crate::recording::shelf::Place;
use crate::recording::{ManifestError, parse_manifest};
use crate::room::SdpAnswer;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(play))
}

/// What of a recording is played. Viewers who ask for the same see the same, at the same time.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PlayQuery {
    /// From which millisecond on; it begins at the keyframe at or before.
    #[serde(default)]
    t: u64,
    /// Whom: the id of a participant, or a name; without it whoever has a camera, and the next one when that ends.
    participant: Option<String>,
    /// `camera` (default) or `screen1` to `screen3` of that participant.
    source: Option<String>,
}

/// Play a recording as a live source
///
/// By WHEP, paced by the server: the first viewer starts it, who comes later sees what is on, from its next keyframe, and
/// 5 s after the last one left it ends. `PATCH` and `DELETE` go to the session in `Location`.
#[utoipa::path(
    post,
    path = "/api/recordings/{id}/whep",
    tag = "whep",
    params(("id" = String, Path, description = "Recording"), PlayQuery),
    request_body(content = String, content_type = "application/sdp"),
    responses(
        (status = 201, description = "SDP answer; `Location` is the session", body = String, content_type = "application/sdp"),
        (status = 400, description = "`bad-sdp`; `bad-request` when nothing comes after `t`", content_type = "application/problem+json", body = ProblemBody),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`, `participant-not-found`, `file-not-found`", content_type = "application/problem+json", body = ProblemBody),
        (status = 409, description = "`recording-active`: it still runs; watch its room instead", content_type = "application/problem+json", body = ProblemBody),
        (status = 415, description = "`unsupported-media-type`: not SDP, a damaged file, or a manifest of a later version", content_type = "application/problem+json", body = ProblemBody),
        (status = "4XX", description = "`no-common-codec`, `too-large`, `limit-reached`", content_type = "application/problem+json", body = ProblemBody),
        (status = 503, description = "`overloaded`, `draining`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn play(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<PlayQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let recording: RecordingId = id.parse()?;
    let found = app.library.find(&recording).await.map_err(problem)?;
    caller.require(Grant::Replay, found.room.parse::<RoomName>().ok().as_ref())?;
    if app.shutdown.phase() > Phase::Running {
        return Err(Problem::new(ErrorCode::Draining, "this server is about to stop and begins nothing new"));
    }
    if is_active(&found.state) {
        let text = format!("it is still {}; while it runs watch it at /whep/{}", found.state, found.room);
        return Err(Problem::new(ErrorCode::RecordingActive, text));
    }
    let manifest = parse_manifest(found.manifest.as_bytes()).map_err(|error| {
        let text = match error {
            ManifestError::Version(_) => format!("the manifest {error}"),
            error => format!("the manifest cannot be used: {error}"),
        };
        Problem::new(ErrorCode::UnsupportedMediaType, text)
    })?;
    let source: Source = query.source.as_deref().unwrap_or("camera").parse()?;
    let wanted = match query.participant {
        Some(who) => who.parse().map_or_else(|_| Wanted::Named(who, source), |id| Wanted::Participant(id, source)),
        None if query.source.is_some() => {
            return Err(Problem::new(ErrorCode::BadRequest, "a source needs a participant whose it is"));
        }
        None => Wanted::Anybody,
    };
    if !manifest.files.iter().any(|file| wanted.is(file)) {
        return Err(Problem::new(ErrorCode::ParticipantNotFound, "nobody of this id or name has such a file"));
    }
    let credential = digest_of(&app, request.headers());
    let offer = text_body(&app, SDP, request).await?;
    let session = new_session_id();
    let view = View {
        id: session.clone(),
        what: What { recording: recording.clone(), wanted, from_ms: query.t },
        files: manifest.files,
        folder: app.library.shelf().folder(&recording, Place::Shown),
        credential,
        expires: caller.expires,
        address: caller.address,
        offer,
    };
    let answer = app.playbacks.view(view).await?;
    let to = To { room: Some(found.room), recording: Some(id), what: Some("whep".into()) };
    app.audit.note_once(Action::Watched, By::from(&caller), to);
    Ok(created(&app, &session, SdpAnswer { sdp: answer.sdp, etag: answer.etag }))
}
