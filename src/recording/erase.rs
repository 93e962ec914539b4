//! Takes one person out of a finished recording for good: files, what they wrote and marked,
//! their name. The rest plays on in sync.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use reelay_signaling::ParticipantId;
use serde_json::Value;

use super::manifest::Manifest;
use super::storage::{Disk, Storage};
use super::store::{self, ReadError, Sureness};
use super::{captions, hash};
use crate::webm::index;

/// What an erasure did.
#[derive(Debug, Clone, PartialEq)]
pub struct Erased {
    /// The manifest as it is now.
    pub manifest: Manifest,
    /// How many files are gone.
    pub files: usize,
}

/// Erases the person of a stay, with all their stays in this recording. `None` when there is no such stay.
/// What an end of the process leaves undone is done by the same call again.
///
/// # Errors
/// When the folder cannot be read or written.
pub fn erase(folder: &Path, participant: &ParticipantId) -> Result<Option<Erased>, ReadError> {
    let _edit = hash::edit();
    let mut manifest = store::read_manifest(folder)?;
    let Some(person) = manifest.participants.iter().find(|person| person.id == *participant) else { return Ok(None) };
    let key = person.person.clone();
    let is_theirs = |id: &ParticipantId, person: &str| id == participant || (!key.is_empty() && person == key);
    let (they, others): (Vec<_>, Vec<_>) =
        manifest.participants.iter().partition(|one| is_theirs(&one.id, &one.person));
    let names = |people: &[&super::manifest::Person]| -> Vec<String> {
        people.iter().map(|one| one.name.clone()).filter(|name| !name.is_empty()).collect()
    };
    let gone = Gone {
        stays: they.iter().map(|one| one.id.clone()).collect(),
        key: key.clone(),
        names: names(&they),
        names_of_others: names(&others),
    };

    // The files go first: if only a part gets done it is the part that matters.
    let (theirs, others) = manifest.files.drain(..).partition(|file| is_theirs(&file.participant, &file.person));
    manifest.files = others;
    let theirs: Vec<super::SegmentEntry> = theirs;
    for file in &theirs {
        let path = folder.join(&file.file);
        for path in [path.clone(), index::path_of(&path), path.with_extension("levels")] {
            remove(&path)?;
        }
    }
    for (file, without) in [(EVENTS, Gone::event as fn(&Gone, &str) -> Option<String>), (MARKS, Gone::mark)] {
        let path = folder.join(file);
        match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => replace(&path, &kept_of(file?, |line| without(&gone, line))?)?,
        }
    }
    for path in captions::languages(folder).iter().filter_map(|language| captions::path_of(folder, language)) {
        let kept = captions::without(&fs::read_to_string(&path)?, &gone.names);
        if kept.is_empty() { remove(&path)? } else { replace(&path, kept.as_bytes())? }
    }
    for person in manifest.participants.iter_mut().filter(|person| gone.stays.contains(&person.id)) {
        (person.name, person.person, person.recorded) = (String::new(), String::new(), false);
    }
    manifest.by = manifest.by.take().filter(|name| !gone.alone_is(name));
    store::write_manifest(&Disk, folder, &manifest, Sureness::Power)?;
    Ok(Some(Erased { manifest, files: theirs.len() }))
}

/// The lines that stay. One that is no text, or longer than any of ours, does not.
fn kept_of(file: fs::File, kept: impl Fn(&str) -> Option<String>) -> io::Result<Vec<u8>> {
    let (mut file, mut line, mut text) = (BufReader::new(file), Vec::new(), Vec::new());
    loop {
        line.clear();
        if file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 || text.len() > MAX_TEXT {
            return Ok(text);
        }
        if let Some(line) = std::str::from_utf8(&line).ok().and_then(|line| kept(line.trim_end())) {
            text.extend(line.into_bytes());
            text.push(b'\n');
        }
    }
}

/// Who is to be found in no line any more.
struct Gone {
    stays: Vec<ParticipantId>,
    /// Of the person; may be empty.
    key: String,
    names: Vec<String>,
    names_of_others: Vec<String>,
}

impl Gone {
    /// True for a name of theirs that nobody else in the recording has.
    fn alone_is(&self, name: &str) -> bool {
        self.names.iter().any(|one| one == name) && !self.names_of_others.iter().any(|one| one == name)
    }

    fn is_stay(&self, value: &Value) -> bool {
        value.as_str().is_some_and(|id| self.stays.iter().any(|stay| stay.as_str() == id))
    }

    fn is_key(&self, value: &Value) -> bool {
        !self.key.is_empty() && *value == self.key
    }

    /// A line of `events.jsonl` without them; `None` if it is about them, or cannot be read.
    fn event(&self, line: &str) -> Option<String> {
        let mut event: Value = serde_json::from_str(line).ok()?;
        if self.is_stay(&event["participant"]) || self.is_key(&event["person"]) {
            return None;
        }
        if let Some(Value::Array(several)) = event.get_mut("participants") {
            several.retain(|one| !self.is_stay(one));
        }
        if event["by"].as_str().is_some_and(|name| self.alone_is(name)) {
            event["by"] = Value::Null;
        }
        Some(event.to_string())
    }

    /// A line of `marks.jsonl` if they did not write it. One that names no person is theirs by its name alone.
    fn mark(&self, line: &str) -> Option<String> {
        let mark: Value = serde_json::from_str(line).ok()?;
        let is_theirs = match &mark["person"] {
            Value::Null => mark["name"].as_str().is_some_and(|name| self.names.iter().any(|one| one == name)),
            person => self.is_key(person),
        };
        (!is_theirs).then(|| line.to_owned())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    fs::write(&draft, bytes)?;
    fs::File::open(&draft)?.sync_data()?;
    Disk.rename(&draft, path)
}

const EVENTS: &str = "events.jsonl";
const MARKS: &str = "marks.jsonl";
const MAX_LINE: u64 = 1024 * 1024;
/// More than a day of a room in which everybody talks makes.
const MAX_TEXT: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "01920000-0000-7000-8000-000000000001";

    #[test]
    fn one_person_is_gone_with_everything_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(ID);
        fs::create_dir(&folder).unwrap();
        // Ada was there twice, Bo once.
        let stays = [("paaaaaaaaaa", "ada", "Ada"), ("pbbbbbbbbbb", "bo", "Bo"), ("pcccccccccc", "ada", "Ada")];
        let people = stays.map(|(id, person, name)| json!({"id": id, "person": person, "name": name}));
        let files = stays.map(|(id, person, name)| {
            let file = format!("{id}-camera-1.webm");
            for name in [file.clone(), file.replace(".webm", ".idx"), file.replace(".webm", ".levels")] {
                fs::write(folder.join(name), "x").unwrap();
            }
            json!({"file": file, "participant": id, "person": person, "name": name, "source": "camera", "offset_ms": 7})
        });
        let manifest = json!({"version": 1, "id": ID, "room": "team", "state": "complete", "by": "Ada",
            "started_at": "2026-11-20T10:00:00Z", "duration_ms": 9, "participants": people, "files": files});
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        let events = [
            json!({"type": "started", "by": "Ada"}),
            json!({"type": "chat", "participant": "paaaaaaaaaa", "person": "ada", "text": "secret"}),
            json!({"type": "speaking", "participants": ["paaaaaaaaaa", "pbbbbbbbbbb"]}),
            json!({"type": "chat", "participant": "pbbbbbbbbbb", "person": "bo", "text": "open"}),
        ];
        fs::write(folder.join(EVENTS), events.map(|event| event.to_string() + "\n").concat()).unwrap();
        let marks = [
            json!({"type": "mark", "mark": "1", "person": "ada", "name": "Ada", "text": "my secret"}),
            json!({"type": "mark", "mark": "2", "name": "Ada", "text": "another secret"}),
            json!({"type": "mark", "mark": "3", "person": "bo", "name": "Bo", "text": "kept"}),
            json!({"type": "mark", "mark": "4", "name": null, "text": "nobody's"}),
            json!({"type": "unmark", "mark": "1"}),
        ];
        fs::write(folder.join(MARKS), marks.map(|mark| mark.to_string() + "\n").concat()).unwrap();

        fs::create_dir(folder.join(captions::FOLDER)).unwrap();
        let said = |name: &str| format!("00:01.000 --> 00:02.000\n<v {name}>{name} speaks\n\n");
        let captions = captions::path_of(&folder, "en").unwrap();
        fs::write(&captions, format!("WEBVTT\n\n{}{}", said("Ada"), said("Bo"))).unwrap();

        let erased = erase(&folder, &"pcccccccccc".parse().unwrap()).unwrap().unwrap();
        assert_eq!((erased.files, erased.manifest.files.len(), erased.manifest.duration_ms), (2, 1, 9));
        assert_eq!(erased.manifest.by, None);
        let mut left: Vec<String> =
            fs::read_dir(&folder).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(
            left,
            [
                "captions",
                "events.jsonl",
                "manifest.json",
                "marks.jsonl",
                "pbbbbbbbbbb-camera-1.idx",
                "pbbbbbbbbbb-camera-1.levels",
                "pbbbbbbbbbb-camera-1.webm"
            ]
        );
        for name in ["events.jsonl", "manifest.json", MARKS] {
            let text = fs::read_to_string(folder.join(name)).unwrap();
            assert!(!text.contains("Ada") && !text.contains("\"ada\"") && !text.contains("secret"), "{text}");
            assert!(text.contains("bo"));
        }
        let captions = fs::read_to_string(captions).unwrap();
        assert!(captions.contains("Bo speaks") && !captions.contains("Ada"), "{captions}");
        let marks = fs::read_to_string(folder.join(MARKS)).unwrap();
        assert!(marks.contains("kept") && marks.contains("nobody's"), "{marks}");
        // Again, and for somebody who was never there.
        assert_eq!(erase(&folder, &"pcccccccccc".parse().unwrap()).unwrap().unwrap().files, 0);
        assert_eq!(erase(&folder, &"pddddddddda".parse().unwrap()).unwrap(), None);
    }
}
