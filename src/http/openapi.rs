//! `/api/openapi.json`: the description of the API, made from the handlers themselves.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Info, License, OpenApi, SecurityRequirement};

use super::app::App;

/// Serves the description of what `api` collected.
pub(super) fn route(mut description: OpenApi) -> Router<App> {
    complete(&mut description);
    let text = description.to_pretty_json().unwrap_or_default();
    let answer = move || {
        let text = text.clone();
        async move { ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response() }
    };
    Router::new().route("/api/openapi.json", get(answer))
}

fn complete(description: &mut OpenApi) {
    let mut info = Info::new("Reelay", env!("CARGO_PKG_VERSION"));
    info.description = Some("A WebRTC media server with a recorder inside.".into());
    info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    description.info = info;
    let components = description.components.get_or_insert_with(Components::new);
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    // On an open server no token is needed.
    let none = SecurityRequirement::default();
    description.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new()), none]);
}
