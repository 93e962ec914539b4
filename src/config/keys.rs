//! The names of the settings: which exist, how the environment spells them, and what a wrong one was meant to be.

use figment::Figment;
use figment::Provider;
use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};

use super::{Config, ConfigError};

/// Refuses a key of `layer` that the defaults do not have.
pub(super) fn refuse_unknown(layer: &Figment, place: &str) -> Result<(), ConfigError> {
    let data = layer.data().map_err(explain)?;
    let known = known();
    for (section, value) in data.into_values().flatten() {
        let Some(keys) = value.as_dict() else {
            return Err(unknown(&section, &known, place));
        };
        for key in keys.keys() {
            let name = format!("{section}.{key}");
            if !known.iter().any(|(known, _)| *known == name) {
                return Err(unknown(&name, &known, place));
            }
        }
        if keys.is_empty() && !known.iter().any(|(known, _)| known.starts_with(&format!("{section}."))) {
            return Err(unknown(&section, &known, place));
        }
    }
    Ok(())
}

/// `REELAY_SECTION__KEY` variables as a layer. Others that begin with `REELAY_` are not ours to judge.
pub(super) fn from_env(vars: impl IntoIterator<Item = (String, String)>) -> Result<Figment, ConfigError> {
    let known = known();
    let mut layer = Figment::new();
    for (variable, value) in vars {
        let Some((section, key)) = variable.strip_prefix("REELAY_").and_then(|name| name.split_once("__")) else {
            continue;
        };
        let name = format!("{}.{}", section.to_lowercase(), key.to_lowercase());
        if !known.iter().any(|(known, _)| *known == name) {
            return Err(unknown(&name, &known, &format!("environment variable {variable}")));
        }
        layer = layer.merge(one(&name, &value));
    }
    Ok(layer)
}

/// One setting as a layer; the text becomes what the default of that setting is (a list is split at commas).
pub(super) fn one(name: &str, text: &str) -> Serialized<Value> {
    let default = known().into_iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let value = match default {
        Some(Value::Array(..)) => {
            let list = text.trim().trim_start_matches('[').trim_end_matches(']').split(',');
            let items = list.map(|item| item.trim().trim_matches('"')).filter(|item| !item.is_empty());
            Value::from(items.map(Value::from).collect::<Vec<_>>())
        }
        Some(Value::Num(..)) => text.trim().parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
        Some(Value::Bool(..)) => text.trim().parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        _ => Value::from(text),
    };
    Serialized::default(name, value)
}

/// An error of figment as one sentence.
pub(super) fn explain(error: figment::Error) -> ConfigError {
    let key = error.path.join(".");
    let place = error.metadata.as_ref().and_then(|meta| meta.source.as_ref()).map(ToString::to_string);
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    let name = if key.is_empty() { String::new() } else { format!("'{key}': ") };
    ConfigError::Invalid(format!("{place}{name}{}", error.kind))
}

fn unknown(key: &str, known: &[(String, Value)], place: &str) -> ConfigError {
    let near = known
        .iter()
        .map(|(name, _)| (strsim::jaro_winkler(key, name).max(same_last_part(key, name)), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = near.map(|(_, name)| format!("; did you mean '{name}'?")).unwrap_or_default();
    ConfigError::UnknownKey { key: key.to_owned(), place: place.to_owned(), hint }
}

// A right key in the wrong section is meant more often than a misspelt neighbour.
fn same_last_part(key: &str, name: &str) -> f64 {
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    strsim::jaro_winkler(&last(key), &last(name)) * 0.98
}

/// Every setting as `section.key` with its default.
fn known() -> Vec<(String, Value)> {
    let defaults: Map<_, Dict> = Serialized::defaults(Config::default()).data().unwrap_or_default();
    let sections = defaults.into_values().flatten();
    let keys = sections.flat_map(|(section, value)| {
        let keys = value.into_dict().unwrap_or_default();
        keys.into_iter().map(move |(key, value)| (format!("{section}.{key}"), value))
    });
    keys.collect()
}
