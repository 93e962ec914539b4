//! Links that carry a token to a page.

use super::{Claims, Scope};

/// The page that the token opens, with the token in the fragment, which no server and no log ever sees.
pub fn link(base: &str, claims: &Claims, token: &str) -> String {
    let base = base.trim_end_matches('/');
    let grants = &claims.grants;
    let path = match &claims.room {
        Scope::Room(room) if grants.join => format!("/r/{}", percent(room.as_str())),
        Scope::Room(room) if grants.watch => format!("/watch/{}", percent(room.as_str())),
        _ if grants.replay && !grants.join => "/recordings".to_owned(),
        _ => "/".to_owned(),
    };
    format!("{base}{path}#token={token}")
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use reelay_signaling::Grants;

    use super::*;
    use crate::auth::{AUDIENCE, Grant};

    #[test]
    fn link_opens_the_page_that_the_grants_allow() {
        let check = |room: &str, grants: &[Grant], expected: &str| {
            let mut given = Grants::default();
            grants.iter().for_each(|grant| grant.add_to(&mut given));
            let room = serde_json::from_value(room.into()).unwrap();
            let claims = Claims {
                sub: None,
                name: None,
                room,
                grants: given,
                consent: false,
                nbf: None,
                iat: 0,
                exp: 0,
                aud: AUDIENCE.into(),
            };
            assert_eq!(link("https://x/", &claims, "t"), format!("https://x{expected}#token=t"));
        };
        check("team", &[Grant::Join, Grant::Watch], "/r/team");
        check("会", &[Grant::Watch], "/watch/%E4%BC%9A");
        check("team", &[Grant::Replay], "/recordings");
        check("*", &[Grant::Join, Grant::Replay], "/");
        check("", &[Grant::Admin], "/");
    }
}
