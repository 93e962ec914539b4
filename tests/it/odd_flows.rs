//! Flows that are not as they should be, over real UDP: what the file, its manifest and `/metrics` make of them.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reelay_signaling::Kind;
use serde_json::Value;

use crate::clip;
use crate::harness::{Server, until};
use crate::publisher::Publisher;
use crate::recorder::real;

struct Call {
    server: Server,
    publisher: Publisher,
    session: String,
    beat: tokio::time::Interval,
    packets: u64,
}

impl Call {
    async fn begin() -> Self {
        let server = Server::start("[recording]\nlinger = \"0s\"\n", |_| {});
        let publisher = Publisher::new(1).await;
        let offer = publisher.offer().await;
        let sdp = ("Content-Type", "application/sdp");
        let created = server.send("POST", "/whip/team/cam", &[sdp], offer.as_bytes());
        assert_eq!(created.status, 201, "{created:?}");
        let session = created.header("location").to_owned();
        publisher.accept(&String::from_utf8(created.body).unwrap()).await;
        publisher.connected().await;
        let beat = tokio::time::interval(Duration::from_millis(20));
        Self { server, publisher, session, beat, packets: 0 }
    }

    /// Waits until all is with the system.
    async fn sent(&self) {
        let sent = async {
            while self.publisher.link.sent.load(Ordering::Relaxed) < self.packets {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), sent).await.expect("everything is sent");
    }

    /// Ends it. Gives the one file and its entry in the manifest.
    async fn end(self) -> (Server, PathBuf, Value) {
        self.sent().await;
        assert_eq!(self.server.send("DELETE", &self.session, &[], b"").status, 200);
        let id = until("the end of the recording", || {
            let list = self.server.get("/api/recordings").json();
            let entry = list["recordings"].as_array()?.first()?.clone();
            (entry["state"] == "complete").then(|| entry["id"].as_str().unwrap().to_owned())
        });
        let folder = self.server.recordings().join(id);
        let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["files"].as_array().unwrap().len(), 1, "{manifest}");
        let entry = manifest["files"][0].clone();
        (self.server, folder.join(entry["file"].as_str().unwrap()), entry)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_sender_are_counted_in_the_manifest_and_on_the_page_of_metrics() {
    let mut call = Call::begin().await;
    let (sound, pictures) = (clip::audio(), clip::video());
    // Two seconds, 25 pictures each; the second keyframe is that of the 41st.
    for (n, sound) in sound.iter().enumerate().take(100) {
        call.beat.tick().await;
        call.packets += 1;
        match n {
            // These have a number, and are never sent.
            30 | 31 | 50 => {
                call.publisher.lose_sound();
                call.packets -= 1;
            }
            // Three frames of any length, of which there is none.
            70 => call.publisher.packet(&[0x03], n as u32 * 960).await,
            _ => call.publisher.packet(&sound.data, n as u32 * 960).await,
        }
        if n % 2 == 0 {
            let key = &pictures[0];
            let picture: &[u8] = match n / 2 {
                0 | 40 => &key.data,
                // Its first partition is longer than the whole of it.
                25 => &[0xff; 3],
                _ => &[0x11, 0, 0, 1, 2, 3],
            };
            call.publisher.frame(picture, n / 2, n as u32 / 2 * 3_600).await;
            call.packets += picture.len().div_ceil(1_100) as u64;
        }
    }
    let (server, path, entry) = call.end().await;
    let counters = entry["counters"].as_object().unwrap();
    let counted = |name: &str| counters.get(name).and_then(Value::as_u64).unwrap_or(0);
    assert_eq!(["audio_lost", "audio_malformed", "video_malformed"].map(counted), [3, 1, 1], "{entry}");
    assert!(counted("audio_missing") >= 3 && counted("packets") >= 140, "{entry}");
    assert!(counted("video_skipped") >= 15 && counted("freezes") >= 1, "{entry}");
    assert_eq!(real(&path, Kind::Video).len() as u64, counted("video_frames"));
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    for (name, value) in counters.iter().filter(|(name, _)| !name.contains("_max_")) {
        let line = format!("recorded_{name}_total {value}");
        assert!(text.lines().any(|one| one == line), "{line} is not in {text}");
    }
}
