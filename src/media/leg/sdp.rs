//! Splits SDP into its sections. Attributes may stand in a section or before the first one; both are looked at.

use reelay_signaling::{ErrorCode, Kind};

use crate::media::MediaError;

/// A description in its lines.
#[derive(Debug)]
pub struct Description<'a> {
    session: Vec<&'a str>,
    /// In the order of the m-lines.
    pub sections: Vec<Section<'a>>,
}

/// One m-line and what belongs to it.
#[derive(Debug)]
pub struct Section<'a> {
    /// `audio`, `video`, …
    pub media: &'a str,
    /// 0 refuses the section.
    pub port: u32,
    /// `UDP/TLS/RTP/SAVPF`.
    pub protocol: &'a str,
    /// Payload types.
    pub formats: Vec<&'a str>,
    lines: Vec<&'a str>,
}

/// Who takes the DTLS client's part (RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The writer is the client.
    Active,
    /// The writer is the server.
    Passive,
    /// The other side may choose.
    Either,
}

/// A certificate's hash as SDP has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    hash: String,
    value: String,
}

impl<'a> Description<'a> {
    /// Reads a description.
    ///
    /// # Errors
    /// `too-large` beyond [`MAX_BYTES`] or [`MAX_SECTIONS`], `bad-sdp` for what is no SDP.
    pub fn read(text: &'a str) -> Result<Self, MediaError> {
        if text.len() > MAX_BYTES {
            return Err(fail(ErrorCode::TooLarge, format!("an SDP has at most {MAX_BYTES} bytes")));
        }
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        if lines.next() != Some("v=0") {
            return Err(bad("an SDP begins with 'v=0'"));
        }
        let mut description = Self { session: Vec::new(), sections: Vec::new() };
        for line in lines {
            if let Some(media) = line.strip_prefix("m=") {
                if description.sections.len() == MAX_SECTIONS {
                    return Err(fail(ErrorCode::TooLarge, format!("an SDP has at most {MAX_SECTIONS} m-lines")));
                }
                description.sections.push(Section::begin(media)?);
            } else {
                let lines = description.sections.last_mut().map_or(&mut description.session, |last| &mut last.lines);
                lines.push(line);
            }
        }
        Ok(description)
    }

    /// The value of an attribute of a section, or of the whole description.
    pub fn find(&self, section: &Section<'a>, name: &str) -> Option<&'a str> {
        section.find(name).or_else(|| find(&self.session, name))
    }

    /// Whether the writer wants to receive in this section.
    pub fn receives(&self, section: &Section<'a>) -> bool {
        let direction = direction(&section.lines).or_else(|| direction(&self.session));
        section.port != 0 && matches!(direction, None | Some("recvonly" | "sendrecv"))
    }

    /// The DTLS role that the writer takes; the first section that is not refused speaks for all (BUNDLE).
    pub fn setup(&self) -> Option<Setup> {
        match self.transport("setup")? {
            "active" => Some(Setup::Active),
            "passive" => Some(Setup::Passive),
            "actpass" => Some(Setup::Either),
            _ => None,
        }
    }

    /// The writer's certificate.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let (hash, value) = self.transport("fingerprint")?.split_once(' ')?;
        Some(Fingerprint { hash: hash.to_ascii_lowercase(), value: value.trim().to_ascii_uppercase() })
    }

    /// The writer's ICE name.
    pub fn ufrag(&self) -> Option<&'a str> {
        self.transport("ice-ufrag")
    }

    fn transport(&self, name: &str) -> Option<&'a str> {
        let used = self.sections.iter().find(|section| section.port != 0).or(self.sections.first());
        used.map_or_else(|| find(&self.session, name), |section| self.find(section, name))
    }
}

impl<'a> Section<'a> {
    fn begin(media: &'a str) -> Result<Self, MediaError> {
        let mut words = media.split_ascii_whitespace();
        let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
            return Err(bad("an m-line is 'm=<media> <port> <protocol> <formats>'"));
        };
        let port = port.split('/').next().and_then(|port| port.parse().ok());
        let port = port.ok_or_else(|| bad("the port of an m-line is not a number"))?;
        Ok(Self { media, port, protocol, formats: words.take(MAX_FORMATS).collect(), lines: Vec::new() })
    }

    /// What it carries, if that is a kind we know.
    pub fn kind(&self) -> Option<Kind> {
        match self.media {
            "audio" => Some(Kind::Audio),
            "video" => Some(Kind::Video),
            _ => None,
        }
    }

    /// The value of an attribute of this section.
    pub fn find(&self, name: &str) -> Option<&'a str> {
        find(&self.lines, name)
    }

    /// Whether a valueless attribute is there.
    pub fn has(&self, name: &str) -> bool {
        self.lines.iter().any(|line| line.strip_prefix("a=") == Some(name))
    }

    /// The rest of `a=<name>:<payload type> <rest>`.
    pub fn about(&self, name: &str, payload_type: &str) -> Option<&'a str> {
        self.lines.iter().find_map(|line| {
            let rest = line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')?;
            let (about, rest) = rest.split_once(' ')?;
            (about == payload_type).then_some(rest.trim())
        })
    }
}

impl Fingerprint {
    /// Whether it is the hash of this certificate (DER). Hashes older than SHA-256 never are.
    pub fn matches(&self, certificate: &[u8]) -> bool {
        let algorithm = match self.hash.as_str() {
            "sha-256" => &ring::digest::SHA256,
            "sha-384" => &ring::digest::SHA384,
            "sha-512" => &ring::digest::SHA512,
            _ => return false,
        };
        super::shared::hex(ring::digest::digest(algorithm, certificate).as_ref()) == self.value
    }
}

/// `bad-sdp` with a sentence.
pub fn bad(message: impl Into<String>) -> MediaError {
    fail(ErrorCode::BadSdp, message)
}

/// An error with a sentence.
pub fn fail(code: ErrorCode, message: impl Into<String>) -> MediaError {
    MediaError { code, message: message.into() }
}

/// Letters that may stand in an SDP token, and so be given back to a client.
pub fn is_token(text: &str, max: usize) -> bool {
    let is_allowed = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~/".contains(&c);
    (1..=max).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn find<'a>(lines: &[&'a str], name: &str) -> Option<&'a str> {
    let value = |line: &&'a str| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':');
    lines.iter().find_map(value).map(str::trim)
}

fn direction<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let attributes = lines.iter().filter_map(|line| line.strip_prefix("a="));
    attributes.into_iter().find(|a| matches!(*a, "sendrecv" | "sendonly" | "recvonly" | "inactive"))
}

/// The longest SDP that is read.
pub const MAX_BYTES: usize = 128 * 1024;
/// The most m-lines that are read or written.
pub const MAX_SECTIONS: usize = 64;
const MAX_FORMATS: usize = 64;
