//! `/healthz`, `/readyz` and `/metrics`: for those who run the server.

use std::sync::OnceLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::{counter, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use reelay_signaling::RecordingState;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, Phase};
use super::error::{Problem, ProblemBody};
use crate::auth::{Caller, Grant};
use crate::room::Snapshot;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// How the server feels.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok` or `not-ready`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<&'static str>,
    /// The version of this program.
    version: &'static str,
}

/// Does the process live?
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "It does", body = Health)))]
async fn healthz(State(app): State<App>) -> Json<Health> {
    Json(Health { status: "ok", reasons: Vec::new(), version: app.server.version })
}

/// Should it be sent new work?
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses(
        (status = 200, description = "Yes", body = Health),
        (status = 503, description = "No: `draining`, `stopping`, `catalog`, `recordings-folder`", body = Health),
    )
)]
async fn readyz(State(app): State<App>) -> Response {
    let mut reasons = Vec::new();
    match app.shutdown.phase() {
        Phase::Running => {}
        Phase::Draining => reasons.push("draining"),
        Phase::Stopping => reasons.push("stopping"),
    }
    if app.library.catalog().ping().await.is_err() {
        reasons.push("catalog");
    }
    if !tokio::fs::metadata(app.library.shelf().dir()).await.is_ok_and(|folder| folder.is_dir()) {
        reasons.push("recordings-folder");
    }
    let is_ready = reasons.is_empty();
    let status = if is_ready { "ok" } else { "not-ready" };
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Health { status, reasons, version: app.server.version })).into_response()
}

/// Numbers for Prometheus
///
/// Where keys are on, a token with `admin` is needed.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses(
        (status = 200, description = "Text format 0.0.4", content_type = "text/plain", body = String),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn metrics(State(app): State<App>, caller: Caller) -> Result<Response, Problem> {
    caller.require(Grant::Admin, None)?;
    let handle = recorder();
    gather(&app).await;
    handle.run_upkeep();
    let mut response = handle.render().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

// Numbers that others keep, as of now. The counters are those of one server: a process has one.
async fn gather(app: &App) {
    if let Ok(totals) = app.library.catalog().totals().await {
        gauge!("recordings").set(totals.recordings as f64);
        gauge!("recordings_bytes").set(totals.bytes as f64);
    }
    if let Ok(media) = tokio::time::timeout(PATIENCE, app.media.stats()).await {
        gauge!("media_rooms").set(media.rooms as f64);
        gauge!("media_publishers").set(media.peers as f64);
        gauge!("media_viewers").set(media.legs as f64);
        gauge!("media_tracks").set(media.tracks as f64);
        for (name, number) in media.counters {
            counter!(name).absolute(number);
        }
    }
    let rooms = tokio::time::timeout(PATIENCE, app.rooms.list()).await.unwrap_or_default();
    let count = |what: &dyn Fn(&Snapshot) -> usize| rooms.iter().map(what).sum::<usize>() as f64;
    let is_open = |room: &Snapshot| matches!(room.recording.state, RecordingState::Recording | RecordingState::Paused);
    gauge!("rooms").set(rooms.len() as f64);
    gauge!("participants").set(count(&|room| room.participants.len()));
    gauge!("watchers").set(count(&|room| room.watchers as usize));
    gauge!("recordings_open").set(count(&|room| usize::from(is_open(room))));
    let behind_ms = rooms.iter().map(|room| room.recording.behind_ms).max().unwrap_or_default();
    gauge!("recording_behind_seconds").set(behind_ms as f64 / 1000.0);
    gauge!("uptime_seconds").set(app.server.started.elapsed().as_secs_f64());
    if let Some((cpu_seconds, resident_bytes)) = process() {
        gauge!("process_cpu_seconds_total").set(cpu_seconds);
        gauge!("process_resident_memory_bytes").set(resident_bytes);
    }
}

/// CPU seconds and resident bytes of this process, where the system tells (Linux).
fn process() -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may have spaces: state is field 3, utime 14, stime 15 (in hundredths), rss 24 (in pages).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3)?.parse::<f64>().ok();
    Some(((field(14)? + field(15)?) / 100.0, field(24)? * 4096.0))
}

/// Collects what `metrics::counter!` and the others are told, from the first call on.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // An error means that a program around us collects already; then these pages stay empty.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

// A scrape shows what it can rather than nothing.
const PATIENCE: Duration = Duration::from_secs(1);
