//! The server under test: a process of this very program, with a folder of its own that goes with it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hyper::Uri;

/// A temporary folder that goes with this value.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// An empty one.
    pub fn new() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("reelay-bench-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server process; ends with this value.
pub(super) struct Process {
    child: Child,
    dir: Arc<Scratch>,
    base: String,
    /// Where its media socket is, on loopback.
    pub media: SocketAddr,
    /// From its start until it answered.
    pub started_in: Duration,
}

/// What a process used so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// CPU of all its threads.
    pub cpu: Duration,
    /// Memory that it holds.
    pub resident_bytes: u64,
}

impl Process {
    /// Starts a server with these settings (`section.key`, value) in a folder of its own and waits until it is ready.
    pub fn start(settings: &[(&str, String)]) -> anyhow::Result<Self> {
        Self::start_in(Arc::new(Scratch::new()?), settings)
    }

    /// The same in this folder; its recordings are in `recordings`.
    pub fn start_in(dir: Arc<Scratch>, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let ready_file = dir.path().join("ready.json");
        // That of an earlier server says nothing about this one.
        let _ = fs::remove_file(&ready_file);
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--udp-port", "0", "--log", "warn", "--recordings"]);
        command.arg(dir.path().join("recordings")).arg("--ready-file").arg(&ready_file);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        for (key, value) in settings {
            command.env(format!("REELAY_{}", key.to_uppercase().replace('.', "__")), value);
        }
        let began = Instant::now();
        let mut child = command.spawn().context("starting a server")?;
        let deadline = Instant::now() + PATIENCE;
        let ready: serde_json::Value = loop {
            if let Some(ready) = fs::read_to_string(&ready_file).ok().and_then(|text| serde_json::from_str(&text).ok())
            {
                break ready;
            }
            if let Some(status) = child.try_wait()? {
                bail!("the server ended at its start, {status}");
            }
            if Instant::now() > deadline {
                // It is ours, and it does not answer.
                let _ = child.kill();
                bail!("the server did not get ready in {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let started_in = began.elapsed();
        let port = ready["udp_ports"][0].as_u64().and_then(|port| u16::try_from(port).ok()).context("no UDP port")?;
        let listen = ready["listen"].as_str().context("no address")?;
        let base = format!("http://{listen}");
        Ok(Self { child, dir, base, media: SocketAddr::from(([127, 0, 0, 1], port)), started_in })
    }

    /// A URL of the server.
    pub fn url(&self, path: &str) -> anyhow::Result<Uri> {
        Ok(format!("{}{path}", self.base).parse()?)
    }

    /// What it used so far, all threads together, to the nanosecond where the system tells (Linux).
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let base = PathBuf::from(format!("/proc/{}", self.child.id()));
        let resident_bytes = resident(&base)?;
        let mut nanoseconds = 0;
        for task in fs::read_dir(base.join("task")).context("this bench needs /proc (Linux)")?.flatten() {
            nanoseconds += scheduled_ns(&task.path()).unwrap_or(0);
        }
        Ok(Usage { cpu: Duration::from_nanos(nanoseconds), resident_bytes })
    }

    /// Where it keeps recordings.
    pub fn recordings(&self) -> PathBuf {
        self.dir.path().join("recordings")
    }

    /// Asks it to stop, and waits until it has closed everything.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            anyhow::ensure!(Instant::now() < deadline, "the server does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already after a stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU of the calling thread.
pub(super) fn thread_cpu() -> Duration {
    Duration::from_nanos(scheduled_ns(Path::new("/proc/thread-self")).unwrap_or(0))
}

/// Memory that this process holds.
pub(super) fn resident_bytes() -> anyhow::Result<u64> {
    resident(Path::new("/proc/self"))
}

fn resident(process: &Path) -> anyhow::Result<u64> {
    let status = fs::read_to_string(process.join("status")).context("this bench needs /proc (Linux)")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = resident.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

// The first number of `schedstat` is the time on a CPU.
fn scheduled_ns(task: &Path) -> Option<u64> {
    fs::read_to_string(task.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
}

const PATIENCE: Duration = Duration::from_secs(30);
