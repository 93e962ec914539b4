//! A publishing client on the crate `webrtc`, with seeded loss on what it sends: VP8-like pictures and Opus-like sound.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpRtxParameters,
    RtpCodecKind,
};
use tokio::sync::watch;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCPeerConnectionState, RTCSessionDescription,
};
use webrtc::rtp_transceiver::RtpSender;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

use crate::clip::Frame;

/// A client that publishes one microphone and one camera.
pub struct Publisher {
    pub connection: Arc<dyn PeerConnection>,
    pub link: Arc<Link>,
    video: Sender,
    audio: Sender,
    screen: Option<(Sender, Arc<dyn RtpSender>)>,
    state: watch::Receiver<RTCPeerConnectionState>,
}

struct Sender {
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    payload_type: u8,
    next: Mutex<(u16, u32)>,
}

/// What the client's socket does to what it sends.
#[derive(Debug, Default)]
pub struct Link {
    /// Media packets to lose, of a thousand.
    pub loss: AtomicU64,
    /// What is lost stays lost: it is lost again when it is sent again, and nothing comes by RTX.
    pub for_good: AtomicBool,
    /// Media packets to send twice, of a thousand.
    pub twice: AtomicU64,
    /// How much longer media may be under way, at most, in milliseconds: packets overtake each other.
    pub jitter: AtomicU64,
    /// The end of the handshake is under way for 300 ms, so media overtakes it.
    pub late_handshake: AtomicBool,
    pub sent: AtomicU64,
    pub lost: AtomicU64,
    pub local: Mutex<Option<SocketAddr>>,
    random: Mutex<u64>,
    /// SSRCs that are not RTX, and packets that were lost of them.
    primary: Mutex<Vec<u32>>,
    gone: Mutex<HashSet<(u32, u16)>>,
}

impl Publisher {
    /// Makes the client; nothing is sent before [`Publisher::accept`].
    pub async fn new(seed: u64) -> Self {
        let mut engine = MediaEngine::default();
        engine.register_default_codecs().unwrap();
        let rtp_codec = audio_codec("audio/red", "111/111");
        let red = RTCRtpCodecParameters { rtp_codec, payload_type: RED };
        engine.register_codec(red, RtpCodecKind::Audio).unwrap();
        let registry = register_default_interceptors(Registry::new(), &mut engine).unwrap();
        let link = Arc::new(Link { random: Mutex::new(seed), ..Link::default() });
        let (changed, state) = watch::channel(RTCPeerConnectionState::New);
        let settings =
            SettingEngineBuilder::new().with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled).build();
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings)
            .with_handler(Arc::new(Handler(changed)))
            .with_runtime(Arc::new(LossyRuntime { inner: TokioRuntime, link: link.clone() }))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await
            .unwrap();
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        let (audio, _) = Sender::add(&connection, RtpCodecKind::Audio, MIME_TYPE_OPUS, OPUS).await;
        let (video, _) = Sender::add(&connection, RtpCodecKind::Video, MIME_TYPE_VP8, 96).await;
        link.primary.lock().unwrap().extend([audio.ssrc, video.ssrc]);
        Self { connection, link, video, audio, screen: None, state }
    }

    /// An offer of everything it has.
    pub async fn offer(&self) -> String {
        let offer = self.connection.create_offer(None).await.unwrap();
        self.connection.set_local_description(offer.clone()).await.unwrap();
        offer.sdp
    }

    /// Takes the answer.
    pub async fn accept(&self, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).unwrap();
        self.connection.set_remote_description(answer).await.unwrap();
    }

    /// Waits until the connection stands.
    pub async fn connected(&self) {
        let mut state = self.state.clone();
        let wait = state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("connected in time").unwrap();
    }

    /// Sends a picture of `packets` packets.
    pub async fn picture(&self, packets: u16, is_keyframe: bool) {
        for index in 0..packets {
            // RFC 7741: S marks the first packet; then the VP8 header, whose lowest bit is 0 for keyframes.
            let mut payload = vec![if index == 0 { 0x10 } else { 0 }, u8::from(!is_keyframe), 0, 0];
            payload.extend_from_slice(&[0x9d, 0x01, 0x2a, 64, 0, 48, 0]);
            payload.resize(1000, index as u8);
            self.video.send(payload, index + 1 == packets, if index + 1 == packets { 3000 } else { 0 }).await;
        }
    }

    /// Sends 20 ms of sound.
    pub async fn sound(&self) {
        self.audio.send(vec![0xf8, 0xff, 0xfe, 1, 2, 3], false, 960).await;
    }

    /// Sends a picture as it is.
    pub async fn frame(&self, data: &[u8], n: usize, rtp_time: u32) {
        let payloads = crate::media::vp8_payloads(data, n, 1100);
        let last = payloads.len() - 1;
        for (index, payload) in payloads.into_iter().enumerate() {
            self.video.send_at(payload, index == last, rtp_time).await;
        }
    }

    /// Sends a packet of sound as it is.
    pub async fn packet(&self, data: &[u8], rtp_time: u32) {
        self.audio.send_at(Bytes::copy_from_slice(data), false, rtp_time).await;
    }

    /// Sends the last of these packets of 20 ms as redundant sound (RFC 2198), with the others as copies.
    pub async fn redundant(&self, packets: &[Frame], rtp_time: u32) {
        let (own, copies) = packets.split_last().expect("there is one");
        let mut payload = Vec::new();
        for (n, copy) in copies.iter().enumerate() {
            let ticks = (copies.len() - n) as u32 * 960;
            payload.extend((u32::from(0x80 | OPUS) << 24 | ticks << 10 | copy.data.len() as u32).to_be_bytes());
        }
        payload.push(OPUS);
        copies.iter().for_each(|copy| payload.extend(&copy.data));
        payload.extend(&own.data);
        self.audio.send_as(RED, payload.into(), false, rtp_time).await;
    }

    /// Leaves out the number of a packet of sound, as if it was sent and lost.
    pub fn lose_sound(&self) {
        let mut next = self.audio.next.lock().unwrap();
        next.0 = next.0.wrapping_add(1);
    }

    /// Sends pictures of three packets and sound, one each 5 ms.
    pub async fn play(&self, pictures: usize) {
        let mut beat = tokio::time::interval(Duration::from_millis(5));
        for index in 0..pictures {
            beat.tick().await;
            self.picture(3, index % 50 == 0).await;
            self.sound().await;
        }
    }

    /// Adds a screen; it takes part from the next offer on.
    pub async fn share(&mut self) {
        let (screen, sender) = Sender::add(&self.connection, RtpCodecKind::Video, MIME_TYPE_VP8, 96).await;
        self.screen = Some((screen, sender));
    }

    /// Sends a picture of the screen.
    pub async fn screen_picture(&self) {
        let (screen, _) = self.screen.as_ref().expect("a screen is shared");
        screen.send(vec![0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0], true, 3000).await;
    }

    /// Sends a picture of the screen as it is.
    pub async fn screen_frame(&self, data: &[u8], n: usize, rtp_time: u32) {
        let (screen, _) = self.screen.as_ref().expect("a screen is shared");
        let payloads = crate::media::vp8_payloads(data, n, 1100);
        let last = payloads.len() - 1;
        for (index, payload) in payloads.into_iter().enumerate() {
            screen.send_at(payload, index == last, rtp_time).await;
        }
    }

    /// Takes the screen away; its m-line stays.
    pub async fn stop_share(&mut self) {
        let (_, sender) = self.screen.take().expect("a screen is shared");
        self.connection.remove_track(&sender).await.unwrap();
    }
}

impl Sender {
    async fn add(
        connection: &Arc<dyn PeerConnection>,
        kind: RtpCodecKind,
        mime: &str,
        payload_type: u8,
    ) -> (Self, Arc<dyn RtpSender>) {
        let ssrc: u32 = rand::random();
        let is_video = kind == RtpCodecKind::Video;
        let codec = if is_video {
            RTCRtpCodec { mime_type: mime.to_owned(), clock_rate: 90_000, ..Default::default() }
        } else {
            audio_codec(mime, "minptime=10;useinbandfec=1")
        };
        let rtx = is_video.then(|| RTCRtpRtxParameters { ssrc: rand::random() });
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), rtx, ..Default::default() },
            codec,
            ..Default::default()
        };
        let id = format!("{kind}{ssrc}");
        let track = MediaStreamTrack::new("s".into(), id.clone(), id, kind, vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let sender = connection.add_track(track.clone() as Arc<dyn TrackLocal>).await.unwrap();
        (Self { track, ssrc, payload_type, next: Mutex::new((rand::random(), rand::random())) }, sender)
    }

    async fn send(&self, payload: Vec<u8>, marker: bool, ticks: u32) {
        let timestamp = {
            let mut next = self.next.lock().unwrap();
            let now = next.1;
            next.1 = now.wrapping_add(ticks);
            now
        };
        self.send_at(payload.into(), marker, timestamp).await;
    }

    async fn send_at(&self, payload: Bytes, marker: bool, timestamp: u32) {
        self.send_as(self.payload_type, payload, marker, timestamp).await;
    }

    async fn send_as(&self, payload_type: u8, payload: Bytes, marker: bool, timestamp: u32) {
        let sequence_number = {
            let mut next = self.next.lock().unwrap();
            let now = next.0;
            next.0 = now.wrapping_add(1);
            now
        };
        let ssrc = self.ssrc;
        let header =
            rtp::Header { version: 2, marker, payload_type, sequence_number, timestamp, ssrc, ..Default::default() };
        self.track.write_rtp(rtp::Packet { header, payload }).await.unwrap();
    }
}

fn audio_codec(mime: &str, fmtp: &str) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: mime.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: fmtp.to_owned(),
        ..Default::default()
    }
}

const OPUS: u8 = 111;
const RED: u8 = 63;

struct Handler(watch::Sender<RTCPeerConnectionState>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let _ = self.0.send(state);
    }
}

impl Link {
    /// When the copies of a datagram go out; there is none if it is lost.
    fn fate(&self, datagram: &[u8]) -> Vec<Duration> {
        // What follows ChangeCipherSpec ends the handshake.
        let is_end = matches!(datagram, [20, ..] | [22, _, _, 0, 1, ..]);
        if is_end && self.late_handshake.load(Ordering::Relaxed) {
            return vec![Duration::from_millis(300)];
        }
        // Only media, so that a call always comes about.
        if !matches!(datagram.first(), Some(128..=191)) || matches!(datagram.get(1), Some(192..=223)) {
            return vec![Duration::ZERO];
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        let is_for_good = self.for_good.load(Ordering::Relaxed);
        let ssrc = u32::from_be_bytes(datagram[8..12].try_into().unwrap());
        let packet = (ssrc, u16::from_be_bytes([datagram[2], datagram[3]]));
        let was_lost = !self.primary.lock().unwrap().contains(&ssrc) || self.gone.lock().unwrap().contains(&packet);
        if (is_for_good && was_lost) || self.random() % 1000 < self.loss.load(Ordering::Relaxed) {
            self.gone.lock().unwrap().insert(packet);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Vec::new();
        }
        let copies = 1 + u64::from(self.random() % 1000 < self.twice.load(Ordering::Relaxed));
        let jitter = self.jitter.load(Ordering::Relaxed);
        let delay = |_| if jitter > 0 { self.random() % (jitter * 1000) } else { 0 };
        (0..copies).map(delay).map(Duration::from_micros).collect()
    }

    fn random(&self) -> u64 {
        let mut random = self.random.lock().unwrap();
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *random >> 33
    }
}

struct LossyRuntime {
    inner: TokioRuntime,
    link: Arc<Link>,
}

impl fmt::Debug for LossyRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LossyRuntime")
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for LossyRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        self.inner.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        *self.link.local.lock().unwrap() = Some(socket.local_addr()?);
        let inner = self.inner.wrap_udp_socket(socket)?;
        Ok(Arc::new(LossySocket { inner, link: self.link.clone() }))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.inner.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, to: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.inner.connect_tcp(to)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        self.inner.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        self.inner.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.inner.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.inner.block_on(future);
    }
}

#[derive(Debug)]
struct LossySocket {
    inner: Arc<dyn AsyncUdpSocket>,
    link: Arc<Link>,
}

impl AsyncUdpSocket for LossySocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let fate = self.link.fate(transmit.contents);
        if fate[..] == [Duration::ZERO] {
            return self.inner.poll_send(cx, transmit);
        }
        for delay in fate {
            let (inner, contents, destination) = (self.inner.clone(), transmit.contents.to_vec(), transmit.destination);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let late = Transmit { destination, ecn: None, contents: &contents, segment_size: None, src_ip: None };
                let _ = std::future::poll_fn(|cx| inner.poll_send(cx, &late)).await;
            });
        }
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}
