//! A file that grows under a real server: its index, its live tail and its pictures, up to the close and after it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reelay::recording::file::{Block, SegmentFile};
use reelay::recording::storage::Disk;
use reelay::webm::check::{State, check};
use reelay::webm::layout::FIRST_CLUSTER_AT;
use reelay::webm::{AudioTrack, Header, VideoCodec, VideoTrack};
use reelay_signaling::Kind;
use serde_json::json;

use crate::clip;
use crate::harness::{Server, until};

const ID: &str = "0192abcd-0000-7000-8000-000000000001";
const FILE: &str = "pabcdefghij-camera-1.webm";

struct Growing {
    file: SegmentFile,
    rounds: u64,
}

impl Growing {
    fn begin(dir: &Path) -> Self {
        let folder = dir.join(ID);
        fs::create_dir(&folder).unwrap();
        let manifest = json!({"version": 1, "id": ID, "room": "team", "state": "recording",
            "started_at": "2026-11-20T10:00:00Z", "participants": [],
            "files": [{"file": FILE, "participant": "pabcdefghij", "source": "camera", "open": true}]});
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        let header = Header {
            video: Some(VideoTrack { codec: VideoCodec::Vp8, size: None }),
            audio: Some(AudioTrack { channels: 2 }),
            date_ms: 0,
            name: "camera".into(),
        };
        Self { file: SegmentFile::create(Arc::new(Disk), &folder.join(FILE), &header).unwrap(), rounds: 0 }
    }

    // Another three seconds of the clip.
    fn grow(&mut self) {
        let mut frames: Vec<_> = clip::video().into_iter().map(|frame| (Kind::Video, frame)).collect();
        frames.extend(clip::audio().into_iter().take((clip::CLIP_MS / 20) as usize).map(|frame| (Kind::Audio, frame)));
        frames.sort_by_key(|(kind, frame)| (frame.time_ms, *kind == Kind::Audio));
        for (kind, frame) in &frames {
            let time_ms = frame.time_ms + self.rounds * clip::CLIP_MS;
            let block =
                Block { kind: *kind, time_ms, keyframe: frame.keyframe, fill: false, data: &frame.data, size: None };
            self.file.write(block).unwrap();
        }
        self.file.flush().unwrap();
        self.rounds += 1;
    }
}

fn server(rounds: u64) -> (Server, Growing) {
    let mut growing = None;
    let server = Server::start("", |dir| {
        let mut file = Growing::begin(dir);
        (0..rounds).for_each(|_| file.grow());
        growing = Some(file);
    });
    until("the first look through the folder", || (server.get(&path("index")).status == 200).then_some(()));
    (server, growing.unwrap())
}

fn path(door: &str) -> String {
    format!("/api/recordings/{ID}/{door}/{FILE}")
}

#[test]
fn index_tells_where_everything_is_before_and_after_the_close() {
    let (server, mut growing) = server(3);
    let index = server.get(&path("index")).json();
    assert_eq!(index["init"], json!([0, FIRST_CLUSTER_AT]));
    assert_eq!(index["mime"], "video/webm; codecs=\"vp8,opus\"");
    assert_eq!(index["growing"], true);
    let clusters = index["clusters"].as_array().unwrap();
    // Keyframes at 0 and 2 s of each round of 3 s.
    let times: Vec<_> = clusters.iter().map(|row| row[0].as_u64().unwrap()).collect();
    assert_eq!((times, &index["open"][0]), (vec![0, 2000, 3000, 5000, 6000], &json!(8000)));
    let end = index["open"][1].as_u64().unwrap() + index["open"][2].as_u64().unwrap();
    assert_eq!(server.request("HEAD", &path("files"), &[]).header("content-length"), end.to_string());
    growing.grow();
    growing.file.close().unwrap().unwrap();
    let index = server.get(&format!("{}?after=5", path("index"))).json();
    assert_eq!((&index["first"], &index["open"], &index["growing"]), (&json!(5), &json!(null), &json!(false)));
    assert_eq!(index["clusters"].as_array().unwrap().len(), 3);
    assert_eq!(index["clusters"][0][0], 8000);
}

#[test]
fn span_of_a_running_recording_is_shared_once_it_is_saved() {
    let (server, mut growing) = server(3);
    let share = |from: u64, to: u64| server.get(&format!("/api/recordings/{ID}/share?from={from}&to={to}"));
    let saved = share(2_000, 5_000);
    assert_eq!(saved.status, 200);
    let saved = saved.json();
    assert_eq!((&saved["state"], &saved["files"][0]["open"]), (&json!("complete"), &json!(null)));
    assert_eq!((&saved["from_ms"], &saved["to_ms"]), (&json!(0), &json!(3_000)));
    let film = server.get(saved["media"][FILE]["url"].as_str().unwrap());
    assert!(check(&film.body[..], film.body.len() as u64, State::Closed).unwrap().is_sound());
    // Of this the last second is still in the open cluster, and of that nothing is there.
    for (from, to) in [(7_000, 9_500), (20_000, 21_000)] {
        let later = share(from, to);
        assert_eq!((later.status, &later.json()["code"]), (409, &json!("recording-active")), "{from}");
    }
    growing.grow();
    assert_eq!(share(7_000, 9_500).status, 200);
}

#[test]
fn any_length_is_whole_at_once() {
    for (name, seconds) in [("a minute", 60), ("an hour", 3_600), ("ten hours", 36_000)] {
        let (server, mut growing) = server(1);
        let key = clip::video().into_iter().find(|frame| frame.keyframe).unwrap();
        for time_ms in (4_000..=seconds * 1_000_u64).step_by(4_000) {
            let video = Block { kind: Kind::Video, time_ms, keyframe: true, fill: false, data: &key.data, size: None };
            growing.file.write(video).unwrap();
        }
        growing.file.flush().unwrap();
        let began = Instant::now();
        let closed = growing.file.close().unwrap().unwrap();
        let close = began.elapsed();
        let index = server.get(&path("index")).json();
        let rows = index["clusters"].as_array().unwrap();
        assert_eq!((&index["growing"], &index["open"]), (&json!(false), &json!(null)), "{name}");
        let last = rows.last().unwrap();
        assert_eq!(last[0], seconds * 1_000, "{name}");
        for row in [&rows[rows.len() / 2], last] {
            let (at, len) = (row[1].as_u64().unwrap(), row[2].as_u64().unwrap());
            let range = format!("bytes={at}-{}", at + len - 1);
            let cluster = server.request("GET", &path("files"), &[("Range", &range)]);
            assert_eq!((cluster.status, cluster.body.len() as u64), (206, len), "{name}");
            assert!(cluster.body.starts_with(&[0x1F, 0x43, 0xB6, 0x75]), "{name}");
        }
        let whole = began.elapsed();
        println!("{name}: closed in {close:?}, listed and sought by HTTP after {whole:?}");
        // Wanted is a second; what grew with the length would take minutes here.
        assert!(whole < Duration::from_secs(15), "{name}: {whole:?}");
        let judged = check(&fs::read(&closed.path).unwrap()[..], closed.bytes, State::Closed).unwrap();
        assert!(judged.duration_ms >= seconds * 1_000, "{name}: {} ms, {:?}", judged.duration_ms, judged.faults);
    }
}

#[test]
fn clip_of_what_is_finished_is_a_sound_file_while_the_rest_still_grows() {
    let (server, mut growing) = server(3);
    let clip = |span: &str| {
        let answer = server.get(&format!("{}?{span}", path("clip")));
        assert_eq!(answer.status, 200, "{span}: {answer:?}");
        let judged = check(&answer.body[..], answer.body.len() as u64, State::Closed).unwrap();
        assert!(judged.is_sound(), "{span}: {:?}", judged.faults);
        (judged.duration_ms, answer)
    };
    let (length, first) = clip("from=2500&to=6000");
    assert!((4_000..=4_040).contains(&length), "from the keyframe at 2 s: {length}");
    let etag = first.header("etag").to_owned();
    let rest = [("Range", "bytes=1000-"), ("If-Range", etag.as_str())];
    let rest = server.request("GET", &format!("{}?from=2500&to=6000", path("clip")), &rest);
    assert_eq!((rest.status, &rest.body[..]), (206, &first.body[1000..]));
    // Up to 8 s, where the cluster begins that is still written.
    let (length, open_end) = clip("from=5000");
    assert!((2_980..=3_040).contains(&length), "{length}");
    assert_eq!(server.get(&format!("{}?from=8500", path("clip"))).status, 404);
    growing.grow();
    let (longer, later) = clip("from=5000");
    assert!(longer >= length + 2_900 && later.header("etag") != open_end.header("etag"), "{length} {longer}");
    assert!(clip("from=2500&to=6000").1.body == first.body, "what is finished stays as it is");
}

#[test]
fn live_tail_gives_every_byte_until_the_file_is_closed() {
    let (server, mut growing) = server(2);
    let mut live = server.open("GET", &format!("{}?from=3500", path("live")), &[]);
    assert_eq!(live.status, 200);
    let mut streamed = live.chunk().unwrap();
    assert_eq!(streamed.len() as u64, FIRST_CLUSTER_AT);
    streamed.extend(live.chunk().unwrap());
    growing.grow();
    streamed.extend(live.chunk().unwrap());
    growing.grow();
    let closed = growing.file.close().unwrap().unwrap();
    streamed.extend(live.finish().body);

    let file = fs::read(closed.path).unwrap();
    let index = server.get(&path("index")).json();
    let rows: Vec<_> =
        index["clusters"].as_array().unwrap().iter().map(|row| row[1].as_u64().unwrap() as usize).collect();
    let start = rows[2];
    assert_eq!(index["clusters"][2][0], 3000);
    let mut expected = file[start..].to_vec();
    let mut got = streamed[FIRST_CLUSTER_AT as usize..].to_vec();
    assert_eq!(got.len(), expected.len());
    // The sizes of clusters became known later.
    for at in rows.iter().filter(|at| **at >= start).map(|at| at - start + 4) {
        expected[at..at + 8].fill(0);
        got[at..at + 8].fill(0);
    }
    assert!(got == expected);
}

#[test]
fn live_viewer_without_a_time_begins_at_the_newest_keyframe() {
    let (server, growing) = server(2);
    let mut live = server.open("GET", &path("live"), &[]);
    live.chunk().unwrap();
    let index = server.get(&path("index")).json();
    assert_eq!(live.chunk().unwrap().len() as u64, index["open"][2].as_u64().unwrap());
    drop(growing);
}

#[test]
fn pictures_are_keyframes_in_a_webp() {
    let (server, growing) = server(2);
    let picture = |query: &str| server.get(&format!("{}{query}", path("thumb")));
    let keyframes: Vec<_> = clip::video().into_iter().filter(|frame| frame.keyframe).collect();
    for (query, frame) in [("", 1), ("?t=0", 0), ("?t=1999", 0), ("?t=2000", 1), ("?t=3000", 0), ("?t=999999", 1)] {
        let answer = picture(query);
        assert_eq!((answer.status, answer.header("content-type")), (200, "image/webp"), "{query}");
        assert_eq!((&answer.body[..4], &answer.body[8..16]), (&b"RIFF"[..], &b"WEBPVP8 "[..]));
        assert!(answer.body[20..].starts_with(&keyframes[frame].data), "{query}");
        let again = server.request("GET", &path("thumb"), &[("If-None-Match", picture("").header("etag"))]);
        assert_eq!((again.status, again.body.len()), (304, 0));
    }
    assert_eq!(picture("?t=-1").status, 400);
    drop(growing);
}

#[test]
fn ffprobe_over_http_counts_every_packet() {
    let (server, mut growing) = server(2);
    let packets = || {
        let probe = "-v error -count_packets -show_entries stream=nb_read_packets -of csv=p=0";
        let output =
            std::process::Command::new("ffprobe").args(probe.split(' ')).arg(server.url(&path("files"))).output();
        let output = output.inspect_err(|error| eprintln!("skipped, no ffprobe: {error}")).ok()?;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        Some(String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let Some(counted) = packets() else { return };
    assert_eq!(counted, ["180", "300"]);
    growing.grow();
    growing.file.close().unwrap().unwrap();
    assert_eq!(packets().unwrap(), ["270", "450"]);
}
