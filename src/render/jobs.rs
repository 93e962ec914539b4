//! Jobs: one runs, some wait, results are kept for a day. `ffmpeg` runs with the lowest priority, so that calls come first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reelay_signaling::RecordingId;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{OnceCell, Semaphore, watch};
use tracing::{info, warn};
use zip::DateTime;

use super::Kind;
use super::graph::{self, Run, Tools};
use super::otio::{self, Clip};
use super::story::Story;
use crate::recording::export::zip;
use crate::recording::free_bytes;
use crate::recording::splice::Splice;

/// All jobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Jobs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Looked for at the first need, so that the start of the server does not wait for it.
    tools: OnceCell<Option<Tools>>,
    turn: Semaphore,
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    job: Job,
    began: Instant,
    ended: Option<Instant>,
    stop: watch::Sender<bool>,
    result: Option<Finished>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Which job.
    pub id: String,
    /// Of which recording.
    pub recording: RecordingId,
    /// What becomes of it.
    pub state: JobState,
    /// From 0 to 1.
    pub progress: f64,
    /// How long it still takes, if that can be said.
    pub left_ms: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Another one runs.
    Waiting,
    /// It runs.
    Running,
    /// Its result can be fetched.
    Done,
    /// It failed.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
}

/// The result of a job.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its bytes.
    pub content: Splice,
    /// `mp4` or `zip`.
    pub extension: &'static str,
}

/// Why a job is not begun.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// There is no `ffmpeg`.
    #[error("ffmpeg is not installed on the server; install it and start the server again")]
    NoFfmpeg,
    /// Too many wait.
    #[error("{MAX_JOBS} jobs wait already")]
    Full,
    /// No file is left.
    #[error("the recording has no file")]
    Nothing,
    /// The disk's.
    #[error("cannot write")]
    Disk(#[from] io::Error),
}

impl Jobs {
    /// Jobs whose files lie in `dir`; what an earlier run left there is removed.
    pub fn open(dir: &Path) -> Self {
        let _ = fs::remove_dir_all(dir);
        let shared =
            Shared { dir: dir.into(), tools: OnceCell::new(), turn: Semaphore::new(1), entries: Mutex::default() };
        Self(Arc::new(shared))
    }

    /// True where `ffmpeg` is installed.
    pub async fn are_possible(&self) -> bool {
        self.tools().await.is_some()
    }

    async fn tools(&self) -> Option<Tools> {
        *self.0.tools.get_or_init(probe).await
    }

    /// Begins a job, or lets it wait.
    ///
    /// # Errors
    /// See [`JobError`].
    pub async fn start(&self, recording: RecordingId, kind: Kind, title: &str, story: Story) -> Result<Job, JobError> {
        let tools = self.tools().await.ok_or(JobError::NoFfmpeg)?;
        if story.takes.is_empty() {
            return Err(JobError::Nothing);
        }
        let id = uuid::Uuid::new_v4().to_string();
        let (stop, stopped) = watch::channel(false);
        let job =
            Job { id: id.clone(), recording, state: JobState::Waiting, progress: 0.0, left_ms: None, error: None };
        {
            let mut entries = self.entries();
            expire(&mut entries, &self.0.dir);
            if entries.iter().filter(|entry| entry.ended.is_none()).count() >= MAX_JOBS {
                return Err(JobError::Full);
            }
            entries.push(Entry { job: job.clone(), began: Instant::now(), ended: None, stop, result: None });
        }
        let folder = self.0.dir.join(&id);
        fs::create_dir_all(&folder)?;
        let (jobs, title) = (self.clone(), title.to_owned());
        tokio::spawn(async move {
            let made = jobs.make(&id, kind, &title, &story, tools, &folder, stopped).await;
            jobs.end(&id, made);
        });
        Ok(job)
    }

    /// A job.
    pub fn find(&self, id: &str) -> Option<Job> {
        self.entries().iter().find(|entry| entry.job.id == id).map(|entry| entry.job.clone())
    }

    /// Its result, when it is done.
    pub fn result(&self, id: &str) -> Option<Finished> {
        self.entries().iter().find(|entry| entry.job.id == id).and_then(|entry| entry.result.clone())
    }

    /// Stops a job, or throws its result away. False if there is none.
    pub fn cancel(&self, id: &str) -> bool {
        let mut entries = self.entries();
        let Some(at) = entries.iter().position(|entry| entry.job.id == id) else { return false };
        if entries[at].ended.is_some() {
            let _ = fs::remove_dir_all(self.0.dir.join(id));
            entries.remove(at);
        } else {
            entries[at].stop.send_replace(true);
        }
        true
    }

    /// Ends and throws away everything that was made of a recording: it is deleted, or somebody in it is.
    pub fn forget(&self, recording: &RecordingId) {
        let ids: Vec<String> = self
            .entries()
            .iter()
            .filter(|entry| entry.job.recording == *recording)
            .map(|entry| entry.job.id.clone())
            .collect();
        for id in ids {
            self.cancel(&id);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries().iter_mut().find(|entry| entry.job.id == id) {
            change(entry);
        }
    }

    fn end(&self, id: &str, made: Result<Finished, Failure>) {
        if made.is_err() {
            let _ = fs::remove_dir_all(self.0.dir.join(id));
        }
        self.change(id, |entry| {
            entry.ended = Some(Instant::now());
            entry.job.left_ms = None;
            match made {
                Ok(result) => {
                    info!(job = id, seconds = entry.began.elapsed().as_secs(), "export is made");
                    (entry.job.state, entry.job.progress, entry.result) = (JobState::Done, 1.0, Some(result));
                }
                Err(Failure::Stopped) => entry.job.state = JobState::Cancelled,
                Err(Failure::Other(why)) => {
                    warn!(job = id, %why, "export failed");
                    (entry.job.state, entry.job.error) = (JobState::Failed, Some(why));
                }
            }
        });
    }

    #[allow(clippy::too_many_arguments, reason = "one job's facts, passed once")]
    async fn make(
        &self,
        id: &str,
        kind: Kind,
        title: &str,
        story: &Story,
        tools: Tools,
        folder: &Path,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<Finished, Failure> {
        let _turn = tokio::select! {
            turn = self.0.turn.acquire() => turn.map_err(|_| Failure::Stopped)?,
            () = until_stopped(&mut stopped) => return Err(Failure::Stopped),
        };
        let names = |lane: usize| folder.join(format!("name-{lane}.txt"));
        for (n, lane) in story.lanes.iter().enumerate() {
            fs::write(names(n), &lane.name)?;
        }
        let (runs, clips) = match kind {
            Kind::Movie(layout) => {
                (vec![graph::movie(story, layout, tools, names, &folder.join("movie.mp4"))], Vec::new())
            }
            Kind::Editor => editor(story, tools, folder),
        };
        // A recording that runs needs the room more.
        let needed = story.length_ms.saturating_mul(BYTES_A_MS).saturating_mul(runs.len() as u64) + RESERVE;
        if free_bytes(folder)? < needed {
            return Err(Failure::Other("the disk has too little room for it".into()));
        }
        let began = Instant::now();
        for (n, run) in runs.iter().enumerate() {
            let share = 1.0 / runs.len() as f64;
            let tell = |part: f64| {
                let progress = share * (n as f64 + part);
                let left = began.elapsed().as_secs_f64() / progress.max(0.001) * (1.0 - progress);
                self.change(id, |entry| {
                    (entry.job.state, entry.job.progress) = (JobState::Running, progress);
                    entry.job.left_ms = (progress > 0.02).then_some((left * 1000.0) as u64);
                });
            };
            tell(0.0);
            execute(run, story.length_ms, &mut stopped, tell).await?;
        }
        if let Kind::Movie(_) = kind {
            return Ok(Finished { content: whole(&runs[0].output)?, extension: "mp4" });
        }
        let folder_name = "editor";
        let mut entries = Vec::new();
        let timeline =
            serde_json::to_vec_pretty(&otio::timeline(title, &clips, story.length_ms)).map_err(io::Error::from)?;
        let mut text = Splice::default();
        text.push_bytes(timeline);
        entries.push((format!("{folder_name}/timeline.otio"), text));
        for (run, clip) in runs.iter().zip(&clips) {
            entries.push((format!("{folder_name}/{}", clip.file), whole(&run.output)?));
        }
        let archive = tokio::task::spawn_blocking(move || zip(&entries, DateTime::default())).await;
        let content = archive.map_err(|error| Failure::Other(error.to_string()))??;
        Ok(Finished { content, extension: "zip" })
    }
}

/// Sound and picture of each lane, and the mixed sound.
fn editor(story: &Story, tools: Tools, folder: &Path) -> (Vec<Run>, Vec<Clip>) {
    let (mut runs, mut clips) = (Vec::new(), Vec::new());
    let mut add = |run: Run, name: String, has_picture: bool| {
        let extension = if has_picture { "mp4" } else { "wav" };
        clips.push(Clip { file: format!("{name}.{extension}"), name, has_picture });
        runs.push(run);
    };
    for (n, lane) in story.lanes.iter().enumerate() {
        let takes = || story.takes.iter().filter(|take| take.lane == n);
        let source = if lane.source == "camera" { String::new() } else { format!(" {}", lane.source) };
        let name = format!("{} {}{source}", n + 1, harmless(&lane.name));
        if takes().any(|take| take.has_picture) {
            add(graph::lane_movie(story, n, tools, &folder.join(format!("{n}.mp4"))), name.clone(), true);
        }
        if takes().any(|take| take.has_sound) {
            add(graph::wav(story, Some(n), &folder.join(format!("{n}.wav"))), name, false);
        }
    }
    add(graph::wav(story, None, &folder.join("mix.wav")), "mix".into(), false);
    (runs, clips)
}

enum Failure {
    Stopped,
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Runs `ffmpeg` to its end; `tell` hears how far it is, from 0 to 1.
async fn execute(
    run: &Run,
    length_ms: u64,
    stopped: &mut watch::Receiver<bool>,
    tell: impl Fn(f64),
) -> Result<(), Failure> {
    let mut child = spawn(run)?;
    let (Some(out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else { return Err(Failure::Stopped) };
    let said = tokio::spawn(async move {
        let mut text = Vec::new();
        let _ = (&mut err).take(MAX_SAID).read_to_end(&mut text).await;
        // The rest is read too, so that it is not held up by what nobody reads.
        let _ = tokio::io::copy(&mut err, &mut tokio::io::sink()).await;
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut lines = BufReader::new(out).lines();
    let deadline = tokio::time::sleep(PATIENCE + Duration::from_millis(length_ms.saturating_mul(SLOWEST)));
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    if let Some(us) = line.strip_prefix("out_time_us=").and_then(|us| us.parse::<u64>().ok()) {
                        tell((us as f64 / 1000.0 / length_ms.max(1) as f64).min(1.0));
                    }
                }
                Ok(None) | Err(_) => break,
            },
            () = until_stopped(stopped) => {
                let _ = child.kill().await;
                return Err(Failure::Stopped);
            }
            () = &mut deadline => {
                let _ = child.kill().await;
                return Err(Failure::Other("ffmpeg does not come to an end".into()));
            }
        }
    }
    let status = child.wait().await?;
    let said = said.await.unwrap_or_default();
    if status.success() {
        return Ok(());
    }
    Err(Failure::Other(format!("ffmpeg: {}", said.lines().last().unwrap_or("ended without a word"))))
}

async fn until_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await.map(|_| ());
}

fn spawn(run: &Run) -> io::Result<Child> {
    let begin = |mut command: Command| {
        command
            .args(&run.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    };
    let mut nice = Command::new("nice");
    nice.args(["-n", "19", "ffmpeg"]);
    match begin(nice) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => begin(Command::new("ffmpeg")),
        child => child,
    }
}

async fn probe() -> Option<Tools> {
    let ask = async |what: &str| {
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", what]).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PROBE, command.output()).await.ok()?.ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (encoders, filters) = (ask("-encoders").await?, ask("-filters").await?);
    Some(Tools { x264: encoders.contains(" libx264 "), names: filters.contains(" drawtext ") })
}

fn whole(path: &Path) -> io::Result<Splice> {
    let file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    Ok(Splice::of_file(file, len))
}

fn expire(entries: &mut Vec<Entry>, dir: &Path) {
    let done = entries.iter().filter(|entry| entry.ended.is_some()).count();
    let mut surplus = done.saturating_sub(MAX_KEPT);
    entries.retain(|entry| {
        let Some(ended) = entry.ended else { return true };
        let is_old = ended.elapsed() > KEPT || surplus > 0;
        surplus = surplus.saturating_sub(1);
        if is_old {
            let _ = fs::remove_dir_all(dir.join(&entry.job.id));
        }
        !is_old
    });
}

// A name that no archive and no file system takes for something else.
fn harmless(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_alphanumeric() || " -_".contains(c) { c } else { '_' }).take(40).collect();
    name.trim().to_owned()
}

const MAX_JOBS: usize = 8;
const MAX_KEPT: usize = 20;
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// 4 Mbit/s, more than a movie of 720p takes.
const BYTES_A_MS: u64 = 500;
const RESERVE: u64 = 1 << 30;
const PROBE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);
/// Times the length of the recording.
const SLOWEST: u64 = 20;
const MAX_SAID: u64 = 16 * 1024;
