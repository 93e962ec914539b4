//! One playback: waits for its first viewer, then gives each frame to the media plane when it is due.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, sleep, sleep_until};
use tracing::{info, warn};

use super::reader::{self, Opened, Unit};
use super::script::Span;
use super::stream::Streams;
use super::{Inner, What};
use crate::media::{Command, Event, LegKey, LinkState, RoomKey};

/// What is played.
pub(super) struct Film {
    pub folder: PathBuf,
    pub spans: Vec<Span>,
    pub opened: Opened,
    pub streams: Streams,
}

struct Playback {
    inner: Arc<Inner>,
    what: What,
    room: RoomKey,
    streams: Streams,
    /// Recording time that it begins at.
    zero_ms: u64,
    clock: Option<Clock>,
    unwatched_since: Option<Instant>,
}

/// Both clocks at the beginning.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    ntp: u64,
}

/// Plays until the end, or until some seconds after nobody watches any more.
pub(super) async fn run(inner: Arc<Inner>, what: What, room: RoomKey, mut events: mpsc::Receiver<Event>, film: Film) {
    let (sender, mut units) = mpsc::channel(UNITS_AHEAD);
    let Film { folder, spans, opened, streams } = film;
    let zero_ms = opened.start_ms;
    // Ends when nobody takes its units.
    tokio::task::spawn_blocking(move || reader::run(&folder, &spans, opened, &sender));
    let mut playback = Playback { inner, what, room, streams, zero_ms, clock: None, unwatched_since: None };
    info!(recording = %playback.what.recording, "playback begins");
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next: Option<(Unit, Instant)> = None;
    let mut end: Option<Instant> = None;
    loop {
        let is_hungry = playback.clock.is_some() && next.is_none() && end.is_none();
        let due = next.as_ref().map(|(_, due)| *due);
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { break };
                if !playback.on_event(event) {
                    break;
                }
            }
            unit = units.recv(), if is_hungry => match unit {
                Some(unit) => next = playback.due(&unit).map(|due| (unit, due)),
                None => end = Some(Instant::now() + LAST_WORDS),
            },
            () = at(due.or(end)), if due.is_some() || end.is_some() => match next.take() {
                Some((unit, due)) => playback.feed(&unit, due).await,
                None => break,
            },
            _ = ticks.tick() => {
                if !playback.is_wanted() {
                    break;
                }
            }
        }
    }
    playback.end();
}

impl Playback {
    /// False when the media plane has given it up.
    fn on_event(&mut self, event: Event) -> bool {
        let Event::LegState { leg, state } = event else { return event != Event::Failed };
        let mut shared = self.inner.state();
        let room = self.room;
        match state {
            LinkState::Connected => {
                let mut sessions = shared.sessions.values_mut();
                if let Some(session) = sessions.find(|session| session.room == room && session.leg == leg) {
                    session.setup = None;
                }
                self.clock.get_or_insert_with(Clock::start);
            }
            LinkState::Closed => shared.sessions.retain(|_, session| session.room != room || session.leg != leg),
            LinkState::Disconnected | LinkState::Failed => {}
        }
        true
    }

    /// When a unit is due. A machine that slept, or a disk that stalled, goes on from where it was.
    fn due(&mut self, unit: &Unit) -> Option<Instant> {
        let clock = self.clock.as_mut()?;
        let due = clock.start + Duration::from_millis(unit.at_ms.saturating_sub(self.zero_ms));
        let late = Instant::now().saturating_duration_since(due);
        if late < TOO_LATE {
            return Some(due);
        }
        warn!(late_ms = late.as_millis(), "playback was held up");
        clock.start += late;
        clock.ntp = clock.ntp.wrapping_add(fixed(late));
        Some(due + late)
    }

    async fn feed(&mut self, unit: &Unit, due: Instant) {
        let Some(clock) = self.clock else { return };
        let ntp = clock.ntp.wrapping_add(fixed(due.saturating_duration_since(clock.start)));
        let fed = self.streams.packets(unit, due, ntp);
        let mut command = Command::Feed { room: self.room, packets: fed.packets, report: fed.report };
        while let Err(back) = self.inner.media.offer(self.room, command) {
            command = *back;
            sleep(BUSY).await;
        }
    }

    /// Ends what took too long or may not be seen any more. False when nobody has watched for a while.
    fn is_wanted(&mut self) -> bool {
        let now = Instant::now();
        let mut shared = self.inner.state();
        let (room, patience) = (self.room, self.inner.options.connect_timeout);
        let mut over: Vec<(String, LegKey)> = Vec::new();
        for (id, session) in shared.sessions.iter().filter(|(_, session)| session.room == room) {
            let is_stuck = session.setup.is_some() && now.saturating_duration_since(session.since) >= patience;
            if is_stuck || session.expires.is_some_and(|expires| SystemTime::now() >= expires) {
                over.push((id.clone(), session.leg));
            }
        }
        for (id, leg) in over {
            // Where the shard is too busy the next tick tries again.
            if self.inner.media.send(room, Command::CloseLeg { room, leg }).is_ok() {
                shared.sessions.remove(&id);
            }
        }
        if shared.is_watched(room) {
            self.unwatched_since = None;
            return true;
        }
        let since = *self.unwatched_since.get_or_insert(now);
        let is_wanted = now.saturating_duration_since(since) < LINGER;
        if !is_wanted {
            // Under the same lock: whoever comes now starts another one.
            shared.live.remove(&self.what);
        }
        is_wanted
    }

    fn end(self) {
        let mut shared = self.inner.state();
        if shared.live.get(&self.what).is_some_and(|live| live.room == self.room) {
            shared.live.remove(&self.what);
        }
        shared.sessions.retain(|_, session| session.room != self.room);
        drop(shared);
        self.inner.close_room(self.room);
        info!(recording = %self.what.recording, "playback has ended");
    }
}

impl Clock {
    fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), ntp: fixed(unix + Duration::from_secs(UNIX_IN_NTP)) }
    }
}

/// 32.32 seconds.
fn fixed(span: Duration) -> u64 {
    (span.as_secs() << 32).wrapping_add((u64::from(span.subsec_nanos()) << 32) / 1_000_000_000)
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// Seconds from 1900 to 1970.
const UNIX_IN_NTP: u64 = 2_208_988_800;
/// About a second of a camera; what a frame may be long bounds the memory.
const UNITS_AHEAD: usize = 64;
const TICK: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(5);
const TOO_LATE: Duration = Duration::from_secs(1);
/// For the last packets, and for what is lost of them.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_secs(5);
