//! A publisher of made-up media: VP8 frames of the right size that carry the time of their sending, and Opus packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hyper::Uri;
use rtc::shared::marshal::Marshal;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep_until;

use super::numbers::Values;
use super::offer::{Direction, OPUS, VP8};
use super::seat::{Seat, Shared};
use crate::cli::client::payload::Payloads;
use crate::rtp::Codec;

/// A publisher that is connected.
pub(super) struct Source {
    seat: Seat,
    video: Payloads,
    audio: Payloads,
}

impl Source {
    /// Joins by WHIP.
    pub async fn join(shared: Arc<Shared>, url: &Uri) -> anyhow::Result<(Self, Duration)> {
        let (audio, video) = (rand::random(), rand::random());
        let (seat, took) = Seat::take(shared, url, Direction::Send { audio, video }).await?;
        let video = Payloads::new(Codec::Vp8, video, VP8);
        let audio = Payloads::new(Codec::Opus, audio, OPUS);
        Ok((Self { seat, video, audio }, took))
    }

    /// Sends for ever; frames say when they went out, counted from `epoch`. Counts packets in `sent`.
    pub async fn run(mut self, epoch: Instant, sent: Arc<AtomicU64>) -> anyhow::Result<()> {
        let start = Instant::now();
        let (mut frame, mut sound) = (0_u64, 0_u64);
        let mut needs_keyframe = true;
        let mut buffer = vec![0; 2048];
        let mut consent = start;
        loop {
            let (frame_us, sound_us) = (frame * 1_000_000 / FRAMES_PER_SECOND, sound * SOUND_US);
            let due = start + Duration::from_micros(frame_us.min(sound_us));
            loop {
                tokio::select! {
                    biased;
                    () = sleep_until(due.into()) => break,
                    datagram = self.seat.recv(&mut buffer) => {
                        let datagram = datagram?;
                        needs_keyframe |= self.seat.inbound.decrypt_rtcp(datagram).is_ok_and(|rtcp| asks_for_keyframe(&rtcp));
                    }
                }
            }
            let packets = if frame_us <= sound_us {
                let data = frame_data(std::mem::take(&mut needs_keyframe), epoch);
                frame += 1;
                self.video.packets(frame_us, &data)
            } else {
                sound += 1;
                self.audio.packets(sound_us, &sound_data())
            };
            for packet in packets {
                let sealed = self.seat.outbound.encrypt_rtp(&packet.marshal()?)?;
                self.seat.send(&sealed).await?;
                sent.fetch_add(1, Ordering::Relaxed);
            }
            if consent.elapsed() > CONSENT_EVERY {
                consent = Instant::now();
                self.seat.consent().await?;
            }
        }
    }
}

/// Publishers on a thread of their own; they stop when this goes.
pub(super) struct Sources {
    thread: Option<std::thread::JoinHandle<anyhow::Result<()>>>,
    stop: watch::Sender<bool>,
    /// Packets that went out.
    pub sent: Arc<AtomicU64>,
    /// How long each took to connect.
    pub joined: Values,
}

impl Sources {
    /// Lets one publisher join at each of these URLs; returns when all of them are connected and send.
    pub fn join(shared: Arc<Shared>, urls: Vec<Uri>, epoch: Instant) -> anyhow::Result<Self> {
        let (stop, mut stopped) = watch::channel(false);
        let sent = Arc::new(AtomicU64::new(0));
        let (tell, told) = std::sync::mpsc::channel();
        let counter = sent.clone();
        let count = urls.len();
        let thread = std::thread::Builder::new().name("sources".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, async move {
                let mut running = JoinSet::new();
                for url in urls {
                    let (source, took) = Source::join(shared.clone(), &url).await?;
                    running.spawn_local(source.run(epoch, counter.clone()));
                    // Nobody waits any more if this fails.
                    let _ = tell.send(took);
                }
                tokio::select! {
                    Some(ended) = running.join_next() => ended?,
                    // An error means that the owner is gone: as good as a stop.
                    _ = stopped.changed() => Ok(()),
                }
            })
        })?;
        let mut sources = Self { thread: Some(thread), stop, sent, joined: Values::default() };
        for _ in 0..count {
            match told.recv() {
                Ok(took) => sources.joined.push(took),
                Err(_) => {
                    sources.stop()?;
                    anyhow::bail!("a publisher did not join");
                }
            }
        }
        Ok(sources)
    }

    /// Stops sending.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| anyhow::anyhow!("the publishers' thread failed"))?,
            None => Ok(()),
        }
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        // What failed was told by `stop`, if somebody asked.
        let _ = self.stop();
    }
}

/// When the frame went out that ends with these bytes, counted from the epoch.
pub(super) fn sent_at(frame_end: &[u8]) -> Option<Duration> {
    frame_end.last_chunk().map(|bytes| Duration::from_nanos(u64::from_be_bytes(*bytes)))
}

fn frame_data(is_keyframe: bool, epoch: Instant) -> Bytes {
    let len = if is_keyframe { KEYFRAME_BYTES } else { FRAME_BYTES };
    let mut data = BytesMut::zeroed(len);
    // Frame tag, start code and a size of 1280x720 (RFC 6386 §9.1); nobody decodes what follows.
    let head: &[u8] = if is_keyframe { &[0x10, 0, 0, 0x9D, 1, 0x2A, 0x00, 0x05, 0xD0, 0x02] } else { &[0x11, 0, 0] };
    data[..head.len()].copy_from_slice(head);
    data[len - 8..].copy_from_slice(&(epoch.elapsed().as_nanos() as u64).to_be_bytes());
    data.freeze()
}

fn sound_data() -> Bytes {
    let mut data = [0x5A; SOUND_BYTES];
    // CELT, full band, 20 ms, one frame (RFC 6716 §3.1).
    data[0] = 0xF8;
    Bytes::copy_from_slice(&data)
}

// PLI, or FIR, anywhere in a compound packet (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
fn asks_for_keyframe(mut rtcp: &[u8]) -> bool {
    while let [first, kind, high, low, ..] = *rtcp {
        if kind == 206 && matches!(first & 0x1F, 1 | 4) {
            return true;
        }
        let len = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        match rtcp.get(len..) {
            Some(rest) => rtcp = rest,
            None => return false,
        }
    }
    false
}

/// Frames per second.
pub(super) const FRAMES_PER_SECOND: u64 = 30;
/// Packets of a frame that is no keyframe.
pub(super) const PACKETS_PER_FRAME: u64 = 4;
/// Bytes of an Opus packet, 32 kbit/s.
pub(super) const SOUND_BYTES: usize = 80;
/// Microseconds of an Opus packet.
pub(super) const SOUND_US: u64 = 20_000;
// 1 Mbit/s.
pub(super) const FRAME_BYTES: usize = 4_160;
const KEYFRAME_BYTES: usize = 20_000;
const CONSENT_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_their_time_and_are_taken_for_vp8() {
        let epoch = Instant::now();
        let key = frame_data(true, epoch);
        assert_eq!(crate::rtp::vp8::keyframe_size(&key), Some((1280, 720)));
        assert!(!crate::rtp::vp8::is_keyframe(&frame_data(false, epoch)));
        assert!(sent_at(&key).unwrap() <= epoch.elapsed());
        let mut payloads = Payloads::new(Codec::Vp8, 1, VP8);
        assert_eq!(payloads.packets(0, &frame_data(false, epoch)).len() as u64, PACKETS_PER_FRAME);
        assert_eq!(crate::rtp::opus::toc(&sound_data()).unwrap().samples, 960);
    }

    #[test]
    fn keyframe_requests_are_seen_in_compounds() {
        let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
        let pli = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        assert!(asks_for_keyframe(&pli));
        assert!(asks_for_keyframe(&[&report[..], &pli].concat()));
        assert!(!asks_for_keyframe(&report));
        assert!(!asks_for_keyframe(&[0x80, 201, 255, 255]));
    }
}
