//! What a person at the terminal reads: where the server is, who can reach it, how long the disk lasts, what was closed.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use reelay_signaling::Grants;
use serde_json::json;

use crate::auth::{AUDIENCE, Claims, Grant, Scope, link};
use crate::http::{App, LanInfo};
use crate::qr;
use crate::recording::Manifest;

/// Says that the server runs.
pub(super) fn print(app: &App) {
    say(format_args!("{}", greeting(app)));
    if let Some(lan) = &app.server.lan
        && let Err(error) = print_lan(app, lan)
    {
        tracing::warn!(%error, "no links could be printed");
    }
}

/// Links with tokens for this computer and for others, and what others have to trust.
fn print_lan(app: &App, lan: &LanInfo) -> anyhow::Result<()> {
    let guests = [Grant::Join, Grant::Publish, Grant::Subscribe, Grant::Watch, Grant::Record, Grant::Replay];
    say(format_args!("  you         {}", own_link(app)?));
    if let Some(url) = lan.config.urls.first() {
        let link = access(app, url, &guests)?;
        say(format_args!("  others      {link}\n\n{}\n", qr::code(&link)?));
        say(format_args!("  Other devices warn about the certificate until they trust it: {url}/lan has the steps."));
    }
    say(format_args!("  Its SHA-256 fingerprint: {}", lan.config.fingerprint));
    Ok(())
}

/// The link of who sits here, with every right.
fn own_link(app: &App) -> anyhow::Result<String> {
    access(app, &format!("https://localhost:{}", app.server.listen.port()), &[Grant::Admin])
}

fn access(app: &App, base: &str, grants: &[Grant]) -> anyhow::Result<String> {
    let mut given = Grants::default();
    grants.iter().for_each(|grant| grant.add_to(&mut given));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = Claims {
        sub: None,
        name: None,
        room: Scope::Every,
        grants: given,
        consent: false,
        nbf: None,
        iat: now,
        exp: now + app.auth.max_lifetime().as_secs(),
        aud: AUDIENCE.into(),
    };
    Ok(link(base, &claims, &app.auth.token(&claims)?))
}

/// A terminal that is gone is no reason to end.
fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn greeting(app: &App) -> String {
    let media = app.media.addresses();
    let ports: Vec<_> = media.ports.iter().map(ToString::to_string).collect();
    let mut addresses: Vec<_> = media.candidates.iter().map(SocketAddr::ip).collect();
    addresses.dedup();
    let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    let lines = [
        format!("Reelay {} is ready: {}", app.server.version, url(app)),
        format!("  who         {}", who(app)),
        format!("  media       UDP port {} on {}", ports.join(", "), addresses.join(", ")),
        format!("  recordings  {}", recordings(app)),
        "  stop        Ctrl+C (recordings are closed first)".to_owned(),
    ];
    lines.join("\n")
}

/// The address to open in a browser.
pub(super) fn url(app: &App) -> String {
    if let Some(url) = &app.config.http.public_url {
        return url.clone();
    }
    let scheme = if app.server.is_secure { "https" } else { "http" };
    let listen = app.server.listen;
    match listen.ip() {
        ip if ip == IpAddr::from([127, 0, 0, 1]) => format!("{scheme}://localhost:{}", listen.port()),
        ip if ip.is_unspecified() => {
            let candidates = app.media.addresses().candidates.iter().map(SocketAddr::ip);
            let outside = candidates.filter(|ip| !ip.is_loopback()).find(IpAddr::is_ipv4);
            format!("{scheme}://{}", SocketAddr::new(outside.unwrap_or([127, 0, 0, 1].into()), listen.port()))
        }
        _ => format!("{scheme}://{listen}"),
    }
}

fn who(app: &App) -> String {
    let listen = app.server.listen;
    match (app.config.is_loopback(), app.auth.is_open()) {
        (true, true) => "only this computer, everybody on it, without a key; --lan lets other devices in".to_owned(),
        (true, false) => "only this computer, with a token (`reelay token`)".to_owned(),
        (false, _) if listen.ip().to_canonical().is_loopback() => {
            "whoever reaches the proxy, with a token (`reelay token`)".to_owned()
        }
        (false, _) => format!("whoever reaches {listen}, with a token (`reelay token`)"),
    }
}

fn recordings(app: &App) -> String {
    let folder = app.recorder.dir();
    let shown = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    match app.recorder.free() {
        Some((free, hours)) => {
            format!("{} ({} free, about {hours} hours of one camera)", shown.display(), in_gigabytes(free))
        }
        None => shown.display().to_string(),
    }
}

fn in_gigabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000_000;
    if tenths < 1000 { format!("{}.{} GB", tenths / 10, tenths % 10) } else { format!("{} GB", tenths / 10) }
}

/// Writes the chosen addresses; the file appears whole.
pub(super) fn write_ready_file(path: &Path, app: &App) -> io::Result<()> {
    let media = app.media.addresses();
    let ready = json!({
        "url": url(app),
        "listen": app.server.listen,
        "udp_ports": media.ports,
        "media_addresses": media.candidates,
        "pid": std::process::id(),
    });
    let part = path.with_extension("part");
    fs::write(&part, ready.to_string())?;
    fs::rename(&part, path)
}

/// Opens the browser, if this system has a way to.
pub(super) fn open_browser(app: &App) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let with_access = app.server.lan.as_ref().and_then(|_| own_link(app).ok());
    let url = with_access.unwrap_or_else(|| url(app));
    let quiet = Command::new(program).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if quiet.is_err() {
        say(format_args!("  (no browser could be opened: {program} is missing)"));
    }
}

/// Lists what the end of the server closed.
pub(super) fn print_closed(closed: &[Manifest]) {
    if closed.is_empty() {
        say(format_args!("Stopped. Nothing was being recorded."));
        return;
    }
    say(format_args!("Stopped. Closed:"));
    for manifest in closed {
        let seconds = manifest.duration_ms / 1000;
        say(format_args!("  {}  room {}, {}:{:02}", manifest.id, manifest.room, seconds / 60, seconds % 60));
    }
}
