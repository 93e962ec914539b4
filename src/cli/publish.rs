//! `reelay publish`: a camera made of files, sent to a room by WHIP.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use hyper::Uri;
use reelay_signaling::Kind;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::media_stream::{MediaStreamId, MediaStreamTrack, MediaStreamTrackId};
use webrtc::rtp_transceiver::RtpSender;

use super::client::clip::Clip;
use super::client::http::Http;
use super::client::payload::Payloads;
use super::client::player::{Player, Repeat};
use super::client::{Connection, parameters};
use crate::config::Span;
use crate::rtp::Codec;

/// Flags of `reelay publish`.
#[derive(Debug, Clone, Args)]
pub struct PublishArgs {
    /// Where to: http://127.0.0.1:8080/whip/room/name
    #[arg(long, value_name = "URL")]
    to: Uri,
    /// What to send: a video (IVF with VP8, VP9 or AV1), an audio (Ogg with Opus), or one of each
    #[arg(value_name = "FILE", num_args = 0..=2, required_unless_present = "test_pattern")]
    files: Vec<PathBuf>,
    /// Send moving colours and a tone, over and over
    #[arg(long, conflicts_with = "files")]
    test_pattern: bool,
    /// Begin anew at the end of the files
    #[arg(long = "loop")]
    repeat: bool,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
    /// Access token, where the server wants one
    #[arg(long, env = "REELAY_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Certificate authority (PEM) to trust, for `reelay serve --lan`
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// End with one line of JSON that says what was sent
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: PublishArgs) -> anyhow::Result<()> {
    let clip = if args.test_pattern { Clip::test_pattern() } else { read(&args.files)? };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(publish(args, clip))
}

fn read(files: &[PathBuf]) -> anyhow::Result<Clip> {
    let mut clip = Clip::default();
    for path in files {
        let name = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read '{name}'"))?;
        clip.add(&bytes).with_context(|| format!("cannot publish '{name}'"))?;
    }
    Ok(clip)
}

async fn publish(args: PublishArgs, clip: Clip) -> anyhow::Result<()> {
    let http = Http::new(args.token.clone(), args.ca.as_deref())?;
    let codecs: Vec<Codec> =
        clip.video_codec.into_iter().chain((!clip.audio.is_empty()).then_some(Codec::Opus)).collect();
    let mut connection = Connection::new(&args.to, &codecs).await?;
    let mut outlets = Vec::new();
    for codec in codecs {
        outlets.push(Outlet::add(&connection, codec).await?);
    }
    connection.open(&http, &args.to).await?;
    eprintln!("connected; sending to {}", args.to);
    let repeat = if args.test_pattern || args.repeat { Repeat::Loop } else { Repeat::Once };
    let end = args.duration.map(|duration| Instant::now() + duration.0);
    let mut sent = Sent::default();
    let result = tokio::select! {
        result = play(Player::new(clip, repeat), &mut outlets, end, &mut sent) => result,
        () = connection.lost() => Err(anyhow::anyhow!("the media connection was lost")),
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    connection.close(&http).await;
    if args.json {
        println!("{}", serde_json::to_string(&sent)?);
    } else {
        let Sent { frames, video_packets, audio_packets, keyframes_asked } = sent;
        eprintln!(
            "sent {frames} frames in {video_packets} packets and {audio_packets} packets of sound; \
             asked for a keyframe {keyframes_asked} times"
        );
    }
    result
}

#[derive(Debug, Default, Serialize)]
struct Sent {
    frames: u64,
    video_packets: u64,
    audio_packets: u64,
    keyframes_asked: u64,
}

// One track of the connection and what goes out through it.
struct Outlet {
    codec: Codec,
    ssrc: u32,
    track: Arc<TrackLocalStaticRTP>,
    sender: Arc<dyn RtpSender>,
    payloads: Option<Payloads>,
    asked: mpsc::Receiver<()>,
    listener: tokio::task::JoinHandle<()>,
}

impl Outlet {
    async fn add(connection: &Connection, codec: Codec) -> anyhow::Result<Self> {
        let (ssrc, kind) = (rand::random(), kind_of(codec));
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
            codec: parameters(codec).rtp_codec,
            ..Default::default()
        };
        let (stream, id) = (MediaStreamId::from("reelay"), MediaStreamTrackId::from(kind.to_string()));
        let track = MediaStreamTrack::new(stream, id, kind.to_string(), kind, vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let sender = connection.peer.add_track(track.clone()).await?;
        let (ask, asked) = mpsc::channel(1);
        let listener = tokio::spawn(listen(track.clone(), ask));
        Ok(Self { codec, ssrc, track, sender, payloads: None, asked, listener })
    }

    // After the answer: only now it is known under which number the codec goes.
    async fn bind(&mut self) -> anyhow::Result<()> {
        let parameters = self.sender.get_parameters().await?;
        let codec = parameters.rtp_parameters.codecs.first();
        let codec = codec.with_context(|| format!("the server does not take {}", self.codec.name()))?;
        self.payloads = Some(Payloads::new(self.codec, self.ssrc, codec.payload_type));
        Ok(())
    }

    async fn send(&mut self, at_us: u64, frame: &Bytes) -> anyhow::Result<u64> {
        let packets = self.payloads.as_mut().map(|payloads| payloads.packets(at_us, frame)).unwrap_or_default();
        let count = packets.len() as u64;
        for packet in packets {
            self.track.write_rtp(packet).await?;
        }
        Ok(count)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen(track: Arc<TrackLocalStaticRTP>, ask: mpsc::Sender<()>) {
    loop {
        // Before the track is bound there is nothing to hear yet.
        let Some(event) = track.poll().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if ask.is_closed() {
                return;
            }
            continue;
        };
        if let TrackLocalEvent::OnRtcpPacket(packets) = event
            && packets.iter().any(|packet| {
                let packet = packet.as_any();
                packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>()
            })
        {
            // One that waits is as good as two.
            let _ = ask.try_send(());
        }
    }
}

fn kind_of(codec: Codec) -> RtpCodecKind {
    if codec == Codec::Opus { RtpCodecKind::Audio } else { RtpCodecKind::Video }
}

async fn play(mut player: Player, outlets: &mut [Outlet], end: Option<Instant>, sent: &mut Sent) -> anyhow::Result<()> {
    for outlet in outlets.iter_mut() {
        outlet.bind().await?;
    }
    let start = Instant::now();
    while let Some(due) = player.next() {
        let at = start + Duration::from_micros(due.at_us);
        if end.is_some_and(|end| at >= end) {
            tokio::time::sleep_until(at).await;
            break;
        }
        tokio::time::sleep_until(at).await;
        let Some(outlet) = outlets.iter_mut().find(|outlet| outlet.codec.kind() == due.kind) else { continue };
        let packets = outlet.send(due.at_us, &due.data).await?;
        match due.kind {
            Kind::Video => (sent.frames, sent.video_packets) = (sent.frames + 1, sent.video_packets + packets),
            Kind::Audio => sent.audio_packets += packets,
        }
        let mut is_asked = false;
        for outlet in outlets.iter_mut() {
            while outlet.asked.try_recv().is_ok() {
                is_asked = true;
            }
        }
        if is_asked {
            let now_us = start.elapsed().as_micros() as u64;
            sent.keyframes_asked += u64::from(player.jump_to_keyframe(now_us));
        }
    }
    Ok(())
}
