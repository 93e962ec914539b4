//! What forwarding costs at the least on this machine: sealing the same packets with the same cipher and sending them in
//! the same runs, at the same pace, to sockets that are read by somebody else. Nothing is received, routed or rewritten.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rtc::rtp::Header;
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;

use super::process::thread_cpu;
use super::source::{FRAME_BYTES, FRAMES_PER_SECOND, PACKETS_PER_FRAME, SOUND_BYTES, SOUND_US};
use crate::media::outbox::{Flushed, Outbox, Route};
use crate::media::socket::{Socket, SocketWire};

/// CPU of the sending thread, and packets that it sent.
pub(super) fn floor(viewers: usize, duration: Duration) -> anyhow::Result<(Duration, u64)> {
    let is_over = Arc::new(AtomicBool::new(false));
    let (addresses, readers) = readers(viewers, &is_over)?;
    let result = std::thread::Builder::new().name("floor".into()).spawn(move || send(&addresses, duration))?.join();
    is_over.store(true, Ordering::Relaxed);
    // It ends by the flag.
    let _ = readers.join();
    result.map_err(|_| anyhow::anyhow!("the floor's thread failed"))?
}

fn send(addresses: &[SocketAddr], duration: Duration) -> anyhow::Result<(Duration, u64)> {
    let provider = rtc::crypto::default_provider()?;
    let profile = ProtectionProfile::AeadAes128Gcm;
    let (key, salt) = (vec![7; profile.key_len()], vec![9; profile.salt_len()]);
    let mut legs = Vec::new();
    for to in addresses {
        let context = Context::new(&key, &salt, profile, None, None, provider.crypto())?;
        legs.push((Route { to: *to, from: None }, context));
    }
    let mut outbox = Outbox::new(Box::new(SocketWire::new(Socket::bind(0)?)?));
    let mut header = Header { version: 2, payload_type: 96, ssrc: 1, ..Header::default() };
    let frame_packet = vec![0; 12 + FRAME_BYTES / PACKETS_PER_FRAME as usize];
    let sound_packet = vec![0; 12 + SOUND_BYTES];
    let (start, mut packets) = (Instant::now(), 0);
    let (mut frame, mut sound) = (0, 0);
    let cpu = thread_cpu();
    loop {
        let (frame_us, sound_us) = (frame * 1_000_000 / FRAMES_PER_SECOND, sound * SOUND_US);
        let due = Duration::from_micros(frame_us.min(sound_us));
        if due >= duration {
            break;
        }
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let (count, packet) =
            if frame_us <= sound_us { (PACKETS_PER_FRAME, &frame_packet) } else { (1, &sound_packet) };
        if count == 1 {
            sound += 1
        } else {
            frame += 1
        };
        for (route, context) in &mut legs {
            for n in 0..count {
                header.sequence_number = (packets / addresses.len().max(1) as u64 + n) as u16;
                let sealed = context.encrypt_rtp_with_header(packet, &header)?;
                outbox.datagram(*route, |buffer| buffer.extend_from_slice(&sealed));
            }
        }
        packets += count * legs.len() as u64;
        let mut flushed = outbox.flush();
        // A full socket buffer: the readers need a moment.
        while flushed == Flushed::Blocked {
            std::thread::yield_now();
            flushed = outbox.resume();
        }
    }
    Ok((thread_cpu().saturating_sub(cpu), packets - outbox.dropped().min(packets)))
}

// Sockets that are read by one thread, as the viewers' sockets are.
fn readers(count: usize, is_over: &Arc<AtomicBool>) -> anyhow::Result<(Vec<SocketAddr>, std::thread::JoinHandle<()>)> {
    let sockets = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let addresses = sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
    let is_over = is_over.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("readers".into()).spawn(move || {
        runtime.block_on(async move {
            for socket in sockets {
                // A socket that cannot be registered is not read, which makes the floor no lower.
                let Ok(socket) = socket.set_nonblocking(true).and_then(|()| tokio::net::UdpSocket::from_std(socket))
                else {
                    continue;
                };
                tokio::spawn(async move {
                    let mut buffer = vec![0; 2048];
                    while socket.recv_from(&mut buffer).await.is_ok() {}
                });
            }
            while !is_over.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    })?;
    Ok((addresses, thread))
}
