//! The few HTTP requests that WHIP, WHEP and webhooks need: one connection each, over TCP or TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An HTTP client that shows one token and trusts one set of authorities.
#[derive(Clone)]
pub struct Http {
    token: Option<String>,
    tls: Arc<ClientConfig>,
}

/// An answer with its body.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as text.
    pub body: String,
    /// Where it came from, after redirects.
    pub url: Uri,
}

impl Http {
    /// Trusts what the system trusts, and the authorities in `ca` (PEM) if it is given.
    ///
    /// # Errors
    /// When the file cannot be read or has no certificate.
    pub fn new(token: Option<String>, ca: Option<&Path>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca {
            let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
            let certificates = read().with_context(|| format!("cannot read certificates from '{}'", path.display()))?;
            let (added, _) = roots.add_parsable_certificates(certificates);
            anyhow::ensure!(added > 0, "there is no certificate in '{}'", path.display());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Self { token, tls: Arc::new(tls.with_root_certificates(roots).with_no_client_auth()) })
    }

    /// Reads a page.
    ///
    /// # Errors
    /// When the server cannot be reached or does not speak HTTP.
    pub async fn get(&self, url: &Uri) -> anyhow::Result<Answer> {
        self.send(Method::GET, url, (HeaderMap::new(), "")).await
    }

    /// Posts an SDP; follows redirects that keep the method.
    ///
    /// # Errors
    /// When the server cannot be reached or does not speak HTTP.
    pub async fn post_sdp(&self, url: &Uri, sdp: &str) -> anyhow::Result<Answer> {
        let mut url = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/sdp"))]);
            let answer = self.send(Method::POST, &url, (headers, sdp)).await?;
            if !matches!(answer.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return Ok(answer);
            }
            let Some(next) = answer.location() else { bail!("{url} redirects to nowhere") };
            anyhow::ensure!(next.authority() == url.authority(), "{url} redirects to another server, {next}");
            url = next;
        }
        bail!("{url} redirects too often")
    }

    /// Posts a text with these headers; follows no redirects.
    ///
    /// # Errors
    /// When the server cannot be reached or does not speak HTTP.
    pub async fn post(&self, url: &Uri, headers: HeaderMap, body: &str) -> anyhow::Result<Answer> {
        self.send(Method::POST, url, (headers, body)).await
    }

    /// Deletes a session.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn delete(&self, url: &Uri) -> anyhow::Result<StatusCode> {
        Ok(self.send(Method::DELETE, url, (HeaderMap::new(), "")).await?.status)
    }

    async fn send(&self, method: Method, url: &Uri, content: (HeaderMap, &str)) -> anyhow::Result<Answer> {
        let exchange = tokio::time::timeout(PATIENCE, self.exchange(method, url, content));
        exchange.await.with_context(|| format!("{url} does not answer"))?.with_context(|| format!("asking {url}"))
    }

    async fn exchange(&self, method: Method, url: &Uri, content: (HeaderMap, &str)) -> anyhow::Result<Answer> {
        let host = url.host().context("the URL has no host")?;
        let is_secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => bail!("the URL must begin with http:// or https://"),
        };
        let port = url.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let stream = TcpStream::connect((bare.as_str(), port)).await?;
        if is_secure {
            let name = ServerName::try_from(bare)?;
            let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
            self.talk(stream, method, url, content).await
        } else {
            self.talk(stream, method, url, content).await
        }
    }

    async fn talk<S>(
        &self,
        stream: S,
        method: Method,
        url: &Uri,
        (headers, body): (HeaderMap, &str),
    ) -> anyhow::Result<Answer>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let authority = url.authority().context("the URL has no host")?.as_str();
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, authority);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let request = request.body(body)?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?.to_bytes();
            let body = String::from_utf8_lossy(&body).into_owned();
            anyhow::Ok(Answer { status: head.status, headers: head.headers, body, url: url.clone() })
        };
        // The connection ends when its sender is gone, or before the answer, which then says why.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            closed = &mut connection => {
                closed?;
                answer.await
            }
        }
    }
}

impl Answer {
    /// `Location`, made whole.
    pub fn location(&self) -> Option<Uri> {
        let location = self.headers.get(header::LOCATION)?.to_str().ok()?;
        if location.starts_with("http://") || location.starts_with("https://") {
            return location.parse().ok();
        }
        let path = location.starts_with('/').then_some(location)?;
        format!("{}://{}{path}", self.url.scheme_str()?, self.url.authority()?).parse().ok()
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// What a refusal says, for people: the detail and code of a problem, or the status.
    pub fn reason(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        match (problem["detail"].as_str(), problem["code"].as_str()) {
            (Some(detail), Some(code)) => format!("{detail} ({code})"),
            _ => self.status.to_string(),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 4;
const MAX_BODY_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_made_whole() {
        let check = |location: &'static str, expected: Option<&str>| {
            let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static(location))]);
            let url = "http://[::1]:8080/whip/room".parse().unwrap();
            let answer = Answer { status: StatusCode::CREATED, headers, body: String::new(), url };
            assert_eq!(answer.location().map(|uri| uri.to_string()).as_deref(), expected);
        };
        check("/sessions/abc", Some("http://[::1]:8080/sessions/abc"));
        check("https://other/sessions/abc", Some("https://other/sessions/abc"));
        check("sessions/abc", None);
    }
}
