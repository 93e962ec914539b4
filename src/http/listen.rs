//! The listener of all doors: plain or with TLS, with time limits for who dawdles.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;

use super::app::{App, Phase};
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
    let doors = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let serving = async {
        match tls {
            Some(tls) => {
                let mut server = axum_server::from_tcp_rustls(listener, tls)?.handle(handle);
                set_limits(&mut server);
                server.serve(doors).await
            }
            None => {
                let mut server = axum_server::from_tcp(listener)?.handle(handle);
                set_limits(&mut server);
                server.serve(doors).await
            }
        }
    };
    tokio::select! {
        result = serving => result,
        () = ending => Ok(()),
    }
}

fn set_limits<Acceptor>(server: &mut Server<SocketAddr, Acceptor>) {
    let builder = server.http_builder();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(HEADER_PATIENCE));
}

const HEADER_PATIENCE: Duration = Duration::from_secs(10);
const LAST_ANSWERS: Duration = Duration::from_secs(2);
