//! `/api/recordings/{id}/thumb/{file}?t=`: a picture of a moment, by copying a keyframe. A VP8 keyframe behind 20 bytes
//! of RIFF is a WebP, and one of AV1 behind the boxes of a still picture is an AVIF, so no decoder is needed anywhere.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use reelay_signaling::ErrorCode;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::avif::avif;
use super::error::{Problem, ProblemBody, Query};
use super::files::read_at;
use super::range::{Validators, Verdict};
use super::segment::{Door, MediaRequest, Segment, on_disk};
use crate::recording::clusters::Clusters;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(thumb))
}

#[derive(Debug, Deserialize)]
struct ThumbQuery {
    t: Option<u64>,
}

/// A picture of a file
///
/// The last keyframe at or before `t`, as WebP or, of AV1, as AVIF; without `t` one from near the beginning.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/thumb/{file}",
    tag = "recordings",
    params(
        ("id" = String, Path, description = "Recording"),
        ("file" = String, Path, description = "`<participant>-<source>-<n>.webm`"),
        ("t" = Option<u64>, Query, description = "Milliseconds in the file"),
        ("exp" = Option<u64>, Query, description = "End of a signed URL"),
        ("sig" = Option<String>, Query, description = "Signature of a signed URL"),
    ),
    responses(
        (status = 200, description = "The picture", content((Vec<u8> = "image/webp"), (Vec<u8> = "image/avif"))),
        (status = 304, description = "The client has it"),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`, `file-not-found`, or `not-found` when there is no picture", content_type = "application/problem+json", body = ProblemBody),
        (status = 415, description = "`unsupported-media-type`: the picture is neither VP8 nor AV1", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn thumb(
    State(app): State<App>,
    request: MediaRequest,
    Query(query): Query<ThumbQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let segment = Segment::admit(&app, &request, Door::Thumb).await?;
    let t_ms = query.t.unwrap_or(POSTER_MS);
    let (segment, open, row) = on_disk(move || {
        let open = segment.open()?;
        let clusters = Clusters::read(&open.file, open.len, &segment.index_path()).map_err(Problem::internal)?;
        let row = clusters.picture(t_ms).copied();
        Ok((segment, open, row))
    })
    .await?;
    let none = || Problem::new(ErrorCode::NotFound, "the file has no picture");
    let row = row.filter(|row| row.key_len <= MAX_KEYFRAME).ok_or_else(none)?;
    // Bytes of a file never move, so place and length name the picture also while the file grows.
    let etag = format!("\"{}-{}-{:x}-{:x}\"", segment.id, segment.name.as_str(), row.key_offset, row.key_len);
    let validators = Validators { etag: Some(etag.clone()), modified: None };
    let mut response = Response::new(Body::empty());
    if validators.verdict(&headers) == Verdict::NotModified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        let frame =
            read_at(Arc::new(open.file), row.key_offset, row.key_len.into()).await.map_err(Problem::internal)?;
        let picture = webp(&frame).map(|picture| ("image/webp", picture));
        let picture = picture.or_else(|| Some(("image/avif", avif(&frame)?))).ok_or_else(|| {
            let detail = "pictures are made of VP8 and AV1 only, this file has another codec";
            Problem::new(ErrorCode::UnsupportedMediaType, detail)
        });
        let (kind, picture) = picture?;
        *response.body_mut() = Body::from(picture);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    let cache = if open.is_growing { "private, max-age=10" } else { "private, max-age=86400" };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::ETAG, HeaderValue::from_str(&etag).map_err(Problem::internal)?);
    segment.allow_origin(headers);
    Ok(response)
}

/// A VP8 keyframe as a WebP file; `None` when it is none (RFC 6386 §9.1).
fn webp(frame: &[u8]) -> Option<Vec<u8>> {
    let is_keyframe = frame.len() > 10 && frame[0] & 1 == 0 && frame[3..6] == [0x9D, 0x01, 0x2A];
    if !is_keyframe {
        return None;
    }
    let len = u32::try_from(frame.len()).ok()?;
    let padded = len + (len & 1);
    let mut file = Vec::with_capacity(20 + padded as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(padded + 12).to_le_bytes());
    file.extend_from_slice(b"WEBPVP8 ");
    file.extend_from_slice(&len.to_le_bytes());
    file.extend_from_slice(frame);
    file.resize(20 + padded as usize, 0);
    Some(file)
}

const MAX_KEYFRAME: u32 = 8 * 1024 * 1024;
// The first picture is often one of a camera that still opens its eye.
const POSTER_MS: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webp_is_a_header_a_frame_and_its_padding() {
        let frame = [0x10, 0, 0, 0x9D, 1, 0x2A, 0, 0, 0, 0, 7];
        let file = webp(&frame).unwrap();
        assert_eq!(&file[..20], b"RIFF\x18\0\0\0WEBPVP8 \x0B\0\0\0");
        assert_eq!((&file[20..31], file[31], file.len()), (&frame[..], 0, 32));
        assert_eq!(webp(&[0x11, 0, 0, 0x9D, 1, 0x2A, 0, 0, 0, 0, 7]), None);
        assert_eq!(webp(&[]), None);
    }
}
