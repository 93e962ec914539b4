//! Deletes what the settings say has to go, now and then, and writes down what went and why.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::audit::{Action, By, To};
use crate::config;
use crate::http::App;
use crate::recording::retention::{Item, Reason, Rules};

/// The rules of the settings.
pub(super) fn rules(settings: &config::Retention) -> Rules {
    let span = |span: config::Span| (!span.0.is_zero()).then_some(span.0);
    let size = |size: config::Size| (size.0 > 0).then_some(size.0);
    Rules { max_age: span(settings.max_age), max_total: size(settings.max_total), min_free: size(settings.min_free) }
}

/// Looks now and then, until it is dropped; does nothing without a rule.
pub(super) async fn run(app: App) {
    if app.retention.is_none() {
        return;
    }
    let mut ticks = tokio::time::interval(app.config.retention.every.0.max(SOONEST));
    loop {
        ticks.tick().await;
        if let Err(error) = once(&app).await {
            tracing::warn!(error = format!("{error:#}"), "cannot see what has to be deleted");
        }
    }
}

async fn once(app: &App) -> anyhow::Result<()> {
    let items = app.library.catalog().items().await?;
    let Some((free, _)) = app.recorder.free() else { anyhow::bail!("the free space of the disk is not known") };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    for (item, reason) in app.retention.plan(&items, now, free) {
        match app.library.delete(&item.id).await {
            Ok(_) => {
                app.playbacks.forget(&item.id);
                tell(app, item, reason);
            }
            // Kept, running, or gone since the list was made.
            Err(error) => tracing::debug!(recording = %item.id, %error, "not deleted"),
        }
    }
    Ok(())
}

fn tell(app: &App, item: &Item, reason: Reason) {
    let rule = match reason {
        Reason::Age => "retention.max_age",
        Reason::Total => "retention.max_total",
        Reason::Free => "retention.min_free",
    };
    tracing::info!(recording = %item.id, rule, bytes = item.bytes, "recording deleted by a rule of the settings");
    metrics::counter!("recordings_retired_total").increment(1);
    let (room, recording) = (Some(item.room.clone()), Some(item.id.to_string()));
    app.audit.note(Action::Deleted, By::server("retention"), To { room, recording, what: Some(rule.to_owned()) });
    app.hooks.on_trash("recording-deleted", item.id.as_str(), &item.room);
    app.events.recording("recording-deleted", &item.id, item.room.parse().ok());
}

const SOONEST: Duration = Duration::from_millis(100);
