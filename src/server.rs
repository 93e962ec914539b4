//! Puts the parts together and runs them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::auth::Auth;
use crate::config::Config;
use crate::http;
use crate::recording::library::Library;

/// What is asked of this start beside the settings.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Where to write the chosen addresses.
    pub ready_file: Option<PathBuf>,
    /// Open the browser.
    pub open: bool,
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// Why it cannot start.
pub fn run(config: Config, launch: Launch) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(serve(config, launch))
}

async fn serve(config: Config, launch: Launch) -> anyhow::Result<()> {
    let listener = TcpListener::bind(config.http.listen).await?;
    let auth = Auth::new(&config.auth.key, config.auth.max_lifetime.0, config.auth.media_url_lifetime.0);
    let server = http::ServerInfo {
        version: env!("CARGO_PKG_VERSION"),
        listen: listener.local_addr()?,
        is_secure: false,
        started: Instant::now(),
    };
    let library = Library::open(&config.recording.dir, config.catalog.url.as_deref()).await?;
    let app = http::App {
        library: library.clone(),
        events: http::Events::default(),
        config: Arc::new(config),
        auth: Arc::new(auth),
        shutdown: http::Shutdown::default(),
        server: Arc::new(server),
    };
    if let Some(path) = &launch.ready_file {
        let text = serde_json::json!({ "url": format!("http://{}", app.server.listen), "listen": app.server.listen });
        let part = path.with_extension("part");
        std::fs::write(&part, text.to_string()).and_then(|()| std::fs::rename(&part, path)).context("--ready-file")?;
    }
    tokio::select! {
        result = http::serve(listener, app) => result?,
        () = library.run() => {}
    }
    Ok(())
}
