//! The listener of all doors: plain or with TLS, with time limits for who dawdles.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use tokio::sync::Semaphore;

use super::app::{App, Phase};
use super::doorman::{Doorman, Impatient};
use super::router;

/// Serves all doors until the server stops; open answers get a little time to end.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, tls: Option<RustlsConfig>, app: App) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let handle = Handle::new();
    let (shutdown, at_the_end) = (app.shutdown.clone(), handle.clone());
    let ending = async move {
        shutdown.reached(Phase::Stopping).await;
        at_the_end.graceful_shutdown(Some(LAST_ANSWERS));
        std::future::pending::<()>().await;
    };
    let patience = app.config.limits.header_timeout.0;
    let trusted = app.config.http.trusted_proxies.clone();
    let doorman = Doorman {
        each: app.connections.clone(),
        all: Arc::new(Semaphore::new(app.config.limits.connections)),
        counted: Arc::new(move |address| (!trusted.contains(&address)).then_some(address)),
        may_speak: tls.is_none(),
    };
    let doors = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let serving = async {
        match tls {
            Some(tls) => {
                let server = axum_server::from_tcp_rustls(listener, tls)?.handle(handle);
                let accept = |tls: RustlsAcceptor| Impatient { inner: tls.acceptor(doorman), patience };
                let mut server = server.map(accept);
                set_limits(&mut server, patience);
                server.serve(doors).await
            }
            None => {
                let server = axum_server::from_tcp(listener)?.handle(handle);
                let mut server = server.acceptor(Impatient { inner: doorman, patience });
                set_limits(&mut server, patience);
                server.serve(doors).await
            }
        }
    };
    tokio::select! {
        result = serving => result,
        () = ending => Ok(()),
    }
}

fn set_limits<Acceptor>(server: &mut Server<SocketAddr, Acceptor>, patience: Duration) {
    let builder = server.http_builder();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(patience));
}

const LAST_ANSWERS: Duration = Duration::from_secs(2);
