//! `/api/rooms` and what a host does there, `/api/drain`, and `/api/config` for the pages.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use reelay_signaling::{ErrorCode, Kind, Moderation, ParticipantId, RoomName, RoomRecording, Source};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, Phase};
use super::error::{Json as Body, Path, Problem, ProblemBody};
use crate::auth::{Caller, Grant};
use crate::config::{RecordingStart, RecordingTracks, Watch};
use crate::recording::{Accepted, Input, Reply};
use crate::room::{RoomHandle, Snapshot};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one, end))
        .routes(routes!(start_recording, stop_recording))
        .routes(routes!(pause_recording))
        .routes(routes!(resume_recording))
        .routes(routes!(mute))
        .routes(routes!(remove))
        .routes(routes!(drain))
        .routes(routes!(config))
}

/// The live rooms.
#[derive(Debug, Serialize, ToSchema)]
struct RoomList {
    rooms: Vec<RoomAnswer>,
    /// Always null: all rooms are in one answer.
    next: Option<String>,
}

/// A live room.
#[derive(Debug, Serialize, ToSchema)]
struct RoomAnswer {
    /// Its name.
    room: String,
    /// Who is there.
    participants: Vec<RoomPerson>,
    /// How many watch.
    watchers: u32,
    /// What the recording does: `state`, `id`, `duration_ms`, `behind_ms`, `by`, `reason`, `consent_required`.
    #[schema(value_type = RecordingAnswer)]
    recording: RoomRecording,
    /// Whether the caller may watch it.
    watch: bool,
}

/// Somebody in a room.
#[derive(Debug, Serialize, ToSchema)]
struct RoomPerson {
    #[schema(value_type = String)]
    id: ParticipantId,
    name: String,
}

/// What the recording of a room does.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the JSON of a type in a crate without utoipa")]
struct RecordingAnswer {
    /// `off`, `waiting`, `recording`, `paused` or `interrupted`.
    state: String,
    /// The recording that runs, or the one that just ended.
    id: Option<String>,
    /// Milliseconds on disk.
    duration_ms: u64,
    /// How far the disk is behind the call.
    behind_ms: u64,
    /// Who started it.
    by: Option<String>,
    /// Why it is interrupted.
    reason: Option<String>,
    /// Everybody is asked first.
    consent_required: bool,
}

/// Which track to switch off.
#[derive(Debug, Deserialize, ToSchema)]
struct MuteBody {
    /// `camera` or `screen1` to `screen3`.
    #[schema(value_type = String)]
    source: Source,
    /// `audio` or `video`.
    #[schema(value_type = String)]
    kind: Kind,
}

/// List the live rooms
///
/// Those where the token gives the caller any right.
#[utoipa::path(
    get, path = "/api/rooms", tag = "rooms",
    responses(
        (status = 200, description = "All of them", body = RoomList),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn list(State(app): State<App>, caller: Caller) -> Json<RoomList> {
    let is_visible = |room: &Snapshot| sees(&caller, &room.room);
    let rooms = app.rooms.list().await.into_iter().filter(is_visible);
    Json(RoomList { rooms: rooms.map(|room| answer(&app, &caller, room)).collect(), next: None })
}

/// Look at one live room
#[utoipa::path(
    get, path = "/api/rooms/{room}", tag = "rooms", params(("room" = String, Path)),
    responses(
        (status = 200, description = "It is live", body = RoomAnswer),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn one(State(app): State<App>, caller: Caller, Path(room): Path<String>) -> Result<Json<RoomAnswer>, Problem> {
    let room: RoomName = room.parse()?;
    if !sees(&caller, &room) {
        caller.require(Grant::Join, Some(&room))?;
    }
    let snapshot = live(&app, &room)?.snapshot().await.ok_or_else(no_room)?;
    Ok(Json(answer(&app, &caller, snapshot)))
}

/// End a room for all
///
/// Everybody is put out and the recording is closed at once.
#[utoipa::path(
    delete, path = "/api/rooms/{room}", tag = "rooms", params(("room" = String, Path)),
    responses(
        (status = 204, description = "Ended"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn end(State(app): State<App>, caller: Caller, Path(room): Path<String>) -> Result<StatusCode, Problem> {
    moderate(&app, caller, &room, Moderation::End).await
}

/// Start recording
///
/// Without a track to record it waits for the first one.
#[utoipa::path(
    post, path = "/api/rooms/{room}/recording", tag = "rooms", params(("room" = String, Path)),
    responses(
        (status = 200, description = "It runs already", body = RecordingAnswer),
        (status = 201, description = "Started", body = RecordingAnswer),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = 507, body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn start_recording(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
) -> Result<(StatusCode, Json<RoomRecording>), Problem> {
    let done = record(&app, caller, &room, |room, by, reply| Input::Start { room, by, reply }).await?;
    let status = if done.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(done.recording)))
}

/// Stop recording
///
/// It stays stopped until somebody starts it.
#[utoipa::path(
    delete, path = "/api/rooms/{room}/recording", tag = "rooms", params(("room" = String, Path)),
    responses(
        (status = 200, description = "Stopped", body = RecordingAnswer),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn stop_recording(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
) -> Result<Json<RoomRecording>, Problem> {
    let done = record(&app, caller, &room, |room, by, reply| Input::Stop { room, by, reply }).await?;
    Ok(Json(done.recording))
}

/// Pause the recording
///
/// All files are cut at one instant.
#[utoipa::path(
    post, path = "/api/rooms/{room}/recording/pause", tag = "rooms", params(("room" = String, Path)),
    responses(
        (status = 200, description = "Paused", body = RecordingAnswer),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn pause_recording(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
) -> Result<Json<RoomRecording>, Problem> {
    let done = record(&app, caller, &room, |room, by, reply| Input::Pause { room, by, reply }).await?;
    Ok(Json(done.recording))
}

/// Go on after a pause
///
/// In the same files.
#[utoipa::path(
    post, path = "/api/rooms/{room}/recording/resume", tag = "rooms", params(("room" = String, Path)),
    responses(
        (status = 200, description = "Running", body = RecordingAnswer),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn resume_recording(
    State(app): State<App>,
    caller: Caller,
    Path(room): Path<String>,
) -> Result<Json<RoomRecording>, Problem> {
    let done = record(&app, caller, &room, |room, by, reply| Input::Resume { room, by, reply }).await?;
    Ok(Json(done.recording))
}

/// Switch off a track of somebody
///
/// Until they switch it on again.
#[utoipa::path(
    post, path = "/api/rooms/{room}/participants/{id}/mute", tag = "rooms",
    params(("room" = String, Path), ("id" = String, Path)),
    request_body = MuteBody,
    responses(
        (status = 204, description = "Off"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn mute(
    State(app): State<App>,
    caller: Caller,
    Path((room, id)): Path<(String, String)>,
    body: Result<Body<MuteBody>, Problem>,
) -> Result<StatusCode, Problem> {
    let name: RoomName = room.parse()?;
    caller.require(Grant::Moderate, Some(&name))?;
    let Body(MuteBody { source, kind }) = body?;
    let participant = id.parse()?;
    moderate(&app, caller, &room, Moderation::Mute { participant, source, kind }).await
}

/// Put somebody out of a room
#[utoipa::path(
    delete, path = "/api/rooms/{room}/participants/{id}", tag = "rooms",
    params(("room" = String, Path), ("id" = String, Path)),
    responses(
        (status = 204, description = "Out"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path((room, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let name: RoomName = room.parse()?;
    caller.require(Grant::Moderate, Some(&name))?;
    let participant = id.parse()?;
    moderate(&app, caller, &room, Moderation::Remove { participant }).await
}

/// Open no new rooms, and end when the last one is empty
#[utoipa::path(
    post, path = "/api/drain", tag = "operation",
    responses(
        (status = 202, description = "Draining", body = DrainAnswer),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn drain(State(app): State<App>, caller: Caller) -> Result<(StatusCode, Json<DrainAnswer>), Problem> {
    caller.require(Grant::Admin, None)?;
    let rooms = app.rooms.count();
    app.shutdown.advance(Phase::Draining);
    Ok((StatusCode::ACCEPTED, Json(DrainAnswer { rooms })))
}

/// What is left.
#[derive(Debug, Serialize, ToSchema)]
struct DrainAnswer {
    /// Rooms that are still live.
    rooms: usize,
}

/// What the pages have to know of this server.
#[derive(Debug, Serialize, ToSchema)]
struct ConfigAnswer {
    /// The program's version.
    version: &'static str,
    /// `open` or `token`.
    auth: &'static str,
    /// Who may watch: `off`, `link` or `open`.
    #[schema(value_type = String)]
    watch: Watch,
    recording: RecordingConfig,
    /// With `--lan`: how other devices come here.
    lan: Option<LanConfig>,
    /// True when only this machine can reach the server.
    loopback: bool,
    limits: LimitsConfig,
    media: MediaConfig,
}

/// How this server records.
#[derive(Debug, Serialize, ToSchema)]
struct RecordingConfig {
    /// `auto`, `manual` or `off`.
    #[schema(value_type = String)]
    start: RecordingStart,
    /// `notice` or `required`.
    consent: &'static str,
    /// `av` or `audio`.
    #[schema(value_type = String)]
    tracks: RecordingTracks,
}

/// How other devices of this network come here.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LanConfig {
    /// The addresses to open.
    pub urls: Vec<String>,
    /// Where the certificate of our own authority is.
    pub ca_url: String,
    /// SHA-256 of that certificate.
    pub fingerprint: String,
}

/// Limits that a page can respect by itself.
#[derive(Debug, Serialize, ToSchema)]
struct LimitsConfig {
    participants_per_room: usize,
    name_chars: usize,
    chat_chars: usize,
}

/// Where the media goes.
#[derive(Debug, Serialize, ToSchema)]
struct MediaConfig {
    udp_port: u16,
    addresses: Vec<String>,
}

/// What the pages need to know
#[utoipa::path(get, path = "/api/config", tag = "operation", responses((status = 200, description = "For everybody", body = ConfigAnswer)))]
async fn config(State(app): State<App>) -> Json<ConfigAnswer> {
    let limits = &app.config.limits;
    let media = app.media.addresses();
    Json(ConfigAnswer {
        version: app.server.version,
        auth: if app.auth.is_open() { "open" } else { "token" },
        watch: app.config.room.watch,
        recording: RecordingConfig {
            start: app.config.recording.start,
            consent: if app.config.consent_required() { "required" } else { "notice" },
            tracks: app.config.recording.tracks,
        },
        lan: app.server.lan.as_ref().map(|lan| lan.config.clone()),
        loopback: app.config.is_loopback(),
        limits: LimitsConfig {
            participants_per_room: limits.participants_per_room,
            name_chars: limits.name_chars,
            chat_chars: limits.chat_chars,
        },
        media: MediaConfig {
            udp_port: media.ports.first().copied().unwrap_or_default(),
            addresses: media.candidates.iter().map(ToString::to_string).collect(),
        },
    })
}

async fn moderate(app: &App, caller: Caller, room: &str, moderation: Moderation) -> Result<StatusCode, Problem> {
    let room: RoomName = room.parse()?;
    caller.require(Grant::Moderate, Some(&room))?;
    live(app, &room)?.moderate(moderation, caller.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn record(
    app: &App,
    caller: Caller,
    room: &str,
    input: impl FnOnce(crate::media::RoomKey, Option<String>, Option<Reply>) -> Input,
) -> Result<Accepted, Problem> {
    let room: RoomName = room.parse()?;
    caller.require(Grant::Record, Some(&room))?;
    let room = live(app, &room)?;
    let (reply, answer) = oneshot::channel();
    app.recorder.tell(input(room.key, caller.name, Some(reply)));
    let answer = answer.await.map_err(|_| Problem::internal("the recorder did not answer"))?;
    answer.map_err(|code| {
        let detail = match code {
            ErrorCode::NotRecording => "nothing is being recorded",
            ErrorCode::RecordingOff => "recording is switched off on this server (recording.start)",
            ErrorCode::DiskFull => "the disk of the recordings is full",
            _ => "the recorder refused this",
        };
        Problem::new(code, detail)
    })
}

fn live(app: &App, room: &RoomName) -> Result<RoomHandle, Problem> {
    app.rooms.find(room).ok_or_else(no_room)
}

fn no_room() -> Problem {
    Problem::new(ErrorCode::RoomNotFound, "there is no such live room")
}

fn sees(caller: &Caller, room: &RoomName) -> bool {
    const ANY: [Grant; 5] = [Grant::Join, Grant::Watch, Grant::Record, Grant::Moderate, Grant::Replay];
    ANY.into_iter().any(|grant| caller.allows(grant, Some(room)))
}

fn answer(app: &App, caller: &Caller, room: Snapshot) -> RoomAnswer {
    let watch = match app.config.room.watch {
        Watch::Off => false,
        Watch::Link => caller.allows(Grant::Watch, Some(&room.room)),
        Watch::Open => true,
    };
    let person = |participant: reelay_signaling::Participant| RoomPerson { id: participant.id, name: participant.name };
    RoomAnswer {
        room: room.room.as_str().to_owned(),
        participants: room.participants.into_iter().map(person).collect(),
        watchers: room.watchers,
        recording: room.recording,
        watch,
    }
}
