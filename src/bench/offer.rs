//! The SDP of the load: offers as small as they may be, and what is needed of an answer.

use std::fmt::Write;

use anyhow::Context;

/// ICE name and password of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub ufrag: String,
    pub pwd: String,
}

impl Credentials {
    /// Random ones.
    pub fn random() -> Self {
        let text = |len| (0..len).map(|_| char::from(b'a' + rand::random::<u8>() % 26)).collect();
        Self { ufrag: text(8), pwd: text(24) }
    }
}

/// What a seat does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Sends audio and video with these SSRCs.
    Send { audio: u32, video: u32 },
    /// Receives both.
    Receive,
}

/// An offer of one audio and one video m-line, for the DTLS client side.
pub(super) fn offer(direction: Direction, local: &Credentials, fingerprint: &str) -> String {
    let mut sdp = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n");
    for (mid, kind, payload_type, map) in [(0, "audio", OPUS, "opus/48000/2"), (1, "video", VP8, "VP8/90000")] {
        let Credentials { ufrag, pwd } = local;
        // Writing to a String cannot fail.
        let _ = write!(
            sdp,
            "m={kind} 9 UDP/TLS/RTP/SAVPF {payload_type}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=rtcp-mux\r\n\
             a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=fingerprint:{fingerprint}\r\na=setup:active\r\n\
             a=rtpmap:{payload_type} {map}\r\n"
        );
        if kind == "video" {
            let _ = write!(sdp, "a=rtcp-fb:{VP8} nack\r\na=rtcp-fb:{VP8} nack pli\r\n");
        }
        let _ = match direction {
            Direction::Receive => write!(sdp, "a=recvonly\r\n"),
            Direction::Send { audio, video } => {
                let ssrc = if kind == "audio" { audio } else { video };
                write!(sdp, "a=sendonly\r\na=msid:bench {kind}\r\na=ssrc:{ssrc} cname:bench\r\n")
            }
        };
    }
    sdp
}

/// The server's credentials in an answer.
pub(super) fn remote_credentials(answer: &str) -> anyhow::Result<Credentials> {
    let find = |prefix: &str| answer.lines().find_map(|line| line.trim().strip_prefix(prefix)).map(str::to_owned);
    let ufrag = find("a=ice-ufrag:").context("the answer has no a=ice-ufrag")?;
    let pwd = find("a=ice-pwd:").context("the answer has no a=ice-pwd")?;
    Ok(Credentials { ufrag, pwd })
}

/// Payload type of Opus.
pub(super) const OPUS: u8 = 111;
/// Payload type of VP8.
pub(super) const VP8: u8 = 96;
