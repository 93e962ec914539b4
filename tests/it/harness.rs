//! A real server on free ports in a temporary folder, and an HTTP client that sends exactly what it is told.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server process with its own folder; ends with this value.
pub struct Server {
    pub dir: tempfile::TempDir,
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts a server; `settings` become its `reelay.toml`. What `prepare` puts into its folder of recordings is not
    /// repaired, as it came after the start, but listed.
    pub fn start(settings: &str, prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let recordings = dir.path().join("recordings");
        fs::create_dir(&recordings).unwrap();
        fs::write(dir.path().join("reelay.toml"), settings).unwrap();
        let (child, ready) = launch(dir.path(), &[]);
        let count = || fs::read_dir(&recordings).unwrap().count();
        let before = count();
        prepare(&recordings);
        if count() > before {
            let mut command = Command::new(env!("CARGO_BIN_EXE_reelay"));
            let output = command.args(["reindex", "--recordings", "recordings"]).current_dir(dir.path()).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let address = ready["listen"].as_str().unwrap().parse().unwrap();
        Self { dir, address, child }
    }

    /// A server whose folder of recordings is a disk of its own in memory, that only it sees. `None` where that cannot be.
    pub fn start_on_own_disk(settings: &str, size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("recordings")).unwrap();
        fs::write(dir.path().join("reelay.toml"), settings).unwrap();
        let can = Command::new("unshare").args(["-Urm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).output();
        if !can.is_ok_and(|output| output.status.success()) {
            println!("no mount namespace here: not tested");
            return None;
        }
        Some(Self::start_among_disks(dir, "-Urm", &format!("mount -t tmpfs -o size={size} tmpfs recordings")))
    }

    /// The same with an ext4 in a file, which can be frozen. That takes root and a free loop device: `None` without.
    pub fn start_on_own_ext4(settings: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("recordings")).unwrap();
        fs::write(dir.path().join("reelay.toml"), settings).unwrap();
        let mount = "mount -o loop disk recordings";
        let trial = format!(
            "truncate -s 300M disk && mkfs.ext4 -q disk && \
             unshare -m sh -c '{mount} && fsfreeze -f recordings && fsfreeze -u recordings'"
        );
        let can = Command::new("sh").args(["-c", &trial]).current_dir(dir.path()).output();
        if !can.is_ok_and(|output| output.status.success()) {
            println!("no disk of our own here that can be frozen: not tested");
            return None;
        }
        Some(Self::start_among_disks(dir, "-m", mount))
    }

    fn start_among_disks(dir: tempfile::TempDir, namespaces: &str, mount: &str) -> Self {
        let script = format!("{mount} && exec \"$@\"");
        let (child, ready) = launch(dir.path(), &["unshare", namespaces, "sh", "-c", &script, "sh"]);
        let address = ready["listen"].as_str().unwrap().parse().unwrap();
        Self { dir, address, child }
    }

    /// The folder of the recordings, as the server sees it.
    pub fn own_disk(&self) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.pid())).join(self.recordings().strip_prefix("/").unwrap())
    }

    /// Runs a program where the server's disks are, in its folder of settings.
    pub fn among_its_disks(&self, command: &str) {
        let status = self.start_among_its_disks(command).wait();
        assert!(status.unwrap().success(), "{command}");
    }

    /// The same without waiting for its end.
    pub fn start_among_its_disks(&self, command: &str) -> Child {
        let command = format!("cd '{}' && {command}", self.dir.path().to_str().unwrap());
        let users = |process: &str| fs::read_link(format!("/proc/{process}/ns/user")).unwrap();
        let target = self.pid().to_string();
        let mut enter = Command::new("nsenter");
        enter.args(["-t", &target, "-m"]);
        if users(&target) != users("self") {
            enter.args(["-U", "--preserve-credentials"]);
        }
        enter.args(["sh", "-c", &command]).spawn().unwrap()
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the server; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        until("the end of the server", || self.child.try_wait().unwrap()).code()
    }

    /// Ends the server as a power cut does.
    pub fn cut(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again in the same folder, at another port.
    pub fn start_again(&mut self) {
        let _ = fs::remove_file(self.dir.path().join("ready.json"));
        let (child, ready) = launch(self.dir.path(), &[]);
        self.child = child;
        self.address = ready["listen"].as_str().unwrap().parse().unwrap();
    }

    /// The folder of the recordings.
    pub fn recordings(&self) -> PathBuf {
        self.dir.path().join("recordings")
    }

    /// `http://…` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends one request and reads the whole answer.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.open(method, path, headers).finish()
    }

    /// The same with a body.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let length = body.len().to_string();
        let headers = [headers, &[("Content-Length", length.as_str())]].concat();
        self.exchange(method, path, &headers, body).finish()
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[])
    }

    /// Sends one request and reads the head of the answer.
    pub fn open(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Exchange {
        self.exchange(method, path, headers, &[])
    }

    fn exchange(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Exchange {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        // The server may answer, and close, before it has read a body that it does not want.
        let _ = stream.write_all(body);
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Exchange { status, headers, reader }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(dir: &Path, before: &[&str]) -> (Child, serde_json::Value) {
    let ready_file = dir.join("ready.json");
    let words = [before, &[env!("CARGO_BIN_EXE_reelay")]].concat();
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .args([
            "--listen",
            "127.0.0.1:0",
            "--udp-port",
            "0",
            "--recordings",
            "recordings",
            "--ready-file",
            "ready.json",
        ])
        .args(["--log", "warn"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = fs::read_to_string(&ready_file)
            && let Ok(ready) = serde_json::from_str(&text)
        {
            return (child, ready);
        }
        assert!(child.try_wait().unwrap().is_none(), "the server ended at its start");
        assert!(Instant::now() < deadline, "the server did not get ready");
        std::thread::yield_now();
    }
}

/// An answer whose body is still to be read.
pub struct Exchange {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
}

/// A whole answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Exchange {
    /// The next chunk of a chunked body; `None` at its end.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let len = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let mut bytes = vec![0; len + 2];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes.truncate(len);
        (len > 0).then_some(bytes)
    }

    /// Reads to the end.
    pub fn finish(mut self) -> Answer {
        let mut body = Vec::new();
        if self.headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked") {
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
        } else {
            self.reader.read_to_end(&mut body).unwrap();
        }
        Answer { status: self.status, headers: self.headers, body }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        write!(f, "{} {:?} {text}", self.status, self.headers)
    }
}

impl Answer {
    /// A header; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Calls `look` until it gives something, and fails after a while.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look)
}

/// The same for what takes its time on a loaded machine.
pub fn until_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
