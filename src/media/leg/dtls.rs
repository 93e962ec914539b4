//! The DTLS server of a leg: a handshake that may run before the answer is known, and the SRTP keys it leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::protection_profile::ProtectionProfile;

use super::hello::{Hello, HelloReader};
use super::shared::LegShared;

/// One association. Knows no addresses: the viewer may change its own.
pub struct Dtls {
    shared: Arc<LegShared>,
    endpoint: Endpoint,
    /// Until the ClientHello is complete: the reader, and what it has read.
    hello: Option<(HelloReader, Vec<Vec<u8>>)>,
}

/// What a datagram brought about.
pub enum DtlsEvent {
    /// The handshake is done.
    Done(Box<Handshake>),
    /// The client has closed.
    Closed,
}

/// What a handshake leaves behind.
pub struct Handshake {
    /// The client's certificate (DER).
    pub certificate: Vec<u8>,
    /// Keys for both directions.
    pub keys: Config,
}

impl Dtls {
    /// Waits for a ClientHello.
    pub fn new(shared: Arc<LegShared>) -> Self {
        Self {
            shared,
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, None),
            hello: Some((HelloReader::default(), Vec::new())),
        }
    }

    /// Takes a datagram of the client.
    pub fn on_datagram(&mut self, now: Instant, data: &[u8]) -> Option<DtlsEvent> {
        let Some((reader, datagrams)) = &mut self.hello else { return self.read(now, data) };
        let hello = reader.read(data);
        datagrams.push(data.to_vec());
        let config = match hello {
            Hello::Incomplete if datagrams.len() < MAX_HELLO_DATAGRAMS => return None,
            // A client that repeats parts for so long will not get further: begin anew.
            Hello::Incomplete => {
                self.hello = Some((HelloReader::default(), Vec::new()));
                return None;
            }
            Hello::Gcm => self.shared.gcm.clone(),
            Hello::Other => self.shared.sha1.clone(),
        };
        self.endpoint.set_server_config(Some(config));
        let (_, datagrams) = self.hello.take()?;
        datagrams.iter().fold(None, |event, datagram| self.read(now, datagram).or(event))
    }

    fn read(&mut self, now: Instant, data: &[u8]) -> Option<DtlsEvent> {
        // Broken records are dropped (RFC 6347 §4.1.2.7); a handshake that cannot go on ends by its own timer.
        let events = self.endpoint.read(now, PEER, None, BytesMut::from(data)).ok()?;
        events.into_iter().find_map(|event| match event {
            EndpointEvent::HandshakeComplete => self.finish().map(|done| DtlsEvent::Done(Box::new(done))),
            EndpointEvent::PeerClosed => Some(DtlsEvent::Closed),
            _ => None,
        })
    }

    fn finish(&self) -> Option<Handshake> {
        let state = self.endpoint.get_connection_state(PEER)?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            _ => return None,
        };
        let mut keys = Config { profile, ..Config::default() };
        let length = keys.keying_material_len();
        let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], length).ok()?;
        keys.set_session_keys_from_keying_material(material.as_ref(), false).ok()?;
        Some(Handshake { certificate: state.peer_certificates.first()?.clone(), keys })
    }

    /// The next datagram for the client.
    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message)
    }

    /// When a flight is to be repeated.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&PEER)
    }

    /// Repeats a flight that is due. Returns false when the handshake has failed.
    pub fn on_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.poll_timeout().is_some_and(|due| now >= due);
        !is_due || self.endpoint.handle_timeout(PEER, now).is_ok()
    }

    /// Says goodbye.
    pub fn close(&mut self, now: Instant) {
        // Closing an association cannot fail in a way that anybody could act on.
        let _ = self.endpoint.close(now);
    }
}

// The endpoint tells associations apart by address; here there is only one, wherever it comes from.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);
const MAX_HELLO_DATAGRAMS: usize = 8;
