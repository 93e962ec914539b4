//! When the server ends: signals, and the end of a drain.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::http::{App, Phase};

/// The signals that we listen to, from before anything is opened.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    drain: Signal,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            drain: signal(SignalKind::user_defined1())?,
        })
    }
}

/// Waits until the server has to end. From then on a second signal ends it at once.
pub(super) async fn wait(app: &App, mut signals: Signals) {
    let drained = async {
        app.shutdown.reached(Phase::Draining).await;
        app.rooms.drain();
        tracing::info!(rooms = app.rooms.count(), "draining: no new rooms, ending when the last one is empty");
        app.rooms.empty().await;
    };
    tokio::pin!(drained);
    loop {
        tokio::select! {
            _ = signals.interrupt.recv() => break,
            _ = signals.terminate.recv() => break,
            _ = signals.drain.recv() => app.shutdown.advance(Phase::Draining),
            () = &mut drained => break,
        }
    }
    tracing::info!(rooms = app.rooms.count(), "stopping");
    tokio::spawn(async move {
        tokio::select! {
            _ = signals.interrupt.recv() => {}
            _ = signals.terminate.recv() => {}
        }
        eprintln!("reelay: stopped at once; the next start repairs what was being recorded");
        std::process::exit(130);
    });
}

/// Reads the certificate files again on SIGHUP; bad ones are refused and the old ones stay.
pub(super) async fn reload_certificates(tls: super::Tls, config: Arc<Config>) {
    let (Some(cert), Some(key)) = (&config.http.tls_cert, &config.http.tls_key) else { return };
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        match crate::tls::from_files(cert, key) {
            Ok(server) => {
                tls.listener.reload_from_config(server);
                tracing::info!("certificates read again");
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "new certificates not taken, the old ones stay")
            }
        }
    }
}
