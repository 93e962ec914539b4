//! What a refused request looks like: `application/problem+json` (RFC 9457) with a stable `code`.

use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reelay_signaling::{ErrorCode, IdError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Refusal;
use crate::media::MediaError;

/// A refusal on its way to an HTTP client.
#[derive(Debug, Clone)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code.
    pub code: ErrorCode,
    /// One sentence for people.
    pub detail: String,
    /// Further headers, such as `Retry-After`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The body of a [`Problem`].
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemBody {
    /// Always `about:blank`: the `code` is what a program reads.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub kind: &'static str,
    /// The status in words.
    #[schema(example = "Not Found")]
    pub title: &'static str,
    /// HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// Stable code.
    #[schema(example = "room-not-found")]
    pub code: &'static str,
    /// One sentence for people.
    pub detail: String,
}

impl Problem {
    /// A refusal with the status that belongs to its code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { status: status_of(code), code, detail: detail.into(), headers: Vec::new() }
    }

    /// A fault of ours: the log gets the cause, the client only that it happened.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::new(ErrorCode::Internal, "the server failed; its log has the details")
    }

    /// With one more header.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code.as_str(),
            detail: self.detail,
        };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"reelay\""));
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.message)
    }
}

impl From<MediaError> for Problem {
    fn from(error: MediaError) -> Self {
        Self::new(error.code, error.message)
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        let code = match error {
            IdError::RoomName => ErrorCode::BadRoomName,
            IdError::ParticipantId => ErrorCode::ParticipantNotFound,
            IdError::RecordingId => ErrorCode::RecordingNotFound,
            IdError::Source | IdError::TrackId => ErrorCode::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

/// axum's JSON body, refused as a [`Problem`].
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub struct Json<T>(pub T);

/// axum's query, refused as a [`Problem`].
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// axum's path parameters, refused as a [`Problem`].
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorCode::UnsupportedMediaType,
            _ => ErrorCode::BadRequest,
        };
        Self::new(code, rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ErrorCode::BadRequest, rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(ErrorCode::BadRequest, rejection.body_text())
    }
}

/// The HTTP status of a code.
pub fn status_of(code: ErrorCode) -> StatusCode {
    use ErrorCode as C;
    match code {
        C::BadRequest | C::UnknownMessage | C::JoinFirst | C::BadRoomName | C::BadName | C::BadSdp | C::DtlsRole => {
            StatusCode::BAD_REQUEST
        }
        C::Unauthorized | C::TokenExpired => StatusCode::UNAUTHORIZED,
        C::Forbidden | C::OriginRefused | C::WatchOff | C::RecordingOff => StatusCode::FORBIDDEN,
        C::RoomNotFound
        | C::NobodyPublishes
        | C::ParticipantNotFound
        | C::SessionNotFound
        | C::RecordingNotFound
        | C::FileNotFound
        | C::ResumeExpired
        | C::NotFound => StatusCode::NOT_FOUND,
        C::NameTaken | C::RecordingActive | C::RecordingKept | C::NotRecording => StatusCode::CONFLICT,
        C::TooFast => StatusCode::TOO_MANY_REQUESTS,
        C::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        C::TooSlow => StatusCode::REQUEST_TIMEOUT,
        C::NoCommonCodec => StatusCode::NOT_ACCEPTABLE,
        C::NoConnection | C::RoomFull | C::TooManyRooms | C::LimitReached | C::Overloaded | C::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        C::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        C::NoFfmpeg => StatusCode::NOT_IMPLEMENTED,
        C::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        C::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        C::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        C::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        C::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
