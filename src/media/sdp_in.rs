//! Reads a publisher's SDP offer into what the media plane needs, and refuses what breaks a rule.
//! Pure. Everything that comes out is checked: it may be written into an answer.

use std::net::{IpAddr, SocketAddr};

use reelay_signaling::{ErrorCode, Kind};

use super::sdp_section::{Section, read_section};
use super::socket::is_usable;
use super::{Codec, MediaError};

/// An offer, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// ICE, DTLS.
    pub transport: RemoteTransport,
    /// m-lines in their order.
    pub sections: Vec<Section>,
    /// Usable candidates, at most [`MAX_CANDIDATES`].
    pub candidates: Vec<SocketAddr>,
    /// Whether header extensions of one and two bytes may be mixed.
    pub extmap_allow_mixed: bool,
}

/// The other side of ICE and DTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTransport {
    /// ICE user name.
    pub ufrag: String,
    /// ICE password.
    pub pwd: String,
    /// SHA-256 fingerprint of its certificate, `AB:CD:…`.
    pub fingerprint: String,
    /// `a=setup`.
    pub setup: Setup,
    /// `a=ice-lite`: it only answers checks, so we nominate.
    pub is_lite: bool,
}

/// Who opens DTLS, as the offer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// Whoever answers decides.
    ActPass,
    /// The offerer.
    Active,
    /// The answerer.
    Passive,
}

impl Setup {
    /// The word in SDP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ActPass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }
}

/// A codec of an m-line that we can forward and record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedCodec {
    /// Its payload type.
    pub payload_type: u8,
    /// Which.
    pub codec: Codec,
    /// Its `a=fmtp`.
    pub fmtp: String,
    /// The payload type of its retransmissions.
    pub rtx: Option<u8>,
    /// The payload type of its redundant form (RED).
    pub red: Option<u8>,
    /// The feedback that the answer takes, as in `a=rtcp-fb`.
    pub feedback: Vec<&'static str>,
}

impl OfferedCodec {
    /// True for the payload types of its packets, but not of its retransmissions.
    pub fn carries(&self, payload_type: u8) -> bool {
        self.payload_type == payload_type || self.red == Some(payload_type)
    }
}

/// Header extensions that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// The m-line of a packet.
    Mid,
    /// The simulcast layer of a packet.
    Rid,
    /// The simulcast layer that a retransmission belongs to.
    RepairedRid,
    /// Loudness (RFC 6464).
    AudioLevel,
    /// Number for bandwidth estimation.
    TransportCc,
}

impl Extension {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Mid, Self::Rid, Self::RepairedRid, Self::AudioLevel, Self::TransportCc];

    /// Its name in `a=extmap`.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        }
    }
}

/// Limits for one offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferLimits {
    /// Length of the text.
    pub bytes: usize,
    /// Audio and video m-lines.
    pub sections: usize,
}

impl Default for OfferLimits {
    fn default() -> Self {
        Self { bytes: 128 * 1024, sections: 2 + 2 * 3 }
    }
}

/// Reads an offer.
///
/// # Errors
/// `bad-sdp` with a sentence that says what is wrong.
pub fn read_offer(text: &str, limits: OfferLimits) -> Result<Offer, MediaError> {
    if text.len() > limits.bytes {
        return Err(bad(format!("the offer has {} bytes, {} are allowed", text.len(), limits.bytes)));
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    if lines.first() != Some(&"v=0") {
        return Err(bad("the offer does not begin with 'v=0'"));
    }
    if lines.iter().any(|line| line.as_bytes().get(1) != Some(&b'=')) {
        return Err(bad("the offer has a line without '='"));
    }
    let starts: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].starts_with("m=")).collect();
    let session = &lines[..starts.first().copied().unwrap_or(lines.len())];
    let blocks: Vec<&[&str]> = starts
        .iter()
        .enumerate()
        .map(|(i, &start)| &lines[start..starts.get(i + 1).copied().unwrap_or(lines.len())])
        .collect();
    if blocks.is_empty() {
        return Err(bad("the offer has no m-line"));
    }
    let mut sections = Vec::with_capacity(blocks.len());
    for block in &blocks {
        let section = read_section(block)?;
        if sections.iter().any(|other: &Section| other.mid == section.mid) {
            return Err(bad(format!("two m-lines have the mid '{}'", section.mid)));
        }
        sections.push(section);
    }
    let media = sections.iter().filter(|section| section.kind.is_some()).count();
    if media > limits.sections || sections.len() > limits.sections + 2 {
        return Err(bad(format!("the offer has {media} audio and video m-lines, {} are allowed", limits.sections)));
    }
    check_bundle(session, &sections)?;
    let transport = read_transport(session, &blocks, &sections)?;
    let values = lines.iter().filter_map(|line| line.strip_prefix("a=candidate:"));
    let mut candidates: Vec<SocketAddr> = Vec::new();
    for candidate in values.filter_map(read_candidate) {
        if candidates.len() < MAX_CANDIDATES && !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    let extmap_allow_mixed = lines.contains(&"a=extmap-allow-mixed");
    Ok(Offer { transport, sections, candidates, extmap_allow_mixed })
}

/// The address in `candidate:…` (with or without that word); `None` for what we do not use: TCP, `.local`,
/// component 2, addresses that nobody can send to.
pub fn read_candidate(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let text = text.strip_prefix("a=").unwrap_or(text);
    let mut words = text.strip_prefix("candidate:").unwrap_or(text).split_ascii_whitespace();
    let (_foundation, component, protocol, _priority) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if component != "1" || !protocol.eq_ignore_ascii_case("udp") {
        return None;
    }
    let ip: IpAddr = words.next()?.parse().ok()?;
    let port: u16 = words.next()?.parse().ok()?;
    (port != 0 && is_usable(ip)).then(|| SocketAddr::new(ip.to_canonical(), port))
}

fn check_bundle(session: &[&str], sections: &[Section]) -> Result<(), MediaError> {
    let open: Vec<&Section> = sections.iter().filter(|section| !section.is_rejected).collect();
    if open.len() < 2 {
        return Ok(());
    }
    let group = session.iter().find_map(|line| line.strip_prefix("a=group:BUNDLE")).unwrap_or_default();
    let mids: Vec<&str> = group.split_ascii_whitespace().collect();
    match open.iter().find(|section| section.kind.is_some() && !mids.contains(&section.mid.as_str())) {
        Some(section) => Err(bad(format!("m-line '{}' is not in the BUNDLE group; all must share one", section.mid))),
        None => Ok(()),
    }
}

fn read_transport(session: &[&str], blocks: &[&[&str]], sections: &[Section]) -> Result<RemoteTransport, MediaError> {
    // The transport of the BUNDLE group is that of its first open m-line; session level counts for all.
    let first = sections.iter().position(|section| !section.is_rejected).unwrap_or(0);
    let places = || blocks[first].iter().chain(session).chain(blocks.iter().flat_map(|block| block.iter()));
    let find = |name: &str| places().find_map(|line| line.strip_prefix(name).map(str::trim));
    let ufrag = find("a=ice-ufrag:").ok_or_else(|| bad("the offer has no a=ice-ufrag"))?;
    let pwd = find("a=ice-pwd:").ok_or_else(|| bad("the offer has no a=ice-pwd"))?;
    let is_ice = |text: &str, least: usize| {
        (least..=256).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'='))
    };
    if !is_ice(ufrag, 4) || !is_ice(pwd, 22) {
        return Err(bad("a=ice-ufrag or a=ice-pwd is not valid"));
    }
    let fingerprints = || places().filter_map(|line| line.strip_prefix("a=fingerprint:"));
    let sha256 = |value: &str| {
        let (algorithm, digits) = value.trim().split_once(' ')?;
        algorithm.eq_ignore_ascii_case("sha-256").then(|| digits.trim().to_ascii_uppercase())
    };
    let fingerprint = fingerprints().find_map(sha256).ok_or_else(|| match fingerprints().next() {
        Some(_) => bad("the offer has no sha-256 fingerprint"),
        None => bad("the offer has no a=fingerprint; plain RTP is not accepted"),
    })?;
    let is_digest = fingerprint.len() == 95
        && fingerprint.split(':').all(|byte| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit()));
    if !is_digest {
        return Err(bad("the fingerprint is not 32 bytes in hexadecimal"));
    }
    let setup = match find("a=setup:") {
        Some("actpass") | None => Setup::ActPass,
        Some("active") => Setup::Active,
        Some("passive") => Setup::Passive,
        Some(_) => return Err(bad("a=setup of an offer is actpass, active or passive")),
    };
    let is_lite = session.contains(&"a=ice-lite");
    Ok(RemoteTransport { ufrag: ufrag.into(), pwd: pwd.into(), fingerprint, setup, is_lite })
}

/// A refusal of an SDP text.
pub(super) fn bad(message: impl Into<String>) -> MediaError {
    MediaError { code: ErrorCode::BadSdp, message: message.into() }
}

/// The codecs that work, for refusals.
pub fn codecs_that_work(kind: Kind) -> &'static str {
    match kind {
        Kind::Audio => "Opus",
        Kind::Video => "VP8, VP9 (profile 0) or AV1",
    }
}

/// How many remote candidates one connection may have.
pub const MAX_CANDIDATES: usize = 16;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An offer as Chromium writes it, shortened.
    pub const CHROMIUM: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
        a=candidate:1 1 udp 2122260223 192.168.1.7 40000 typ host generation 0\r\n\
        a=candidate:1 2 udp 2122260222 192.168.1.7 40001 typ host\r\n\
        a=candidate:2 1 tcp 1518280447 192.168.1.7 9 typ host tcptype active\r\n\
        a=candidate:3 1 udp 2122260223 0f0e0d0c-aaaa-bbbb-cccc-ddddeeeeffff.local 40000 typ host\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=ice-options:trickle\r\n\
        a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
        a=setup:actpass\r\na=mid:0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
        a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendonly\r\na=msid:- x\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
        a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
        a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\na=ssrc:1111 cname:x\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 98 99 100 101 45 46 118\r\nc=IN IP4 0.0.0.0\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=mid:1\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:13 urn:3gpp:video-orientation\r\n\
        a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
        a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\na=sendonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 ccm fir\r\n\
        a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:103 H264/90000\r\na=fmtp:103 profile-level-id=42001f\r\na=rtpmap:104 rtx/90000\r\na=fmtp:104 apt=103\r\n\
        a=rtpmap:98 VP9/90000\r\na=rtcp-fb:98 nack\r\na=fmtp:98 profile-id=0\r\na=rtpmap:99 rtx/90000\r\na=fmtp:99 apt=98\r\n\
        a=rtpmap:100 VP9/90000\r\na=fmtp:100 profile-id=2\r\na=rtpmap:101 rtx/90000\r\na=fmtp:101 apt=100\r\n\
        a=rtpmap:45 AV1/90000\r\na=fmtp:45 level-idx=5;profile=0;tier=0\r\na=rtpmap:46 rtx/90000\r\na=fmtp:46 apt=45\r\n\
        a=rtpmap:118 red/90000\r\na=ssrc-group:FID 2222 3333\r\na=ssrc:2222 cname:x\r\na=ssrc:3333 cname:x\r\n";

    fn refused(text: &str) -> MediaError {
        let error = read_offer(text, OfferLimits::default()).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadSdp);
        error
    }

    #[test]
    fn chromiums_offer_is_read() {
        let offer = read_offer(CHROMIUM, OfferLimits::default()).unwrap();
        assert_eq!(offer.candidates, ["192.168.1.7:40000".parse::<SocketAddr>().unwrap()]);
        assert_eq!((offer.transport.ufrag.as_str(), offer.transport.setup), ("abcd", Setup::ActPass));
        assert!(offer.extmap_allow_mixed);
        let [audio, video] = &offer.sections[..] else { panic!("two m-lines") };
        assert_eq!((audio.kind, video.kind), (Some(Kind::Audio), Some(Kind::Video)));
        let codecs: Vec<_> = video.codecs.iter().map(|c| (c.codec, c.payload_type, c.rtx)).collect();
        assert_eq!(codecs, [(Codec::Vp8, 96, Some(97)), (Codec::Vp9, 98, Some(99)), (Codec::Av1, 45, Some(46))]);
        assert_eq!(video.codecs[0].feedback, ["nack", "nack pli", "ccm fir", "transport-cc"]);
        assert_eq!((audio.codecs.len(), audio.codecs[0].codec), (1, Codec::Opus));
        assert_eq!(video.ssrcs, [(2222, Some(3333))]);
        assert_eq!(audio.ssrcs, [(1111, None)]);
        assert!(audio.extensions.contains(&(1, Extension::AudioLevel)));
        assert!(video.sends && audio.sends);
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_a_sentence() {
        let limits = OfferLimits { bytes: 100, sections: 8 };
        assert!(read_offer(CHROMIUM, limits).unwrap_err().message.contains("100 are allowed"));
        assert!(refused("hello").message.contains("v=0"));
        assert!(refused("v=0\r\ngarbage\r\n").message.contains("without '='"));
        assert!(refused("v=0\r\ns=-\r\n").message.contains("no m-line"));
        assert!(refused(&CHROMIUM.replace("a=ice-ufrag:abcd\r\n", "")).message.contains("ice-ufrag"));
        assert!(refused(&CHROMIUM.replace("sha-256", "sha-1")).message.contains("sha-256"));
        assert!(refused(&CHROMIUM.replace("a=mid:1", "a=mid:0")).message.contains("mid '0'"));
        assert!(refused(&CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0")).message.contains("BUNDLE"));
        assert!(refused(&CHROMIUM.replace("a=rtcp-mux\r\n", "")).message.contains("rtcp-mux"));
        let many: String = (2..12).map(|i| format!("m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:{i}\r\n")).collect();
        assert!(refused(&format!("{CHROMIUM}{many}")).message.contains("8 are allowed"));
    }

    #[test]
    fn unusable_candidates_are_skipped() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(read_candidate(text), expected.map(|a| a.parse().unwrap()), "{text}");
        };
        check("candidate:1 1 udp 1 10.0.0.1 5000 typ host", Some("10.0.0.1:5000"));
        check("a=candidate:1 1 UDP 1 ::ffff:10.0.0.1 5000 typ host", Some("10.0.0.1:5000"));
        check("candidate:1 1 udp 1 2001:db8::1 5000 typ srflx raddr 0.0.0.0 rport 9", Some("[2001:db8::1]:5000"));
        check("candidate:1 2 udp 1 10.0.0.1 5000 typ host", None);
        check("candidate:1 1 tcp 1 10.0.0.1 9 typ host tcptype active", None);
        check("candidate:1 1 udp 1 x.local 5000 typ host", None);
        check("candidate:1 1 udp 1 fe80::1 5000 typ host", None);
        check("candidate:1 1 udp 1 0.0.0.0 0 typ host", None);
        check("", None);
        check("candidate:", None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}", cut in 0usize..3000, at in 0usize..3000) {
            let _ = read_offer(&text, OfferLimits::default());
            let _ = read_candidate(&text);
            let mut mangled: Vec<char> = CHROMIUM.chars().collect();
            mangled.truncate(cut.max(10));
            let at = at % mangled.len();
            mangled.splice(at..at, text.chars());
            let _ = read_offer(&mangled.into_iter().collect::<String>(), OfferLimits::default());
        }
    }
}
