//! `notes.json` in a recording's folder: what people say about it afterwards. Apart from the manifest, which is the recorder's.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What people say about a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// Its title; empty for none.
    pub title: String,
    /// Its tags, each once.
    pub tags: Vec<String>,
    /// Not to be deleted until this is taken back.
    pub keep: bool,
}

/// What is wrong with a note; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotesError(&'static str);

impl Notes {
    /// The notes as they are kept: without spaces around, without empty or repeated tags.
    ///
    /// # Errors
    /// When something is too long, too much, or no text.
    pub fn tidied(self) -> Result<Self, NotesError> {
        let title = tidied(&self.title, MAX_TITLE).ok_or(NotesError("a title has at most 200 letters in one line"))?;
        let mut tags: Vec<String> = Vec::new();
        for tag in &self.tags {
            let tag = tidied(tag, MAX_TAG).ok_or(NotesError("a tag has at most 50 letters in one line"))?;
            if !tag.is_empty() && !tags.iter().any(|known| known.to_lowercase() == tag.to_lowercase()) {
                tags.push(tag);
            }
        }
        if tags.len() > MAX_TAGS {
            return Err(NotesError("a recording has at most 20 tags"));
        }
        Ok(Self { title, tags, keep: self.keep })
    }

    /// The notes of a folder; none when there are none or they cannot be understood.
    pub fn read(folder: &Path) -> Self {
        let mut text = Vec::new();
        let read = fs::File::open(folder.join(NOTES)).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
        let notes = read.ok().and_then(|_| serde_json::from_slice::<Self>(&text).ok());
        notes.and_then(|notes| notes.tidied().ok()).unwrap_or_default()
    }

    /// Puts them into a folder, at once and surviving a power cut.
    ///
    /// # Errors
    /// What the disk says; the old ones stay then.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let draft = folder.join(DRAFT);
        let mut file = fs::File::create(&draft)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.sync_data()?;
        fs::rename(&draft, folder.join(NOTES))?;
        fs::File::open(folder)?.sync_data()
    }

    /// Adds them to a manifest as the API hands it out.
    pub fn add_to(&self, manifest: &mut Map<String, Value>) {
        manifest.insert("title".into(), self.title.as_str().into());
        manifest.insert("tags".into(), self.tags.clone().into());
        manifest.insert("keep".into(), self.keep.into());
    }
}

fn tidied(text: &str, limit: usize) -> Option<String> {
    let text = text.trim();
    (text.chars().count() <= limit && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// The name of the file.
pub const NOTES: &str = "notes.json";
const DRAFT: &str = "notes.json.new";
const MAX_BYTES: u64 = 64 * 1024;
const MAX_TITLE: usize = 200;
const MAX_TAG: usize = 50;
const MAX_TAGS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(title: &str, tags: &[&str]) -> Notes {
        Notes { title: title.into(), tags: tags.iter().map(|tag| (*tag).into()).collect(), keep: true }
    }

    #[test]
    fn notes_come_back_tidied() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Notes::read(dir.path()), Notes::default());
        let tidied = notes(" 周会 <b> ", &["Budget", " ", "budget", "会议"]).tidied().unwrap();
        assert_eq!(tidied, notes("周会 <b>", &["Budget", "会议"]));
        tidied.write(dir.path()).unwrap();
        assert_eq!(Notes::read(dir.path()), tidied);
        fs::write(dir.path().join(NOTES), "{\"title\": 7").unwrap();
        assert_eq!(Notes::read(dir.path()), Notes::default());
    }

    #[test]
    fn just_under_is_taken_and_just_over_is_refused() {
        let tags = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let check = |title: String, tags: Vec<String>, expected| {
            assert_eq!(Notes { title, tags, keep: false }.tidied().is_ok(), expected);
        };
        check("é".repeat(200), tags(20), true);
        check("é".repeat(201), tags(0), false);
        check(String::new(), tags(21), false);
        check(String::new(), vec!["x".repeat(50)], true);
        check(String::new(), vec!["x".repeat(51)], false);
        check("two\nlines".into(), vec![], false);
    }
}
