//! A watching client on the crate `webrtc`: takes our offers, or makes one of its own as WHEP clients do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rtc::interceptor::Registry;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::watch;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCPeerConnectionState, RTCSessionDescription,
};
use webrtc::runtime::TokioRuntime;

/// A client that watches.
pub struct Viewer {
    pub connection: Arc<dyn PeerConnection>,
    seen: Arc<Mutex<Vec<Seen>>>,
    state: watch::Receiver<RTCPeerConnectionState>,
}

/// One packet that came.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub ssrc: u32,
    pub payload_type: u8,
    pub seq: u16,
    pub rtp_time: u32,
}

impl Viewer {
    /// Makes the client.
    pub async fn new() -> Self {
        let mut engine = MediaEngine::default();
        engine.register_default_codecs().unwrap();
        let registry = register_default_interceptors(Registry::new(), &mut engine).unwrap();
        let (changed, state) = watch::channel(RTCPeerConnectionState::New);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let settings = SettingEngineBuilder::new()
            .with_answering_dtls_role(RTCDtlsRole::Client)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings)
            .with_handler(Arc::new(Handler { changed, seen: seen.clone() }))
            .with_runtime(Arc::new(TokioRuntime))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await
            .unwrap();
        Self { connection: Arc::new(connection), seen, state }
    }

    /// A WHEP offer: one audio and one video m-line.
    pub async fn offer(&self) -> String {
        for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Recvonly,
                streams: Vec::new(),
                send_encodings: Vec::new(),
            };
            self.connection.add_transceiver_from_kind(kind, Some(init)).await.unwrap();
        }
        let offer = self.connection.create_offer(None).await.unwrap();
        self.connection.set_local_description(offer.clone()).await.unwrap();
        offer.sdp
    }

    /// Takes the answer to its offer.
    pub async fn accept(&self, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).unwrap();
        self.connection.set_remote_description(answer).await.unwrap();
    }

    /// Answers an offer of the server.
    pub async fn answer(&self, offer: &str) -> String {
        let offer = RTCSessionDescription::offer(offer.to_owned()).unwrap();
        self.connection.set_remote_description(offer).await.unwrap();
        let answer = self.connection.create_answer(None).await.unwrap();
        self.connection.set_local_description(answer.clone()).await.unwrap();
        answer.sdp
    }

    /// Waits until the connection stands.
    pub async fn connected(&self) {
        let mut state = self.state.clone();
        let wait = state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("connected in time").unwrap();
    }

    /// What has come so far of one payload type, in order of sequence numbers, each once.
    pub fn seen(&self, payload_type: u8) -> Vec<Seen> {
        let mut seen: Vec<Seen> =
            self.seen.lock().unwrap().iter().filter(|s| s.payload_type == payload_type).copied().collect();
        let Some(first) = seen.first().map(|seen| seen.seq) else { return seen };
        seen.sort_by_key(|seen| seen.seq.wrapping_sub(first) as i16);
        seen.dedup_by_key(|seen| seen.seq);
        seen
    }

    /// How many packets have come of one payload type.
    pub fn count(&self, payload_type: u8) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.payload_type == payload_type).count()
    }
}

struct Handler {
    changed: watch::Sender<RTCPeerConnectionState>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let _ = self.changed.send(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let seen = self.seen.clone();
        // Ends with the connection, which ends the track.
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                let TrackRemoteEvent::OnRtpPacket(packet) = event else { continue };
                seen.lock().unwrap().push(Seen {
                    ssrc: packet.header.ssrc,
                    payload_type: packet.header.payload_type,
                    seq: packet.header.sequence_number,
                    rtp_time: packet.header.timestamp,
                });
            }
        });
    }
}
