//! Viewers that only count: which packets came, and how long frames were under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Uri;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use super::numbers::Values;
use super::offer::{Direction, VP8};
use super::process::thread_cpu;
use super::seat::{Seat, Shared};
use super::source::sent_at;

/// What all viewers saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Packets inside the window.
    pub packets: u64,
    /// Gaps in sequence numbers inside the window.
    pub missing: u64,
    /// From the post of the offer until keys were there.
    pub joined: Values,
    /// From the post of the offer until the first frame.
    pub first_frame: Values,
    /// From the sending of a frame until its last packet came.
    pub latency: Values,
    /// CPU of the thread that all viewers share.
    pub cpu: Duration,
}

/// When to count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// From here.
    pub from: Instant,
    /// To here.
    pub to: Instant,
    /// When the viewers leave.
    pub end: Instant,
}

/// Viewers on a thread of their own.
pub(super) struct Crowd {
    thread: std::thread::JoinHandle<anyhow::Result<Seen>>,
    window: watch::Sender<Option<Window>>,
}

impl Crowd {
    /// Lets `count` viewers join; returns when all of them are connected. Times in frames are counted from `epoch`.
    pub fn join(shared: Arc<Shared>, url: Uri, count: usize, epoch: Instant) -> anyhow::Result<Self> {
        let (window, window_seen) = watch::channel(None);
        let (joined, all_joined) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("crowd".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, sit(shared, url, count, epoch, window_seen, joined))
        })?;
        match all_joined.recv() {
            Ok(()) => Ok(Self { thread, window }),
            Err(_) => match thread.join() {
                Ok(Err(error)) => Err(error),
                _ => anyhow::bail!("the viewers did not join"),
            },
        }
    }

    /// Says when to count.
    pub fn count(&self, window: Window) {
        self.window.send_replace(Some(window));
    }

    /// Waits for the window's end.
    pub fn finish(self) -> anyhow::Result<Seen> {
        self.thread.join().map_err(|_| anyhow::anyhow!("the viewers' thread failed"))?
    }
}

async fn sit(
    shared: Arc<Shared>,
    url: Uri,
    count: usize,
    epoch: Instant,
    window: watch::Receiver<Option<Window>>,
    joined: std::sync::mpsc::Sender<()>,
) -> anyhow::Result<Seen> {
    let mut watching = JoinSet::new();
    let (entered, mut all_entered) = mpsc::channel(AT_ONCE);
    // Some at a time, as people come: each join is measured, not the crowd at the door.
    for begun in 0..count + AT_ONCE {
        if begun >= AT_ONCE {
            next_entered(&mut watching, &mut all_entered).await?;
        }
        if begun < count {
            watching.spawn_local(one(shared.clone(), url.clone(), epoch, window.clone(), entered.clone()));
        }
    }
    // Main has given up if this fails, and then nobody waits for the result either.
    let _ = joined.send(());
    let mut before = window.clone();
    before.wait_for(Option::is_some).await?;
    let (cpu_before, mut cpu_after) = (thread_cpu(), thread_cpu());
    if let Some(window) = *window.borrow() {
        tokio::time::sleep_until(window.to.into()).await;
        cpu_after = thread_cpu();
    }
    let mut seen = Seen { cpu: cpu_after.saturating_sub(cpu_before), ..Seen::default() };
    while let Some(one) = watching.join_next().await {
        let one = one??;
        seen.packets += one.packets;
        seen.missing += one.missing;
        seen.joined.append(one.joined);
        seen.first_frame.append(one.first_frame);
        seen.latency.append(one.latency);
    }
    Ok(seen)
}

// Waits until one more has entered; an end before that is a failure.
async fn next_entered(
    watching: &mut JoinSet<anyhow::Result<Seen>>,
    entered: &mut mpsc::Receiver<()>,
) -> anyhow::Result<()> {
    tokio::select! {
        Some(()) = entered.recv() => Ok(()),
        Some(ended) = watching.join_next() => {
            ended??;
            anyhow::bail!("a viewer left early")
        }
    }
}

async fn one(
    shared: Arc<Shared>,
    url: Uri,
    epoch: Instant,
    mut window_seen: watch::Receiver<Option<Window>>,
    entered: mpsc::Sender<()>,
) -> anyhow::Result<Seen> {
    let began = Instant::now();
    let (mut seat, joined) = Seat::take(shared, &url, Direction::Receive).await?;
    let mut seen = Seen::default();
    seen.joined.push(joined);
    entered.send(()).await?;
    drop(entered);
    let mut buffer = vec![0; 2048];
    let mut streams: Vec<(u32, u16)> = Vec::new();
    let mut has_frame = false;
    let mut consent = tokio::time::interval(CONSENT_EVERY);
    let mut window: Option<Window> = None;
    loop {
        let end = window.map(|window| window.end);
        tokio::select! {
            datagram = seat.recv(&mut buffer) => {
                let now = Instant::now();
                let datagram = datagram?;
                let Some(head) = datagram.first_chunk::<12>() else { continue };
                let kind = head[1] & 0x7F;
                // RTCP lies between 64 and 95 where the payload type would be (RFC 5761 §4).
                if (64..96).contains(&kind) {
                    continue;
                }
                let seq = u16::from_be_bytes([head[2], head[3]]);
                let ssrc = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
                let is_counted = window.is_some_and(|window| now >= window.from && now < window.to);
                seen.packets += u64::from(is_counted);
                match streams.iter_mut().find(|(known, _)| *known == ssrc) {
                    Some((_, last)) => {
                        let step = seq.wrapping_sub(*last) as i16;
                        seen.missing += if is_counted && step > 1 { step as u64 - 1 } else { 0 };
                        *last = if step > 0 { seq } else { *last };
                    }
                    None => streams.push((ssrc, seq)),
                }
                let is_frame_end = head[1] & 0x80 != 0 && kind == VP8;
                if is_frame_end && (is_counted || !has_frame) && let Ok(packet) = seat.inbound.decrypt_rtp(datagram) {
                    if !std::mem::replace(&mut has_frame, true) {
                        seen.first_frame.push(began.elapsed());
                    }
                    if let Some(sent) = sent_at(&packet).filter(|_| is_counted) {
                        seen.latency.push(now.duration_since(epoch).saturating_sub(sent));
                    }
                }
            }
            _ = consent.tick() => seat.consent().await?,
            Ok(()) = window_seen.changed() => window = *window_seen.borrow_and_update(),
            () = async { match end { Some(end) => tokio::time::sleep_until(end.into()).await, None => std::future::pending().await } } => return Ok(seen),
        }
    }
}

const AT_ONCE: usize = 4;
const CONSENT_EVERY: Duration = Duration::from_secs(2);
