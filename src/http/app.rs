//! What every door shares: settings, rights, and handles to the parts that do the work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, watch};

use super::events::Events;
use super::export::Exports;
use super::rooms::LanConfig;
use crate::audit::Audit;
use crate::auth::Auth;
use crate::config::Config;
use crate::media::Media;
use crate::places::Places;
use crate::playback::Playbacks;
use crate::recording::Recorder;
use crate::recording::library::Library;
use crate::recording::retention::Rules;
use crate::render::Jobs;
use crate::room::Rooms;
use crate::webhooks::Hooks;

/// The shared state of all doors; cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The settings.
    pub config: Arc<Config>,
    /// Who may do what.
    pub auth: Arc<Auth>,
    /// Recordings and their index.
    pub library: Library,
    /// Movies and files for editors that are being made.
    pub jobs: Jobs,
    /// The archives that were asked for last.
    pub exports: Arc<Exports>,
    /// Where changes are told.
    pub events: Events,
    /// What is told to other programs.
    pub hooks: Hooks,
    /// What is deleted to make room.
    pub retention: Rules,
    /// Who did what.
    pub audit: Audit,
    /// The live rooms.
    pub rooms: Rooms,
    /// The media plane.
    pub media: Media,
    /// Recordings that are played as live sources.
    pub playbacks: Playbacks,
    /// The recorder.
    pub recorder: Recorder,
    /// Places for signaling sockets.
    pub sockets: Arc<Semaphore>,
    /// Places for the signaling sockets of one address.
    pub sockets_each: Places,
    /// Places for the connections of one address.
    pub connections: Places,
    /// Whether the server takes new things, drains or stops.
    pub shutdown: Shutdown,
    /// Where the server listens.
    pub server: Arc<ServerInfo>,
}

/// Where the server listens and since when.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    /// The version of this program.
    pub version: &'static str,
    /// The real address of pages and API.
    pub listen: SocketAddr,
    /// True with https.
    pub is_secure: bool,
    /// With `--lan`: how other devices come here.
    pub lan: Option<LanInfo>,
    /// When it began.
    pub started: Instant,
}

/// How other devices of this network come here.
#[derive(Debug, Clone)]
pub struct LanInfo {
    /// What the pages are told.
    pub config: LanConfig,
    /// The certificate of our own authority (DER).
    pub ca: Vec<u8>,
}

/// How far the server is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not at all.
    Running,
    /// No new rooms; ends when the last one is empty.
    Draining,
    /// Everything closes.
    Stopping,
}

/// Tells everybody how far the server is on its way out; it only ever goes forward.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<Phase>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Running)))
    }
}

impl Shutdown {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Goes on to `phase`, never back.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let is_forward = phase > *now;
            if is_forward {
                *now = phase;
            }
            is_forward
        });
    }

    /// Waits until `phase` is reached.
    pub async fn reached(&self, phase: Phase) {
        let mut seen = self.0.subscribe();
        // An error means that the sender is gone, and we hold it.
        let _ = seen.wait_for(|now| *now >= phase).await;
    }
}
