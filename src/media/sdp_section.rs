//! Reads one m-line of an offer with its attributes. Pure; the whole offer is `sdp_in`'s matter.

use reelay_signaling::Kind;

use super::sdp_in::{Extension, OfferedCodec, bad};
use super::{Codec, MediaError};

/// One m-line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// `a=mid`, at most 16 characters of a token.
    pub mid: String,
    /// Audio or video; `None` for everything else, which is refused.
    pub kind: Option<Kind>,
    /// The media word, for the answer.
    pub media: String,
    /// The protocol, for the answer.
    pub protocol: String,
    /// The first format, for a refusal.
    pub first_format: String,
    /// The offerer has given it up: port 0, and no bundle-only.
    pub is_rejected: bool,
    /// Whether the client wants to send.
    pub sends: bool,
    /// What we can take, in the client's order.
    pub codecs: Vec<OfferedCodec>,
    /// Header extensions that we use.
    pub extensions: Vec<(u8, Extension)>,
    /// Simulcast layers that the client wants to send, in its order.
    pub rids: Vec<String>,
    /// Declared SSRCs and those of their retransmissions.
    pub ssrcs: Vec<(u32, Option<u32>)>,
    /// Audio channels by the SDP: 2 with `sprop-stereo=1`, else 1.
    pub channels: u8,
}

/// Reads the lines of one m-line, the m-line first.
pub(super) fn read_section(lines: &[&str]) -> Result<Section, MediaError> {
    let attributes = || lines[1..].iter().filter_map(|line| line.strip_prefix("a="));
    let find = |name: &str| attributes().find_map(|a| a.strip_prefix(name).map(str::trim));
    let mut words = lines[0][2..].split_ascii_whitespace();
    let (Some(media), Some(port), Some(protocol), Some(first_format)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("an m-line is 'm=<media> <port> <protocol> <formats>'"));
    };
    if ![media, protocol, first_format].iter().all(|word| is_token(word, 32)) {
        return Err(bad("an m-line has characters that are not allowed"));
    }
    let port: u32 = port.parse().map_err(|_| bad("the port of an m-line is not a number"))?;
    let mid = find("mid:").ok_or_else(|| bad("an m-line has no a=mid"))?;
    if !is_token(mid, 16) {
        return Err(bad("a mid has 1 to 16 letters, digits or signs"));
    }
    let kind = match media {
        "audio" => Some(Kind::Audio),
        "video" => Some(Kind::Video),
        _ => None,
    };
    let is_rejected = port == 0 && !attributes().any(|a| a == "bundle-only");
    let mut section = Section {
        mid: mid.to_owned(),
        kind,
        media: media.to_owned(),
        protocol: protocol.to_owned(),
        first_format: first_format.to_owned(),
        is_rejected,
        sends: false,
        codecs: Vec::new(),
        extensions: Vec::new(),
        rids: Vec::new(),
        ssrcs: Vec::new(),
        channels: 1,
    };
    let Some(kind) = kind.filter(|_| !is_rejected) else { return Ok(section) };
    if !matches!(protocol, "UDP/TLS/RTP/SAVPF" | "TCP/TLS/RTP/SAVPF" | "RTP/SAVPF") {
        return Err(bad(format!("m-line '{mid}' is not UDP/TLS/RTP/SAVPF")));
    }
    if !attributes().any(|a| a == "rtcp-mux") {
        return Err(bad(format!("m-line '{mid}' has no a=rtcp-mux")));
    }
    let direction = attributes().find(|a| matches!(*a, "sendrecv" | "sendonly" | "recvonly" | "inactive"));
    section.sends = matches!(direction, None | Some("sendrecv" | "sendonly"));
    let formats: Vec<u8> = std::iter::once(first_format).chain(words).filter_map(|w| w.parse().ok()).collect();
    section.codecs = read_codecs(kind, &formats, lines);
    section.extensions = attributes().filter_map(read_extension).collect();
    section.rids = read_rids(lines);
    section.ssrcs = read_ssrcs(lines);
    let is_stereo = section.codecs.iter().any(|c| parameters(&c.fmtp).any(|p| p == ("sprop-stereo", "1")));
    section.channels = if is_stereo { 2 } else { 1 };
    Ok(section)
}

/// `key=value` pairs of an `a=fmtp`.
pub(super) fn parameters(fmtp: &str) -> impl Iterator<Item = (&str, &str)> {
    fmtp.split(';').filter_map(|pair| pair.trim().split_once('='))
}

fn read_codecs(kind: Kind, formats: &[u8], lines: &[&str]) -> Vec<OfferedCodec> {
    let about = |prefix: &str, payload_type: u8| {
        let prefix = format!("a={prefix}:{payload_type} ");
        lines.iter().filter_map(move |line| line.strip_prefix(&prefix).map(|rest| rest.trim().to_owned())).collect()
    };
    let encoding = |payload_type: u8| -> String {
        let maps: Vec<String> = about("rtpmap", payload_type);
        maps.into_iter().next().unwrap_or_default().to_ascii_lowercase()
    };
    let fmtp = |payload_type: u8| -> String { Vec::into_iter(about("fmtp", payload_type)).next().unwrap_or_default() };
    let rtx_of = |primary: u8| {
        let is_rtx_of = |pt: u8| {
            encoding(pt) == "rtx/90000"
                && parameters(&fmtp(pt)).any(|(key, value)| key == "apt" && value.parse() == Ok(primary))
        };
        formats.iter().copied().find(|&pt| pt < 128 && is_rtx_of(pt))
    };
    let red_of = |primary: u8| {
        let is_red_of = |pt: u8| {
            encoding(pt) == "red/48000/2" && fmtp(pt).split('/').all(|copy| copy.trim().parse() == Ok(primary))
        };
        formats.iter().copied().find(|&pt| kind == Kind::Audio && pt < 128 && is_red_of(pt))
    };
    let mut codecs: Vec<OfferedCodec> = Vec::new();
    for &payload_type in formats.iter().filter(|&&pt| pt < 128).take(MAX_FORMATS) {
        let fmtp = fmtp(payload_type);
        let has_profile = |name: &str| parameters(&fmtp).any(|(key, value)| key == name && value != "0");
        let codec = match (kind, encoding(payload_type).as_str()) {
            (Kind::Audio, "opus/48000/2") => Codec::Opus,
            (Kind::Video, "vp8/90000") => Codec::Vp8,
            (Kind::Video, "vp9/90000") if !has_profile("profile-id") => Codec::Vp9,
            (Kind::Video, "av1/90000") if !has_profile("profile") => Codec::Av1,
            _ => continue,
        };
        // Firefox lists VP8 and VP9 once, Chromium AV1 twice; the first of each is the one it means.
        if codecs.iter().any(|other| other.codec == codec || other.payload_type == payload_type) {
            continue;
        }
        let mut offered: Vec<String> = about("rtcp-fb", payload_type);
        offered.extend(lines.iter().filter_map(|line| line.strip_prefix("a=rtcp-fb:* ")).map(str::to_owned));
        // Chromium offers no `nack` for sound, but resends it when the answer has one: nothing else closes a recording's
        // holes. Others pass over it.
        let is_taken =
            |wanted: &&str| offered.iter().any(|o| o.trim() == *wanted) || (codec == Codec::Opus && *wanted == "nack");
        let feedback = FEEDBACK.into_iter().filter(is_taken).collect();
        codecs.push(OfferedCodec {
            payload_type,
            codec,
            fmtp,
            rtx: rtx_of(payload_type),
            red: red_of(payload_type),
            feedback,
        });
    }
    codecs
}

fn read_extension(attribute: &str) -> Option<(u8, Extension)> {
    let (id, rest) = attribute.strip_prefix("extmap:")?.split_once(' ')?;
    let id: u8 = id.split('/').next()?.parse().ok()?;
    let uri = rest.split_ascii_whitespace().next()?;
    let extension = Extension::ALL.into_iter().find(|extension| extension.uri() == uri)?;
    (id != 0 && id != 15).then_some((id, extension))
}

fn read_rids(lines: &[&str]) -> Vec<String> {
    let Some(simulcast) = lines.iter().find_map(|line| line.strip_prefix("a=simulcast:")) else { return Vec::new() };
    let mut words = simulcast.split_ascii_whitespace();
    let mut sent = "";
    while let (Some(direction), Some(list)) = (words.next(), words.next()) {
        if direction == "send" {
            sent = list;
        }
    }
    let declared = |rid: &str| {
        let prefix = format!("a=rid:{rid} send");
        lines.iter().any(|line| line.starts_with(&prefix))
    };
    // `~` marks a layer that begins paused, `,` separates alternatives: the first one counts.
    let first =
        |alternatives: &str| alternatives.split(',').next().unwrap_or_default().trim_start_matches('~').to_owned();
    let mut rids: Vec<String> = Vec::new();
    for rid in sent.split(';').map(first) {
        let is_valid =
            (1..=16).contains(&rid.len()) && rid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if is_valid && declared(&rid) && !rids.contains(&rid) && rids.len() < MAX_LAYERS {
            rids.push(rid);
        }
    }
    rids
}

fn read_ssrcs(lines: &[&str]) -> Vec<(u32, Option<u32>)> {
    let mut pairs: Vec<(u32, Option<u32>)> = Vec::new();
    for group in lines.iter().filter_map(|line| line.strip_prefix("a=ssrc-group:FID ")) {
        let ids: Vec<u32> = group.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
        if let [primary, rtx] = ids[..] {
            pairs.push((primary, Some(rtx)));
        }
    }
    for line in lines.iter().filter_map(|line| line.strip_prefix("a=ssrc:")) {
        let Some(ssrc) = line.split_ascii_whitespace().next().and_then(|id| id.parse().ok()) else { continue };
        if !pairs.iter().any(|&(primary, rtx)| primary == ssrc || rtx == Some(ssrc)) {
            pairs.push((ssrc, None));
        }
    }
    pairs.truncate(MAX_SSRCS);
    pairs
}

fn is_token(word: &str, most: usize) -> bool {
    let is_sign = |b: u8| matches!(b, b'-' | b'_' | b'.' | b'+' | b'/' | b'~' | b'*' | b'!' | b'{' | b'}' | b'|');
    (1..=most).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || is_sign(b))
}

// REMB is left out: with transport-wide feedback the sender estimates for itself.
const FEEDBACK: [&str; 4] = ["nack", "nack pli", "ccm fir", "transport-cc"];
const MAX_FORMATS: usize = 64;
const MAX_LAYERS: usize = 4;
const MAX_SSRCS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\na=mid:v\na=rtcp-mux\na=rtpmap:96 VP8/90000\n";

    fn read(extra: &str) -> Section {
        let text = format!("{BASE}{extra}");
        read_section(&text.lines().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn simulcast_layers_come_in_the_clients_order() {
        let section = read("a=rid:q send\na=rid:h send\na=rid:f send\na=simulcast:send q;~h,x;f\n");
        assert_eq!(section.rids, ["q", "h", "f"]);
        assert!(read("a=rid:q recv\na=simulcast:recv q\n").rids.is_empty());
        assert!(read("a=simulcast:send q;h\n").rids.is_empty(), "layers that a=rid does not declare");
        assert!(read("a=rid:a/b send\na=simulcast:send a/b\n").rids.is_empty());
    }

    #[test]
    fn direction_and_stereo_are_read() {
        assert!(read("").sends);
        assert!(read("a=sendrecv\n").sends);
        assert!(!read("a=inactive\n").sends && !read("a=recvonly\n").sends);
        let audio = |fmtp: &str| {
            let text =
                format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:0\na=rtcp-mux\na=rtpmap:111 opus/48000/2\n{fmtp}");
            read_section(&text.lines().collect::<Vec<_>>()).unwrap().channels
        };
        assert_eq!((audio(""), audio("a=fmtp:111 sprop-stereo=0"), audio("a=fmtp:111 a=1; sprop-stereo=1")), (1, 1, 2));
    }

    #[test]
    fn odd_payload_types_and_extensions_do_no_harm() {
        let section =
            read("a=rtpmap:300 VP8/90000\na=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid\na=extmap:x y\na=ssrc:z\n");
        assert_eq!((section.codecs.len(), section.extensions.len(), section.ssrcs.len()), (1, 0, 0));
    }
}
