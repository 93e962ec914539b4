//! The audit log: who watched, downloaded, deleted and changed rights, as one line of JSON each in a file that only ever
//! grows. Each line carries a digest over itself and the line before, so that a changed or missing one shows.
//! Knows texts and a file; the doors say what happened.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::auth::Caller;

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Got the manifest of a recording, and with it the addresses of its media.
    Opened,
    /// Was sent media of a recording.
    Watched,
    /// Watched a live room.
    WatchedLive,
    /// Saved a file, a clip or an export.
    Downloaded,
    /// Made a link to a span of a recording.
    Shared,
    /// Put a recording into the trash.
    Deleted,
    /// Took one out of it.
    Restored,
    /// Erased a person from a recording.
    Erased,
    /// Marked a recording as one to keep.
    Kept,
    /// Took that mark away.
    Released,
    /// Switched off a track of somebody.
    Muted,
    /// Put somebody out of a room.
    Removed,
    /// Ended a room for all.
    Ended,
    /// Brought a token with other rights.
    RightsChanged,
    /// Made a token.
    TokenMade,
}

/// Who did it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct By {
    /// The token's `sub`, or a part of this server.
    pub who: Option<String>,
    /// The name in the token.
    pub name: Option<String>,
    /// Their address.
    pub from: Option<IpAddr>,
}

impl From<&Caller> for By {
    fn from(caller: &Caller) -> Self {
        Self { who: caller.subject.clone(), name: caller.name.clone(), from: caller.address }
    }
}

impl By {
    /// Whoever is at this address: a signed link does not say who follows it.
    pub fn at(from: Option<IpAddr>) -> Self {
        Self { from, ..Self::default() }
    }

    /// A part of this server.
    pub fn server(part: &str) -> Self {
        Self { who: Some(part.to_owned()), ..Self::default() }
    }
}

/// To what it was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct To {
    /// A room.
    pub room: Option<String>,
    /// A recording.
    pub recording: Option<String>,
    /// A file of it, a participant, or a reason.
    pub what: Option<String>,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Entry {
    /// Counts from 1.
    pub n: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// What was done: `opened`, `watched`, `watched-live`, `downloaded`, `shared`, `deleted`, `restored`, `erased`, `kept`,
    /// `released`, `muted`, `removed`, `ended`, `rights-changed` or `token-made`.
    #[schema(value_type = String)]
    pub action: Action,
    /// The token's `sub`, or a part of this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The name in the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<IpAddr>,
    /// The room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// The recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// A file of it, a participant, or a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

/// Which part of the log; everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Entries after this number.
    pub after: u64,
    /// How many at most.
    pub limit: usize,
    /// The last ones instead of the first ones.
    pub is_latest: bool,
    /// About this recording.
    pub recording: Option<String>,
    /// Of this kind.
    pub action: Option<Action>,
    /// By this `sub` or part of the server.
    pub who: Option<String>,
}

impl Wanted {
    fn holds(&self, entry: &Entry) -> bool {
        entry.n > self.after
            && self.recording.as_ref().is_none_or(|id| entry.recording.as_ref() == Some(id))
            && self.action.is_none_or(|action| entry.action == action)
            && self.who.as_ref().is_none_or(|who| entry.who.as_ref() == Some(who))
    }
}

/// Takes notes; clones share one log. A note never waits: one that finds no room is counted and lost.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
    notes: SyncSender<Note>,
    recent: Arc<Mutex<Recent>>,
}

type Recent = HashMap<(Action, By, To), Instant>;

/// Writes them, to be ended by its owner.
pub struct AuditThread {
    notes: SyncSender<Note>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Note {
    Line(Action, By, To, String),
    End,
}

impl Audit {
    /// Opens the log, or makes it. A line that a crash tore was never finished, and goes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(path: &Path) -> io::Result<(Self, AuditThread)> {
        let log = Log::open(path)?;
        let (notes, inbox) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("audit".into());
        let thread = thread.spawn(move || write(log, &inbox))?;
        let audit = Self { path: path.to_owned(), notes: notes.clone(), recent: Arc::default() };
        Ok((audit, AuditThread { notes, thread }))
    }

    /// Writes down that this was done.
    pub fn note(&self, action: Action, by: By, to: To) {
        if let Err(TrySendError::Full(_)) = self.notes.try_send(Note::Line(action, by, to, now())) {
            metrics::counter!("audit_notes_lost_total").increment(1);
            tracing::error!("the audit log does not keep up; notes are lost");
        }
    }

    /// The same for what goes on in many requests: once in a while for each doer and object.
    pub fn note_once(&self, action: Action, by: By, to: To) {
        let (now, key) = (Instant::now(), (action, by.clone(), to.clone()));
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT {
            recent.retain(|_, at| now.saturating_duration_since(*at) < WHILE);
        }
        let is_new = recent.get(&key).is_none_or(|at| now.saturating_duration_since(*at) >= WHILE);
        if is_new && recent.len() < RECENT {
            recent.insert(key, now);
        }
        drop(recent);
        if is_new {
            self.note(action, by, to);
        }
    }

    /// The part of the log that is asked for, oldest first. Reads the file, so not for the runtime's threads.
    ///
    /// # Errors
    /// What the disk says.
    pub fn read(&self, wanted: &Wanted) -> io::Result<Vec<Entry>> {
        let lines = BufReader::new(File::open(&self.path)?).lines();
        let entries = lines.map_while(Result::ok).filter_map(|line| Some(parse(&line)?.0));
        let mut entries = entries.filter(|entry| wanted.holds(entry));
        if !wanted.is_latest {
            return Ok(entries.take(wanted.limit).collect());
        }
        let mut last = VecDeque::new();
        entries.by_ref().for_each(|entry| {
            if last.len() == wanted.limit {
                last.pop_front();
            }
            last.push_back(entry);
        });
        Ok(last.into())
    }
}

impl AuditThread {
    /// Writes what waits, and ends.
    pub fn stop(self) {
        // Errors mean that it has ended.
        let _ = self.notes.send(Note::End);
        let _ = self.thread.join();
    }
}

/// Goes through a log: how many lines hold together, or the first line that does not.
///
/// # Errors
/// What the disk says.
pub fn verify(path: &Path) -> io::Result<Result<u64, u64>> {
    let mut before = (0, String::new());
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        let number = before.0 + 1;
        match parse(&line) {
            Some((entry, body, chain)) if entry.n == number && chain == link(&before.1, &body) => {
                before = (number, chain.to_owned());
            }
            _ => return Ok(Err(number)),
        }
    }
    Ok(Ok(before.0))
}

/// Writes down one thing beside a server that may be running, in the log of a recordings folder that is there.
///
/// # Errors
/// What the disk says.
pub fn note_beside(dir: &Path, action: Action, by: By, to: To) -> io::Result<()> {
    fs::metadata(dir)?;
    Log::open(&dir.join(FILE))?.append(action, by, to, now())
}

fn write(mut log: Log, inbox: &Receiver<Note>) {
    while let Ok(Note::Line(action, by, to, at)) = inbox.recv() {
        if let Err(error) = log.append(action, by, to, at) {
            metrics::counter!("audit_notes_lost_total").increment(1);
            tracing::error!(%error, "cannot write the audit log");
        }
    }
}

/// The file, and where its last line ends. Several programs may write into one log: each looks what the others did.
struct Log {
    path: PathBuf,
    file: File,
    len: u64,
    n: u64,
    chain: String,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut log = Self { path: path.to_owned(), file, len: 0, n: 0, chain: String::new() };
        log.locked(Self::look)?;
        Ok(log)
    }

    /// Reads what the last line says, and cuts off what stands behind it.
    fn look(&mut self) -> io::Result<()> {
        let last = last_line(&mut self.file)?;
        (self.n, self.chain) = match last.as_deref().map(parse) {
            Some(Some((entry, _, chain))) => (entry.n, chain.to_owned()),
            // A log that somebody broke goes on; the check tells where.
            Some(None) => (BufReader::new(File::open(&self.path)?).lines().count() as u64, String::new()),
            None => (0, String::new()),
        };
        self.len = self.file.metadata()?.len();
        Ok(())
    }

    fn append(&mut self, action: Action, by: By, to: To, at: String) -> io::Result<()> {
        let By { who, name, from } = by;
        let To { room, recording, what } = to;
        self.locked(|log| {
            if log.file.metadata()?.len() != log.len {
                log.look()?;
            }
            let n = log.n + 1;
            let entry = Entry { n, at, action, who, name, from, room, recording, what };
            let body = serde_json::to_string(&entry).map_err(io::Error::other)?;
            let next = link(&log.chain, &body);
            let line = format!("{},\"chain\":\"{next}\"}}\n", &body[..body.len() - 1]);
            log.file.write_all(line.as_bytes())?;
            log.file.sync_data()?;
            (log.n, log.chain, log.len) = (n, next, log.len + line.len() as u64);
            Ok(())
        })
    }

    fn locked<T>(&mut self, act: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        // Some network file systems have no locks; then nobody else should write.
        let is_locked = self.file.lock().is_ok();
        let result = act(self);
        if is_locked {
            self.file.unlock()?;
        }
        result
    }
}

fn now() -> String {
    let at = OffsetDateTime::now_utc();
    at.replace_millisecond(at.millisecond()).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

/// An entry, its text without the digest, and the digest.
fn parse(line: &str) -> Option<(Entry, String, &str)> {
    let at = line.rfind(CHAIN)?;
    let chain = line[at + CHAIN.len()..].strip_suffix("\"}")?;
    let body = format!("{}}}", &line[..at]);
    Some((serde_json::from_str(&body).ok()?, body, chain))
}

fn link(before: &str, body: &str) -> String {
    let digest = digest(&SHA256, format!("{before}\n{body}").as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The last whole line; what stands behind it is cut off.
fn last_line(file: &mut File) -> io::Result<Option<String>> {
    let len = file.metadata()?.len();
    let from = len.saturating_sub(LONGEST_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
        if from == 0 {
            file.set_len(0)?;
        }
        return Ok(None);
    };
    file.set_len(from + end as u64 + 1)?;
    let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok(Some(String::from_utf8_lossy(&tail[begin..end]).into_owned()))
}

/// The name of the log in the recordings folder.
pub const FILE: &str = "audit.jsonl";

/// Opens the log of a recordings folder, and makes both.
///
/// # Errors
/// What the disk says.
pub fn open_in(dir: &Path) -> io::Result<(Audit, AuditThread)> {
    fs::create_dir_all(dir)?;
    Audit::open(&dir.join(FILE))
}

const CHAIN: &str = ",\"chain\":\"";
const QUEUE: usize = 1024;
const RECENT: usize = 10_000;
const WHILE: Duration = Duration::from_secs(600);
const LONGEST_LINE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn to(recording: &str) -> To {
        To { recording: Some(recording.into()), ..To::default() }
    }

    fn ana() -> By {
        By { who: Some("ana".into()), name: Some("Ana \"A\"".into()), from: Some([192, 0, 2, 1].into()) }
    }

    #[test]
    fn log_goes_on_after_a_restart_and_holds_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let (audit, thread) = open_in(dir.path()).unwrap();
        audit.note(Action::Opened, ana(), to("1"));
        audit.note(Action::Deleted, By::server("retention"), to("1"));
        thread.stop();
        // A crash in the middle of the third line.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"n\":3,\"at\":\"20").unwrap();
        let (audit, thread) = Audit::open(&path).unwrap();
        audit.note(Action::Restored, By::at(None), to("1"));
        thread.stop();
        assert_eq!(verify(&path).unwrap(), Ok(3));
        let entries = audit.read(&Wanted { after: 1, limit: 10, ..Wanted::default() }).unwrap();
        assert_eq!(
            entries.iter().map(|entry| (entry.n, entry.action)).collect::<Vec<_>>(),
            [(2, Action::Deleted), (3, Action::Restored)]
        );
        assert_eq!(
            audit.read(&Wanted { after: 0, limit: 1, ..Wanted::default() }).unwrap()[0].name.as_deref(),
            Some("Ana \"A\"")
        );
    }

    #[test]
    fn several_programs_write_one_chain() {
        let dir = tempfile::tempdir().unwrap();
        let (audit, thread) = open_in(dir.path()).unwrap();
        for n in 0..20 {
            audit.note(Action::Watched, ana(), to(&n.to_string()));
            note_beside(dir.path(), Action::TokenMade, By::server("token"), to("1")).unwrap();
        }
        thread.stop();
        assert_eq!(verify(&dir.path().join(FILE)).unwrap(), Ok(40));
        let elsewhere = dir.path().join("nowhere");
        assert!(note_beside(&elsewhere, Action::TokenMade, By::server("token"), to("1")).is_err());
        assert!(!elsewhere.exists(), "no folder is made for a note");
    }

    #[test]
    fn changed_missing_and_swapped_lines_show() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let (audit, thread) = Audit::open(&path).unwrap();
        (0..5).for_each(|n| audit.note(Action::Downloaded, ana(), to(&n.to_string())));
        thread.stop();
        let lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        let check = |lines: &[String], expected| {
            fs::write(&path, lines.join("\n") + "\n").unwrap();
            assert_eq!(verify(&path).unwrap(), expected);
        };
        check(&lines, Ok(5));
        let mut changed = lines.clone();
        changed[2] = changed[2].replace("192.0.2.1", "192.0.2.2");
        check(&changed, Err(3));
        check(&[&lines[..1], &lines[2..]].concat(), Err(2));
        let mut swapped = lines.clone();
        swapped.swap(1, 2);
        check(&swapped, Err(2));
    }

    #[test]
    fn the_same_again_is_noted_once_in_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let (audit, thread) = open_in(dir.path()).unwrap();
        (0..10).for_each(|_| audit.note_once(Action::Watched, ana(), to("1")));
        audit.note_once(Action::Watched, ana(), to("2"));
        audit.note_once(Action::Watched, By::default(), to("1"));
        thread.stop();
        assert_eq!(audit.read(&Wanted { after: 0, limit: 10, ..Wanted::default() }).unwrap().len(), 3);
    }
}
