//! `reelay token`: a token for somebody, as text, link and QR code.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use reelay_signaling::{Grants, RoomName};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::audit::{self, Action, By, To};
use crate::auth::{AUDIENCE, Auth, Claims, Grant, Scope, link};
use crate::config::{Config, Span};
use crate::{qr, tls};

/// Flags of `reelay token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The room it is for; `*` for every room
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// What it allows: join, publish, subscribe, watch, record, replay, download, delete, moderate, admin
    #[arg(long, value_name = "GRANT,…", value_delimiter = ',', default_value = "join,publish,subscribe,watch,replay")]
    grant: Vec<Grant>,
    /// The name to show; the holder cannot change it
    #[arg(long)]
    name: Option<String>,
    /// The person, stable over tokens: replay groups by it
    #[arg(long, value_name = "ID")]
    sub: Option<String>,
    /// How long it works, such as 30m or 8h [default: auth.max_lifetime]
    #[arg(long = "for", value_name = "TIME")]
    lifetime: Option<Span>,
    /// The holder agreed to be recorded (for cameras that have no page to ask on)
    #[arg(long)]
    consent: bool,
    /// Address of the server for the link [default: http.public_url, or where it listens]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Sign with the key of `serve --lan`
    #[arg(long)]
    lan: bool,
    /// Print the token alone
    #[arg(long, short)]
    quiet: bool,
    /// Settings file [default: reelay.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: TokenArgs) -> anyhow::Result<()> {
    let config = Config::load(args.config.as_deref(), std::env::vars(), &[]).context("the settings cannot be used")?;
    let key = match args.lan {
        true => tls::lan_key(&config.http.lan_dir)?,
        false => config.auth.key.clone(),
    };
    if key.is_empty() {
        bail!("no auth.key is set, so no token is needed; `reelay serve --init` writes a key");
    }
    let auth = Auth::new(&key, config.auth.max_lifetime.0, config.auth.media_url_lifetime.0);
    let claims = claims(&args, &config)?;
    let token = auth.token(&claims)?;
    note(&config.recording.dir, &args, &claims);
    if args.quiet {
        return Ok(writeln!(io::stdout(), "{token}")?);
    }
    let base = args.url.clone().unwrap_or_else(|| base_url(&config, args.lan));
    let link = link(&base, &claims, &token);
    Ok(writeln!(io::stdout(), "Token  {token}\n\nLink   {link}\n\n{}", qr::code(&link)?)?)
}

/// Puts it into the audit log of the recordings folder; a token is made without that too, but not in silence.
fn note(dir: &Path, args: &TokenArgs, claims: &Claims) {
    let room = match &claims.room {
        Scope::Room(room) => Some(room.as_str().to_owned()),
        Scope::Every => Some("*".to_owned()),
        Scope::None => None,
    };
    let grants: Vec<&str> = args.grant.iter().map(|grant| grant.as_str()).collect();
    let holder = claims.sub.as_deref().or(claims.name.as_deref()).unwrap_or("anybody");
    let until = OffsetDateTime::from_unix_timestamp(i64::try_from(claims.exp).unwrap_or(i64::MAX));
    let until = until.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default();
    let what = Some(format!("for {holder}: {}, until {until}", grants.join(", ")));
    let to = To { room, recording: None, what };
    if let Err(error) = audit::note_beside(dir, Action::TokenMade, By::server("token"), to) {
        eprintln!(
            "This token is not in the audit log: {} cannot be written ({error})",
            dir.join(audit::FILE).display()
        );
    }
}

fn claims(args: &TokenArgs, config: &Config) -> anyhow::Result<Claims> {
    let mut grants = Grants::default();
    args.grant.iter().for_each(|grant| grant.add_to(&mut grants));
    let room = match args.room.as_deref() {
        Some("*") => Scope::Every,
        Some(room) => Scope::Room(room.parse::<RoomName>().with_context(|| format!("--room {room}"))?),
        None if grants.admin => Scope::None,
        None => bail!("--room says which room the token is for; '*' is every room"),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("this clock stands before 1970")?.as_secs();
    let lifetime = args.lifetime.unwrap_or(config.auth.max_lifetime);
    Ok(Claims {
        sub: args.sub.clone(),
        name: args.name.clone(),
        room,
        grants,
        consent: args.consent,
        nbf: None,
        iat: now,
        exp: now + lifetime.0.as_secs(),
        aud: AUDIENCE.into(),
    })
}

fn base_url(config: &Config, is_lan: bool) -> String {
    if let Some(url) = &config.http.public_url {
        return url.clone();
    }
    let listen = config.http.listen;
    let (scheme, port) = match is_lan {
        true => ("https", crate::server::LAN_PORT),
        false => (if config.http.tls_cert.is_some() { "https" } else { "http" }, listen.port()),
    };
    let is_anywhere = is_lan || listen.ip().is_unspecified();
    let outside = crate::media::socket::local_addresses().into_iter().find(|ip| !ip.is_loopback());
    match outside.filter(|_| is_anywhere) {
        Some(ip) => format!("{scheme}://{}", std::net::SocketAddr::new(ip, port)),
        None if listen.ip().is_loopback() => format!("{scheme}://localhost:{port}"),
        None => format!("{scheme}://{}", std::net::SocketAddr::new(listen.ip(), port)),
    }
}
