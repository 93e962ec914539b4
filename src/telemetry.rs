//! Logs: text for people or JSON for machines, filtered by settings.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::config::{Log, LogFormat};

/// Starts logging to standard error. A second call changes nothing.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.filter))
        .map_err(|error| anyhow::anyhow!("log.filter '{}': {error}", log.filter))?;
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    // An error means that a program around us logs already.
    let _ = match log.format {
        LogFormat::Text => registry.with(lines.with_ansi(is_terminal).with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    Ok(())
}

/// These crates log what a remote side does wrong as warnings and errors; we count it instead.
const QUIET: &str = "rtc=error,rtc_dtls=off,rtc_ice=error,rtc_sctp=error,rtc_srtp=off,rtc_interceptor=error,sqlx=warn,h2=warn,hyper=warn";
