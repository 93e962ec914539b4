//! The doors: signaling, WHIP, WHEP, API and pages. The only user of axum.
//! Decides who may pass and translates; what happens behind a door is the room's, the recorder's or the catalogue's.

mod app;
mod caller;
mod clusters;
pub mod error;
mod events;
mod files;
mod health;
mod openapi;
mod range;
mod recordings;
mod segment;
mod thumb;

use axum::Router;
use reelay_signaling::ErrorCode;
use tower_http::limit::RequestBodyLimitLayer;
use utoipa_axum::router::OpenApiRouter;

pub use app::{App, Phase, ServerInfo, Shutdown};
pub use error::Problem;
pub use events::Events;
pub use health::recorder as metrics_recorder;

/// The routes that OpenAPI describes.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(recordings::routes())
        .merge(files::routes())
        .merge(clusters::routes())
        .merge(thumb::routes())
        .merge(events::routes())
        .merge(health::routes())
}

/// All doors.
pub fn router(app: App) -> Router {
    let body_limit = app.config.limits.body_bytes.0 as usize;
    let (api, description) = api().split_for_parts();
    Router::new()
        .merge(api)
        .merge(openapi::route(description))
        .layer(RequestBodyLimitLayer::new(body_limit))
        .fallback(|| async { Problem::new(ErrorCode::NotFound, "there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            Problem::new(ErrorCode::MethodNotAllowed, "this address does not take this method")
        })
        .with_state(app)
}

/// Serves all doors on `listener`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: tokio::net::TcpListener, app: App) -> std::io::Result<()> {
    let shutdown = app.shutdown.clone();
    axum::serve(listener, router(app))
        .with_graceful_shutdown(async move { shutdown.reached(Phase::Stopping).await })
        .await
}
