//! Writes the answer to a publisher's offer: our codecs, our extensions, our transport, nothing else. Pure.

use std::fmt::Write;
use std::net::SocketAddr;

use reelay_signaling::Kind;

use super::Codec;
use super::sdp_in::{Extension, Offer};
use super::sdp_section::{Section, parameters};

/// Our side of ICE and DTLS, as the answer says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTransport {
    /// ICE user name.
    pub ufrag: String,
    /// ICE password.
    pub pwd: String,
    /// SHA-256 fingerprint of our certificate.
    pub fingerprint: String,
    /// `active` or `passive`.
    pub setup: &'static str,
}

/// What becomes of an m-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// We receive on it.
    Receive,
    /// It stays, but nothing flows.
    Idle,
    /// Port 0.
    Refuse,
}

/// Writes the answer; `verdicts` has one entry for each m-line of the offer.
pub fn write_answer(
    offer: &Offer,
    verdicts: &[Verdict],
    local: &LocalTransport,
    session: (u64, u64),
    candidates: &[SocketAddr],
) -> String {
    let mut sdp = String::with_capacity(4096);
    let sections = || offer.sections.iter().zip(verdicts);
    let bundled: Vec<&str> = sections().filter(|(_, v)| **v != Verdict::Refuse).map(|(s, _)| s.mid.as_str()).collect();
    let mut put = |line: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = sdp.write_fmt(line);
        sdp.push_str("\r\n");
    };
    put(format_args!("v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0", session.0, session.1));
    if !bundled.is_empty() {
        put(format_args!("a=group:BUNDLE {}", bundled.join(" ")));
    }
    if offer.extmap_allow_mixed {
        put(format_args!("a=extmap-allow-mixed"));
    }
    put(format_args!("a=msid-semantic: WMS *"));
    for (section, verdict) in sections() {
        if *verdict == Verdict::Refuse {
            put(format_args!("m={} 0 {} {}", section.media, section.protocol, section.first_format));
            put(format_args!("c=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive", section.mid));
            continue;
        }
        let formats: Vec<String> = section
            .codecs
            .iter()
            .flat_map(|c| std::iter::once(c.payload_type).chain(c.rtx).chain(c.red))
            .map(|payload_type| payload_type.to_string())
            .collect();
        put(format_args!("m={} 9 {} {}", section.media, section.protocol, formats.join(" ")));
        put(format_args!("c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0"));
        put(format_args!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle", local.ufrag, local.pwd));
        put(format_args!("a=fingerprint:sha-256 {}\r\na=setup:{}", local.fingerprint, local.setup));
        put(format_args!("a=mid:{}", section.mid));
        for (id, extension) in extensions(section) {
            put(format_args!("a=extmap:{id} {}", extension.uri()));
        }
        put(format_args!("a={}", if *verdict == Verdict::Receive { "recvonly" } else { "inactive" }));
        put(format_args!("a=rtcp-mux\r\na=rtcp-rsize"));
        for codec in &section.codecs {
            let (pt, channels) = (codec.payload_type, if codec.codec == Codec::Opus { "/2" } else { "" });
            put(format_args!("a=rtpmap:{pt} {}/{}{channels}", codec.codec.name(), codec.codec.clock_hz()));
            for feedback in &codec.feedback {
                put(format_args!("a=rtcp-fb:{pt} {feedback}"));
            }
            if let Some(fmtp) = our_fmtp(codec.codec, &codec.fmtp, start_bitrate(section)) {
                put(format_args!("a=fmtp:{pt} {fmtp}"));
            }
            if let Some(rtx) = codec.rtx {
                put(format_args!("a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}"));
            }
            // Behind what it is made of: so browsers, which may send it, prefer not to.
            if let Some(red) = codec.red {
                put(format_args!("a=rtpmap:{red} red/48000/2\r\na=fmtp:{red} {pt}/{pt}"));
            }
        }
        if *verdict == Verdict::Receive && !section.rids.is_empty() {
            for rid in &section.rids {
                put(format_args!("a=rid:{rid} recv"));
            }
            put(format_args!("a=simulcast:recv {}", section.rids.join(";")));
        }
        for (index, candidate) in candidates.iter().enumerate() {
            // Host preference falls with the order, so that real addresses go before loopback.
            let priority = (126u32 << 24) | ((65_535u32.saturating_sub(index as u32)) << 8) | 255;
            let (ip, port) = (candidate.ip(), candidate.port());
            put(format_args!("a=candidate:{} 1 udp {priority} {ip} {port} typ host", index + 1));
        }
        put(format_args!("a=end-of-candidates"));
    }
    sdp
}

/// The extensions of a section that the answer takes: those of layers only for video, loudness only for audio.
pub fn extensions(section: &Section) -> impl Iterator<Item = (u8, Extension)> + '_ {
    let is_wanted = |extension: Extension| match extension {
        Extension::Mid | Extension::TransportCc => true,
        Extension::Rid | Extension::RepairedRid => section.kind == Some(Kind::Video),
        Extension::AudioLevel => section.kind == Some(Kind::Audio),
    };
    section.extensions.iter().copied().filter(move |(_, extension)| is_wanted(*extension))
}

fn our_fmtp(codec: Codec, offered: &str, start: &str) -> Option<String> {
    match codec {
        Codec::Opus => {
            let is_stereo = parameters(offered).any(|p| p == ("sprop-stereo", "1"));
            Some(format!("minptime=10;useinbandfec=1{}", if is_stereo { ";stereo=1" } else { "" }))
        }
        // Chromium begins at 300 kbit/s and 360p otherwise, and takes half a minute to find its way up.
        Codec::Vp8 => Some(start.into()),
        Codec::Vp9 => Some(format!("profile-id=0;{start}")),
        // The level must match the offered one for Chromium to see the same codec in the answer.
        Codec::Av1 => {
            let offered: String = offered.chars().filter(|c| c.is_ascii_graphic()).take(200).collect();
            let separator = if offered.is_empty() { "" } else { ";" };
            Some(format!("{offered}{separator}{start}"))
        }
    }
}

/// In kbit/s; a parameter of Chromium's that others pass over. Layers need more, or the highest is left out at first.
fn start_bitrate(section: &Section) -> &'static str {
    if section.rids.len() < 2 { "x-google-start-bitrate=1000" } else { "x-google-start-bitrate=1700" }
}

#[cfg(test)]
mod tests {
    use super::super::sdp_in::tests::CHROMIUM;
    use super::super::sdp_in::{OfferLimits, read_offer};
    use super::*;

    fn answer(text: &str, verdicts: &[Verdict]) -> String {
        let offer = read_offer(text, OfferLimits::default()).unwrap();
        let local = LocalTransport {
            ufrag: "ourufrag".into(),
            pwd: "ourpassword".into(),
            fingerprint: "AB:CD".into(),
            setup: "active",
        };
        write_answer(&offer, verdicts, &local, (1, 2), &["10.0.0.1:7342".parse().unwrap()])
    }

    #[test]
    fn the_answer_takes_what_we_record_and_nothing_else() {
        let sdp = answer(CHROMIUM, &[Verdict::Receive, Verdict::Receive]);
        assert!(sdp.contains("m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\n"), "redundant sound comes last");
        assert!(sdp.contains("a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"));
        assert!(sdp.contains("m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 45 46\r\n"));
        for absent in ["red/90000", "H264", "goog-remb", "video-orientation", "abs-send-time", "simulcast"] {
            assert!(!sdp.contains(absent), "{absent}");
        }
        assert_eq!(sdp.matches("a=recvonly").count(), 2);
        assert!(sdp.contains("a=candidate:1 1 udp 2130706431 10.0.0.1 7342 typ host"));
        assert!(sdp.contains("a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"));
    }

    #[test]
    fn refused_and_idle_lines_stay_in_their_place() {
        let sdp = answer(CHROMIUM, &[Verdict::Refuse, Verdict::Idle]);
        assert!(sdp.contains("a=group:BUNDLE 1\r\n"));
        assert!(sdp.contains("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n"));
        assert_eq!(sdp.matches("a=inactive").count(), 2);
    }

    #[test]
    fn layers_are_taken_all() {
        let text = format!("{CHROMIUM}a=rid:q send\r\na=rid:h send\r\na=simulcast:send q;h\r\n");
        let sdp = answer(&text, &[Verdict::Receive, Verdict::Receive]);
        assert!(sdp.contains("a=rid:q recv\r\na=rid:h recv\r\na=simulcast:recv q;h\r\n"));
    }
}
