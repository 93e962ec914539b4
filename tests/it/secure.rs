//! TLS: `serve --lan` with its own authority, and own certificate files that change while the server runs.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use reelay::tls::Lan;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::harness::until;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn launch(dir: &Path, args: &[&str]) -> (Process, Value) {
    let child = Command::new(env!("CARGO_BIN_EXE_reelay"))
        .args(["serve", "--udp-port", "0", "--ready-file", "ready.json", "--log", "warn"])
        .args(args)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = Process(child);
    let ready = until("the start", || serde_json::from_str(&fs::read_to_string(dir.join("ready.json")).ok()?).ok());
    (child, ready)
}

/// GET over TLS, trusting this authority only; the status, the body, and the server's certificate.
fn get(port: u16, host: &str, ca: &[u8], path: &str) -> Option<(u16, String, Vec<u8>)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), host.to_owned().try_into().unwrap()).unwrap();
    let socket = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // The end of the stream may come without a goodbye; what was sent is there.
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let certificate = stream.conn.peer_certificates()?.first()?.to_vec();
    Some((status, text, certificate))
}

fn port_of(ready: &Value) -> u16 {
    ready["listen"].as_str().unwrap().parse::<SocketAddr>().unwrap().port()
}

#[test]
fn lan_server_is_trusted_by_who_trusts_its_authority() {
    let dir = tempfile::tempdir().unwrap();
    let (server, ready) = launch(dir.path(), &["--lan", "--listen", "0.0.0.0:0"]);
    let port = port_of(&ready);
    assert!(ready["url"].as_str().unwrap().starts_with("https://"));
    let lan = Lan::open(&dir.path().join("data/lan"), &[]).unwrap();
    for host in ["localhost", "127.0.0.1"] {
        let (status, text, _) = get(port, host, &lan.ca, "/api/config").unwrap();
        assert_eq!(status, 200);
        assert!(text.contains(&lan.fingerprint) && text.contains("\"auth\":\"token\""), "{text}");
        assert!(text.contains("\"consent\":\"required\""), "{text}");
    }
    assert_eq!(get(port, "localhost", &lan.ca, "/api/rooms").unwrap().0, 401);
    let (status, page, _) = get(port, "localhost", &lan.ca, "/lan").unwrap();
    assert!(status == 200 && page.contains(&lan.fingerprint));
    assert_eq!(get(port, "localhost", &lan.ca, "/lan/ca.crt").unwrap().0, 200);
    let other = Lan::open(&dir.path().join("other"), &[]).unwrap();
    assert!(get(port, "localhost", &other.ca, "/").is_none(), "another authority vouches for nothing here");
    assert!(get(port, "reelay.example", &lan.ca, "/").is_none(), "nor ours for other names");
    drop(server);
    fs::remove_file(dir.path().join("ready.json")).unwrap();
    let (_server, ready) = launch(dir.path(), &["--lan", "--listen", "0.0.0.0:0"]);
    assert!(get(port_of(&ready), "localhost", &lan.ca, "/").is_some(), "the authority stays the same");
}

#[test]
fn certificate_files_are_read_again_on_a_hangup() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let (one, two) = (Lan::open(&first, &[]).unwrap(), Lan::open(&second, &[]).unwrap());
    let install = |from: &Path| {
        for (name, to) in [("server.pem", "cert.pem"), ("server.key", "key.pem")] {
            fs::copy(from.join(name), dir.path().join(to)).unwrap();
        }
    };
    install(&first);
    fs::write(dir.path().join("reelay.toml"), "[http]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n").unwrap();
    let (server, ready) = launch(dir.path(), &["--listen", "127.0.0.1:0"]);
    let port = port_of(&ready);
    let hangup = || {
        let sent = Command::new("kill").args(["-s", "HUP", &server.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    let (_, _, before) = get(port, "localhost", &one.ca, "/healthz").unwrap();
    fs::write(dir.path().join("key.pem"), "nonsense").unwrap();
    hangup();
    assert_eq!(get(port, "localhost", &one.ca, "/healthz").unwrap().2, before, "bad files change nothing");
    install(&second);
    hangup();
    until("the new certificate", || get(port, "localhost", &two.ca, "/healthz"));
    assert!(get(port, "localhost", &one.ca, "/healthz").is_none());
}
