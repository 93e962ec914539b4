//! Folders and files that are taken away while they are recorded into, and come back: the server ends and lists them itself.

use std::fs;
use std::path::{Path, PathBuf};

use reelay::media::TapItem;
use reelay::recording::Manifest;
use reelay_signaling::{Consent, Kind, RecordingState, RecordingStatus, TrackId};

use crate::media::Sender;
use crate::recorder::{Stage, ahead, file, real};
use crate::webm_judges::judge;

/// Somebody whose sound is recorded.
struct Call {
    dir: tempfile::TempDir,
    stage: Stage,
    audio: TrackId,
    spoken: u32,
}

impl Call {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut stage = Stage::new(&dir.path().join("recordings"), |_| {});
        let person = stage.join(1, Consent::NotAsked);
        let audio = stage.publish(&person, Kind::Audio);
        stage.until("it is tapped", |stage| stage.taps.len() == 1);
        let mut call = Self { dir, stage, audio, spoken: 0 };
        call.speak();
        call
    }

    /// Three seconds, until they are recorded. Gives what was sent.
    fn speak(&mut self) -> Vec<Vec<u8>> {
        self.spoken += 1;
        let sender = Sender { ssrc: self.spoken * 10, ..ahead(1) };
        let items = sender.items(Kind::Audio).into_iter().map(|(_, item)| item);
        self.stage.send(&self.audio, items.collect::<Vec<TapItem>>());
        self.stage.until("it records", |stage| stage.room.state == RecordingState::Recording);
        sender.frames(Kind::Audio).into_iter().map(|frame| frame.data).collect()
    }

    fn recordings(&self) -> PathBuf {
        self.dir.path().join("recordings")
    }

    fn folder(&self) -> PathBuf {
        self.recordings().join(self.stage.room.id.as_ref().unwrap().as_str())
    }

    fn until_interrupted(&mut self) {
        self.stage.until("it is interrupted", |stage| stage.room.state == RecordingState::Interrupted);
        assert_eq!(self.stage.room.reason.as_deref(), Some("io-error"));
    }

    fn until_manifest(&mut self, what: &str, is_so: impl Fn(&Manifest) -> bool) -> Manifest {
        self.stage.until(what, |stage| stage.manifest.as_ref().is_some_and(&is_so));
        self.stage.manifest.clone().unwrap()
    }

    fn file(&self, manifest: &Manifest, n: usize) -> PathBuf {
        file(&self.recordings(), manifest, n)
    }
}

fn names(manifest: &Manifest) -> Vec<&str> {
    manifest.files.iter().map(|entry| entry.file.rsplit_once('-').unwrap().1).collect()
}

fn is_hashed(manifest: &Manifest) -> bool {
    manifest.files.iter().all(|entry| entry.sha256.is_some() && !entry.open)
}

fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}

#[test]
fn folder_that_comes_back_is_ended_and_listed_while_the_recording_goes_on() {
    let mut call = Call::new();
    let first: Vec<_> = Sender { ssrc: 10, ..ahead(1) }.frames(Kind::Audio).into_iter().map(|f| f.data).collect();
    let (folder, aside, later) = (call.folder(), call.dir.path().join("aside"), call.dir.path().join("later"));
    rename(&folder, &aside);
    call.until_interrupted();
    call.speak();
    rename(&folder, &later);
    rename(&aside, &folder);
    let manifest = call.until_manifest("the first file is back", |manifest| {
        manifest.is_running() && manifest.files.iter().any(|entry| entry.file.ends_with("-1.webm") && !entry.open)
    });
    // All that was received before the folder went is in it, what was held back too.
    let at = manifest.files.iter().position(|entry| entry.file.ends_with("-1.webm")).unwrap();
    assert!(real(&call.file(&manifest, at), Kind::Audio) == first);
    judge(&call.file(&manifest, at));
    let entry = &manifest.files[at];
    assert_eq!((entry.close_reason.as_deref(), entry.counters["audio_packets"]), (Some("io-error"), 150));

    call.speak();
    call.stage.stop();
    let manifest = call.until_manifest("it is closed", |manifest| !manifest.is_running());
    assert_eq!((manifest.state, manifest.reason.as_deref()), (RecordingStatus::Interrupted, Some("io-error")));
    assert_eq!(names(&manifest), ["1.webm", "3.webm"]);
    let part = fs::read_dir(&later).unwrap().flatten().map(|item| item.path());
    let part = part.into_iter().find(|path| path.extension().is_some_and(|e| e == "part")).unwrap();
    rename(&part, &folder.join(part.file_name().unwrap()));
    let manifest = call.until_manifest("all is back", |m| m.state == RecordingStatus::Recovered && is_hashed(m));
    assert_eq!((names(&manifest).len(), manifest.reason.as_deref()), (3, None));
    for n in 0..3 {
        judge(&call.file(&manifest, n));
    }
    let told = call.stage.events.iter().filter(|event| event["type"] == "repaired").count();
    assert!(told >= 1, "{:?}", call.stage.events);
}

#[test]
fn folder_that_is_removed_is_told_and_recording_goes_on_in_a_new_file() {
    let mut call = Call::new();
    // The recorder writes meanwhile, so a folder that was emptied may have a new file in it.
    let folder = call.folder();
    call.stage.until("its folder is gone", |_| match fs::remove_dir_all(&folder) {
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        Ok(()) => true,
    });
    call.until_interrupted();
    call.speak();
    call.stage.stop();
    let manifest = call.until_manifest("it is closed", |manifest| !manifest.is_running() && is_hashed(manifest));
    let last = manifest.files.len() - 1;
    assert!(names(&manifest)[last] == "2.webm");
    judge(&call.file(&manifest, last));
}

#[test]
fn recording_that_ends_while_its_folder_is_away_is_finished_when_that_is_back() {
    let mut call = Call::new();
    let (folder, aside) = (call.folder(), call.dir.path().join("aside"));
    rename(&folder, &aside);
    call.until_interrupted();
    call.stage.stop();
    let manifest = call.until_manifest("it is closed", |manifest| !manifest.is_running());
    assert_eq!((manifest.state, manifest.files.len()), (RecordingStatus::Interrupted, 0));
    rename(&aside, &folder);
    let manifest = call.until_manifest("it is back", |m| m.state == RecordingStatus::Recovered && is_hashed(m));
    assert_eq!((names(&manifest), manifest.ended_at.is_some()), (vec!["1.webm"], true));
    assert_eq!(real(&call.file(&manifest, 0), Kind::Audio).len(), 150);
}

#[test]
fn file_that_cannot_be_ended_is_ended_when_it_can_be() {
    let mut call = Call::new();
    let folder = call.folder();
    let part = fs::read_dir(&folder).unwrap().flatten().map(|item| item.path());
    let part = part.into_iter().find(|path| path.extension().is_some_and(|e| e == "part")).unwrap();
    // Its name is taken.
    let name = part.with_extension("");
    fs::create_dir(&name).unwrap();
    call.stage.stop();
    let manifest = call.until_manifest("it is closed", |manifest| !manifest.is_running());
    assert_eq!((manifest.state, manifest.files[0].open), (RecordingStatus::Interrupted, true));
    fs::remove_dir(&name).unwrap();
    let manifest = call.until_manifest("it is ended", |m| m.state == RecordingStatus::Recovered && is_hashed(m));
    assert_eq!(real(&call.file(&manifest, 0), Kind::Audio).len(), 150);
}
