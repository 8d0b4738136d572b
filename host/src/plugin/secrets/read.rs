//! From a table `[secrets.NAME]` to a secret: its keys checked, its value read.

use std::env;
use std::path::Path;

use super::destination::destinations;
use super::{Secret, SecretConfig, SecretKind, Usage, fill, sign, sigv4};
use crate::fault::Fault;
use crate::operator_file;

/// The fewest characters of a value. The host replaces a value that it finds in an answer, so a plugin that has a server
/// repeat guesses learns which guess is right: what has fewer characters could be found by trying.
const FEWEST_CHARACTERS: usize = 12;
/// The most bytes of a value, and of all values together: each takes some kilobytes to be searched for.
const MOST_BYTES: usize = 8 << 10;
const MOST_BYTES_IN_ALL: usize = 256 << 10;

/// What is wrong with a value that has white space at either end.
pub(in crate::plugin) const SPACE_AROUND: &str = "starts or ends with white space: a server may repeat the value without it, \
     and the value would not be found in that answer; remove the white space";

/// The faults of one table.
pub(super) struct Faults<'a> {
    name: &'a str,
    found: Vec<Fault>,
}

impl Faults<'_> {
    pub(super) fn add(&mut self, key: &str, message: impl Into<String>) {
        let dot = if key.is_empty() { "" } else { "." };
        let path = format!("secrets.{}{dot}{key}", self.name);
        self.found.push(Fault { path, value: None, message: message.into() });
    }

    /// The value, or a fault in its place.
    fn take<T>(&mut self, result: Result<T, KeyFault>) -> Option<T> {
        result.map_err(|(key, message)| self.add(key, message)).ok()
    }
}

/// The key at fault and what is wrong.
type KeyFault = (&'static str, String);

/// Reads one table.
pub(super) fn secret(name: &str, config: SecretConfig) -> Result<Secret, Vec<Fault>> {
    let mut faults = Faults { name, found: Vec::new() };
    if !is_name(name) {
        faults.add("", format!("\"{name}\" is not a name: letters, digits, _ and -, at most 64"));
    }
    let destinations = destinations(&config.hosts, &mut faults);
    check_keys(&config, &mut faults);
    let value = value(&config).and_then(|value| usable(value, config.kind));
    let value = faults.take(value);
    let session_token = faults.take(session_token(&config));
    match (value, session_token) {
        (Some(value), Some(session_token)) if faults.found.is_empty() => {
            let usage = usage(config, session_token);
            Ok(Secret { value: value.into(), usage, destinations })
        }
        _ => Err(faults.found),
    }
}

/// Whether this can be the name of a secret, and so stand in a placeholder.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(fill::is_name_byte)
}

fn usage(config: SecretConfig, session_token: Option<String>) -> Usage {
    let given = Option::unwrap_or_default;
    match config.kind {
        SecretKind::Text => Usage::Text,
        SecretKind::Bearer => Usage::Bearer,
        SecretKind::Basic => Usage::Basic { username: given(config.username) },
        SecretKind::StandardWebhooks => Usage::StandardWebhooks,
        SecretKind::Sigv4 => {
            let [access_key_id, region, service] =
                [config.access_key_id, config.region, config.service].map(given);
            Usage::Sigv4(sigv4::Scope::new(access_key_id, region, service, session_token))
        }
    }
}

/// Checks the keys that belong to one kind alone.
fn check_keys(config: &SecretConfig, faults: &mut Faults<'_>) {
    use SecretKind::{Basic, Sigv4};
    let text = |key: &Option<String>| key.is_some();
    let keys = [
        ("username", Basic, true, text(&config.username)),
        ("access-key-id", Sigv4, true, text(&config.access_key_id)),
        ("region", Sigv4, true, text(&config.region)),
        ("service", Sigv4, true, text(&config.service)),
        ("session-token-env", Sigv4, false, text(&config.session_token_env)),
        ("session-token-file", Sigv4, false, config.session_token_file.is_some()),
    ];
    for (key, kind, is_required, is_given) in keys {
        let kind_text = if kind == Basic { "basic" } else { "sigv4" };
        match (is_given, config.kind == kind) {
            (true, false) => faults.add(key, format!("has a meaning for kind = \"{kind_text}\" only")),
            (false, true) if is_required => {
                faults.add(key, format!("is required for kind = \"{kind_text}\""))
            }
            _ => {}
        }
    }
    check_texts(config, faults);
}

fn check_texts(config: &SecretConfig, faults: &mut Faults<'_>) {
    let odd = |c: char| c == ':' || c.is_control();
    if config.kind == SecretKind::Basic && config.username.as_ref().is_some_and(|name| name.contains(odd)) {
        let message = "holds a colon or control character, which HTTP basic authentication forbids";
        faults.add("username", message);
    }
    if config.username.as_deref().is_some_and(has_space_around) {
        faults.add("username", SPACE_AROUND);
    }
    let names = [
        ("access-key-id", &config.access_key_id, "an access key such as AKIAIOSFODNN7EXAMPLE"),
        ("region", &config.region, "an AWS region such as eu-central-1"),
        ("service", &config.service, "an AWS service such as sns"),
    ];
    for (key, given, what) in names {
        if let Some(text) = given.as_ref().filter(|text| !is_name(text)) {
            faults.add(key, format!("\"{text}\" is not {what}"));
        }
    }
}

/// The value as it is configured.
fn value(config: &SecretConfig) -> Result<String, KeyFault> {
    let found = read(config.env.as_deref(), config.file.as_deref(), ["env", "file"])?;
    found.ok_or_else(|| ("", "needs either env = \"VARIABLE\" or file = \"/path\"".to_owned()))
}

/// The session token of a temporary AWS key, if there is one.
fn session_token(config: &SecretConfig) -> Result<Option<String>, KeyFault> {
    let keys = ["session-token-env", "session-token-file"];
    let token = read(config.session_token_env.as_deref(), config.session_token_file.as_deref(), keys)?;
    match token {
        Some(token) if token.contains(|odd: char| !odd.is_ascii_graphic()) => {
            Err(("", "has a session token that is not plain text".to_owned()))
        }
        Some(token) => match check_length(&token) {
            Ok(()) => Ok(Some(token)),
            Err(problem) => Err(("", format!("has a session token that {problem}"))),
        },
        None => Ok(None),
    }
}

/// Whether a value can be searched for in answers; what is wrong with it otherwise.
pub(super) fn check_length(value: &str) -> Result<(), String> {
    let characters = value.chars().count();
    if characters < FEWEST_CHARACTERS {
        return Err(format!(
            "has {characters} characters, fewer than {FEWEST_CHARACTERS}: a plugin could find it by guessing; \
             replace it by a longer one, such as that of `openssl rand -hex 16`"
        ));
    }
    if value.len() > MOST_BYTES {
        return Err(format!("has {} bytes, more than {MOST_BYTES}", value.len()));
    }
    Ok(())
}

/// Whether all values together can be searched for.
pub(super) fn check_total<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Option<Fault> {
    let bytes: usize = secrets.flat_map(Secret::texts).map(|text| text.len()).sum();
    (bytes > MOST_BYTES_IN_ALL).then(|| Fault {
        path: "secrets".to_owned(),
        value: None,
        message: format!("all values together have {bytes} bytes, more than {MOST_BYTES_IN_ALL}"),
    })
}

/// What a variable or a file holds, one of which must be named.
///
/// # Errors
///
/// What is wrong, as a text to put behind the path of the table.
pub fn read_secret(variable: Option<&str>, file: Option<&Path>) -> Result<String, String> {
    let found = read(variable, file, ["env", "file"]).map_err(|(key, message)| format!("{key} {message}"))?;
    found.ok_or_else(|| "needs either env = \"VARIABLE\" or file = \"/path\"".to_owned())
}

/// What a variable or a file holds; nothing if neither is named.
fn read(
    variable: Option<&str>,
    file: Option<&Path>,
    [env_key, file_key]: [&'static str; 2],
) -> Result<Option<String>, KeyFault> {
    let (key, text) = match (variable, file) {
        (None, None) => return Ok(None),
        (Some(variable), None) => (env_key, from_environment(variable)),
        (None, Some(file)) => (file_key, from_file(file)),
        (Some(_), Some(_)) => return Err((env_key, format!("stands beside {file_key}; give one of them"))),
    };
    let text = text.map_err(|message| (key, message))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err((key, "leads to an empty value".to_owned())),
        value => Ok(Some(value.to_owned())),
    }
}

fn from_file(file: &Path) -> Result<String, String> {
    let text = operator_file::read_text(file, operator_file::VALUE);
    text.map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

/// The value of an environment variable, or why there is none. Names that no variable can have are refused first, since
/// the standard library panics on them.
pub(in crate::plugin) fn from_environment(variable: &str) -> Result<String, String> {
    if variable.is_empty() || variable.contains(['=', '\0']) {
        return Err(format!("\"{variable}\" is not the name of an environment variable"));
    }
    env::var(variable).map_err(|error| match error {
        env::VarError::NotPresent => format!("the environment variable {variable} is not set"),
        env::VarError::NotUnicode(_) => format!("the environment variable {variable} is not UTF-8"),
    })
}

/// Whether white space stands at either end.
pub(in crate::plugin) fn has_space_around(value: &str) -> bool {
    value.trim() != value
}

fn usable(value: String, kind: SecretKind) -> Result<String, KeyFault> {
    let checked = match kind {
        _ if has_space_around(&value) => Err(SPACE_AROUND.to_owned()),
        SecretKind::StandardWebhooks if !sign::is_key(&value) => {
            Err("is not a Standard Webhooks key: base64, with or \
             without whsec_ in front; make one with `openssl rand -base64 32`"
                .to_owned())
        }
        SecretKind::Text | SecretKind::Bearer | SecretKind::Basic | SecretKind::Sigv4
            if value.contains(char::is_control) =>
        {
            Err("holds a control character, such as a line break inside".to_owned())
        }
        // What is in front of all keys of a kind says nothing about this one.
        _ => check_length(sign::bare_key(&value).as_deref().unwrap_or(&value)),
    };
    checked.map(|()| value).map_err(|problem| ("", problem))
}
