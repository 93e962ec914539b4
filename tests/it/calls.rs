//! Whole calls over real UDP: a client of another implementation sends real pictures and sound by WHIP, the way does what
//! ways do, and the file is taken apart again.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reelay_signaling::Kind;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::clip::{self, Frame};
use crate::harness::{Server, until};
use crate::publisher::Publisher;
use crate::recorder::{ReadBlock, blocks};
use crate::socket::Socket;
use crate::webm_judges::{judge, judge_all};

/// Pictures and sound made for a test.
struct Clip {
    video: Vec<Frame>,
    audio: Vec<Frame>,
}

impl Clip {
    /// Encodes what ffmpeg's sources describe, with a keyframe each second.
    fn make(seconds: u32, picture: &str, sound: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (ivf, ogg) = (dir.path().join("a.ivf"), dir.path().join("a.ogg"));
        let seconds = seconds.to_string();
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-t", &seconds])
            .args("-map 0:v -c:v libvpx -b:v 400k -g 30 -keyint_min 30 -auto-alt-ref 0 -deadline realtime".split(' '))
            .args(["-cpu-used", "8", "-f", "ivf"])
            .arg(&ivf)
            .args(["-t", &seconds])
            .args("-map 1:a -c:a libopus -b:a 32k -frame_duration 20 -application lowdelay".split(' '))
            .arg(&ogg)
            .status();
        assert!(status.expect("ffmpeg is needed").success());
        let read = |path: &Path| std::fs::read(path).unwrap();
        Self { video: clip::ivf(&read(&ivf)), audio: clip::ogg(&read(&ogg)) }
    }

    /// A white flash and a beep at each full second; noise, so that no packet is like another.
    fn flash_and_beep(seconds: u32) -> Self {
        let flash = "color=black:s=160x90:r=30,drawbox=c=white:t=fill:enable='lt(mod(n,30),3)'";
        let beep = "aevalsrc='0.01*(random(0)-0.5)+if(lt(mod(t,1),0.1),0.7*sin(2*PI*1000*t),0)':s=48000";
        Self::make(seconds, flash, beep)
    }
}

/// How many parts per million the sender's media clocks are too fast.
#[derive(Clone, Copy, Default)]
struct Drift {
    video: f64,
    audio: f64,
}

/// One client in a call.
struct Caller {
    publisher: Publisher,
    session: String,
}

impl Caller {
    async fn join(server: &Server, name: &str, seed: u64) -> Self {
        let publisher = Publisher::new(seed).await;
        let offer = publisher.offer().await;
        let created = server.send(
            "POST",
            &format!("/whip/team/{name}"),
            &[("Content-Type", "application/sdp")],
            offer.as_bytes(),
        );
        assert_eq!(created.status, 201, "{created:?}");
        let session = created.header("location").to_owned();
        publisher.accept(&String::from_utf8(created.body).unwrap()).await;
        publisher.connected().await;
        Self { publisher, session }
    }

    /// Sends the clip in its time. When it returns, the last datagram is on its way.
    async fn send(&self, clip: &Clip, drift: Drift) {
        self.publisher.send(clip, drift, 0).await;
    }

    /// Goes at once.
    fn leave(&self, server: &Server) {
        assert_eq!(server.send("DELETE", &self.session, &[], b"").status, 200);
    }

    /// Waits until so many packets of media are with the system.
    async fn sent(&self, packets: u64) {
        let wait = async {
            while self.publisher.link.sent.load(Ordering::Relaxed) < packets {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("everything is sent");
    }
}

impl Publisher {
    /// Sends the clip, which begins at `from_us` of what it sends in all.
    async fn send(&self, clip: &Clip, drift: Drift, from_us: u64) {
        let start = Instant::now();
        let mut all: Vec<(u64, Kind, usize)> = Vec::new();
        all.extend((0..clip.video.len()).map(|n| (n as u64 * 1_000_000 / 30, Kind::Video, n)));
        all.extend((0..clip.audio.len()).map(|n| (n as u64 * 20_000, Kind::Audio, n)));
        all.sort_unstable_by_key(|(at_us, _, n)| (*at_us, *n));
        let ticks = |us: u64, hz: f64, ppm: f64| (us as f64 * hz / 1e6 * (1.0 + ppm / 1e6)).round() as u32;
        for (at_us, kind, n) in all {
            tokio::time::sleep_until(start + Duration::from_micros(at_us)).await;
            let at_us = from_us + at_us;
            match kind {
                Kind::Video => {
                    let rtp_time = ticks(at_us, 90_000.0, drift.video).wrapping_add(u32::MAX - 300_000);
                    self.frame(&clip.video[n].data, n, rtp_time).await;
                }
                Kind::Audio => {
                    let rtp_time = ticks(at_us, 48_000.0, drift.audio).wrapping_add(77);
                    self.packet(&clip.audio[n].data, rtp_time).await;
                }
            }
        }
    }
}

/// The one file of the one recording, when it is complete, and its entry in the manifest.
fn recorded(server: &Server) -> (PathBuf, Value) {
    let (folder, manifest) = complete(server);
    assert_eq!(manifest["files"].as_array().unwrap().len(), 1, "{manifest}");
    let entry = manifest["files"][0].clone();
    (folder.join(entry["file"].as_str().unwrap()), entry)
}

/// The folder and the manifest of the one recording, when it is complete.
fn complete(server: &Server) -> (PathBuf, Value) {
    let done = until("the end of the recording", || {
        let list = server.get("/api/recordings").json();
        let entry = list["recordings"].as_array()?.first()?.clone();
        (entry["state"] == "complete").then_some(entry)
    });
    let id = done["id"].as_str().unwrap();
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(server.recordings().join(id).join("manifest.json")).unwrap()).unwrap();
    (server.recordings().join(id), manifest)
}

fn real(path: &Path, kind: Kind) -> Vec<ReadBlock> {
    blocks(path, kind).into_iter().filter(|block| !block.is_fill).collect()
}

fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg").args(["-nostdin", "-v", "error"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// When the picture turns white, in seconds.
fn flashes(path: &Path) -> Vec<f64> {
    let print = "signalstats,metadata=mode=print:key=lavfi.signalstats.YAVG:file=-";
    let text = ffmpeg(&["-i", path.to_str().unwrap(), "-map", "0:v", "-vf", print, "-f", "null", "-"]);
    let text = String::from_utf8(text).unwrap();
    let (mut found, mut at, mut was_white) = (Vec::new(), 0.0, false);
    for line in text.lines() {
        if let Some((_, time)) = line.split_once("pts_time:") {
            at = time.trim().parse().unwrap();
        } else if let Some((_, bright)) = line.split_once("YAVG=") {
            let is_white = bright.trim().parse::<f64>().unwrap() > 128.0;
            if is_white && !was_white {
                found.push(at);
            }
            was_white = is_white;
        }
    }
    found
}

/// When the sound gets loud, in seconds, by what is played and not by block times.
fn beeps(path: &Path) -> Vec<f64> {
    let wave =
        ffmpeg(&["-i", path.to_str().unwrap(), "-map", "0:a", "-ac", "1", "-ar", "48000", "-f", "s16le", "pipe:1"]);
    let (mut found, mut quiet) = (Vec::new(), usize::MAX);
    for (n, sample) in wave.chunks_exact(2).enumerate() {
        let is_loud = i16::from_le_bytes([sample[0], sample[1]]).unsigned_abs() > 6_000;
        if is_loud && quiet > 14_400 {
            found.push(n as f64 / 48_000.0);
        }
        quiet = if is_loud { 0 } else { quiet.saturating_add(1) };
    }
    found
}

/// For each flash the offset of its beep, in milliseconds; positive when the sound is late.
fn offsets(path: &Path) -> Vec<f64> {
    let (flashes, beeps) = (flashes(path), beeps(path));
    let nearest = |at: &f64| beeps.iter().map(|beep| beep - at).min_by(|a, b| a.abs().total_cmp(&b.abs()));
    let all: Vec<f64> = flashes.iter().filter_map(nearest).map(|off| off * 1000.0).collect();
    assert_eq!((flashes.len(), all.len()), (beeps.len(), flashes.len()), "{flashes:?} {beeps:?}");
    all
}

/// Sent things of which no equal one is in the file.
fn missing(sent: &[Frame], file: &[ReadBlock]) -> usize {
    let there: HashSet<&[u8]> = file.iter().map(|block| &block.data[..]).collect();
    sent.iter().filter(|frame| !there.contains(&frame.data[..])).count()
}

/// Each block in the file is one that was sent, in the order in which it was sent. Gives the numbers of those sent.
fn order(sent: &[Frame], file: &[ReadBlock]) -> Vec<usize> {
    let numbers: HashMap<&[u8], usize> = sent.iter().enumerate().map(|(n, frame)| (&frame.data[..], n)).collect();
    assert_eq!(numbers.len(), sent.len(), "no two are alike");
    let found: Vec<usize> = file.iter().map(|block| numbers[&block.data[..]]).collect();
    assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_packet_to_the_last_before_leaving_everything_is_in_the_file_byte_for_byte() {
    let server = Server::start("[recording]\nlinger = \"0s\"\n", |_| {});
    let clip = Clip::make(4, "testsrc=s=320x180:r=30", "aevalsrc='random(0)-0.5':s=48000");
    let caller = Caller::join(&server, "cam", 1).await;
    caller.send(&clip, Drift::default()).await;
    let packets: usize = clip.video.iter().map(|frame| frame.data.len().div_ceil(1100)).sum();
    caller.sent((packets + clip.audio.len()) as u64).await;
    caller.leave(&server);
    let (path, entry) = recorded(&server);
    for (kind, sent) in [(Kind::Video, &clip.video), (Kind::Audio, &clip.audio)] {
        let file = real(&path, kind);
        assert_eq!((kind, file.len(), missing(sent, &file)), (kind, sent.len(), 0), "{entry}");
        assert!(file.iter().zip(sent).all(|(block, frame)| block.data == frame.data), "{kind} differs");
    }
    assert_eq!(judge(&path), (clip.video.len() as u64, clip.audio.len() as u64));
    assert_eq!(entry["gaps"], Value::Array(vec![]), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flash_and_beep_through_loss_jitter_and_drift_are_found_together_in_the_file() {
    let server = Server::start("[recording]\nlinger = \"0s\"\n", |_| {});
    let clip = Clip::flash_and_beep(20);
    let caller = Caller::join(&server, "cam", 5).await;
    let link = &caller.publisher.link;
    link.loss.store(50, Ordering::Relaxed);
    link.jitter.store(30, Ordering::Relaxed);
    link.twice.store(10, Ordering::Relaxed);
    caller.send(&clip, Drift { video: -500.0, audio: 500.0 }).await;
    // What was lost last is asked for again.
    tokio::time::sleep(Duration::from_millis(500)).await;
    caller.leave(&server);
    assert!(link.lost.load(Ordering::Relaxed) > 50);
    let (path, entry) = recorded(&server);
    judge(&path);
    let offsets = offsets(&path);
    assert!(offsets.len() >= 18, "{offsets:?}");
    assert!(offsets.iter().all(|off| off.abs() < 20.0), "{offsets:?} {entry}");
    for (kind, sent) in [(Kind::Video, &clip.video), (Kind::Audio, &clip.audio)] {
        let file = real(&path, kind);
        // White and black pictures are often alike; sound never is.
        let missing = if kind == Kind::Audio { missing(sent, &file) } else { sent.len().saturating_sub(file.len()) };
        assert!(missing * 100 < sent.len(), "{missing} of {} of {kind} are missing: {entry}", sent.len());
    }
    assert_eq!(entry["sync"], "sender-reports");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_percent_loss_costs_less_than_one_percent_and_sound_stays_in_its_place() {
    let server = Server::start("[recording]\nlinger = \"0s\"\n", |_| {});
    let clip = Clip::make(12, "testsrc=s=320x180:r=30", "aevalsrc='random(0)-0.5':s=48000");
    let caller = Caller::join(&server, "cam", 9).await;
    let link = &caller.publisher.link;
    link.loss.store(50, Ordering::Relaxed);
    link.jitter.store(20, Ordering::Relaxed);
    link.twice.store(20, Ordering::Relaxed);
    caller.send(&clip, Drift::default()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    caller.leave(&server);
    let (path, entry) = recorded(&server);
    judge(&path);
    let count = |name: &str| entry["counters"][name].as_u64().unwrap_or(0);
    for (kind, sent, step_ms) in [(Kind::Video, &clip.video, 1000.0 / 30.0), (Kind::Audio, &clip.audio, 20.0)] {
        let file = real(&path, kind);
        let found = order(sent, &file);
        assert!((sent.len() - found.len()) * 100 < sent.len(), "{} of {kind}: {entry}", found.len());
        let offset = |(n, block): (&usize, &ReadBlock)| block.time_ms as f64 - *n as f64 * step_ms;
        let offsets: Vec<f64> = found.iter().zip(&file).map(offset).collect();
        // By the sender's own times: from one to the next they are moved by the recorder's slew (5 ms a second) and by rounding.
        let (clamped, jumps) = (count("clamp_max_ms") as f64, count("clock_jumps") as usize);
        let slack = |n: usize| 2.5 + clamped + (found[n + 1] - found[n]) as f64 * step_ms * 0.005;
        let moved = |n: &usize| (offsets[n + 1] - offsets[*n]).abs() > slack(*n);
        let moved: Vec<_> = (0..offsets.len() - 1).filter(moved).map(|n| (found[n], &offsets[n..n + 2])).collect();
        assert!(moved.len() <= jumps, "{kind} is out of place: {moved:?} {entry}");
    }
    let counters = &entry["counters"];
    assert!(counters["video_repaired"].as_u64() > Some(10), "{counters}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_sound_comes_out_of_the_copies_in_later_packets() {
    let server = Server::start("[recording]\nlinger = \"0s\"\n", |_| {});
    let clip = Clip::make(4, "color=black:s=64x64:r=30", "aevalsrc='random(0)-0.5':s=48000");
    let caller = Caller::join(&server, "cam", 4).await;
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    let (mut sent, mut lost) = (0, 0);
    for n in 0..clip.audio.len() {
        beat.tick().await;
        // Nobody sends these again: one in five, up to two in a row.
        if n % 10 == 3 || n % 10 == 4 {
            caller.publisher.lose_sound();
            lost += 1;
        } else {
            caller.publisher.redundant(&clip.audio[n.saturating_sub(2)..=n], 99 + n as u32 * 960).await;
            sent += 1;
        }
    }
    caller.sent(sent).await;
    caller.leave(&server);
    let (path, entry) = recorded(&server);
    let file = real(&path, Kind::Audio);
    assert!(lost >= 40 && clip.audio.len() >= 200, "{lost}");
    assert_eq!((file.len(), missing(&clip.audio, &file)), (clip.audio.len(), 0), "{entry}");
    assert!(file.iter().zip(&clip.audio).all(|(block, frame)| block.data == frame.data));
    assert_eq!((judge(&path).1, &entry["gaps"]), (clip.audio.len() as u64, &Value::Array(vec![])), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn loss_that_nothing_repairs_freezes_until_a_keyframe_and_is_told() {
    let server = Server::start("[recording]\nlinger = \"0s\"\n", |_| {});
    let clip = Clip::make(12, "testsrc=s=320x180:r=30", "aevalsrc='random(0)-0.5':s=48000");
    let caller = Caller::join(&server, "cam", 3).await;
    let link = &caller.publisher.link;
    // For a second all repairs fail, for two and a half nothing comes through, and one in five is lost all the time.
    link.loss.store(200, Ordering::Relaxed);
    let hole = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        link.for_good.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        link.loss.store(1000, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        link.loss.store(200, Ordering::Relaxed);
    };
    tokio::join!(caller.send(&clip, Drift::default()), hole);
    tokio::time::sleep(Duration::from_millis(500)).await;
    caller.leave(&server);
    let (path, entry) = recorded(&server);
    judge(&path);
    let file = real(&path, Kind::Video);
    let found = order(&clip.video, &file);
    for (pair, block) in found.windows(2).zip(&file[1..]) {
        assert!(pair[1] == pair[0] + 1 || block.is_keyframe, "a hole before {} ms", block.time_ms);
    }
    order(&clip.audio, &real(&path, Kind::Audio));
    let counters = &entry["counters"];
    assert!(counters["freezes"].as_u64() > Some(0) && counters["video_lost"].as_u64() > Some(0), "{counters}");
    assert!(counters["filled_audio_ms"].as_u64() > Some(500), "{counters}");
    let gaps = entry["gaps"].as_array().unwrap();
    assert!(gaps.iter().any(|gap| gap["kind"] == "video" && gap["cause"] == "loss"), "{entry}");
    assert!(gaps.iter().any(|gap| gap["kind"] == "audio" && gap["cause"] == "loss"), "{entry}");
}

/// Says what is published on which m-line, and takes the answer.
async fn publish(socket: &mut Socket, publisher: &Publisher, has_screen: bool) {
    let line = |mid: &str, source: &str, kind: &str| json!({"mid": mid, "source": source, "kind": kind});
    let mut tracks = vec![line("0", "camera", "audio"), line("1", "camera", "video")];
    if has_screen {
        tracks.push(line("2", "screen1", "video"));
    }
    socket.say(json!({"type": "publish", "sdp": publisher.offer().await, "tracks": tracks}));
    publisher.accept(socket.wait("published")["sdp"].as_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_camera_is_one_file_through_a_restart_another_size_mute_screens_a_pause_and_a_lost_connection() {
    let server = Server::start("[recording]\nlinger = \"0s\"\n", |_| {});
    let clip = |size: &str| Clip::make(2, &format!("testsrc=s={size}:r=30"), "aevalsrc='random(0)-0.5':s=48000");
    let (large, small) = (clip("320x180"), clip("160x90"));
    let pause = Duration::from_millis(1_500);
    let (mut ana, joined) = Socket::join(&server, "team", "Ana");
    let mut first = Publisher::new(1).await;
    publish(&mut ana, &first, false).await;
    first.connected().await;
    let begun = Instant::now();
    let now_us = || begun.elapsed().as_micros() as u64;
    first.send(&large, Drift::default(), now_us()).await;
    // New ICE credentials, then another size.
    first.connection.restart_ice().await.unwrap();
    publish(&mut ana, &first, false).await;
    first.send(&small, Drift::default(), now_us()).await;
    // Both off for a while.
    for kind in ["audio", "video"] {
        ana.say(json!({"type": "mute", "source": "camera", "kind": kind, "muted": true}));
    }
    tokio::time::sleep(pause).await;
    for kind in ["audio", "video"] {
        ana.say(json!({"type": "mute", "source": "camera", "kind": kind, "muted": false}));
    }
    first.send(&large, Drift::default(), now_us()).await;
    // Shared again within moments, a screen goes on in its file.
    for n in 0..3 {
        first.share().await;
        publish(&mut ana, &first, true).await;
        for (at, frame) in large.video[..15].iter().enumerate() {
            first.screen_frame(&frame.data, at, (n * 100_000 + at * 3_000) as u32).await;
            tokio::time::sleep(Duration::from_millis(33)).await;
        }
        first.stop_share().await;
        publish(&mut ana, &first, false).await;
    }
    for what in ["pause", "resume"] {
        assert_eq!(server.request("POST", &format!("/api/rooms/team/recording/{what}"), &[]).status, 200);
        tokio::time::sleep(pause).await;
    }
    // Socket and connection are lost; the person comes back to the same place with another connection.
    drop(ana);
    first.connection.close().await.unwrap();
    let mut ana = Socket::open(&server);
    ana.say(json!({"type": "resume", "token": joined["resume"], "media": "new"}));
    assert_eq!(ana.wait("joined")["participant"], joined["participant"]);
    let second = Publisher::new(2).await;
    publish(&mut ana, &second, false).await;
    second.connected().await;
    second.send(&small, Drift::default(), 0).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    ana.say(json!({"type": "leave"}));

    let (folder, manifest) = complete(&server);
    let files = manifest["files"].as_array().unwrap();
    let path = |file: &Value| folder.join(file["file"].as_str().unwrap());
    let (cameras, screens): (Vec<_>, Vec<_>) = files.iter().partition(|file| file["source"] == "camera");
    assert_eq!((cameras.len(), screens.len()), (1, 1), "{manifest}");
    judge_all(&files.iter().map(path).collect::<Vec<_>>());
    assert_eq!(real(&path(screens[0]), Kind::Video).len(), 3 * 15, "{}", screens[0]);
    let camera = cameras[0];
    let (video, audio) = (real(&path(camera), Kind::Video), real(&path(camera), Kind::Audio));
    for clip in [&large, &small] {
        assert_eq!((missing(&clip.video, &video), missing(&clip.audio, &audio)), (0, 0), "{camera}");
    }
    let count = |of: fn(&Clip) -> usize| 2 * of(&large) + 2 * of(&small);
    assert_eq!((video.len(), audio.len()), (count(|c| c.video.len()), count(|c| c.audio.len())), "{camera}");
    let sizes: Vec<_> = camera["report"]["sizes"].as_array().unwrap().iter().map(|size| size[1].as_u64()).collect();
    assert_eq!(sizes, [Some(320), Some(160), Some(320), Some(160)], "{camera}");
    let is_told = |cause: &str| camera["gaps"].as_array().unwrap().iter().any(|gap| gap["cause"] == cause);
    assert!(is_told("muted"), "{camera}");
    let pauses = manifest["pauses"].as_array().unwrap();
    assert!(pauses.len() == 1 && pauses[0]["lasted_ms"].as_u64() >= Some(1_400), "{manifest}");
    // However long it stood still, no decoder loses its place: there is sound without a hole of a whole packet.
    let all = blocks(&path(camera), Kind::Audio);
    assert!(all.windows(2).all(|pair| pair[1].time_ms - pair[0].time_ms < 42), "{camera}");
}
