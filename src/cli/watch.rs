//! `reelay watch`: receives a room by WHEP, says what comes, and writes it into a WebM file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use hyper::{StatusCode, Uri};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

use super::client::Connection;
use super::client::http::Http;
use super::client::saver::{Arrived, Saver};
use crate::config::Span;
use crate::rtp::Codec;

/// Flags of `reelay watch`.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// Where from: http://127.0.0.1:8080/whep/room or …/whep/room/name
    #[arg(long, value_name = "URL")]
    from: Uri,
    /// Write what comes into this WebM file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
    /// How long to wait for somebody to publish
    #[arg(long, value_name = "TIME", default_value = "10s")]
    wait: Span,
    /// Access token, where the server wants one
    #[arg(long, env = "REELAY_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Certificate authority (PEM) to trust, for `reelay serve --lan`
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// End with one line of JSON that says what came
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: WatchArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(watch(args))
}

async fn watch(args: WatchArgs) -> anyhow::Result<()> {
    let http = Http::new(args.token.clone(), args.ca.as_deref())?;
    let mut connection = join(&args, &http).await?;
    eprintln!("connected to {}", args.from);
    let mut saver = Saver::new(args.out.clone(), std::time::Instant::now());
    let result = receive(&mut connection, &mut saver, args.duration.map(|duration| duration.0)).await;
    connection.close(&http).await;
    let summary = saver.finish()?;
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        eprintln!("{summary}");
    }
    result?;
    anyhow::ensure!(summary.is_something(), "connected, but nothing came");
    Ok(())
}

// Asks until somebody publishes, or the patience is over.
async fn join(args: &WatchArgs, http: &Http) -> anyhow::Result<Connection> {
    let end = Instant::now() + args.wait.0;
    loop {
        let mut connection = Connection::new(&args.from, &[Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::Av1]).await?;
        for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
            let init = RTCRtpTransceiverInit { direction: RTCRtpTransceiverDirection::Recvonly, ..Default::default() };
            connection.peer.add_transceiver_from_kind(kind, Some(init)).await?;
        }
        let answer = connection.offer(http, &args.from).await?;
        let pause = answer.retry_after().filter(|_| answer.status == StatusCode::NOT_FOUND);
        let Some(pause) = pause.map(|pause| pause.min(MAX_PAUSE)).filter(|pause| Instant::now() + *pause < end) else {
            connection.accept(answer).await?;
            return Ok(connection);
        };
        connection.close(http).await;
        tokio::time::sleep(pause).await;
    }
}

async fn receive(connection: &mut Connection, saver: &mut Saver, duration: Option<Duration>) -> anyhow::Result<()> {
    let end = duration.map(|duration| Instant::now() + duration);
    let mut readers = JoinSet::new();
    let mut tracks: Vec<(u32, Arc<dyn TrackRemote>)> = Vec::new();
    let (packets, mut arrived) = mpsc::channel(QUEUE);
    let mut lost = std::pin::pin!(connection.lost());
    let mut ticks = tokio::time::interval(TICK);
    let mut count = 0_u32;
    loop {
        tokio::select! {
            Some(track) = connection.tracks.recv() => {
                let ssrc = *track.ssrcs().await.first().context("a track without an SSRC")?;
                let codec = track.codec(ssrc).await.and_then(|codec| codec_of(&codec.mime_type));
                let codec = codec.context("a track with a codec that was not offered")?;
                saver.declare(codec);
                tracks.push((ssrc, track.clone()));
                readers.spawn(read(track, codec, packets.clone()));
            }
            Some(packet) = arrived.recv() => saver.on_packet(packet),
            _ = ticks.tick() => {
                count += 1;
                saver.on_tick(std::time::Instant::now())?;
                if count.is_multiple_of(TICKS_PER_LINE) {
                    eprintln!("{}", saver.line());
                }
                if saver.wants_keyframe() {
                    ask_for_keyframe(&tracks).await;
                }
            }
            () = async { match end { Some(end) => tokio::time::sleep_until(end).await, None => std::future::pending().await } } => return Ok(()),
            () = &mut lost => bail!("the media connection was lost"),
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

async fn read(track: Arc<dyn TrackRemote>, codec: Codec, packets: mpsc::Sender<Arrived>) {
    while let Some(event) = track.poll().await {
        if let TrackRemoteEvent::OnRtpPacket(packet) = event {
            let header = &packet.header;
            let arrived = Arrived {
                codec,
                ssrc: header.ssrc,
                packet: crate::rtp::Packet {
                    seq: header.sequence_number,
                    rtp_time: header.timestamp,
                    marker: header.marker,
                    arrival: std::time::Instant::now(),
                    level: None,
                    payload: packet.payload,
                },
            };
            if packets.send(arrived).await.is_err() {
                return;
            }
        }
    }
}

async fn ask_for_keyframe(tracks: &[(u32, Arc<dyn TrackRemote>)]) {
    for (media_ssrc, track) in tracks {
        if track.kind().await == RtpCodecKind::Video {
            let request = PictureLossIndication { sender_ssrc: 0, media_ssrc: *media_ssrc };
            // A connection that is gone is noticed elsewhere.
            let _ = track.write_rtcp(vec![Box::new(request)]).await;
        }
    }
}

fn codec_of(mime: &str) -> Option<Codec> {
    let name = mime.split('/').next_back()?;
    [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::Av1].into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
}

const QUEUE: usize = 4096;
const TICK: Duration = Duration::from_millis(100);
const TICKS_PER_LINE: u32 = 10;
const MAX_PAUSE: Duration = Duration::from_secs(2);
