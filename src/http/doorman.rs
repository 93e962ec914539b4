//! Who may have a connection: so many in all and from one address, and each has to ask for something soon.
//! Knows bytes and addresses, not requests. A trusted proxy has as many as it likes; its clients are counted by `guard`.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use reelay_signaling::ErrorCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};

use crate::places::{Place, Places};

/// Counts connections, and turns away those that are too many.
#[derive(Clone)]
pub(super) struct Doorman {
    pub(super) each: Places,
    pub(super) all: Arc<Semaphore>,
    /// Under which address a connection counts; `None`: under none.
    pub(super) counted: Arc<dyn Fn(IpAddr) -> Option<IpAddr> + Send + Sync>,
    /// Without TLS the reason can be told before anything was asked.
    pub(super) may_speak: bool,
}

/// A connection that has its places until it ends.
pub(super) struct Visitor {
    stream: TcpStream,
    _places: (Place, OwnedSemaphorePermit),
}

impl<S: Send + 'static> Accept<TcpStream, S> for Doorman {
    type Stream = Visitor;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Visitor, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let doorman = self.clone();
        Box::pin(async move {
            let address = stream.peer_addr()?.ip().to_canonical();
            let limit = match (doorman.each.take((doorman.counted)(address)), doorman.all.try_acquire_owned()) {
                (Some(place), Ok(permit)) => return Ok((Visitor { stream, _places: (place, permit) }, service)),
                (None, _) => "limits.connections_per_address",
                (_, Err(_)) => "limits.connections",
            };
            metrics::counter!("http_connections_refused_total").increment(1);
            if doorman.may_speak {
                // An error means that the client has gone.
                let _ = timeout(LAST_WORD, refuse(stream, limit)).await;
            }
            Err(io::Error::other(limit))
        })
    }
}

/// Says why and hangs up. What the client has sent meanwhile is read, or the answer would be lost with it.
async fn refuse(mut stream: TcpStream, limit: &str) -> io::Result<()> {
    let code = ErrorCode::LimitReached.as_str();
    let body = format!(
        r#"{{"type":"about:blank","title":"Service Unavailable","status":503,"code":"{code}","detail":"too many connections ({limit})"}}"#
    );
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         connection: close\r\nretry-after: 5\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Ends connections on which nothing is asked. hyper watches a request's head from its first line on, but waits
/// without end for the bytes that tell HTTP/1 from HTTP/2.
#[derive(Clone)]
pub(super) struct Impatient<A> {
    pub(super) inner: A,
    pub(super) patience: Duration,
}

impl<A, I, S> Accept<I, S> for Impatient<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = Expectant<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Expectant<A::Stream>, A::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let (accepting, patience) = (self.inner.accept(stream, service), self.patience);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            Ok((Expectant { stream, heard: 0, patience: Some(Box::pin(sleep(patience))) }, service))
        })
    }
}

/// A connection on which something has to be asked in time.
pub(super) struct Expectant<I> {
    stream: I,
    heard: usize,
    patience: Option<Pin<Box<Sleep>>>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Expectant<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        self.heard += into.filled().len() - before;
        if self.heard >= PREFACE {
            self.patience = None;
        }
        if read.is_pending()
            && let Some(patience) = &mut self.patience
            && patience.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Expectant<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Whoever gets an answer has asked.
        self.patience = None;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.patience = None;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Visitor {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The first line of HTTP/2.
const PREFACE: usize = 24;
const LAST_WORD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream as Client};

    use axum::Router;
    use axum::routing::get;

    use super::*;

    fn serve(each: usize, all: usize, may_speak: bool) -> SocketAddr {
        // Clients of this machine are not counted, so these say that they come from elsewhere.
        let counted = Arc::new(|_| Some(IpAddr::from([192, 0, 2, 1])));
        let doorman = Doorman { each: Places::new(each), all: Arc::new(Semaphore::new(all)), counted, may_speak };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = Impatient { inner: doorman, patience: Duration::from_secs(30) };
        let server = axum_server::from_tcp(listener).unwrap().acceptor(acceptor);
        tokio::spawn(server.serve(Router::new().route("/", get(|| async { "hello" })).into_make_service()));
        address
    }

    fn ask(client: &mut Client) -> String {
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // Who is turned away may see the end of the connection first.
        let _ = client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut answer = String::new();
        let mut part = [0; 512];
        while !answer.contains("hello")
            && let Ok(read @ 1..) = client.read(&mut part)
        {
            answer.push_str(&String::from_utf8_lossy(&part[..read]));
        }
        answer
    }

    async fn check(each: usize, all: usize, limit: &'static str) {
        let address = serve(each, all, true);
        let quiet = serve(each, all, false);
        tokio::task::spawn_blocking(move || {
            let mut first = Client::connect(address).unwrap();
            let mut second = Client::connect(address).unwrap();
            assert!(ask(&mut first).contains("hello") && ask(&mut second).contains("hello"), "just within the limit");
            let refused = ask(&mut Client::connect(address).unwrap());
            assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("limit-reached"), "{refused}");
            assert!(refused.contains(limit), "{refused}");
            assert!(ask(&mut first).contains("hello"), "who is in does not notice");
            drop(second);
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while !ask(&mut Client::connect(address).unwrap()).contains("hello") {
                assert!(std::time::Instant::now() < deadline, "the place is not free again");
            }
            let mut held: Vec<_> = (0..2).map(|_| Client::connect(quiet).unwrap()).collect();
            assert!(held.iter_mut().all(|client| ask(client).contains("hello")));
            assert_eq!(ask(&mut Client::connect(quiet).unwrap()), "", "in TLS there is nothing to say");
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_address_has_so_many_connections() {
        check(2, 100, "limits.connections_per_address").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_together_have_so_many_connections() {
        check(100, 2, "limits.connections").await;
    }
}
