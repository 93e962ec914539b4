//! A WHIP and WHEP client on `webrtc`: what `reelay publish`, `reelay watch` and the tests are made of.

pub mod clip;
pub mod http;
pub mod payload;
pub mod player;
pub mod saver;

mod keyframes;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use hyper::{StatusCode, Uri};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::Slot;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_AV1, MIME_TYPE_OPUS, MIME_TYPE_VP8, MIME_TYPE_VP9};
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use tokio::sync::{mpsc, watch};
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder, register_default_interceptors,
};

use self::http::{Answer, Http};
use crate::rtp::Codec;

/// A peer connection that one WHIP or WHEP session is made with.
pub struct Connection {
    /// The connection itself, to add tracks to before [`open`](Self::open).
    pub peer: Arc<dyn PeerConnection>,
    /// Tracks that the other side sends.
    pub tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
    state: watch::Receiver<RTCPeerConnectionState>,
    is_gathered: watch::Receiver<bool>,
    session: Option<Uri>,
}

impl Connection {
    /// A connection that can send or receive these codecs, from the address by which `url` is reached.
    ///
    /// # Errors
    /// When the address cannot be found or no socket can be opened.
    pub async fn new(url: &Uri, codecs: &[Codec]) -> anyhow::Result<Self> {
        let mut engine = MediaEngine::default();
        for codec in codecs {
            let kind = if *codec == Codec::Opus { RtpCodecKind::Audio } else { RtpCodecKind::Video };
            engine.register_codec(parameters(*codec), kind)?;
        }
        let registry = register_default_interceptors(Registry::new(), &mut engine)?
            .with(Slot::from(KEYFRAME_SLOT), keyframes::Deliver::default());
        let (state, state_seen) = watch::channel(RTCPeerConnectionState::New);
        let (gathered, is_gathered) = watch::channel(false);
        let (found, tracks) = mpsc::channel(8);
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_include_loopback_candidate(true)
            .build();
        let peer = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings)
            .with_handler(Arc::new(Handler { state, gathered, found }))
            .with_udp_addrs(vec![SocketAddr::new(local_address(url).await?, 0)])
            .build()
            .await?;
        Ok(Self { peer: Arc::new(peer), tracks, state: state_seen, is_gathered, session: None })
    }

    /// Offers, posts the offer to `url`, takes the answer, and waits until media flows.
    ///
    /// # Errors
    /// When the server refuses or media finds no way.
    pub async fn open(&mut self, http: &Http, url: &Uri) -> anyhow::Result<()> {
        let answer = self.offer(http, url).await?;
        self.accept(answer).await
    }

    /// The first half of [`open`](Self::open): everything up to the server's word.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn offer(&mut self, http: &Http, url: &Uri) -> anyhow::Result<Answer> {
        let offer = self.peer.create_offer(None).await?;
        self.peer.set_local_description(offer).await?;
        let gathered = tokio::time::timeout(GATHER_PATIENCE, self.is_gathered.wait_for(|done| *done)).await;
        gathered.context("no candidates were found")??;
        let offer = self.peer.local_description().await.context("there is no offer")?;
        http.post_sdp(url, &offer.sdp).await
    }

    /// The second half of [`open`](Self::open).
    ///
    /// # Errors
    /// When the server refused, its answer does not fit, or media finds no way.
    pub async fn accept(&mut self, answer: Answer) -> anyhow::Result<()> {
        if answer.status != StatusCode::CREATED {
            bail!("the server refused: {}", answer.reason());
        }
        self.session = answer.location();
        self.peer.set_remote_description(RTCSessionDescription::answer(answer.body)?).await?;
        let is_settled = |state: &RTCPeerConnectionState| {
            matches!(
                state,
                RTCPeerConnectionState::Connected | RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed
            )
        };
        let settled = tokio::time::timeout(CONNECT_PATIENCE, self.state.wait_for(is_settled)).await;
        match settled {
            Ok(Ok(state)) if *state == RTCPeerConnectionState::Connected => Ok(()),
            Ok(_) => bail!("the media connection failed: no path by UDP"),
            Err(_) => {
                bail!("the media connection did not come up in {} s: no path by UDP?", CONNECT_PATIENCE.as_secs())
            }
        }
    }

    /// Waits until the connection is lost for good.
    pub fn lost(&self) -> impl Future<Output = ()> + use<> {
        use RTCPeerConnectionState::{Closed, Failed};
        let mut state = self.state.clone();
        async move {
            // An error means that the connection is gone.
            let _ = state.wait_for(|state| matches!(state, Failed | Closed)).await;
        }
    }

    /// Ends the session at the server, then the connection.
    pub async fn close(self, http: &Http) {
        if let Some(session) = &self.session {
            // A server that is gone has ended it already.
            let _ = http.delete(session).await;
        }
        let _ = self.peer.close().await;
    }
}

struct Handler {
    state: watch::Sender<RTCPeerConnectionState>,
    gathered: watch::Sender<bool>,
    found: mpsc::Sender<Arc<dyn TrackRemote>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        // More tracks than that were never asked for.
        let _ = self.found.try_send(track);
    }
}

/// What is offered for a codec.
pub fn parameters(codec: Codec) -> RTCRtpCodecParameters {
    let (mime, channels, fmtp, payload_type) = match codec {
        Codec::Opus => (MIME_TYPE_OPUS, 2, "minptime=10;useinbandfec=1", 111),
        Codec::Vp8 => (MIME_TYPE_VP8, 0, "", 96),
        Codec::Vp9 => (MIME_TYPE_VP9, 0, "profile-id=0", 98),
        Codec::Av1 => (MIME_TYPE_AV1, 0, "level-idx=5;profile=0;tier=0", 45),
    };
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let rtcp_feedback = if codec == Codec::Opus {
        vec![]
    } else {
        vec![feedback("nack", ""), feedback("nack", "pli"), feedback("ccm", "fir")]
    };
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime.into(),
            clock_rate: codec.clock_hz(),
            channels,
            sdp_fmtp_line: fmtp.into(),
            rtcp_feedback,
        },
        payload_type,
    }
}

// The address that the system would send from; nothing is sent to find it.
async fn local_address(url: &Uri) -> anyhow::Result<std::net::IpAddr> {
    let host = url.host().context("the URL has no host")?.trim_start_matches('[').trim_end_matches(']');
    let target = tokio::net::lookup_host((host, url.port_u16().unwrap_or(443)))
        .await
        .with_context(|| format!("there is no host '{host}'"))?
        .next()
        .with_context(|| format!("there is no host '{host}'"))?;
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

// Behind everything that reads RTCP: closest to the application.
const KEYFRAME_SLOT: usize = 20_000;
const GATHER_PATIENCE: Duration = Duration::from_secs(5);
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);
