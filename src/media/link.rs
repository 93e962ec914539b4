//! ICE, DTLS and SRTP of one publisher: an `rtc` PeerConnection without tracks of its own.
//! The SDP that clients see is read and written by `sdp_in` and `sdp_answer`; the connection gets a minimal one
//! with the transport alone, so that no offer can reach its track handling.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{RTCCryptoProvider, SignatureScheme};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::interceptor::{Registry, Slot};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::interceptors::SharedReceiver;
use super::outbox::Route;
use super::sdp_answer::LocalTransport;
use super::sdp_in::{RemoteTransport, Setup};

/// What all links of a process share: one certificate, one set of crypto.
#[derive(Clone)]
pub struct LinkShared {
    certificate: RTCCertificate,
    crypto: Arc<dyn RTCCryptoProvider>,
}

impl LinkShared {
    /// Makes the certificate.
    ///
    /// # Errors
    /// When no crypto library is there, or it cannot make a key.
    pub fn new() -> anyhow::Result<Self> {
        let crypto = rtc::crypto::default_provider()?;
        let parameters = CertificateParams::new(vec!["reelay".to_owned()])?;
        let certificate = RTCCertificate::generate(crypto.crypto(), SignatureScheme::EcdsaP256Sha256, parameters)?;
        Ok(Self { certificate, crypto })
    }

    /// The crypto library.
    pub fn crypto(&self) -> &Arc<dyn RTCCryptoProvider> {
        &self.crypto
    }
}

/// What a link reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// ICE has found a way; DTLS begins.
    IceConnected,
    /// DTLS is through; media flows.
    Connected,
    /// No answers to checks for a while.
    Disconnected,
    /// ICE or DTLS has given up.
    Failed,
}

/// See the module.
pub struct Link {
    connection: RTCPeerConnection,
    remote: RemoteTransport,
    local: LocalTransport,
    addresses: Vec<SocketAddr>,
}

impl Link {
    /// A link that waits for checks on `addresses`; what it receives goes into `receiver`.
    ///
    /// # Errors
    /// When `rtc` refuses the transport parameters.
    pub fn new(
        now: Instant,
        shared: &LinkShared,
        (remote, addresses): (RemoteTransport, Vec<SocketAddr>),
        receiver: SharedReceiver,
    ) -> Result<Self, Error> {
        let role = match remote.setup {
            Setup::Active => RTCDtlsRole::Server,
            Setup::ActPass | Setup::Passive => RTCDtlsRole::Client,
        };
        let settings = SettingEngineBuilder::new()
            .with_crypto_provider(shared.crypto.clone())
            .with_answering_dtls_role(role)
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_ice_timeouts(Some(ICE_DISCONNECTED), Some(ICE_FAILED), Some(ICE_KEEPALIVE))
            .with_srtp_replay_protection_window(SRTP_WINDOW)
            .with_srtcp_replay_protection_window(SRTP_WINDOW)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .build();
        let mut engine = MediaEngine::default();
        engine.register_default_codecs()?;
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_configuration(
                RTCConfigurationBuilder::new().with_certificates(vec![shared.certificate.clone()]).build(),
            )
            .with_media_engine(engine)
            .with_setting_engine(settings)
            // The wire side of everything else, of which there is nothing: see `interceptors`.
            .with_interceptor_registry(Registry::new().with(Slot::from(6_500), receiver))
            .build(now)?;
        for (index, address) in addresses.iter().enumerate() {
            connection.add_local_candidate(host_candidate(index, *address))?;
        }
        let local = negotiate(&mut connection, now, &remote)?;
        Ok(Self { connection, remote, local, addresses })
    }

    /// Our side, for the answer.
    pub fn local(&self) -> &LocalTransport {
        &self.local
    }

    /// The other side.
    pub fn remote(&self) -> &RemoteTransport {
        &self.remote
    }

    /// New ICE credentials on both sides; DTLS and SRTP go on.
    ///
    /// # Errors
    /// When `rtc` refuses the transport parameters.
    pub fn restart(&mut self, now: Instant, remote: RemoteTransport) -> Result<(), Error> {
        self.local = negotiate(&mut self.connection, now, &remote)?;
        self.remote = remote;
        for index in 0..self.addresses.len() {
            // A link that had failed has forgotten them.
            self.connection.add_local_candidate(host_candidate(index, self.addresses[index]))?;
        }
        Ok(())
    }

    /// One more address of the other side.
    pub fn add_remote_candidate(&mut self, address: SocketAddr) {
        // The worst that can happen is one check less.
        let _ = self.connection.add_remote_candidate(host_candidate(0, address));
    }

    /// Takes a datagram.
    pub fn on_datagram(&mut self, now: Instant, route: Route, port: u16, bytes: &[u8]) {
        let local_ip = route.from.unwrap_or_else(|| self.addresses.first().map_or(route.to.ip(), |a| a.ip()));
        let local_addr = SocketAddr::new(local_ip, port);
        if !self.addresses.contains(&local_addr) && self.addresses.len() < MAX_ADDRESSES {
            // An address that the machine has got since.
            let _ = self.connection.add_local_candidate(host_candidate(self.addresses.len(), local_addr));
            self.addresses.push(local_addr);
        }
        let transport =
            TransportContext { local_addr, peer_addr: route.to, transport_protocol: TransportProtocol::UDP, ecn: None };
        // Broken datagrams are the connection's to drop.
        let _ = self.connection.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(bytes) });
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, now: Instant) {
        let _ = self.connection.handle_timeout(now);
    }

    /// When [`Link::on_timeout`] is to be called.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        loop {
            return Some(match self.connection.poll_event()? {
                RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(RTCIceConnectionState::Connected) => {
                    LinkEvent::IceConnected
                }
                RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => match state {
                    RTCPeerConnectionState::Connected => LinkEvent::Connected,
                    RTCPeerConnectionState::Disconnected => LinkEvent::Disconnected,
                    RTCPeerConnectionState::Failed => LinkEvent::Failed,
                    _ => continue,
                },
                _ => continue,
            });
        }
    }

    /// The next datagram to send.
    pub fn poll_datagram(&mut self) -> Option<(Route, BytesMut)> {
        let transmit = self.connection.poll_write()?;
        let TransportContext { local_addr, peer_addr, .. } = transmit.transport;
        Some((Route { to: peer_addr, from: Some(local_addr.ip()) }, transmit.message))
    }

    /// Throws away what the connection would give an application: there is none.
    pub fn discard_reads(&mut self) {
        while self.connection.poll_read().is_some() {}
    }

    /// Says goodbye; the datagrams for it are still to be polled.
    pub fn close(&mut self) {
        let _ = self.connection.close();
    }
}

fn negotiate(
    connection: &mut RTCPeerConnection,
    now: Instant,
    remote: &RemoteTransport,
) -> Result<LocalTransport, Error> {
    let RemoteTransport { ufrag, pwd, fingerprint, setup, is_lite } = remote;
    let lite = if *is_lite { "a=ice-lite\r\n" } else { "" };
    let offer = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n{lite}\
         m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
         a=rtpmap:0 PCMU/8000\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:{}\r\n",
        setup.as_str()
    );
    connection.set_remote_description(now, RTCSessionDescription::offer(offer)?)?;
    let answer = connection.create_answer(None)?;
    let text = answer.sdp.clone();
    connection.set_local_description(now, answer)?;
    let find = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned()));
    let missing = || Error::Other("the answer lacks its transport".to_owned());
    Ok(LocalTransport {
        ufrag: find("a=ice-ufrag:").ok_or_else(missing)?,
        pwd: find("a=ice-pwd:").ok_or_else(missing)?,
        fingerprint: find("a=fingerprint:sha-256 ").ok_or_else(missing)?.to_ascii_uppercase(),
        setup: if *setup == Setup::Active { "passive" } else { "active" },
    })
}

fn host_candidate(index: usize, address: SocketAddr) -> RTCIceCandidateInit {
    let priority = (126u32 << 24) | ((65_535u32.saturating_sub(index as u32)) << 8) | 255;
    let (ip, port) = (address.ip(), address.port());
    RTCIceCandidateInit {
        candidate: format!("candidate:{} 1 udp {priority} {ip} {port} typ host", index + 1),
        ..Default::default()
    }
}

// Browsers check every 2.5 to 5 s once connected.
const ICE_DISCONNECTED: Duration = Duration::from_secs(8);
const ICE_FAILED: Duration = Duration::from_secs(20);
const ICE_KEEPALIVE: Duration = Duration::from_secs(2);
// Retransmissions have SSRCs of their own, so this only bounds reordering.
const SRTP_WINDOW: usize = 1024;
const MAX_ADDRESSES: usize = 64;
