//! One end of a media connection, as cheap as it can be: ICE checks, a DTLS handshake, and SRTP keys.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use hyper::{StatusCode, Uri};
use rtc::crypto::{RTCCrypto, RTCCryptoProvider};
use rtc::dtls::config::{ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use rtc::stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, RawAttribute};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;

use super::offer::{Credentials, Direction, offer, remote_credentials};
use crate::cli::client::http::Http;

/// What all seats share: one certificate, and the handshake made from it.
pub(super) struct Shared {
    pub provider: Arc<dyn RTCCryptoProvider>,
    handshake: Arc<HandshakeConfig>,
    fingerprint: String,
    http: Http,
    server: SocketAddr,
}

impl Shared {
    /// For seats at a server whose media is at `server`.
    pub fn new(server: SocketAddr) -> anyhow::Result<Arc<Self>> {
        let provider = rtc::crypto::default_provider()?;
        let certificate = Certificate::generate_self_signed(vec!["bench".to_owned()], provider.crypto())?;
        let der = certificate.certificate.first().context("no certificate")?;
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        let hex: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let handshake = ConfigBuilder::default()
            .with_crypto_provider(provider.clone())
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(true, None)?;
        let fingerprint = format!("sha-256 {}", hex.join(":"));
        Ok(Arc::new(Self {
            provider,
            handshake: Arc::new(handshake),
            fingerprint,
            http: Http::new(None, None)?,
            server,
        }))
    }
}

/// A connection that stands.
pub(super) struct Seat {
    shared: Arc<Shared>,
    socket: UdpSocket,
    local: Credentials,
    remote: Credentials,
    /// Opens what comes.
    pub inbound: Context,
    /// Seals what goes.
    pub outbound: Context,
}

impl Seat {
    /// Posts an offer to `url`, does ICE and DTLS. Answers the seat and how long it took since the post.
    pub async fn take(shared: Arc<Shared>, url: &Uri, direction: Direction) -> anyhow::Result<(Self, Duration)> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let local = Credentials::random();
        let began = Instant::now();
        let answer = shared.http.post_sdp(url, &offer(direction, &local, &shared.fingerprint)).await?;
        if answer.status != StatusCode::CREATED {
            bail!("{url} refused: {}", answer.reason());
        }
        let remote = remote_credentials(&answer.body)?;
        let links = Links { shared: &shared, socket: &socket, local: &local, remote: &remote };
        let keys = tokio::time::timeout(PATIENCE, async {
            links.check_until_answered().await?;
            links.shake_hands().await
        });
        let keys = keys.await.context("the connection did not come up")??;
        let crypto = shared.provider.crypto();
        let side = |key: &[u8], salt: &[u8]| Context::new(key, salt, keys.profile, None, None, crypto);
        let inbound = side(&keys.keys.remote_master_key, &keys.keys.remote_master_salt)?;
        let outbound = side(&keys.keys.local_master_key, &keys.keys.local_master_salt)?;
        Ok((Self { inbound, outbound, socket, local, remote, shared }, began.elapsed()))
    }

    /// The next datagram that is media or its control; checks of the other side are answered on the way.
    pub async fn recv<'a>(&self, buffer: &'a mut [u8]) -> anyhow::Result<&'a mut [u8]> {
        loop {
            let (len, from) = self.socket.recv_from(buffer).await?;
            match buffer.first() {
                Some(128..=191) => return Ok(&mut buffer[..len]),
                Some(0..=3) => self.links().answer_check(&buffer[..len], from).await,
                _ => {}
            }
        }
    }

    /// Sends a sealed packet.
    pub async fn send(&self, datagram: &[u8]) -> anyhow::Result<()> {
        self.socket.send_to(datagram, self.shared.server).await?;
        Ok(())
    }

    /// Says that this end still wants to receive (RFC 7675).
    pub async fn consent(&self) -> anyhow::Result<()> {
        self.links().send_check().await
    }

    fn links(&self) -> Links<'_> {
        Links { shared: &self.shared, socket: &self.socket, local: &self.local, remote: &self.remote }
    }
}

// Borrowed parts of a connection that may still be in the making.
#[derive(Clone, Copy)]
struct Links<'a> {
    shared: &'a Shared,
    socket: &'a UdpSocket,
    local: &'a Credentials,
    remote: &'a Credentials,
}

impl Links<'_> {
    async fn check_until_answered(&self) -> anyhow::Result<()> {
        let mut buffer = [0; 2048];
        loop {
            self.send_check().await?;
            let answered = async {
                loop {
                    let (len, from) = self.socket.recv_from(&mut buffer).await?;
                    match buffer[..len].first_chunk() {
                        Some([1, 1]) => return anyhow::Ok(()),
                        Some([0, 1]) => self.answer_check(&buffer[..len], from).await,
                        _ => {}
                    }
                }
            };
            if let Ok(result) = tokio::time::timeout(REPEAT, answered).await {
                return result;
            }
        }
    }

    async fn send_check(&self) -> anyhow::Result<()> {
        let user = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        let raw = |typ, value| -> Box<dyn Setter> { Box::new(RawAttribute { typ, length: 0, value }) };
        let integrity = self.integrity(&self.remote.pwd);
        let parts: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId(rand::random())),
            Box::new(TextAttribute::new(ATTR_USERNAME, user)),
            raw(ATTR_PRIORITY, HOST_PRIORITY.to_be_bytes().to_vec()),
            raw(ATTR_ICE_CONTROLLING, vec![0xFF; 8]),
            raw(ATTR_USE_CANDIDATE, Vec::new()),
            Box::new(integrity),
            Box::new(FINGERPRINT),
        ];
        let mut message = Message::new();
        message.build(&parts)?;
        self.socket.send_to(&message.raw, self.shared.server).await?;
        Ok(())
    }

    // Checks of a server that is a full agent.
    async fn answer_check(&self, data: &[u8], from: SocketAddr) {
        let mut request = Message { raw: data.to_vec(), ..Message::default() };
        if request.decode().is_err() || request.typ != BINDING_REQUEST {
            return;
        }
        let parts: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(BINDING_SUCCESS),
            Box::new(request.transaction_id),
            Box::new(XorMappedAddress { ip: from.ip(), port: from.port() }),
            Box::new(self.integrity(&self.local.pwd)),
            Box::new(FINGERPRINT),
        ];
        let mut response = Message::new();
        if response.build(&parts).is_ok() {
            // A check that is not answered is repeated.
            let _ = self.socket.send_to(&response.raw, from).await;
        }
    }

    fn integrity(&self, pwd: &str) -> MessageIntegrity<'_> {
        MessageIntegrity::new_short_term_integrity_with_provider(pwd.to_owned(), self.crypto())
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self.shared.provider.crypto()
    }

    async fn shake_hands(&self) -> anyhow::Result<Config> {
        let mut endpoint = Endpoint::new(PEER, TransportProtocol::UDP, None);
        endpoint.connect(Instant::now(), PEER, self.shared.handshake.clone(), None)?;
        let mut buffer = [0; 4096];
        loop {
            while let Some(transmit) = endpoint.poll_transmit() {
                self.socket.send_to(&transmit.message, self.shared.server).await?;
            }
            let due = endpoint.poll_timeout(&PEER).unwrap_or_else(|| Instant::now() + REPEAT);
            let received = tokio::time::timeout_at(due.into(), self.socket.recv_from(&mut buffer)).await;
            let Ok(received) = received else {
                endpoint.handle_timeout(PEER, Instant::now())?;
                continue;
            };
            let (len, from) = received?;
            if len > 0 && buffer[0] <= 3 {
                self.answer_check(&buffer[..len], from).await;
            }
            if !(20..=63).contains(&buffer[0]) {
                continue;
            }
            let events = endpoint.read(Instant::now(), PEER, None, BytesMut::from(&buffer[..len]))?;
            if events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete)) {
                while let Some(transmit) = endpoint.poll_transmit() {
                    self.socket.send_to(&transmit.message, self.shared.server).await?;
                }
                let state = endpoint.get_connection_state(PEER).context("no DTLS state")?;
                let mut keys = Config { profile: ProtectionProfile::AeadAes128Gcm, ..Config::default() };
                let len = keys.keying_material_len();
                let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], len)?;
                keys.set_session_keys_from_keying_material(material.as_ref(), true)?;
                return Ok(keys);
            }
        }
    }
}

// One association per endpoint: the address only has to be the same each time.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);
const HOST_PRIORITY: u32 = 0x7E_FF_FF_FF;
const REPEAT: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);
