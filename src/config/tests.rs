//! The settings as people meet them: files, variables and flags that are right, wrong or misspelt.

use std::fs;

use super::*;

fn load(toml: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("reelay.toml");
    fs::write(&file, toml).unwrap();
    let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let flags: Vec<_> = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Config::load(Some(&file), env, &flags)
}

#[test]
fn example_file_equals_the_defaults_and_names_every_key() {
    let example = include_str!("../../reelay.example.toml");
    assert_eq!(load(example, &[], &[]).unwrap(), Config::default());
    let defaults: figment::value::Dict = Figment::from(Serialized::defaults(Config::default())).extract().unwrap();
    for (section, keys) in defaults {
        assert!(example.contains(&format!("\n[{section}]\n")), "section [{section}] is missing");
        for key in keys.as_dict().unwrap().keys() {
            assert!(example.contains(&format!("\n{key} = ")), "{section}.{key} is missing");
        }
    }
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let toml = "[http]\nlisten = \"127.0.0.1:1\"\n[recording]\nlinger = \"1s\"\n[limits]\nrooms = 7\n";
    let env = [("REELAY_HTTP__LISTEN", "127.0.0.1:2"), ("REELAY_RECORDING__LINGER", "2s"), ("REELAY_TOKEN", "x")];
    let config = load(toml, &env, &[("http.listen", "127.0.0.1:3")]).unwrap();
    assert_eq!(config.http.listen.port(), 3);
    assert_eq!(config.recording.linger, Span::from_secs(2));
    assert_eq!(config.limits.rooms, 7);
    assert_eq!(config.media.udp_port, 7342);
}

#[test]
fn environment_takes_the_type_of_the_setting() {
    let key = "1".repeat(40);
    let env = [
        ("REELAY_AUTH__KEY", key.as_str()),
        ("REELAY_MEDIA__UDP_PORT", "0"),
        ("REELAY_MEDIA__ADDRESSES", "10.0.0.1, ::1"),
        ("REELAY_MEDIA__EXTERNAL_IP", "203.0.113.9"),
        ("REELAY_HTTP__ORIGINS", "https://a.example"),
    ];
    let config = load("", &env, &[]).unwrap();
    assert_eq!(config.auth.key, key);
    assert_eq!(config.media.udp_port, 0);
    assert_eq!(config.media.addresses.len(), 2);
    assert_eq!(config.media.external_ip, Some("203.0.113.9".parse().unwrap()));
    assert_eq!(config.http.origins, ["https://a.example"]);
}

fn check_refused(toml: &str, env: &[(&str, &str)], parts: &[&str]) {
    let error = load(toml, env, &[]).unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    check_refused("[http]\nlisten_on = \"x\"\n", &[], &["http.listen_on", "did you mean 'http.listen'"]);
    check_refused("[http]\nudp_port = 1\n", &[], &["http.udp_port", "did you mean 'media.udp_port'"]);
    check_refused("[htpp]\nlisten = \"x\"\n", &[], &["did you mean 'http.listen'"]);
    check_refused("linger = \"1s\"\n", &[], &["did you mean 'recording.linger'"]);
    check_refused("", &[("REELAY_HTTP__LISTN", "x")], &["REELAY_HTTP__LISTN", "did you mean 'http.listen'"]);
}

#[test]
fn bad_values_name_their_key() {
    check_refused("[recording]\nlinger = 60\n", &[], &["recording.linger"]);
    check_refused("[recording]\nlinger = \"60\"\n", &[], &["recording.linger", "60s"]);
    check_refused("[recording]\nstart = \"maybe\"\n", &[], &["recording.start", "auto"]);
    check_refused("[http]\nlisten = \"here\"\n", &[], &["http.listen"]);
    check_refused("", &[("REELAY_MEDIA__UDP_PORT", "99999")], &["media.udp_port"]);
    check_refused("[auth]\nkey = \"short\"\n", &[], &["32 characters"]);
    check_refused("[webhooks]\nurls = [\"x\"]\n", &[], &["webhooks.urls"]);
    check_refused("[webhooks]\nurls = [\"http://x\"]\n", &[], &["webhooks.secret", "32"]);
    check_refused("[media]\nice_servers = [\"http://x\"]\n", &[], &["media.ice_servers", "turn:"]);
    check_refused("[media]\nice_servers = [\"turn:x\"]\nturn_username = \"u\"\n", &[], &["media.turn_secret"]);
}

#[test]
fn who_vanishes_is_shown_away_within_ten_seconds_and_gone_within_forty() {
    let limits = Limits::default();
    let noticed = limits.ping_interval.0 * 3;
    assert!(noticed <= Duration::from_secs(10));
    assert!(noticed + limits.resume_timeout.0 <= Duration::from_secs(40));
}

#[test]
fn consent_is_required_as_soon_as_others_can_reach_the_server() {
    let consent = |listen: &str| load("", &[], &[("http.listen", listen)]).unwrap().consent_required();
    assert!(!consent("127.0.0.1:0"));
    assert!(!consent("[::1]:0"));
    assert!(consent("0.0.0.0:0"));
    assert!(consent("192.0.2.1:80"));
    let behind_proxy = load("[http]\npublic_url = \"https://meet.example\"\n", &[], &[]).unwrap();
    assert!(behind_proxy.consent_required());
    check_refused("[http]\npublic_url = \"meet.example\"\n", &[], &["http.public_url"]);
}
