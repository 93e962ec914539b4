//! Legs of WHEP clients: the client writes the m-lines, we fill them with whatever track is to be seen.

use std::fmt::Write;

use rand::Rng;
use rand::rngs::StdRng;
use reelay_signaling::{ErrorCode, Kind, TrackId};

use super::LegShared;
use super::ice::Credentials;
use super::offer::{SlotChange, push, write_codec};
use super::sdp::{Description, Section, Setup, bad, fail, is_token};
use crate::media::router::{SlotCodec, SlotStream};
use crate::media::{Codec, MediaError};

/// The m-lines of a WHEP client.
#[derive(Debug)]
pub struct Whep {
    lines: Vec<Line>,
    remote_ufrag: String,
    session: u64,
}

#[derive(Debug)]
struct Line {
    mid: String,
    media: String,
    protocol: String,
    /// For a line that is refused.
    first_format: String,
    slot: Option<WhepSlot>,
}

#[derive(Debug)]
struct WhepSlot {
    kind: Kind,
    stream: SlotStream,
    receives: bool,
    track: Option<TrackId>,
    /// An SSRC that has sent goes on for the life of the leg: its numbers must never begin again under the same key.
    has_sent: bool,
}

impl Whep {
    /// Reads the client's offer.
    ///
    /// # Errors
    /// `bad-sdp`, `no-common-codec` with the codecs that work, `dtls-role`, `too-large`.
    pub fn read(offer: &Description<'_>, rng: &mut StdRng) -> Result<Self, MediaError> {
        if offer.sections.is_empty() {
            return Err(bad("the offer has no m-line"));
        }
        if offer.fingerprint().is_none() {
            return Err(bad("the offer has no a=fingerprint"));
        }
        match offer.setup() {
            Some(Setup::Either | Setup::Active) => {}
            Some(Setup::Passive) => {
                return Err(fail(ErrorCode::DtlsRole, "this server is the DTLS server: offer a=setup:actpass"));
            }
            None => return Err(bad("the offer has no a=setup")),
        }
        let remote_ufrag = offer.ufrag().ok_or_else(|| bad("the offer has no a=ice-ufrag"))?.to_owned();
        let mut lines: Vec<Line> = Vec::new();
        for (at, section) in offer.sections.iter().enumerate() {
            let line = Line::read(offer, section, at, &lines, rng)?;
            lines.push(line);
        }
        if lines.iter().all(|line| line.slot.is_none()) {
            return Err(bad("the offer has neither an audio nor a video m-line"));
        }
        Ok(Self { lines, remote_ufrag, session: rng.random::<u64>() >> 2 })
    }

    /// The answer to the client's offer.
    pub fn answer(&self, ice: &Credentials, shared: &LegShared) -> String {
        let mut sdp = String::with_capacity(2048);
        push(
            &mut sdp,
            format_args!(
                "v=0\r\no=- {} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{}a=ice-lite\r\na=msid-semantic: WMS *\r\n",
                self.session,
                self.bundle(),
            ),
        );
        for line in &self.lines {
            let Some(slot) = &line.slot else {
                let (media, protocol, format) = (&line.media, &line.protocol, &line.first_format);
                push(
                    &mut sdp,
                    format_args!(
                        "m={media} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive\r\n",
                        line.mid,
                    ),
                );
                continue;
            };
            self.write_line(&mut sdp, line, slot, ice, shared);
        }
        sdp
    }

    fn write_line(&self, sdp: &mut String, line: &Line, slot: &WhepSlot, ice: &Credentials, shared: &LegShared) {
        let codecs = &slot.stream.codecs;
        let types = codecs.iter().flat_map(|codec| [Some(codec.payload_type), codec.rtx]).flatten();
        let types: String = types.map(|payload_type| format!(" {payload_type}")).collect();
        let direction = if slot.receives { "sendonly" } else { "inactive" };
        push(
            sdp,
            format_args!(
                "m={} 9 {}{types}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
             a=fingerprint:{}\r\na=setup:passive\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
                line.media, line.protocol, line.mid, ice.ufrag, ice.pwd, shared.fingerprint,
            ),
        );
        codecs.iter().for_each(|codec| write_codec(sdp, codec));
        if slot.receives {
            let SlotStream { ssrc, rtx_ssrc, .. } = slot.stream;
            let has_rtx = codecs.iter().any(|codec| codec.rtx.is_some());
            if has_rtx {
                push(sdp, format_args!("a=ssrc-group:FID {ssrc} {rtx_ssrc}\r\n"));
            }
            push(sdp, format_args!("a=msid:{CNAME} {CNAME}.{}\r\na=ssrc:{ssrc} cname:{CNAME}\r\n", slot.kind));
            if has_rtx {
                push(sdp, format_args!("a=ssrc:{rtx_ssrc} cname:{CNAME}\r\n"));
            }
        }
        if self.is_first(line) {
            for candidate in shared.candidates().iter() {
                push(sdp, format_args!("a={candidate}\r\n"));
            }
            sdp.push_str("a=end-of-candidates\r\n");
        }
    }

    fn bundle(&self) -> String {
        let mut group = String::from("a=group:BUNDLE");
        for line in self.lines.iter().filter(|line| line.slot.is_some()) {
            // Writing to a String cannot fail.
            let _ = write!(group, " {}", line.mid);
        }
        group.push_str("\r\n");
        group
    }

    fn is_first(&self, line: &Line) -> bool {
        self.lines.iter().find(|line| line.slot.is_some()).is_some_and(|first| first.mid == line.mid)
    }

    /// Whether a fragment of the client has a new ICE name, and so asks for a restart; its candidates are of no use
    /// to a server that only answers.
    ///
    /// # Errors
    /// `bad-sdp` when it is no fragment.
    pub fn wants_restart(&mut self, fragment: &str) -> Result<bool, MediaError> {
        if fragment.len() > MAX_FRAGMENT {
            return Err(fail(ErrorCode::TooLarge, format!("a fragment has at most {MAX_FRAGMENT} bytes")));
        }
        let mut ufrags = fragment.lines().filter_map(|line| line.trim().strip_prefix("a=ice-ufrag:"));
        let Some(ufrag) = ufrags.next().map(str::trim) else { return Ok(false) };
        if !is_token(ufrag, 256) {
            return Err(bad("a=ice-ufrag has 4 to 256 letters, digits, '+' or '/'"));
        }
        Ok(std::mem::replace(&mut self.remote_ufrag, ufrag.to_owned()) != ufrag)
    }

    /// Our half of a restart (RFC 8840).
    pub fn fragment(&self, ice: &Credentials, shared: &LegShared) -> String {
        let mut text = format!("a=ice-lite\r\n{}", self.bundle());
        for line in self.lines.iter().filter(|line| line.slot.is_some() && self.is_first(line)) {
            push(
                &mut text,
                format_args!(
                    "m={} 9 {} 0\r\na=mid:{}\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
                    line.media, line.protocol, line.mid, ice.ufrag, ice.pwd,
                ),
            );
            for candidate in shared.candidates().iter() {
                push(&mut text, format_args!("a={candidate}\r\n"));
            }
            text.push_str("a=end-of-candidates\r\n");
        }
        text
    }

    /// Puts the first track of each kind into its m-line.
    pub fn set_tracks(&mut self, tracks: &[TrackId]) -> Vec<SlotChange> {
        let mut changes = Vec::new();
        for (at, line) in self.lines.iter_mut().enumerate() {
            let Some(slot) = line.slot.as_mut().filter(|slot| slot.receives) else { continue };
            let next = tracks.iter().find(|track| track.kind == slot.kind).cloned();
            let before = std::mem::replace(&mut slot.track, next.clone());
            match (before, next) {
                (before, next) if before == next => {}
                (None, Some(track)) if !slot.has_sent => {
                    slot.has_sent = true;
                    let stream = slot.stream.clone();
                    changes.push(SlotChange::Open { slot: at, track, stream });
                }
                (_, Some(track)) => changes.push(SlotChange::Move { slot: at, track }),
                (_, None) => changes.push(SlotChange::Pause { slot: at }),
            }
        }
        changes
    }

    /// Which m-line has this SSRC.
    pub fn find(&self, ssrc: u32) -> Option<usize> {
        self.lines.iter().position(|line| line.slot.as_ref().is_some_and(|slot| slot.stream.ssrc == ssrc))
    }

    /// Which m-line has this mid.
    pub fn slot_of(&self, mid: &str) -> Option<usize> {
        self.lines.iter().position(|line| line.mid == mid)
    }
}

impl Line {
    fn read(
        offer: &Description<'_>,
        section: &Section<'_>,
        at: usize,
        before: &[Line],
        rng: &mut StdRng,
    ) -> Result<Self, MediaError> {
        let fallback = at.to_string();
        let mid = section.find("mid").unwrap_or(&fallback);
        let first_format = section.formats.first().copied().unwrap_or("0");
        let words = [section.media, section.protocol, first_format, mid];
        if !words.iter().all(|word| is_token(word, 64)) {
            return Err(bad("an m-line has characters that are not allowed"));
        }
        if before.iter().any(|line| line.mid == mid) {
            return Err(bad(format!("the mid '{mid}' is there twice")));
        }
        let mut line = Self {
            mid: mid.to_owned(),
            media: section.media.to_owned(),
            protocol: section.protocol.to_owned(),
            first_format: first_format.to_owned(),
            slot: None,
        };
        let is_given_up = section.port == 0 && !section.has("bundle-only");
        let Some(kind) = section.kind().filter(|_| !is_given_up) else { return Ok(line) };
        if before.iter().any(|line| line.slot.as_ref().is_some_and(|slot| slot.kind == kind)) {
            return Err(bad(format!("the offer has more than one {kind} m-line")));
        }
        if !section.has("rtcp-mux") {
            return Err(bad(format!("m-line '{mid}' has no a=rtcp-mux")));
        }
        let codecs = common_codecs(section, kind);
        if codecs.is_empty() {
            let works = if kind == Kind::Audio { "Opus" } else { "VP8, VP9 and AV1" };
            return Err(fail(ErrorCode::NoCommonCodec, format!("no common {kind} codec: {works} can be sent")));
        }
        let receives = offer.receives(section) || section.port == 0;
        let stream =
            SlotStream { ssrc: rng.random_range(1..u32::MAX), rtx_ssrc: rng.random_range(1..u32::MAX), codecs };
        line.slot = Some(WhepSlot { kind, stream, receives, track: None, has_sent: false });
        Ok(line)
    }
}

fn common_codecs(section: &Section<'_>, kind: Kind) -> Vec<SlotCodec> {
    let mut codecs: Vec<SlotCodec> = Vec::new();
    for format in &section.formats {
        let Some(payload_type) = format.parse().ok().filter(|&payload_type: &u8| payload_type < 128) else { continue };
        let name = section.about("rtpmap", format).unwrap_or_default().to_ascii_lowercase();
        let parameters = section.about("fmtp", format).unwrap_or_default();
        let has_profile = |key: &str| parameter(parameters, key).is_some_and(|value| value != "0");
        let codec = match (kind, name.as_str()) {
            (Kind::Audio, "opus/48000/2") => Codec::Opus,
            (Kind::Video, "vp8/90000") => Codec::Vp8,
            (Kind::Video, "vp9/90000") if !has_profile("profile-id") => Codec::Vp9,
            (Kind::Video, "av1/90000") if !has_profile("profile") => Codec::Av1,
            _ => continue,
        };
        if codecs.iter().any(|known| known.codec == codec) {
            continue;
        }
        codecs.push(SlotCodec { codec, payload_type, rtx: rtx_of(section, format) });
    }
    codecs
}

fn rtx_of(section: &Section<'_>, primary: &str) -> Option<u8> {
    let is_its = |format: &&&str| {
        section.about("rtpmap", format).is_some_and(|name| name.eq_ignore_ascii_case("rtx/90000"))
            && section.about("fmtp", format).and_then(|text| parameter(text, "apt")) == Some(primary)
    };
    section.formats.iter().find(is_its)?.parse().ok().filter(|&payload_type: &u8| payload_type < 128)
}

fn parameter<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value.trim())
}

pub(super) const CNAME: &str = "reelay";
const MAX_FRAGMENT: usize = 16 * 1024;
