//! The plugin's configuration: what the operator wrote under `[config]` in the sidecar file.

use std::collections::BTreeMap;

use crate::bindings::wasi::config::store;
use crate::failure::{passing, permanent};
use crate::types::Failure;

/// The value of `key`, if it is set.
pub fn get(key: &str) -> Result<Option<String>, Failure> {
    store::get(key).map_err(|error| unavailable(key, error))
}

/// All values of the table `table`, by their keys in it, which name tables within it before a dot.
pub fn table(table: &str) -> Result<BTreeMap<String, String>, Failure> {
    let pairs = store::get_all().map_err(|error| unavailable(table, error))?;
    let inside = |(key, value): (String, String)| {
        let key = key.strip_prefix(table)?.strip_prefix('.')?.to_owned();
        Some((key, value))
    };
    Ok(pairs.into_iter().filter_map(inside).collect())
}

fn unavailable(key: &str, error: store::Error) -> Failure {
    let (store::Error::Upstream(why) | store::Error::Io(why)) = error;
    passing("config-unavailable", format!("the configuration key `{key}` cannot be read: {why}"))
}

/// The value of `key`, which the plugin cannot do without; `example` is one that works.
pub fn required(key: &str, example: &str) -> Result<String, Failure> {
    get(key)?.filter(|value| !value.trim().is_empty()).ok_or_else(|| missing(key, example))
}

/// Whether `key` is switched on; `default` if it is not set. The plugin's schema has seen to it that it is a boolean.
pub fn flag(key: &str, default: bool) -> Result<bool, Failure> {
    Ok(get(key)?.map_or(default, |value| value == "true"))
}

/// The parts of `key`, which commas separate; absent if it is not set.
pub fn list(key: &str) -> Result<Option<Vec<String>>, Failure> {
    Ok(get(key)?.map(|text| parts(&text)))
}

fn parts(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn missing(key: &str, example: &str) -> Failure {
    let message =
        format!("the configuration lacks `{key}`; set it under [config], such as {key} = \"{example}\"");
    permanent("config-missing", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate() {
        assert_eq!(parts(" a, b c ,,"), ["a", "b c"]);
        assert!(parts("").is_empty());
    }
}
