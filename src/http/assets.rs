//! The pages: one app, built into the program, or served from a folder while it is being worked on.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use reelay_signaling::ErrorCode;
use rust_embed::{Embed, EmbeddedFile};

use super::app::App;
use super::error::Problem;

#[derive(Embed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Built;

/// The addresses of the pages, and everything that they load.
pub(super) fn routes() -> Router<App> {
    PAGES.iter().fold(Router::new(), |router, path| router.route(path, get(page)))
}

async fn page(State(app): State<App>) -> Response {
    match load(&app, "index.html").await {
        Some(file) => file.response(&HeaderMap::new(), Keep::Ask),
        None => (StatusCode::SERVICE_UNAVAILABLE, Html(NOT_BUILT)).into_response(),
    }
}

/// Files of the pages; everything else is not there.
pub(super) async fn file(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    // Built files carry their digest in the name, so they never change.
    let keep = if path.starts_with("assets/") { Keep::Forever } else { Keep::Ask };
    match load(&app, path).await {
        // Pages of others load the elements of `embed.js`, and there is nothing secret in a script.
        Some(file) if path.ends_with(".js") => {
            let mut answer = file.response(&headers, keep);
            answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            let policy = HeaderName::from_static("cross-origin-resource-policy");
            answer.headers_mut().insert(policy, HeaderValue::from_static("cross-origin"));
            answer
        }
        Some(file) => file.response(&headers, keep),
        // Somebody who typed an address wants a way back, not JSON.
        None if wants_a_page(&headers) => {
            let mut answer = page(State(app)).await;
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        }
        None => Problem::new(ErrorCode::NotFound, "there is nothing at this address").into_response(),
    }
}

fn wants_a_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

#[derive(Clone, Copy)]
enum Keep {
    Forever,
    Ask,
}

struct File {
    bytes: Cow<'static, [u8]>,
    kind: String,
    etag: String,
}

impl File {
    fn response(self, request: &HeaderMap, keep: Keep) -> Response {
        let keep = match keep {
            Keep::Forever => "public, max-age=31536000, immutable",
            Keep::Ask => "no-cache",
        };
        let headers = [(header::CACHE_CONTROL, keep.to_owned()), (header::ETAG, self.etag.clone())];
        let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == self.etag)) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, [(header::CONTENT_TYPE, self.kind)], Body::from(self.bytes)).into_response()
    }
}

async fn load(app: &App, path: &str) -> Option<File> {
    let bytes: Cow<'static, [u8]> = match &app.config.http.web_dir {
        Some(folder) => tokio::fs::read(inside(folder, path)?).await.ok()?.into(),
        None => {
            let EmbeddedFile { data, .. } = Built::get(path)?;
            data
        }
    };
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let etag: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let mut kind = mime_guess::from_path(path).first_or_octet_stream().to_string();
    if kind.starts_with("text/") {
        kind.push_str("; charset=utf-8");
    }
    Some(File { bytes, kind, etag: format!("\"{etag}\"") })
}

/// A path below `folder`, or nothing: only plain names count as steps.
fn inside(folder: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path);
    let is_plain = !path.is_empty() && relative.components().all(|part| matches!(part, Component::Normal(_)));
    is_plain.then(|| folder.join(relative))
}

const PAGES: &[&str] = &[
    "/",
    "/r/{room}",
    "/watch/{room}",
    "/recordings",
    "/recordings/{id}",
    "/clip/{id}",
    "/storage",
    "/test",
    "/index.html",
];
const NOT_BUILT: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Reelay</title>\
    <body style=\"font: 16px/1.5 system-ui; max-width: 40em; margin: 4em auto; padding: 0 1em\">\
    <h1>The pages are not built yet</h1><p>The server runs, but this program was built without its pages. \
    Run <code>make web</code> in the source folder, then build the program again, or start it with \
    <code>--web-dir web/dist</code>.</p><p>The API works: <a href=\"/api/openapi.json\">its description</a>.</p>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_folder() {
        let folder = Path::new("/pages");
        assert_eq!(inside(folder, "assets/a.js"), Some("/pages/assets/a.js".into()));
        for bad in ["", "..", "../a", "a/../../b", "/etc/passwd", "./a/./../.."] {
            assert_eq!(inside(folder, bad), None, "{bad}");
        }
    }
}
