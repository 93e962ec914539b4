//! The doors: signaling, WHIP, WHEP, API and pages. The only user of axum.
//! Decides who may pass and translates; what happens behind a door is the room's, the recorder's or the catalogue's.

mod app;
mod assets;
mod audit;
mod avif;
mod caller;
mod captions;
mod clip;
mod clusters;
mod content;
mod doorman;
pub mod error;
mod events;
mod export;
mod files;
mod guard;
mod happened;
mod health;
mod jobs;
mod lan;
mod listen;
mod markers;
mod notes;
mod openapi;
mod pace;
mod playback;
mod range;
mod recordings;
mod retention;
mod rooms;
mod segment;
mod share;
mod signal;
mod thumb;
mod webhooks;
mod whep;
mod whip;

use axum::extract::DefaultBodyLimit;
use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use axum::routing::get;
use axum::{Router, middleware};
use reelay_signaling::ErrorCode;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;

pub use app::LanInfo;
pub use app::{App, Phase, ServerInfo, Shutdown};
pub use error::Problem;
pub use events::Events;
pub use export::Exports;
pub use health::recorder as metrics_recorder;
pub use lan::CA_PATH;
pub use listen::serve;
pub use rooms::LanConfig;

/// The routes that OpenAPI describes.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(whip::routes())
        .merge(whep::routes())
        .merge(rooms::routes())
        .merge(recordings::routes())
        .merge(notes::routes())
        .merge(files::routes())
        .merge(clusters::routes())
        .merge(clip::routes())
        .merge(export::routes())
        .merge(share::routes())
        .merge(captions::routes())
        .merge(jobs::routes())
        .merge(playback::routes())
        .merge(thumb::routes())
        .merge(happened::routes())
        .merge(markers::routes())
        .merge(events::routes())
        .merge(audit::routes())
        .merge(retention::routes())
        .merge(webhooks::routes())
        .merge(health::routes())
}

/// All doors.
pub fn router(app: App) -> Router {
    let body_limit = app.config.limits.body_bytes.0 as usize;
    let (api, description) = api().split_for_parts();
    Router::new()
        .merge(api)
        .merge(openapi::route(description))
        .route("/signal", get(signal::upgrade))
        .merge(lan::routes())
        .merge(assets::routes())
        .fallback(assets::file)
        .method_not_allowed_fallback(|| async {
            Problem::new(ErrorCode::MethodNotAllowed, "this address does not take this method")
        })
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(middleware::from_fn_with_state(app.clone(), pace::pace))
        .layer(CompressionLayer::new().compress_when(is_page_part))
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}

// Recordings do not get smaller, and their ranges have to stay what they are.
fn is_page_part(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    ["text/html", "text/css", "text/javascript", "application/javascript", "application/json", "image/svg"]
        .iter()
        .any(|text| kind.starts_with(text))
}
