//! Pieces of SDP as WHIP and WHEP send them (RFC 8840): new candidates, new ICE credentials. Pure text work.

use std::collections::BTreeMap;

use reelay_signaling::{Kind, ParticipantId, Source};

use super::What;
use crate::media::DeclaredTrack;

/// An `application/trickle-ice-sdpfrag` body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fragment {
    /// `a=ice-ufrag`, the same for all m-lines.
    pub ufrag: Option<String>,
    /// `a=ice-pwd`.
    pub password: Option<String>,
    /// mid and `candidate:…`.
    pub candidates: Vec<(Option<String>, String)>,
}

impl Fragment {
    /// Reads a fragment; lines that it does not know are skipped.
    pub fn parse(text: &str) -> Self {
        let mut fragment = Self::default();
        let mut mid = None;
        for line in text.lines().map(str::trim) {
            if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
                fragment.ufrag.get_or_insert_with(|| value.to_owned());
            } else if let Some(value) = line.strip_prefix("a=ice-pwd:") {
                fragment.password.get_or_insert_with(|| value.to_owned());
            } else if let Some(value) = line.strip_prefix("a=mid:") {
                mid = Some(value.to_owned());
            } else if line.starts_with("a=candidate:") {
                fragment.candidates.push((mid.clone(), line["a=".len()..].to_owned()));
            }
        }
        fragment
    }

    /// The credentials if both are there and of a length that RFC 8839 allows.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        let (ufrag, password) = (self.ufrag.as_deref()?, self.password.as_deref()?);
        let is_ice = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'));
        let fits = (4..=256).contains(&ufrag.len()) && (22..=256).contains(&password.len());
        (fits && is_ice(ufrag) && is_ice(password)).then_some((ufrag, password))
    }
}

/// `offer` with other ICE credentials and candidates and a raised version: what the client would offer after a restart.
pub(super) fn restarted_offer(offer: &str, fragment: &Fragment) -> Option<String> {
    let (ufrag, password) = fragment.credentials()?;
    let is_candidate = |line: &&str| line.starts_with("a=candidate:") || *line == "a=end-of-candidates";
    let renewed = |line: &str| match line {
        _ if line.starts_with("o=") => raise_version(line),
        _ if line.starts_with("a=ice-ufrag:") => format!("a=ice-ufrag:{ufrag}"),
        _ if line.starts_with("a=ice-pwd:") => format!("a=ice-pwd:{password}"),
        _ => line.to_owned(),
    };
    let kept = offer.lines().map(str::trim_end).filter(|line| !line.is_empty() && !is_candidate(line));
    let mut lines: Vec<String> = kept.map(renewed).collect();
    // All sections share one transport, so the candidates stand at the end of the first.
    let sections: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("m=")).collect();
    let end = sections.get(1).copied().unwrap_or(lines.len());
    let candidates = fragment.candidates.iter().map(|(_, candidate)| format!("a={candidate}"));
    lines.splice(end..end, candidates);
    lines.push(String::new());
    Some(lines.join("\r\n"))
}

/// The credentials and candidates of an answer, as the body of a restart's answer.
pub(super) fn fragment_of(answer: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let first = |prefix: &str| answer.lines().map(str::trim).find(|line| line.starts_with(prefix)).map(str::to_owned);
    lines.extend(first("a=ice-lite"));
    lines.extend(first("a=ice-ufrag:"));
    lines.extend(first("a=ice-pwd:"));
    lines.extend(first("m="));
    lines.extend(first("a=mid:"));
    let is_candidate = |line: &&str| line.starts_with("a=candidate:");
    let mut seen = std::collections::BTreeSet::new();
    let candidates = answer.lines().map(str::trim).filter(is_candidate).filter(|line| seen.insert(*line));
    lines.extend(candidates.map(str::to_owned));
    lines.push("a=end-of-candidates".to_owned());
    lines.push(String::new());
    lines.join("\r\n")
}

/// What each source may send, by the m-lines that the answer left open.
pub(super) fn declarations(tracks: &[DeclaredTrack], answer: &str) -> Vec<What> {
    let open = open_sections(answer);
    let is_open = |track: &DeclaredTrack| match &track.mid {
        Some(mid) => open.iter().any(|(_, open_mid)| open_mid.as_ref() == Some(mid)),
        None => open.iter().any(|(kind, _)| *kind == track.track.kind),
    };
    let mut sources: BTreeMap<Source, (ParticipantId, bool, bool)> = BTreeMap::new();
    for track in tracks.iter().filter(|track| is_open(track)) {
        let id = &track.track;
        let (_, audio, video) = sources.entry(id.source).or_insert((id.participant.clone(), false, false));
        *audio |= id.kind == Kind::Audio;
        *video |= id.kind == Kind::Video;
    }
    let what = |(source, (participant, audio, video))| What::Declared { participant, source, audio, video };
    sources.into_iter().map(what).collect()
}

/// Kind and mid of the m-lines whose port is not 0.
fn open_sections(sdp: &str) -> Vec<(Kind, Option<String>)> {
    let mut sections: Vec<(Option<Kind>, Option<String>)> = Vec::new();
    for line in sdp.lines().map(str::trim) {
        if let Some(media) = line.strip_prefix("m=") {
            let is_refused = media.split(' ').nth(1) == Some("0");
            let kind = match media.split(' ').next() {
                Some("audio") if !is_refused => Some(Kind::Audio),
                Some("video") if !is_refused => Some(Kind::Video),
                _ => None,
            };
            sections.push((kind, None));
        } else if let (Some(mid), Some(section)) = (line.strip_prefix("a=mid:"), sections.last_mut()) {
            section.1 = Some(mid.to_owned());
        }
    }
    sections.into_iter().filter_map(|(kind, mid)| Some((kind?, mid))).collect()
}

// `o=- 46117 2 IN IP4 127.0.0.1`: the third field counts the versions.
fn raise_version(line: &str) -> String {
    let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if let Some(version) = fields.get_mut(2) {
        *version = version.parse::<u64>().map_or_else(|_| "2".to_owned(), |number| number.wrapping_add(1).to_string());
    }
    fields.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:aaaa\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\n\
        a=candidate:1 1 udp 1 10.0.0.1 5000 typ host\r\na=end-of-candidates\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:aaaa\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\n";
    const RESTART: &str = "a=ice-ufrag:bbbb\r\na=ice-pwd:bbbbbbbbbbbbbbbbbbbbbb\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
        a=candidate:2 1 udp 1 10.0.0.1 6000 typ host\r\n";

    #[test]
    fn fragment_gives_credentials_and_candidates_with_their_mid() {
        let fragment = Fragment::parse(RESTART);
        assert_eq!(fragment.credentials(), Some(("bbbb", "bbbbbbbbbbbbbbbbbbbbbb")));
        let candidate = "candidate:2 1 udp 1 10.0.0.1 6000 typ host".to_owned();
        assert_eq!(fragment.candidates, [(Some("0".to_owned()), candidate)]);
        assert_eq!(Fragment::parse("a=ice-ufrag:b\r\na=ice-pwd:c").credentials(), None);
        assert_eq!(Fragment::parse("a=ice-ufrag:bbbb\r\na=ice-pwd:bbbbbbbbbbbbbbbbbbbbb<>").credentials(), None);
        assert_eq!(Fragment::parse("\0garbage"), Fragment::default());
    }

    #[test]
    fn restarted_offer_is_the_old_one_with_new_credentials() {
        let offer = restarted_offer(OFFER, &Fragment::parse(RESTART)).unwrap();
        assert!(offer.contains("o=- 46117 3 IN"));
        assert!(!offer.contains("aaaa") && !offer.contains("5000"));
        assert_eq!(offer.matches("a=ice-ufrag:bbbb\r\n").count(), 2);
        let (first, second) = offer.split_once("m=video").unwrap();
        assert!(first.contains("10.0.0.1 6000") && !second.contains("candidate"));
        assert!(offer.ends_with("\r\n"));
    }

    #[test]
    fn answer_becomes_a_fragment() {
        let fragment = fragment_of(OFFER);
        assert!(fragment.starts_with("a=ice-ufrag:aaaa\r\na=ice-pwd:"));
        assert_eq!(Fragment::parse(&fragment).candidates.len(), 1);
    }
}
