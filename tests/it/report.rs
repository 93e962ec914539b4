//! What a file says about itself: one fault at a time, made so that its number is known, read from the manifest and from
//! `/metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use reelay::media::TapItem;
use reelay::recording::SegmentEntry;
use reelay_signaling::Kind;
use ring::digest::{SHA256, digest};

use crate::media::{Sender, Timed};
use crate::recorder::blocks;
use crate::tape::{Tape, files};

const ANA: &str = "paaaaaaaaaa";
const END_MS: u64 = 12_000;

/// Twelve seconds of both tracks, with something done to what arrives.
struct Case {
    what: &'static str,
    /// Counters and their values. Those of [`COMMON`] that are not named have the values of an undisturbed call, others none.
    expected: Vec<(&'static str, u64)>,
    /// Holes: kind, cause, length.
    gaps: Vec<(Kind, &'static str, u64)>,
    change: Change,
}

/// Done to what arrives, in the order of arrival.
type Change = Box<dyn Fn(&mut Vec<Timed>)>;

fn case(
    what: &'static str,
    expected: &[(&'static str, u64)],
    gaps: &[(Kind, &'static str, u64)],
    change: impl Fn(&mut Vec<Timed>) + 'static,
) -> Case {
    Case { what, expected: expected.to_vec(), gaps: gaps.to_vec(), change: Box::new(change) }
}

/// Counters that every call has.
const COMMON: [&str; 6] = ["packets", "audio_packets", "video_frames", "reports", "clusters", "keyframe_requests"];

/// The position of the `n`-th packet of a kind.
fn nth(items: &[Timed], kind: Kind, n: usize) -> usize {
    let is_it = |(_, item): &&Timed| matches!(item, TapItem::Packet(packet) if packet.kind == kind);
    let found = items.iter().enumerate().filter(|(_, timed)| is_it(timed)).nth(n);
    found.expect("so many packets are sent").0
}

/// The position of the first packet of picture `n`, and how many packets it has.
fn picture(items: &[Timed], n: usize) -> (usize, u64) {
    let packets: Vec<(usize, bool)> = items
        .iter()
        .enumerate()
        .filter_map(|(at, (_, item))| match item {
            TapItem::Packet(packet) if packet.kind == Kind::Video => Some((at, packet.marker)),
            _ => None,
        })
        .collect();
    let mut pictures = packets.split_inclusive(|(_, is_last)| *is_last);
    let picture = pictures.nth(n).expect("so many pictures are sent");
    (picture[0].0, picture.len() as u64)
}

fn late(items: &mut Vec<Timed>, at: usize, by: Duration) {
    let mut moved = items.remove(at);
    moved.0 += by;
    if let TapItem::Packet(packet) = &mut moved.1 {
        packet.arrival = moved.0;
    }
    let place = items.iter().position(|(at, _)| *at > moved.0).unwrap_or(items.len());
    items.insert(place, moved);
}

fn each_report(items: &mut [Timed], mut change: impl FnMut(usize, &mut reelay::media::SenderReport)) {
    let mut counts = [0; 2];
    for (_, item) in items {
        if let TapItem::Report(report) = item {
            change(counts[report.kind as usize], report);
            counts[report.kind as usize] += 1;
        }
    }
}

fn cases() -> Vec<Case> {
    let ms = Duration::from_millis;
    let keyframes = keyframes();
    // A picture after the second keyframe is torn; nothing is shown up to the third.
    let (torn, next_key) = (keyframes[1] + 5, keyframes[2]);
    let frozen_ms = (next_key - torn + 1) as u64 * 100 / 3;
    vec![
        case("nothing", &[], &[], |_| {}),
        case(
            "sound is lost",
            &[("packets", 0), ("audio_missing", 3), ("audio_lost", 3), ("audio_packets", 597), ("filled_audio_ms", 60)],
            &[(Kind::Audio, "loss", 40), (Kind::Audio, "loss", 20)],
            |items| [300, 201, 200].iter().for_each(|n| drop(items.remove(nth(items, Kind::Audio, *n)))),
        ),
        case("sound comes again within the wait", &[("audio_missing", 1), ("audio_repaired", 1)], &[], move |items| {
            late(items, nth(items, Kind::Audio, 200), ms(500));
        }),
        case(
            "sound comes when nobody waits any more",
            &[
                ("audio_missing", 1),
                ("audio_lost", 1),
                ("audio_late", 1),
                ("audio_packets", 599),
                ("filled_audio_ms", 20),
            ],
            &[(Kind::Audio, "loss", 20)],
            move |items| late(items, nth(items, Kind::Audio, 200), ms(3_000)),
        ),
        case(
            "a picture comes again within the wait",
            &[("video_missing", 1), ("video_repaired", 1)],
            &[],
            move |items| {
                late(items, picture(items, torn).0, ms(1_500));
            },
        ),
        case(
            "a picture is torn",
            &[
                ("packets", 0),
                ("video_missing", 1),
                ("video_lost", 1),
                ("freezes", 1),
                ("freeze_ms", frozen_ms),
                ("freeze_max_ms", frozen_ms),
                ("video_skipped", 0),
                ("video_frames", (360 - (next_key - torn)) as u64),
            ],
            &[(Kind::Video, "loss", frozen_ms)],
            move |items| drop(items.remove(picture(items, torn).0)),
        ),
        case(
            "a picture comes when nobody waits any more",
            &[
                ("video_missing", 1),
                ("video_lost", 1),
                ("video_late", 1),
                ("freezes", 1),
                ("freeze_ms", frozen_ms),
                ("freeze_max_ms", frozen_ms),
                ("video_skipped", 0),
                ("video_frames", (360 - (next_key - torn)) as u64),
            ],
            &[(Kind::Video, "loss", frozen_ms)],
            move |items| late(items, picture(items, torn).0, ms(3_000)),
        ),
        case(
            "a picture breaks the format",
            &[
                ("video_malformed", 1),
                ("freezes", 1),
                ("freeze_ms", frozen_ms),
                ("freeze_max_ms", frozen_ms),
                ("video_skipped", (next_key - torn) as u64),
                ("video_frames", (360 - (next_key - torn)) as u64),
            ],
            &[],
            move |items| {
                let at = picture(items, torn).0;
                let TapItem::Packet(packet) = &mut items[at].1 else { unreachable!() };
                // Its first partition is longer than the whole of it.
                packet.payload = [&packet.payload[..4], &[0xff; 3]].concat().into();
            },
        ),
        case("packets come twice", &[("duplicates", 5), ("packets", 0)], &[], |items| {
            for n in [50, 120, 130, 200, 400] {
                let at = nth(items, if n % 20 == 0 { Kind::Audio } else { Kind::Video }, n);
                items.insert(at + 1, items[at].clone());
            }
        }),
        case(
            "sound breaks the format",
            &[("audio_malformed", 1), ("audio_packets", 599), ("filled_audio_ms", 20)],
            &[(Kind::Audio, "silence", 20)],
            |items| {
                let at = nth(items, Kind::Audio, 100);
                let TapItem::Packet(packet) = &mut items[at].1 else { unreachable!() };
                packet.payload = bytes::Bytes::from_static(&[0x03]);
            },
        ),
        case(
            "sound goes back in time once",
            &[("overlaps", 1), ("audio_packets", 599), ("filled_audio_ms", 20)],
            &[(Kind::Audio, "silence", 20)],
            |items| {
                let at = nth(items, Kind::Audio, 300);
                let TapItem::Packet(packet) = &mut items[at].1 else { unreachable!() };
                packet.rtp_time = packet.rtp_time.wrapping_sub(60 * 48);
            },
        ),
        case("the sender begins its times anew", &[("restarts", 1)], &[], |items| {
            let at = nth(items, Kind::Audio, 300);
            for (_, item) in &mut items[at..] {
                match item {
                    TapItem::Packet(packet) if packet.kind == Kind::Audio => {
                        packet.rtp_time = packet.rtp_time.wrapping_add(1 << 30);
                    }
                    TapItem::Report(report) if report.kind == Kind::Audio => {
                        report.rtp_time = report.rtp_time.wrapping_add(1 << 30);
                    }
                    _ => {}
                }
            }
        }),
        case("a report is wrong", &[("reports_rejected", 1), ("reports", 23)], &[], |items| {
            each_report(items, |n, report| {
                if n == 5 && report.kind == Kind::Video {
                    report.ntp += 2 << 32;
                }
            });
        }),
        case(
            "the sender's clock is set",
            &[("clock_steps", 2), ("reports_rejected", 4), ("reports", 18)],
            &[],
            |items| each_report(items, |n, report| report.ntp += u64::from(n >= 6) << 33),
        ),
        case(
            "sound and picture are apart by the reports",
            &[("av_offset_max_ms", 80), ("reports", 20)],
            &[],
            |items| {
                // The first reports would place the first frames; these come when arrivals have done so.
                let from = items[0].0 + Duration::from_millis(2_000);
                items.retain(|(at, item)| *at > from || !matches!(item, TapItem::Report(_)));
                each_report(items, |_, report| {
                    if report.kind == Kind::Video {
                        report.ntp -= (80_u64 << 32) / 1000;
                    }
                });
            },
        ),
        case("the recorder's queue is full", &[("overflow_packets", 7)], &[], move |items| {
            // Right before a keyframe, so that nothing else is missing.
            let at = picture(items, next_key).0;
            items.insert(at, (items[at].0, TapItem::Overflow { packets: 7 }));
        }),
        case("another microphone", &[("ssrc_changes", 1)], &[], |items| {
            let at = nth(items, Kind::Audio, 300);
            for (_, item) in &mut items[at..] {
                match item {
                    TapItem::Packet(packet) if packet.kind == Kind::Audio => packet.ssrc = 7,
                    TapItem::Report(report) if report.kind == Kind::Audio => report.ssrc = 7,
                    _ => {}
                }
            }
        }),
    ]
}

/// Numbers of the keyframes that are sent.
fn keyframes() -> Vec<usize> {
    let frames = Sender::new(std::time::Instant::now(), 4).frames(Kind::Video);
    (0..frames.len()).filter(|n| frames[*n].keyframe).collect()
}

/// Records the call and gives its only entry, with the lines of `/metrics`.
fn record(case: &Case) -> (SegmentEntry, BTreeMap<String, u64>) {
    let mut tape = Tape::new(0);
    tape.join(0, ANA);
    for kind in [Kind::Audio, Kind::Video] {
        tape.start(0, ANA, "camera", kind);
    }
    tape.begins(0);
    let mut items = tape.sender(0, 4).both();
    (case.change)(&mut items);
    tape.items(ANA, "camera", items);
    tape.leave(END_MS + 50, ANA);
    let dir = tempfile::tempdir().unwrap();
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let all = metrics::with_local_recorder(&recorder, || tape.play(END_MS + 1_000, dir.path()));
    let paths = files(&all[0]);
    assert_eq!(paths.len(), 1, "{}", case.what);
    let entry = all[0].1.files[0].clone();
    check_file(case, &entry, &paths[0]);
    let number = |line: &str| {
        let (name, value) = line.strip_prefix("recorded_")?.split_once("_total ")?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    (entry, handle.render().lines().filter_map(number).collect())
}

/// What the file itself shows.
fn check_file(case: &Case, entry: &SegmentEntry, path: &std::path::Path) {
    let what = case.what;
    let bytes = std::fs::read(path).unwrap();
    let hash: String = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((entry.sha256.as_deref(), entry.bytes), (Some(&hash[..]), bytes.len() as u64), "{what}");
    assert_eq!((entry.close_reason.as_deref(), entry.open), (Some("left"), false), "{what}");
    let report = entry.report.as_ref().expect("there is one");
    let count = |name: &str| entry.counters.get(name).copied().unwrap_or(0);
    for kind in [Kind::Video, Kind::Audio] {
        let all = blocks(path, kind);
        let (fills, real): (Vec<_>, Vec<_>) = all.iter().partition(|block| block.is_fill);
        let len: usize = real.iter().map(|block| block.data.len()).sum();
        let steps = report.steps.iter();
        if kind == Kind::Video {
            assert_eq!(real.len() as u64, count("video_frames"), "{what}");
            assert_eq!(steps.clone().map(|step| u64::from(step.frames)).sum::<u64>(), real.len() as u64, "{what}");
            assert_eq!(steps.clone().map(|step| step.video_bytes).sum::<u64>(), len as u64, "{what}");
            assert_eq!(fills.len() as u64, count("filled_video"), "{what}");
        } else {
            assert_eq!(real.len() as u64, count("audio_packets"), "{what}");
            assert_eq!(steps.clone().map(|step| step.audio_bytes).sum::<u64>(), len as u64, "{what}");
            assert_eq!(steps.map(|step| u64::from(step.silence_ms)).sum::<u64>(), count("filled_audio_ms"), "{what}");
        }
    }
    assert_eq!(report.sizes, [(0, 320, 180)], "{what}");
}

#[test]
fn each_fault_is_counted_in_the_manifest_and_in_the_metrics() {
    let mut usual: BTreeMap<&str, u64> = BTreeMap::new();
    let mut said = Vec::new();
    for case in cases() {
        let (entry, metrics) = record(&case);
        let mut counters: BTreeMap<&str, u64> = entry.counters.iter().map(|(name, n)| (&name[..], *n)).collect();
        for (name, value) in &counters {
            if !name.contains("_max_") {
                assert_eq!(metrics.get(*name), Some(value), "{}: {name} in /metrics", case.what);
            }
        }
        if usual.is_empty() {
            assert_eq!((counters["audio_packets"], counters["video_frames"]), (600, 360));
            assert!(counters.keys().all(|name| COMMON.contains(name)), "{counters:?}");
            usual = COMMON.iter().map(|name| (*name, counters.get(name).copied().unwrap_or(0))).collect();
            assert_eq!(usual["reports"], 24);
        }
        let gaps: Vec<_> = entry.gaps.iter().map(|gap| (gap.kind, &gap.cause[..], gap.to_ms - gap.from_ms)).collect();
        let near = |a: u64, b: u64| a.abs_diff(b) <= 2;
        let is_gap = |(is, wanted): (&(Kind, &str, u64), &(Kind, &str, u64))| {
            (is.0, is.1) == (wanted.0, wanted.1) && near(is.2, wanted.2)
        };
        if gaps.len() != case.gaps.len() || !gaps.iter().zip(&case.gaps).all(is_gap) {
            said.push(format!("{}: gaps {gaps:?}, not {:?}", case.what, case.gaps));
        }
        for (name, wanted) in &case.expected {
            let is = counters.remove(name).unwrap_or(0);
            // 0 stands for a number that follows from how the clip is cut into packets.
            if *wanted > 0 && !near(is, *wanted)
                || (*wanted == 0 && is == 0)
                || (*wanted < 30 && is != *wanted && *wanted > 0)
            {
                said.push(format!("{}: {name} is {is}, not {wanted}", case.what));
            }
        }
        for (name, is) in counters {
            if usual.get(name) != Some(&is) && !["clusters", "keyframe_requests"].contains(&name) {
                said.push(format!("{}: {name} is {is}", case.what));
            }
        }
    }
    assert!(said.is_empty(), "{said:#?}");
}
