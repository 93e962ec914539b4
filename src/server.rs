//! Puts the parts together, runs them, and ends them in order: recordings first, then clients, then doors.

mod bridge;
mod greeting;
mod retention;
mod stop;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use reelay_signaling::ClosedReason;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::audit;
use crate::auth::{Auth, IceServers};
use crate::config::{Config, RecordingStart, RecordingTracks};
use crate::http::{self, App, Phase, ServerInfo, Shutdown};
use crate::media::socket::local_addresses;
use crate::media::{self, Media};
use crate::places::Places;
use crate::playback::{self, Playbacks};
use crate::recording::catalog::Entry;
use crate::recording::intake::Intake;
use crate::recording::library::Library;
use crate::recording::{self, ConsentPolicy, Recorder, RecorderThread, StartPolicy, Tracks, Update};
use crate::render::Jobs;
use crate::room::{self, MediaLink, RoomEvent, Rooms};
use crate::tls::{self, Lan};
use crate::webhooks;

/// What is asked of this start beside the settings.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Where to write the chosen addresses.
    pub ready_file: Option<PathBuf>,
    /// Open the browser.
    pub open: bool,
    /// With a certificate authority and a key of our own.
    pub lan: bool,
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// Why it cannot start.
pub fn run(config: Config, launch: Launch) -> anyhow::Result<()> {
    let started = Instant::now();
    crate::telemetry::start(&config.log)?;
    http::metrics_recorder();
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let result = runtime.block_on(serve(config, launch, started));
    // Whatever still runs now has had its time.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(mut config: Config, launch: Launch, started: Instant) -> anyhow::Result<()> {
    let lan = match launch.lan {
        true => Some(open_lan(&mut config)?),
        false => None,
    };
    if config.auth.key.is_empty() && !config.is_loopback() {
        anyhow::bail!(
            "other machines can reach {}, so a key is needed: `reelay serve --init` writes one into reelay.toml; \
             or listen on 127.0.0.1 without a proxy",
            config.http.public_url.clone().unwrap_or_else(|| config.http.listen.to_string())
        );
    }
    let signals = stop::Signals::listen().context("listening for signals")?;
    let listener = bind(&config)?;
    let tls = Tls::new(&config, lan.as_ref())?;
    let (media, media_threads) = start_media(&config)?;
    let (updates, from_recorder) = mpsc::unbounded_channel::<Update>();
    let (recorder, recorder_thread) = start_recorder(&config, updates)?;
    let library = Library::open(&config.recording.dir, config.catalog.url.as_deref())
        .await
        .context("opening the catalogue of the recordings")?;
    let (audit, audit_thread) = audit::open_in(&config.recording.dir).context("opening the audit log")?;
    let (hooks, teller) = webhooks::open(&config.webhooks.urls, &config.webhooks.secret, library.catalog().clone())?;
    let (observer, from_rooms) = mpsc::channel::<RoomEvent>(ROOM_EVENTS);
    let rooms = Rooms::new(room_options(&config), media_link(media.clone()), observer);
    let listen = listener.local_addr()?;
    let server = ServerInfo {
        version: env!("CARGO_PKG_VERSION"),
        listen,
        is_secure: tls.is_some(),
        lan: lan.as_ref().map(|lan| lan_info(lan, &media, listen)),
        started,
    };
    let app = App {
        auth: Arc::new(Auth::new(&config.auth.key, config.auth.max_lifetime.0, config.auth.media_url_lifetime.0)),
        sockets: Arc::new(Semaphore::new(config.limits.sockets)),
        sockets_each: Places::new(config.limits.sockets_per_address),
        connections: Places::new(config.limits.connections_per_address),
        hooks: hooks.clone(),
        retention: retention::rules(&config.retention),
        jobs: Jobs::open(&config.recording.dir.join(".jobs")),
        playbacks: Playbacks::new(media.clone(), playback_options(&config)),
        config: Arc::new(config),
        audit: audit.clone(),
        rooms: rooms.clone(),
        media: media.clone(),
        recorder: recorder.clone(),
        library: library.clone(),
        exports: std::sync::Arc::default(),
        events: http::Events::default(),
        shutdown: Shutdown::default(),
        server: Arc::new(server),
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(bridge::rooms_to_recorder(from_rooms, (recorder.clone(), audit), media.clone()));
    let intake = Intake::default();
    let updates = tokio::spawn(bridge::recorder_to_all(
        from_recorder,
        (rooms.clone(), media),
        intake.clone(),
        app.events.clone(),
    ));
    let (lister, events) = (library.clone(), app.events.clone());
    tasks.spawn(async move {
        let listed = |entry: &Entry| {
            events.manifest(entry.room.parse().ok(), &entry.summary);
            hooks.on_entry(entry);
        };
        intake.run(&lister, listed).await;
    });
    tasks.spawn(async move { library.run().await });
    if let Some(tls) = tls.clone() {
        tasks.spawn(stop::reload_certificates(tls, app.config.clone()));
    }
    tasks.spawn(retention::run(app.clone()));
    tasks.spawn(teller.run());
    let serving = tokio::spawn(http::serve(listener, tls.map(|tls| tls.listener), app.clone()));
    greeting::print(&app);
    if let Some(path) = &launch.ready_file {
        greeting::write_ready_file(path, &app).context("--ready-file")?;
    }
    if launch.open {
        greeting::open_browser(&app);
    }
    stop::wait(&app, signals).await;
    let closed = close(&app, &recorder).await;
    app.playbacks.stop();
    app.shutdown.advance(Phase::Stopping);
    serving.await.context("serving")?.context("serving")?;
    tokio::task::spawn_blocking(move || end_threads(media_threads, recorder_thread)).await.context("ending threads")?;
    // The last manifests are on their way to the catalogue.
    if tokio::time::timeout(CLOSE_PATIENCE, updates).await.is_err() {
        tracing::warn!("the catalogue did not hear everything; its next start reads the folder");
    }
    tasks.shutdown().await;
    tokio::task::spawn_blocking(move || audit_thread.stop()).await.context("ending the audit log")?;
    greeting::print_closed(&closed);
    Ok(())
}

/// Recordings first: what is on disk is worth more than a clean goodbye.
async fn close(app: &App, recorder: &Recorder) -> Vec<recording::Manifest> {
    app.shutdown.advance(Phase::Draining);
    app.rooms.drain();
    let (done, closed) = oneshot::channel();
    recorder.tell(recording::Input::CloseAll { done });
    let closed = tokio::time::timeout(CLOSE_PATIENCE, closed).await;
    app.rooms.close_all(ClosedReason::Stopping, CLOSE_PATIENCE).await;
    match closed {
        Ok(Ok(manifests)) => manifests,
        _ => {
            tracing::error!("recordings were not closed in time; the next start repairs them");
            Vec::new()
        }
    }
}

fn end_threads(media: media::MediaThreads, recorder: RecorderThread) {
    media.stop();
    recorder.stop();
}

fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    let listen = config.http.listen;
    TcpListener::bind(listen).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {} of {} is taken; use another one with --listen {}:PORT (0 takes a free one)",
            listen.port(),
            listen.ip(),
            listen.ip()
        ),
        _ => anyhow::Error::new(error).context(format!("cannot listen on {listen}")),
    })
}

/// The listener's certificates, which can be read again while it runs.
#[derive(Clone)]
struct Tls {
    listener: RustlsConfig,
}

impl Tls {
    fn new(config: &Config, lan: Option<&Lan>) -> anyhow::Result<Option<Self>> {
        let server = match (lan, &config.http.tls_cert, &config.http.tls_key) {
            (Some(lan), ..) => lan.server_config()?,
            (None, Some(cert), Some(key)) => tls::from_files(cert, key)?,
            _ => return Ok(None),
        };
        Ok(Some(Self { listener: RustlsConfig::from_config(server) }))
    }
}

fn open_lan(config: &mut Config) -> anyhow::Result<Lan> {
    anyhow::ensure!(
        config.http.tls_cert.is_none(),
        "--lan makes its own certificates; take http.tls_cert out, or --lan"
    );
    let lan = Lan::open(&config.http.lan_dir, &local_addresses()).context("--lan")?;
    if config.auth.key.is_empty() {
        config.auth.key.clone_from(&lan.auth_key);
    }
    Ok(lan)
}

fn lan_info(lan: &Lan, media: &Media, listen: SocketAddr) -> http::LanInfo {
    let outside = media.addresses().candidates.iter().map(SocketAddr::ip).filter(|ip| !ip.is_loopback());
    let urls = outside.map(|ip| format!("https://{}", SocketAddr::new(ip, listen.port()))).collect();
    let config = http::LanConfig { urls, ca_url: http::CA_PATH.to_owned(), fingerprint: lan.fingerprint.clone() };
    http::LanInfo { config, ca: lan.ca.clone() }
}

fn start_media(config: &Config) -> anyhow::Result<(Media, media::MediaThreads)> {
    let options = media::Options {
        udp_port: config.media.udp_port,
        shards: config.media.shards,
        addresses: config.media.addresses.clone(),
        external_ip: config.media.external_ip,
        half_open_peers: config.limits.half_open_peers,
        peer: media::PeerLimits { ice: config.limits.connect_timeout.0, ..media::PeerLimits::default() },
    };
    Media::start(options).map_err(|error| match error {
        media::StartError::Bind { port, source } if source.kind() == std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "UDP port {port} is taken, probably by another Reelay; use another one with --udp-port PORT (0 takes a free one)"
        ),
        error => error.into(),
    })
}

fn start_recorder(
    config: &Config,
    updates: mpsc::UnboundedSender<Update>,
) -> anyhow::Result<(Recorder, RecorderThread)> {
    let options = recording::Options {
        start: match config.recording.start {
            RecordingStart::Auto => StartPolicy::Auto,
            RecordingStart::Manual => StartPolicy::Manual,
            RecordingStart::Off => StartPolicy::Off,
        },
        tracks: match config.recording.tracks {
            RecordingTracks::Av => Tracks::Av,
            RecordingTracks::Audio => Tracks::Audio,
        },
        consent: if config.consent_required() { ConsentPolicy::Required } else { ConsentPolicy::Notice },
        linger: config.recording.linger.0,
        capture: config
            .recording
            .capture_dir
            .clone()
            .map(|dir| recording::CaptureOptions { dir, limit: config.recording.capture_size.0 }),
        ..recording::Options::new(&config.recording.dir)
    };
    Recorder::start(options, updates).map_err(|error| match error {
        recording::StartError::Locked(folder) => anyhow::anyhow!(
            "another Reelay records into {}; use another folder with --recordings FOLDER",
            folder.display()
        ),
        error => error.into(),
    })
}

fn room_options(config: &Config) -> room::Options {
    room::Options {
        limits: config.limits.clone(),
        setups: Places::new(config.limits.half_open_per_address),
        renew_warning: config.auth.renew_warning.0,
        watch: config.room.watch,
        may_record: config.recording.start != RecordingStart::Off,
        consent_required: config.consent_required(),
        ice_servers: IceServers::new(&config.media),
        simulcast: config.media.simulcast,
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn playback_options(config: &Config) -> playback::Options {
    playback::Options {
        playbacks: config.limits.playbacks,
        viewers: config.limits.watchers_per_room,
        half_open_per_address: config.limits.half_open_per_address,
        connect_timeout: config.limits.connect_timeout.0,
    }
}

fn media_link(media: Media) -> MediaLink {
    Arc::new(move |room, command| media.offer(room, command))
}

/// Where `--lan` listens.
pub const LAN_PORT: u16 = 8443;
const ROOM_EVENTS: usize = 4096;
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
