//! Webhooks: tells other programs what became of recordings, signed, in order, and again until it is taken. What is to be
//! told lies in the catalogue's database, so a restart loses nothing, and what was missed can be told once more.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use hyper::{HeaderMap, StatusCode, Uri};
use ring::hmac;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::cli::client::http::Http;
use crate::recording::catalog::{Catalog, Entry, HookEvent};

/// Takes what is to be told; clones share it.
#[derive(Clone, Debug)]
pub struct Hooks {
    news: mpsc::Sender<News>,
    wake: Arc<watch::Sender<()>>,
    targets: Arc<[Uri]>,
}

/// Keeps it, and tells it; to be run by its owner.
pub struct Teller {
    hooks: Hooks,
    news: mpsc::Receiver<News>,
    catalog: Catalog,
    key: hmac::Key,
}

#[derive(Debug)]
struct News {
    key: String,
    event: &'static str,
    recording: Value,
}

/// Webhooks to these URLs, signed with this secret.
///
/// # Errors
/// When one of them is no URL.
pub fn open(urls: &[String], secret: &str, catalog: Catalog) -> anyhow::Result<(Hooks, Teller)> {
    let read = |url: &String| url.parse::<Uri>().with_context(|| format!("webhooks.urls: '{url}'"));
    let targets: Vec<Uri> = urls.iter().map(read).collect::<Result<_, _>>()?;
    let (sender, news) = mpsc::channel(QUEUE);
    let hooks = Hooks { news: sender, wake: Arc::new(watch::Sender::new(())), targets: targets.into() };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    Ok((hooks.clone(), Teller { hooks, news, catalog, key }))
}

impl Hooks {
    /// A manifest was opened, changed or closed; only ends are told.
    pub fn on_entry(&self, entry: &Entry) {
        let event = match entry.state.as_str() {
            "complete" => "recording-finished",
            "recovered" => "recording-repaired",
            "failed" | "interrupted" => "recording-failed",
            _ => return,
        };
        let recording = serde_json::from_str(&entry.summary).unwrap_or_default();
        // A manifest is written again when its files are hashed; the end is told once.
        self.tell(format!("{}/{event}", entry.id), event, recording);
    }

    /// A recording went into the trash, or came out of it.
    pub fn on_trash(&self, event: &'static str, id: &str, room: &str) {
        self.tell(format!("{id}/{event}/{}", now_ms()), event, json!({"id": id, "room": room}));
    }

    /// What was told after event `n` is told again.
    pub fn wake(&self) {
        self.wake.send_replace(());
    }

    /// Where it is told.
    pub fn targets(&self) -> &[Uri] {
        &self.targets
    }

    fn tell(&self, key: String, event: &'static str, recording: Value) {
        if !self.targets.is_empty() && self.news.try_send(News { key, event, recording }).is_err() {
            metrics::counter!("webhooks_lost_total").increment(1);
            tracing::error!(event, "too much to tell by webhook, one is lost");
        }
    }
}

impl Teller {
    /// Keeps and tells, until it is dropped. Each target has a task of its own: a slow one holds up no other.
    pub async fn run(mut self) {
        if self.hooks.targets.is_empty() {
            return;
        }
        let Ok(http) = Http::new(None, None) else {
            tracing::error!("no webhooks: the system's certificate authorities cannot be used");
            return;
        };
        let mut tasks = tokio::task::JoinSet::new();
        for target in self.hooks.targets.iter().cloned() {
            let (catalog, key, wake) = (self.catalog.clone(), self.key.clone(), self.hooks.wake.subscribe());
            tasks.spawn(Target { target, catalog, key, http: http.clone() }.run(wake));
        }
        while let Some(News { key, event, recording }) = self.news.recv().await {
            let (now, at) = (now_ms(), OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default());
            let body = json!({"event": event, "at": at, "recording": recording}).to_string();
            let forget = now - KEPT.as_millis() as i64;
            match self.catalog.keep_hook(&key, (event, &body), now, forget).await {
                Ok(true) => self.hooks.wake(),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, event, "cannot keep what a webhook has to tell"),
            }
        }
    }
}

struct Target {
    target: Uri,
    catalog: Catalog,
    key: hmac::Key,
    http: Http,
}

impl Target {
    async fn run(self, mut wake: watch::Receiver<()>) {
        let url = self.target.to_string();
        let mut refused = 0;
        loop {
            match self.next(&url).await {
                Ok(Some(event)) => match self.post(&event).await {
                    Ok(()) => self.done(&url, event.n, &mut refused).await,
                    Err(error) => {
                        refused += 1;
                        metrics::counter!("webhooks_refused_total").increment(1);
                        tracing::warn!(n = event.n, tries = refused, error = format!("{error:#}"), "webhook not taken");
                        if error.is::<Refused>() && refused >= MOST_REFUSALS {
                            tracing::error!(n = event.n, "webhook given up: its target refuses it");
                            self.done(&url, event.n, &mut refused).await;
                            continue;
                        }
                        // Woken earlier when somebody asks for what was missed.
                        let _ = timeout(pause(refused), wake.changed()).await;
                    }
                },
                Ok(None) => {
                    if wake.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "cannot read what a webhook has to tell");
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
            }
        }
    }

    async fn next(&self, url: &str) -> anyhow::Result<Option<HookEvent>> {
        let done = self.catalog.hook_position(url).await?;
        Ok(self.catalog.hooks_after(done, 1).await?.pop())
    }

    async fn done(&self, url: &str, n: i64, refused: &mut u32) {
        *refused = 0;
        if let Err(error) = self.catalog.hook_done(url, n).await {
            tracing::warn!(%error, "cannot keep that a webhook was taken; it is told again");
            tokio::time::sleep(FIRST_PAUSE).await;
        }
    }

    async fn post(&self, event: &HookEvent) -> anyhow::Result<()> {
        let mut headers = HeaderMap::new();
        let signature = sign(&self.key, now_ms() / 1000, &event.body);
        for (name, value) in [
            ("content-type", "application/json".to_owned()),
            ("reelay-event", event.event.clone()),
            ("reelay-delivery", event.n.to_string()),
            ("reelay-signature", signature),
        ] {
            headers.insert(name, value.parse()?);
        }
        let answer = self.http.post(&self.target, headers, &event.body).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => bail!("{}", answer.status),
            status if status.is_client_error() => Err(Refused(status).into()),
            status => bail!("{status}"),
        }
    }
}

/// The target does not want this one, now or later.
#[derive(Debug, thiserror::Error)]
#[error("refused with {0}")]
struct Refused(StatusCode);

/// `t=<seconds since 1970>,v1=<hex of HMAC-SHA-256 over "<t>.<body>">`.
fn sign(key: &hmac::Key, seconds: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

/// Doubling from a second to ten minutes.
fn pause(tries: u32) -> Duration {
    (FIRST_PAUSE * 2u32.saturating_pow(tries.saturating_sub(1).min(16))).min(LONGEST_PAUSE)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

const QUEUE: usize = 1024;
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
const MOST_REFUSALS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_cover_time_and_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"north");
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac north
        assert_eq!(
            sign(&key, 1_700_000_000, "{}"),
            "t=1700000000,v1=e1f46f9ddf43499de0426610bd42c72d2fea8ad4c6b4438434fd9b1f30382ea1"
        );
        assert_ne!(sign(&key, 1_700_000_001, "{}"), sign(&key, 1_700_000_000, "{}"));
    }

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        assert_eq!([1, 2, 3, 9].map(|tries| pause(tries).as_secs()), [1, 2, 4, 256]);
        assert_eq!([11, 100, u32::MAX].map(pause), [LONGEST_PAUSE; 3]);
    }
}
