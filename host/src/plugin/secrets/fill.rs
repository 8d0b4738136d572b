//! Finding placeholders in a request's head and filling in the values. Every error names the placeholder, never a value.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::sign::{Form, SIGNATURE, Signer};
use super::{Secret, Secrets, Usage};
use crate::plugin::grants::Grants;

/// What stays as it is in a query: the characters that are reserved nowhere.
pub(super) const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What stays as it is in a path. Some secrets are several segments, such as the path of a Slack webhook.
pub(super) const PATH: &AsciiSet = &QUERY
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');

/// A value as it stands in a path and in a query, where that is not the value itself.
pub(super) fn in_urls(value: &str) -> impl Iterator<Item = String> {
    let encoded = [PATH, QUERY].map(|set| utf8_percent_encode(value, set).to_string());
    encoded.into_iter().filter(move |encoded| encoded != value)
}

/// Why a placeholder was not filled in. The request is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) enum SecretError {
    /// The sidecar does not grant it.
    #[error("secret {0} is not granted; to allow it, add to [grants]: secrets = [\"{0}\"]")]
    NotGranted(String),
    /// The sidecar does not grant it for bodies.
    #[error(
        "secret {0} is not granted for bodies; to allow it, add to [grants]: secrets-in-body = [\"{0}\"]"
    )]
    NotGrantedInBody(String),
    /// The host's configuration does not declare it.
    #[error(
        "secret {0} is not declared; add [secrets.{0}] with env or file, and hosts, to the host's configuration"
    )]
    NotDeclared(String),
    /// It may not go to this host.
    #[error("secret {name} may not go to {host}; to allow it, add to [secrets.{name}]: hosts = [\"{host}\"]")]
    WrongHost {
        /// The secret's name.
        name: String,
        /// The request's host, with the port unless it is the scheme's own.
        host: String,
    },
    /// It may go there, but not in clear text.
    #[error(
        "secret {name} goes to {host} by https only; to allow clear text, write in [secrets.{name}]: hosts = [\"http://{host}\"]"
    )]
    ClearText {
        /// The secret's name.
        name: String,
        /// The request's host, with the port unless it is the scheme's own.
        host: String,
    },
    /// The placeholder stands where a secret of this kind cannot be used.
    #[error("secret {name} cannot be used in the {place}; {expected}")]
    WrongPlace {
        /// The secret's name.
        name: String,
        /// Where its placeholder stands.
        place: String,
        /// Where it belongs.
        expected: &'static str,
    },
    /// The value would change the meaning of the request.
    #[error("the value of secret {name} cannot stand in the {place}: {reason}")]
    Unusable {
        /// The secret's name.
        name: String,
        /// Where its placeholder stands.
        place: &'static str,
        /// What about the value is in the way.
        reason: &'static str,
    },
}

/// A placeholder in a text: `${secret:NAME}`, or `${secret:NAME.MARK}` as the host hands it out.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Placeholder<'a> {
    pub name: &'a str,
    pub mark: Option<&'a str>,
    pub range: Range<usize>,
    /// Where its name ends in the text.
    pub name_end: usize,
}

/// The first placeholder of a text. Its punctuation can be percent-encoded, as URL libraries do it unasked.
pub(in crate::plugin) fn placeholder(text: &str) -> Option<Placeholder<'_>> {
    placeholders(text).next()
}

/// Every placeholder of a text.
pub(in crate::plugin) fn placeholders(text: &str) -> impl Iterator<Item = Placeholder<'_>> {
    let mut end = 0;
    let starts = text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'$' | b'%'));
    starts.filter_map(move |(start, _)| {
        let found = placeholder_at(text, start).filter(|found| found.range.start >= end)?;
        end = found.range.end;
        Some(found)
    })
}

fn placeholder_at(text: &str, start: usize) -> Option<Placeholder<'_>> {
    let rest = punctuation(&text[start..], "$", "%24")?;
    let rest = punctuation(rest, "{", "%7b")?.strip_prefix("secret")?;
    let rest = punctuation(rest, ":", "%3a")?;
    let (name, rest) = word(rest, is_name_byte);
    let name_end = text.len() - rest.len();
    let (mark, rest) = match rest.strip_prefix('.') {
        Some(rest) => word(rest, |byte| byte.is_ascii_alphanumeric()),
        None => ("", rest),
    };
    let rest = punctuation(rest, "}", "%7d")?;
    let mark = (!mark.is_empty()).then_some(mark);
    (!name.is_empty()).then(|| Placeholder { name, mark, range: start..text.len() - rest.len(), name_end })
}

fn word(text: &str, is_part: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().take_while(|byte| is_part(*byte)).count())
}

fn punctuation<'a>(text: &'a str, plain: &str, encoded: &str) -> Option<&'a str> {
    let is_encoded = || text.get(..encoded.len()).is_some_and(|head| head.eq_ignore_ascii_case(encoded));
    text.strip_prefix(plain).or_else(|| is_encoded().then(|| &text[encoded.len()..]))
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The text with values in place of placeholders; those without a value stay. Nothing if it has no placeholder.
pub(super) fn substitute(
    text: &str,
    mut value: impl FnMut(&Placeholder<'_>) -> Result<Option<String>, SecretError>,
) -> Result<Option<String>, SecretError> {
    let mut filled = String::new();
    let mut end = 0;
    for found in placeholders(text) {
        let Some(value) = value(&found)? else { continue };
        filled.push_str(&text[end..found.range.start]);
        filled.push_str(&value);
        end = found.range.end;
    }
    Ok((end > 0).then(|| filled + &text[end..]))
}

impl Secrets {
    /// Fills in every placeholder of a request's head; returns who signs once the body is known, in this order.
    ///
    /// # Errors
    /// The first placeholder that may not or cannot be filled in. The request is then half filled: drop it.
    pub(in crate::plugin) fn fill(
        &self,
        grants: &Grants,
        url: &mut Url,
        headers: &mut HeaderMap,
    ) -> Result<Vec<Signer>, SecretError> {
        let request = Request::new(self, grants, url);
        if let Some(path) = substitute(url.path(), |found| request.in_path(found.name).map(Some))? {
            url.set_path(&path);
        }
        let query = url.query().unwrap_or_default();
        if let Some(query) = substitute(query, |found| request.in_query(found.name).map(Some))? {
            url.set_query(Some(&query));
        }
        request.in_headers(headers)
    }
}

/// The request as the plugin wrote it, and what may be filled in.
pub(super) struct Request<'a> {
    secrets: &'a Secrets,
    grants: &'a Grants,
    url: Url,
}

impl<'a> Request<'a> {
    pub(super) fn new(secrets: &'a Secrets, grants: &'a Grants, url: &Url) -> Self {
        Self { secrets, grants, url: url.clone() }
    }

    fn secret(&self, name: &str) -> Result<&'a Secret, SecretError> {
        match self.grants.allows_secret(name) {
            true => self.declared(name),
            false => Err(SecretError::NotGranted(name.to_owned())),
        }
    }

    /// A secret that is granted, if it may go where the request goes.
    fn declared(&self, name: &str) -> Result<&'a Secret, SecretError> {
        let owned = || name.to_owned();
        let secret = self.secrets.secrets.get(name).ok_or_else(|| SecretError::NotDeclared(owned()))?;
        let mut fitting =
            secret.destinations.iter().filter(|destination| destination.matches(&self.url)).peekable();
        if fitting.peek().is_none() {
            return Err(SecretError::WrongHost { name: owned(), host: self.host() });
        }
        if !secret.usage.only_signs() && !fitting.any(|destination| destination.is_private(&self.url)) {
            return Err(SecretError::ClearText { name: owned(), host: self.host() });
        }
        Ok(secret)
    }

    fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    fn text(&self, name: &str, place: &str) -> Result<&'a str, SecretError> {
        as_text(self.secret(name)?, name, place)
    }

    pub(super) fn in_body(&self, name: &str) -> Result<&'a str, SecretError> {
        match self.grants.allows_secret_in_body(name) {
            true => as_text(self.declared(name)?, name, "body"),
            false => Err(SecretError::NotGrantedInBody(name.to_owned())),
        }
    }

    fn in_path(&self, name: &str) -> Result<String, SecretError> {
        let value = self.text(name, "path")?;
        let reason = "a segment of it is empty or made of dots";
        if value.split(['/', '\\']).any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(SecretError::Unusable { name: name.to_owned(), place: "path", reason });
        }
        Ok(utf8_percent_encode(value, PATH).to_string())
    }

    fn in_query(&self, name: &str) -> Result<String, SecretError> {
        Ok(utf8_percent_encode(self.text(name, "query")?, QUERY).to_string())
    }

    fn in_headers(&self, headers: &mut HeaderMap) -> Result<Vec<Signer>, SecretError> {
        let mut signers = Vec::new();
        for (header, value) in headers.iter_mut() {
            let Some(text) =
                value.to_str().ok().filter(|text| placeholder(text).is_some()).map(str::to_owned)
            else {
                continue;
            };
            if let Some(signer) = self.signer(header, &text)? {
                signers.push(signer);
                continue;
            }
            let filled = self.in_header(header, &text)?;
            *value = filled;
            value.set_sensitive(true);
        }
        signers.sort_by_key(Signer::covers_headers);
        Ok(signers)
    }

    fn in_header(&self, header: &HeaderName, text: &str) -> Result<HeaderValue, SecretError> {
        let found = placeholder(text).expect("the caller saw a placeholder");
        let alone = |scheme: &str| {
            let head = text[..found.range.start].trim();
            header == AUTHORIZATION
                && found.range.end == text.len()
                && (head.is_empty() || head.eq_ignore_ascii_case(scheme))
        };
        let secret = self.secret(found.name)?;
        let filled = match &secret.usage {
            Usage::Bearer if alone("bearer") => format!("Bearer {}", secret.value()),
            Usage::Basic { username } if alone("basic") => {
                format!("Basic {}", STANDARD.encode(format!("{username}:{}", secret.value())))
            }
            _ => {
                let place = format!("header {header}");
                let text = substitute(text, |found| Ok(Some(self.text(found.name, &place)?.to_owned())))?;
                text.expect("the caller saw a placeholder")
            }
        };
        let reason = "a header cannot carry it";
        let unusable = |_| SecretError::Unusable { name: found.name.to_owned(), place: "header", reason };
        HeaderValue::try_from(filled).map_err(unusable)
    }

    /// The signing key, if that is what the whole header asks for.
    fn signer(&self, header: &HeaderName, text: &str) -> Result<Option<Signer>, SecretError> {
        let whole = placeholder(text).filter(|found| found.range == (0..text.len()));
        let Some(found) = whole.filter(|_| [SIGNATURE, AUTHORIZATION].contains(header)) else {
            return Ok(None);
        };
        let secret = self.secret(found.name)?;
        let form = match &secret.usage {
            Usage::StandardWebhooks if header == SIGNATURE => Form::StandardWebhooks,
            Usage::Sigv4(scope) if header == AUTHORIZATION => Form::Sigv4(scope.clone()),
            _ => return Ok(None),
        };
        Ok(Some(Signer::new(found.name, secret.value.clone(), form)))
    }
}

/// The value, if secrets of this kind can stand everywhere.
fn as_text<'a>(secret: &'a Secret, name: &str, place: &str) -> Result<&'a str, SecretError> {
    match home(&secret.usage) {
        None => Ok(secret.value()),
        Some(expected) => {
            Err(SecretError::WrongPlace { name: name.to_owned(), place: place.to_owned(), expected })
        }
    }
}

/// Where secrets of this kind belong, if not everywhere.
fn home(usage: &Usage) -> Option<&'static str> {
    match usage {
        Usage::Text => None,
        Usage::Bearer => {
            Some("a bearer token is the whole of the header authorization, or stands behind Bearer")
        }
        Usage::Basic { .. } => {
            Some("a basic password is the whole of the header authorization, or stands behind Basic")
        }
        Usage::StandardWebhooks => Some("a signing key is the whole of the header webhook-signature"),
        Usage::Sigv4(_) => Some("an AWS key is the whole of the header authorization"),
        Usage::Internal => Some("the host alone uses it"),
    }
}
