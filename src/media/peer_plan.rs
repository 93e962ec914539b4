//! Decides what becomes of each m-line of a publisher's offer. Pure.

use reelay_signaling::{ErrorCode, Kind, TrackId};

use super::receiver::Line;
use super::sdp_answer::{Verdict, extensions};
use super::sdp_in::{Extension, Offer, bad, codecs_that_work};
use super::sdp_section::Section;
use super::{DeclaredTrack, MediaError};

/// What an m-line carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedLine {
    /// Its mid.
    pub mid: String,
    /// Its track; `None` for m-lines that are refused.
    pub track: Option<TrackId>,
    /// Audio channels.
    pub channels: u8,
    /// Whether anything is expected on it now.
    pub receives: bool,
}

/// The answer to an offer, before it is written.
#[derive(Debug)]
pub struct Plan {
    /// For each m-line of the offer.
    pub verdicts: Vec<Verdict>,
    /// For each m-line of the offer.
    pub lines: Vec<PlannedLine>,
    /// The open ones, for the receiver.
    pub receiver_lines: Vec<Line>,
    /// Header extensions that were agreed on.
    pub extensions: Vec<(u8, Extension)>,
}

/// Plans the answer. `old` is what the m-lines carried before.
///
/// # Errors
/// `bad-sdp` when offer and declaration do not fit, `no-common-codec` when an m-line has nothing that we record.
pub fn plan(offer: &Offer, tracks: &[DeclaredTrack], old: &[PlannedLine]) -> Result<Plan, MediaError> {
    if offer.sections.len() < old.len() {
        return Err(bad("the offer has fewer m-lines than the one before; m-lines are never taken away"));
    }
    for mid in tracks.iter().filter_map(|declared| declared.mid.as_deref()) {
        if !offer.sections.iter().any(|section| section.mid == mid) {
            return Err(bad(format!("a track is declared for mid '{}', which the offer does not have", shown(mid))));
        }
    }
    let mut plan = Plan { verdicts: Vec::new(), lines: Vec::new(), receiver_lines: Vec::new(), extensions: Vec::new() };
    let mut free: Vec<&DeclaredTrack> = tracks.iter().filter(|declared| declared.mid.is_none()).collect();
    for (index, section) in offer.sections.iter().enumerate() {
        let before = old.get(index).filter(|line| line.mid == section.mid);
        let track = find_track(section, tracks, &mut free, before)?;
        let verdict = judge(section, track.as_ref())?;
        if let Some(track) = &track
            && verdict != Verdict::Refuse
            && plan.lines.iter().any(|line| line.track.as_ref() == Some(track))
        {
            return Err(bad(format!("two m-lines carry the same track; the second is '{}'", section.mid)));
        }
        plan.verdicts.push(verdict);
        plan.lines.push(PlannedLine {
            mid: section.mid.clone(),
            track: track.filter(|_| verdict != Verdict::Refuse),
            channels: section.channels,
            receives: verdict == Verdict::Receive,
        });
        if verdict == Verdict::Receive {
            plan.receiver_lines.push(receiver_line(index, section));
        }
        if verdict != Verdict::Refuse {
            for extension in extensions(section) {
                if !plan.extensions.contains(&extension) {
                    plan.extensions.push(extension);
                }
            }
        }
    }
    Ok(plan)
}

fn find_track(
    section: &Section,
    tracks: &[DeclaredTrack],
    free: &mut Vec<&DeclaredTrack>,
    before: Option<&PlannedLine>,
) -> Result<Option<TrackId>, MediaError> {
    let Some(kind) = section.kind.filter(|_| !section.is_rejected) else { return Ok(None) };
    if let Some(declared) = tracks.iter().find(|declared| declared.mid.as_deref() == Some(&section.mid)) {
        if declared.track.kind != kind {
            return Err(bad(format!(
                "m-line '{}' is {kind}, its declared track is {}",
                section.mid, declared.track.kind
            )));
        }
        return Ok(Some(declared.track.clone()));
    }
    if let Some(place) = free.iter().position(|declared| declared.track.kind == kind) {
        return Ok(Some(free.remove(place).track.clone()));
    }
    // A share that has stopped keeps its m-line, listed or not, until it is used again.
    Ok(before.filter(|_| !section.sends).and_then(|line| line.track.clone()))
}

fn judge(section: &Section, track: Option<&TrackId>) -> Result<Verdict, MediaError> {
    let Some(track) = track else { return Ok(Verdict::Refuse) };
    if section.codecs.is_empty() {
        if !section.sends {
            return Ok(Verdict::Refuse);
        }
        let message = format!(
            "the {} of the offer (m-line '{}') has no codec that this server records: it takes {}",
            track.kind,
            section.mid,
            codecs_that_work(track.kind)
        );
        return Err(MediaError { code: ErrorCode::NoCommonCodec, message });
    }
    Ok(if section.sends { Verdict::Receive } else { Verdict::Idle })
}

fn receiver_line(index: usize, section: &Section) -> Line {
    Line {
        index,
        mid: section.mid.clone(),
        kind: section.kind.unwrap_or(Kind::Video),
        codecs: section.codecs.clone(),
        rids: section.rids.clone(),
        ssrcs: section.ssrcs.clone(),
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sdp_in::tests::CHROMIUM;
    use super::super::sdp_in::{OfferLimits, read_offer};
    use super::*;

    fn declared(mid: Option<&str>, track: &str) -> DeclaredTrack {
        DeclaredTrack { mid: mid.map(str::to_owned), track: format!("paaaaaaaaaa/{track}").parse().unwrap() }
    }

    fn planned(text: &str, tracks: &[DeclaredTrack], old: &[PlannedLine]) -> Result<Plan, MediaError> {
        plan(&read_offer(text, OfferLimits::default()).unwrap(), tracks, old)
    }

    fn camera() -> [DeclaredTrack; 2] {
        [declared(None, "camera/audio"), declared(None, "camera/video")]
    }

    #[test]
    fn declared_lines_are_taken_and_others_refused() {
        let plan = planned(CHROMIUM, &camera(), &[]).unwrap();
        assert_eq!(plan.verdicts, [Verdict::Receive, Verdict::Receive]);
        assert_eq!(plan.receiver_lines.len(), 2);
        let plan = planned(CHROMIUM, &[declared(Some("1"), "camera/video")], &[]).unwrap();
        assert_eq!(plan.verdicts, [Verdict::Refuse, Verdict::Receive]);
        let data = format!("{CHROMIUM}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n");
        let plan = planned(&data.replace("BUNDLE 0 1", "BUNDLE 0 1 2"), &camera(), &[]).unwrap();
        assert_eq!(plan.verdicts[2], Verdict::Refuse);
    }

    #[test]
    fn a_stopped_share_keeps_its_line() {
        let old = planned(CHROMIUM, &camera(), &[]).unwrap().lines;
        let stopped = CHROMIUM.replace("a=sendonly", "a=inactive");
        let plan = planned(&stopped, &[], &old).unwrap();
        assert_eq!(plan.verdicts, [Verdict::Idle, Verdict::Idle]);
        assert_eq!(plan.lines[1].track, old[1].track);
        assert!(plan.receiver_lines.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let says = |text: &str, tracks: &[DeclaredTrack], old: &[PlannedLine]| planned(text, tracks, old).unwrap_err();
        let error = says(&CHROMIUM.replace("VP8", "XP8").replace("VP9", "XP9").replace("AV1", "XV1"), &camera(), &[]);
        assert_eq!(error.code, ErrorCode::NoCommonCodec);
        assert!(error.message.contains("VP8") && error.message.contains("m-line '1'"), "{}", error.message);
        let error = says(CHROMIUM, &[declared(Some("1"), "camera/audio")], &[]);
        assert!(error.message.contains("m-line '1' is video"), "{}", error.message);
        let error = says(CHROMIUM, &[declared(Some("7"), "camera/audio")], &[]);
        assert!(error.message.contains("mid '7'"), "{}", error.message);
        let line = PlannedLine { mid: "0".into(), track: None, channels: 1, receives: false };
        let error = says(CHROMIUM, &[], &vec![line; 3]);
        assert!(error.message.contains("fewer m-lines"), "{}", error.message);
    }
}
