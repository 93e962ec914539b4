//! Bodies that trickle in: a request whose body comes slower than `limits.body_rate` is ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use reelay_signaling::ErrorCode;
use tokio::time::{Instant, timeout_at};

use super::app::App;
use super::error::Problem;

/// Lets a request's body arrive at its pace, but not slower than the settings allow.
pub(super) async fn pace(State(app): State<App>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let limits = &app.config.limits;
    let is_slow = Arc::new(AtomicBool::new(false));
    let pace = Pace { until: Instant::now() + limits.header_timeout.0, rate: limits.body_rate.0.max(1) };
    let request = request.map(|body| paced(body, pace, is_slow.clone()));
    let response = next.run(request).await;
    if is_slow.load(Ordering::Relaxed) {
        let text = format!("a body comes with at least {} a second (limits.body_rate)", limits.body_rate);
        return Problem::new(ErrorCode::TooSlow, text).with_header(header::CONNECTION, "close").into_response();
    }
    response
}

/// Until when more has to be there; what has come buys time.
struct Pace {
    until: Instant,
    rate: u64,
}

impl Pace {
    fn on_bytes(&mut self, bytes: usize) {
        self.until += Duration::from_secs_f64(bytes as f64 / self.rate as f64);
    }
}

fn paced(body: Body, pace: Pace, is_slow: Arc<AtomicBool>) -> Body {
    let parts = stream::unfold((body.into_data_stream(), pace), move |(mut parts, mut pace)| {
        let is_slow = is_slow.clone();
        async move {
            match timeout_at(pace.until, parts.next()).await {
                Ok(None) => None,
                Ok(Some(part)) => {
                    pace.on_bytes(part.as_ref().map_or(0, |part| part.len()));
                    Some((part, (parts, pace)))
                }
                Err(_) => {
                    is_slow.store(true, Ordering::Relaxed);
                    Some((Err(axum::Error::new(std::io::Error::from(std::io::ErrorKind::TimedOut))), (parts, pace)))
                }
            }
        }
    });
    Body::from_stream(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_buys_time() {
        let start = Instant::now();
        let grace = Duration::from_secs(10);
        let in_time = |bytes_a_second: usize| {
            let mut pace = Pace { until: start + grace, rate: 1024 };
            (1..=600).all(|second| {
                let is_in_time = start + Duration::from_secs(second) <= pace.until;
                pace.on_bytes(bytes_a_second);
                is_in_time
            })
        };
        assert!(in_time(1024) && !in_time(1000) && !in_time(0));
    }
}
