//! One file of a recording behind the media doors: who may have it, where it lies, and whether it still grows.
//! The path is built from parsed ids, and the name must stand in the manifest.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use reelay_signaling::{ErrorCode, RecordingId, RoomName};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::app::App;
use super::caller::{address_of, bearer};
use super::error::Problem;
use crate::audit::{Action, By, To};
use crate::auth::{Caller, Grant, SignedQuery};
use crate::recording::catalog::Found;
use crate::recording::library::LibraryError;
use crate::recording::parse_file_name;
use crate::recording::shelf::Place;
use crate::webm::{self, index};

/// `<participant>-<source>-<n>.webm`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileName(String);

impl FileName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileName {
    type Err = Problem;

    fn from_str(raw: &str) -> Result<Self, Problem> {
        parse_file_name(raw).map(|_| Self(raw.to_owned())).ok_or_else(no_file)
    }
}

/// What a media door knows of a file after it let somebody through.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: RecordingId,
    pub(super) room: String,
    pub(super) started_at: String,
    pub(super) name: FileName,
    pub(super) info: FileInfo,
    folder: PathBuf,
    /// The request was let in by its URL, so it may come from any page.
    pub(super) is_signed: bool,
    /// When the right to it ends.
    pub(super) expires: Option<SystemTime>,
}

/// A recording that somebody may have something of.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) id: RecordingId,
    pub(super) found: Found,
    pub(super) is_signed: bool,
    expires: Option<SystemTime>,
    by: By,
}

impl Admitted {
    /// Lets a request through by the signature over `signed`, or by a token that allows `grant`.
    pub(super) async fn by(
        app: &App,
        id: RecordingId,
        signed: &str,
        query: &SignedQuery,
        asker: &Asker,
        grant: Grant,
    ) -> Result<Self, Problem> {
        let is_signed = match app.auth.check_url(signed, query, SystemTime::now()) {
            Ok(is_signed) => is_signed && !app.auth.is_open(),
            Err(refusal) => return Err(refusal.into()),
        };
        // Asked before anything is looked up: a stranger learns nothing about what exists.
        let caller = if is_signed { None } else { Some(asker.caller(app)?) };
        let found = app.library.find(&id).await.map_err(problem)?;
        let signed_until = query.exp.filter(|_| is_signed);
        let mut expires = signed_until.and_then(|exp| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(exp)));
        let mut by = By::at(asker.address);
        if let Some(caller) = caller {
            by = By::from(&caller);
            expires = caller.expires;
            caller.require(grant, found.room.parse::<RoomName>().ok().as_ref())?;
        }
        Ok(Self { id, found, is_signed, expires, by })
    }

    /// Writes down who was let through, once in a while.
    pub(super) fn note(&self, app: &App, action: Action, what: &str) {
        let recording = Some(self.id.to_string());
        let to = To { room: Some(self.found.room.clone()), recording, what: Some(what.to_owned()) };
        app.audit.note_once(action, self.by.clone(), to);
    }

    fn files(&self) -> Result<Vec<FileInfo>, Problem> {
        let manifest: ManifestFields = serde_json::from_str(&self.found.manifest).map_err(Problem::internal)?;
        Ok(manifest.files)
    }

    /// All files of the recording whose names are of our own making.
    pub(super) fn segments(&self, app: &App) -> Result<Vec<Segment>, Problem> {
        let named = |info: FileInfo| info.file.parse::<FileName>().ok().map(|name| (name, info));
        Ok(self.files()?.into_iter().filter_map(named).map(|(name, info)| self.segment(app, name, info)).collect())
    }

    fn segment(&self, app: &App, name: FileName, info: FileInfo) -> Segment {
        let started_at = serde_json::from_str::<ManifestFields>(&self.found.manifest).map(|fields| fields.started_at);
        Segment {
            id: self.id.clone(),
            room: self.found.room.clone(),
            started_at: started_at.unwrap_or_default(),
            name,
            info,
            folder: app.library.shelf().folder(&self.id, Place::Shown),
            is_signed: self.is_signed,
            expires: self.expires,
        }
    }
}

/// A file in the manifest, as far as the doors need it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct FileInfo {
    pub(super) file: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) source: String,
    #[serde(default)]
    pub(super) offset_ms: u64,
    #[serde(default)]
    video: Option<IgnoredAny>,
    #[serde(default)]
    audio: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct ManifestFields {
    started_at: String,
    #[serde(default)]
    files: Vec<FileInfo>,
}

/// A file on disk, open for reading.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) file: File,
    pub(super) len: u64,
    /// Somebody still writes into it.
    pub(super) is_growing: bool,
    pub(super) modified: Option<SystemTime>,
}

impl Segment {
    /// Lets a request to a media door through, or not: by its signed URL, or by a token that allows `grant`.
    pub(super) async fn admit(app: &App, request: &MediaRequest, door: Door) -> Result<Self, Problem> {
        let id: RecordingId = request.id.parse()?;
        let name: FileName = request.file.parse()?;
        let signed = format!("{}{}", door.path(&id, name.as_str()), request.shared);
        let admitted = Admitted::by(app, id, &signed, &request.query, &request.asker, door.grant()).await?;
        match door {
            Door::Clip if !request.shared.is_empty() => admitted.note(app, Action::Watched, name.as_str()),
            Door::Play | Door::Live => admitted.note(app, Action::Watched, name.as_str()),
            Door::Download | Door::Clip => admitted.note(app, Action::Downloaded, name.as_str()),
            Door::Index | Door::Thumb => {}
        }
        let info = admitted.files()?.into_iter().find(|file| file.file == name.as_str()).ok_or_else(no_file)?;
        Ok(admitted.segment(app, name, info))
    }

    /// Opens the file: the closed one, or the one that grows.
    pub(super) fn open(&self) -> Result<OpenSegment, Problem> {
        // The writer may rename it between the two looks; the third one finds it then.
        for is_growing in [false, true, false] {
            let path = if is_growing { self.growing_path() } else { self.path() };
            match File::open(&path).and_then(|file| Ok((file.metadata()?, file))) {
                Ok((metadata, file)) => {
                    return Ok(OpenSegment {
                        file,
                        len: metadata.len(),
                        is_growing,
                        modified: metadata.modified().ok().filter(|_| !is_growing),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Problem::internal(error)),
            }
        }
        Err(Problem::new(ErrorCode::FileNotFound, "the file is in the manifest, but no longer on the disk"))
    }

    /// Where the closed file lies.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(self.name.as_str())
    }

    /// Where it lies while it grows.
    pub(super) fn growing_path(&self) -> PathBuf {
        webm::part_path(&self.path())
    }

    /// Where its index lies.
    pub(super) fn index_path(&self) -> PathBuf {
        index::path_of(&self.path())
    }

    /// MIME type with codecs, as Media Source Extensions want it, from the CodecIDs of the file itself.
    pub(super) fn mime(&self, codec_ids: &[String]) -> String {
        let codecs: Vec<&str> = codec_ids.iter().filter_map(|id| codec_string(id)).collect();
        let is_audio = !codec_ids.is_empty() && codec_ids.iter().all(|id| id.starts_with("A_"));
        let kind = if is_audio { "audio/webm" } else { "video/webm" };
        if codecs.is_empty() { kind.into() } else { format!("{kind}; codecs=\"{}\"", codecs.join(",")) }
    }

    /// MIME type without codecs.
    pub(super) fn content_type(&self) -> &'static str {
        if self.info.video.is_none() && self.info.audio.is_some() { "audio/webm" } else { "video/webm" }
    }

    /// The ETag of a closed file, with its quotes.
    pub(super) fn etag(&self, open: &OpenSegment) -> Option<String> {
        let modified = open.modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(format!("\"{}-{}-{:x}-{:x}\"", self.id, self.name.as_str(), open.len, modified.as_millis()))
    }

    /// Lets pages of other origins read an answer to a signed URL.
    pub(super) fn allow_origin(&self, headers: &mut HeaderMap) {
        if self.is_signed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        }
    }
}

/// Which media door a request came to; each has its own signature, so that a URL opens one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Play,
    Download,
    Index,
    Live,
    Thumb,
    Clip,
}

impl Door {
    /// The path of a file behind this door, without query.
    pub(super) fn url(self, id: &RecordingId, file: &str) -> String {
        let door = match self {
            Self::Play | Self::Download => "files",
            Self::Index => "index",
            Self::Live => "live",
            Self::Thumb => "thumb",
            Self::Clip => "clip",
        };
        format!("/api/recordings/{id}/{door}/{file}")
    }

    /// What its signature covers: a download is not opened by the URL of the player.
    fn path(self, id: &RecordingId, file: &str) -> String {
        let url = self.url(id, file);
        if self == Self::Download { format!("{url} download") } else { url }
    }

    /// The whole URL to hand out, signed where keys are on.
    pub(super) fn signed_url(self, app: &App, id: &RecordingId, file: &str, now: SystemTime) -> String {
        let url = self.url(id, file);
        let signed = app.auth.sign_url(&self.path(id, file), now);
        let query: Vec<&str> = [(self == Self::Download).then_some("download"), signed.split_once('?').map(|(_, q)| q)]
            .into_iter()
            .flatten()
            .collect();
        if query.is_empty() { url } else { format!("{url}?{}", query.join("&")) }
    }

    fn grant(self) -> Grant {
        if matches!(self, Self::Download | Self::Clip) { Grant::Download } else { Grant::Replay }
    }
}

/// A request to a media door, taken apart.
#[derive(Debug)]
pub(super) struct MediaRequest {
    id: String,
    file: String,
    query: SignedQuery,
    /// What the signature covers besides the path: see `Shared`.
    shared: String,
    asker: Asker,
}

/// With `shared` in its query an address is signed for one span only.
#[derive(Debug, Deserialize)]
pub(super) struct Shared {
    shared: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

impl Shared {
    /// What such a signature covers besides the path; empty for other addresses.
    pub(super) fn covered(&self) -> String {
        match (&self.shared, &self.from, &self.to) {
            (None, ..) => String::new(),
            (_, from, to) => covered_span(from.as_deref().unwrap_or(""), to.as_deref().unwrap_or("")),
        }
    }
}

/// What the signature of a shared span covers besides the path.
pub(super) fn covered_span(from: impl std::fmt::Display, to: impl std::fmt::Display) -> String {
    format!(" shared {from}-{to}")
}

/// Who asks: a token, if they have one, and where they are.
#[derive(Debug)]
pub(super) struct Asker {
    token: Option<String>,
    address: Option<IpAddr>,
}

impl Asker {
    pub(super) fn of(app: &App, parts: &Parts) -> Self {
        Self { token: bearer(parts).map(str::to_owned), address: address_of(app, &parts.extensions, &parts.headers) }
    }
}

impl Asker {
    /// What they may do.
    pub(super) fn caller(&self, app: &App) -> Result<Caller, Problem> {
        Ok(app.auth.caller(self.token.as_deref())?.at(self.address))
    }
}

impl FromRequestParts<App> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(app, parts))
    }
}

impl FromRequestParts<App> for MediaRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let super::error::Path((id, file)) = super::error::Path::from_request_parts(parts, app).await?;
        let super::error::Query(query) = super::error::Query::from_request_parts(parts, app).await?;
        let super::error::Query(shared) = super::error::Query::<Shared>::from_request_parts(parts, app).await?;
        Ok(Self { id, file, query, shared: shared.covered(), asker: Asker::of(app, parts) })
    }
}

/// True when the query has this key, with any value or none.
pub(super) fn has_flag(uri: &Uri, flag: &str) -> bool {
    let pairs = uri.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().any(|(key, value)| key == flag && !matches!(value, "0" | "false"))
}

/// What a refusal of the library is to an HTTP client.
pub(super) fn problem(error: LibraryError) -> Problem {
    match error {
        LibraryError::NotFound => Problem::new(ErrorCode::RecordingNotFound, "there is no such recording"),
        LibraryError::Active(state) => {
            let detail = format!("the recording is '{state}'; stop it first");
            Problem::new(ErrorCode::RecordingActive, detail)
        }
        LibraryError::Kept => {
            Problem::new(ErrorCode::RecordingKept, "the recording is marked as one to keep; take the mark away first")
        }
        error => Problem::internal(error),
    }
}

/// Runs what blocks on the disk beside the others.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?
}

fn no_file() -> Problem {
    Problem::new(ErrorCode::FileNotFound, "the recording has no such file")
}

// As in RFC 6381; browsers take the short names of VP8, VP9 and Opus, but want a profile for AV1.
fn codec_string(codec_id: &str) -> Option<&'static str> {
    Some(match codec_id {
        "V_VP8" => "vp8",
        "V_VP9" => "vp9",
        "V_AV1" => "av01.0.08M.08",
        "A_OPUS" => "opus",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_making_are_files() {
        let good = ["pabcdefghij-camera-1.webm", "p234567abcd-screen3-12.webm"];
        let bad = [
            "",
            "manifest.json",
            "../../etc/passwd",
            "pabcdefghij-camera-1.webm.part",
            "pabcdefghij-camera-1.idx",
            "pabcdefghij-camera-.webm",
            "pabcdefghij-camera-1-2.webm",
            "pabcdefghij-screen9-1.webm",
            "pABCDEFGHIJ-camera-1.webm",
            "pabcdefghij-camera-1\0.webm",
            "pabcdefghij-camera-01.webm",
            "x/pabcdefghij-camera-1.webm",
        ];
        assert!(good.iter().all(|name| name.parse::<FileName>().is_ok()));
        for name in bad {
            assert!(name.parse::<FileName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn flags_are_read_with_and_without_a_value() {
        let check = |uri: &str, expected| assert_eq!(has_flag(&uri.parse().unwrap(), "part"), expected, "{uri}");
        check("/x?part=1", true);
        check("/x?exp=1&part", true);
        check("/x?part=0", false);
        check("/x?party=1", false);
        check("/x", false);
    }
}
