//! SRTP of a leg: media out, RTCP both ways.

use bytes::BytesMut;
use rtc::crypto::RTCCrypto;
use rtc::rtp::Header;
use rtc::srtp::config::Config;
use rtc::srtp::context::Context;
use rtc::srtp::option::srtcp_replay_protection;

/// Keys in use.
pub struct Srtp {
    outbound: Context,
    inbound: Context,
    /// Filled anew for each packet; a `Header` of its own would cost an initialisation each time.
    header: Header,
}

impl Srtp {
    /// Starts both directions; `None` if the keys do not fit, which the handshake rules out.
    pub fn new(keys: &Config, crypto: &dyn RTCCrypto) -> Option<Self> {
        let k = &keys.keys;
        let outbound =
            Context::new(&k.local_master_key, &k.local_master_salt, keys.profile, None, None, crypto).ok()?;
        let replay = Some(srtcp_replay_protection(REPLAY_WINDOW));
        let inbound =
            Context::new(&k.remote_master_key, &k.remote_master_salt, keys.profile, None, replay, crypto).ok()?;
        Some(Self { outbound, inbound, header: Header { version: 2, ..Header::default() } })
    }

    /// Encrypts a packet whose header has no extensions and no contributing sources.
    pub fn seal_rtp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        let head: &[u8; 12] = packet.first_chunk()?;
        self.header.padding = head[0] & 0x20 != 0;
        self.header.marker = head[1] & 0x80 != 0;
        self.header.payload_type = head[1] & 0x7f;
        self.header.sequence_number = u16::from_be_bytes([head[2], head[3]]);
        self.header.timestamp = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        self.header.ssrc = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        self.outbound.encrypt_rtp_with_header(packet, &self.header).ok()
    }

    /// Encrypts an RTCP packet.
    pub fn seal_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.outbound.encrypt_rtcp(packet).ok()
    }

    /// Decrypts an RTCP packet.
    pub fn open_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.inbound.decrypt_rtcp(packet).ok()
    }
}

const REPLAY_WINDOW: usize = 128;
