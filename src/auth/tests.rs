//! Tokens and signed links: what they open, and everything they must not.

use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn auth() -> Auth {
    Auth::new(KEY, Duration::from_secs(3600), Duration::from_secs(600))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(room: &str, grants: &[Grant]) -> Claims {
    let mut given = Grants::default();
    grants.iter().for_each(|grant| grant.add_to(&mut given));
    let room = serde_json::from_value(room.into()).unwrap();
    Claims {
        sub: Some("ana".into()),
        name: Some("Ana".into()),
        room,
        grants: given,
        consent: false,
        nbf: None,
        iat: now(),
        exp: now() + 60,
        aud: AUDIENCE.into(),
    }
}

fn caller(room: &str, grants: &[Grant]) -> Caller {
    let auth = auth();
    auth.caller(Some(&auth.token(&claims(room, grants)).unwrap())).unwrap()
}

#[test]
fn token_allows_what_it_says_in_its_room_and_nothing_else() {
    let ana = caller("team", &[Grant::Join, Grant::Replay]);
    let (team, other) = ("team".parse().unwrap(), "other".parse().unwrap());
    for grant in Grant::ALL {
        let expected = matches!(grant, Grant::Join | Grant::Replay);
        assert_eq!(ana.allows(grant, Some(&team)), expected, "{grant:?}");
        assert!(!ana.allows(grant, Some(&other)), "{grant:?}");
        assert!(!ana.allows(grant, None), "{grant:?}");
    }
    assert_eq!(ana.require(Grant::Record, Some(&team)).unwrap_err().code, ErrorCode::Forbidden);
    assert_eq!(ana.name.as_deref(), Some("Ana"));
}

#[test]
fn scope_none_denies_and_admin_allows_everywhere() {
    let room = "team".parse().unwrap();
    assert!(!caller("", &[Grant::Join]).allows(Grant::Join, Some(&room)));
    assert!(caller("*", &[Grant::Join]).allows(Grant::Join, Some(&room)));
    assert!(!caller("*", &[Grant::Join]).allows(Grant::Record, Some(&room)));
    let admin = caller("", &[Grant::Admin]);
    assert!(Grant::ALL.into_iter().all(|grant| admin.allows(grant, Some(&room)) && admin.allows(grant, None)));
}

fn check_refused(token: &str, code: ErrorCode) {
    assert_eq!(auth().caller(Some(token)).unwrap_err().code, code, "{token}");
}

#[test]
fn bad_tokens_are_refused() {
    let auth = auth();
    assert_eq!(auth.caller(None).unwrap_err().code, ErrorCode::Unauthorized);
    check_refused("", ErrorCode::Unauthorized);
    check_refused("a.b.c", ErrorCode::Unauthorized);
    check_refused(&"x".repeat(10_000), ErrorCode::Unauthorized);

    let other = Auth::new(&"z".repeat(32), Duration::from_secs(3600), Duration::ZERO);
    check_refused(&other.token(&claims("team", &[])).unwrap(), ErrorCode::Unauthorized);

    let expired = Claims { exp: now() - 60, ..claims("team", &[]) };
    check_refused(&auth.token(&expired).unwrap(), ErrorCode::TokenExpired);
    let early = Claims { nbf: Some(now() + 600), ..claims("team", &[]) };
    check_refused(&auth.token(&early).unwrap(), ErrorCode::Unauthorized);
    let foreign = Claims { aud: "elsewhere".into(), ..claims("team", &[]) };
    check_refused(&auth.token(&foreign).unwrap(), ErrorCode::Unauthorized);

    let long = Claims { exp: now() + 7200, ..claims("team", &[]) };
    assert!(auth.token(&long).unwrap_err().message.contains("auth.max_lifetime"));
    let generous = Auth::new(KEY, Duration::from_secs(86_400), Duration::ZERO);
    check_refused(&generous.token(&long).unwrap(), ErrorCode::Unauthorized);
}

#[test]
fn algorithm_of_the_token_is_not_believed() {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let body = encode(&serde_json::to_string(&claims("team", &[Grant::Admin])).unwrap());
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS512","typ":"JWT"}"#, r#"{"alg":"RS256"}"#] {
        check_refused(&format!("{}.{body}.", encode(header)), ErrorCode::Unauthorized);
        check_refused(&format!("{}.{body}.{}", encode(header), encode("signature")), ErrorCode::Unauthorized);
    }
}

#[test]
fn signed_url_opens_one_path_for_a_while() {
    let auth = auth();
    let made = UNIX_EPOCH + Duration::from_secs(1_000_000);
    let url = auth.sign_url("/api/recordings/1/files/a.webm", made);
    let (path, query) = url.split_once('?').unwrap();
    let value = |key| query.split('&').find_map(|pair: &str| pair.strip_prefix(key)).unwrap().to_owned();
    let query = SignedQuery { exp: value("exp=").parse().ok(), sig: Some(value("sig=")) };
    let check = |path: &str, query: &SignedQuery, after| {
        auth.check_url(path, query, made + Duration::from_secs(after)).map_err(|refusal| refusal.code)
    };
    assert_eq!(check(path, &query, 599), Ok(true));
    assert_eq!(check(path, &query, 661), Err(ErrorCode::TokenExpired));
    assert_eq!(check("/api/recordings/2/files/a.webm", &query, 0), Err(ErrorCode::Unauthorized));
    let longer = SignedQuery { exp: query.exp.map(|exp| exp + 1), ..query.clone() };
    assert_eq!(check(path, &longer, 0), Err(ErrorCode::Unauthorized));
    assert_eq!(check(path, &SignedQuery::default(), 0), Ok(false));
    assert_eq!(auth.sign_url("/x", made), auth.sign_url("/x", made + Duration::from_secs(1)));
}

#[test]
fn open_server_lets_everybody_do_everything() {
    let open = Auth::new("", Duration::from_secs(3600), Duration::from_secs(600));
    let caller = open.caller(None).unwrap();
    assert!(Grant::ALL.into_iter().all(|grant| caller.allows(grant, None)));
    assert!(open.token(&claims("team", &[])).is_err());
    assert_eq!(open.sign_url("/x", UNIX_EPOCH), "/x");
}
