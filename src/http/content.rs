//! Answers with the bytes of something that has a length: a file, a clip, an export. Ranges, conditions and names of
//! downloads by the book.

use std::io;
use std::time::SystemTime;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use reelay_signaling::ErrorCode;

use super::error::Problem;
use super::range::{Validators, Verdict, Wanted, wanted};
use crate::recording::splice::Splice;

/// What is answered with.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) splice: Splice,
    /// With its quotes; nothing while it grows.
    pub(super) etag: Option<String>,
    pub(super) modified: Option<SystemTime>,
    pub(super) content_type: &'static str,
    pub(super) is_growing: bool,
    /// The request was let in by its URL, so it may come from any page.
    pub(super) is_signed: bool,
    /// The name under which a browser saves it.
    pub(super) download_name: Option<String>,
}

impl Content {
    /// The answer to a GET or HEAD; a 206 that begins at `start` has at most `cap(start)` bytes.
    pub(super) fn answer(
        self,
        method: &Method,
        headers: &HeaderMap,
        cap: Option<fn(u64) -> u64>,
    ) -> Result<Response, Problem> {
        let validators = Validators { etag: self.etag.clone(), modified: self.modified };
        let mut response = Response::new(Body::empty());
        self.describe(response.headers_mut());
        match validators.verdict(headers) {
            Verdict::Failed => {
                return Err(Problem::new(ErrorCode::PreconditionFailed, "the file is not the one that you have"));
            }
            Verdict::NotModified => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return Ok(response);
            }
            Verdict::Go => {}
        }
        let len = self.splice.len();
        let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        // A range has a meaning for GET only (RFC 9110 §14.2).
        let range = range.filter(|_| method == Method::GET && validators.range_holds(headers, SystemTime::now()));
        let (start, end) = match range.map_or(Wanted::Whole, |range| wanted(range, len)) {
            Wanted::Whole => (0, len),
            Wanted::Part(start, end) => {
                let end = cap.map_or(end, |cap| end.min(start.saturating_add(cap(start))));
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                // The length so far also while the file grows: with `*` ffmpeg takes the file for empty.
                let content_range = format!("bytes {start}-{}/{len}", end - 1);
                response.headers_mut().insert(header::CONTENT_RANGE, ascii(&content_range));
                (start, end)
            }
            Wanted::Unsatisfiable => {
                let detail = format!("the file has {len} bytes");
                let problem = Problem::new(ErrorCode::RangeNotSatisfiable, detail);
                return Err(problem.with_header(header::CONTENT_RANGE, &format!("bytes */{len}")));
            }
        };
        response.headers_mut().insert(header::CONTENT_LENGTH, (end - start).into());
        if method == Method::GET {
            *response.body_mut() = bytes_of(self.splice, start, end);
        }
        Ok(response)
    }

    fn describe(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let cache = if self.is_growing { "no-store" } else { "private, max-age=3600" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        if let Some(etag) = &self.etag {
            headers.insert(header::ETAG, ascii(etag));
        }
        if let Some(modified) = self.modified {
            headers.insert(header::LAST_MODIFIED, ascii(&httpdate::fmt_http_date(modified)));
        }
        if self.is_signed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        }
        if let Some(name) = &self.download_name {
            headers.insert(header::CONTENT_DISPOSITION, attachment(name));
        }
    }
}

/// A body that reads `start..end` as the client takes it.
fn bytes_of(splice: Splice, start: u64, end: u64) -> Body {
    Body::from_stream(stream::try_unfold(start, move |at| {
        let splice = splice.clone();
        async move {
            if at >= end {
                return Ok::<_, io::Error>(None);
            }
            let len = (end - at).min(PIECE_BYTES);
            let read = move || -> io::Result<Bytes> {
                let mut bytes = vec![0; len as usize];
                // The length was promised; a shorter body must break the connection.
                if splice.read_at(at, &mut bytes)? as u64 != len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(bytes.into())
            };
            let bytes = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
            Ok(Some((bytes, at + len)))
        }
    }))
}

// The plain name for old clients, the real one as RFC 5987 writes it.
fn attachment(name: &str) -> HeaderValue {
    let plain: String = name.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    ascii(&format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"))
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

const PIECE_BYTES: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_downloads_are_written_twice() {
        let header = attachment("会议 - Ada.webm");
        assert_eq!(
            header.to_str().unwrap(),
            "attachment; filename=\"__ - Ada.webm\"; filename*=UTF-8''%E4%BC%9A%E8%AE%AE%20-%20Ada.webm"
        );
    }
}
