//! Finding placeholders in a request and filling in the values. Every error names the placeholder, never a value.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::sign::{SIGNATURE, Signer};
use super::{Secret, SecretKind, Secrets};
use crate::plugin::grants::Grants;

/// What stays as it is in a query: the characters that are reserved nowhere.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What stays as it is in a path. Some secrets are several segments, such as the path of a Slack webhook.
const PATH: &AsciiSet = &QUERY
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

/// Why a placeholder was not filled in. The request is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) enum SecretError {
    /// The sidecar does not grant it.
    #[error("secret {0} is not granted; to allow it, add to [grants]: secrets = [\"{0}\"]")]
    NotGranted(String),
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

/// A placeholder in a text.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Placeholder<'a> {
    pub name: &'a str,
    pub range: Range<usize>,
}

/// The first placeholder of a text. Its punctuation can be percent-encoded, as URL libraries do it unasked.
pub(in crate::plugin) fn placeholder(text: &str) -> Option<Placeholder<'_>> {
    text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'$' | b'%')).find_map(|(start, _)| {
        let rest = punctuation(&text[start..], "$", "%24")?;
        let rest = punctuation(rest, "{", "%7b")?.strip_prefix("secret")?;
        let rest = punctuation(rest, ":", "%3a")?;
        let (name, rest) = rest.split_at(rest.bytes().take_while(|byte| is_name_byte(*byte)).count());
        let rest = punctuation(rest, "}", "%7d")?;
        (!name.is_empty()).then(|| Placeholder { name, range: start..text.len() - rest.len() })
    })
}

fn punctuation<'a>(text: &'a str, plain: &str, encoded: &str) -> Option<&'a str> {
    let is_encoded = || text.get(..encoded.len()).is_some_and(|head| head.eq_ignore_ascii_case(encoded));
    text.strip_prefix(plain).or_else(|| is_encoded().then(|| &text[encoded.len()..]))
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn substitute(
    text: &str,
    mut value: impl FnMut(&str) -> Result<String, SecretError>,
) -> Result<Option<String>, SecretError> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(found) = placeholder(rest) {
        filled.push_str(&rest[..found.range.start]);
        filled.push_str(&value(found.name)?);
        rest = &rest[found.range.end..];
    }
    Ok((rest.len() < text.len()).then(|| filled + rest))
}

impl Secrets {
    /// Fills in every placeholder of a request; returns what is left to do once the body is known.
    ///
    /// # Errors
    /// The first placeholder that may not or cannot be filled in. The request is then half filled: drop it.
    pub(in crate::plugin) fn fill(
        &self,
        grants: &Grants,
        url: &mut Url,
        headers: &mut HeaderMap,
    ) -> Result<Option<Signer>, SecretError> {
        let request = Request { secrets: self, grants, url: url.clone() };
        if let Some(path) = substitute(url.path(), |name| request.in_path(name))? {
            url.set_path(&path);
        }
        if let Some(query) = substitute(url.query().unwrap_or_default(), |name| request.in_query(name))? {
            url.set_query(Some(&query));
        }
        request.in_headers(headers)
    }
}

/// The request as the plugin wrote it, and what may be filled in.
struct Request<'a> {
    secrets: &'a Secrets,
    grants: &'a Grants,
    url: Url,
}

impl<'a> Request<'a> {
    fn secret(&self, name: &str) -> Result<&'a Secret, SecretError> {
        let owned = || name.to_owned();
        if !self.grants.allows_secret(name) {
            return Err(SecretError::NotGranted(owned()));
        }
        let secret = self.secrets.secrets.get(name).ok_or_else(|| SecretError::NotDeclared(owned()))?;
        let mut fitting =
            secret.destinations.iter().filter(|destination| destination.matches(&self.url)).peekable();
        if fitting.peek().is_none() {
            return Err(SecretError::WrongHost { name: owned(), host: self.host() });
        }
        let stays_secret = secret.kind == SecretKind::StandardWebhooks;
        if !stays_secret && !fitting.any(|destination| destination.is_private(&self.url)) {
            return Err(SecretError::ClearText { name: owned(), host: self.host() });
        }
        Ok(secret)
    }

    fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    fn text(&self, name: &str, place: &str) -> Result<&'a Secret, SecretError> {
        let secret = self.secret(name)?;
        match home(secret.kind) {
            None => Ok(secret),
            Some(expected) => {
                Err(SecretError::WrongPlace { name: name.to_owned(), place: place.to_owned(), expected })
            }
        }
    }

    fn in_path(&self, name: &str) -> Result<String, SecretError> {
        let value = self.text(name, "path")?.value();
        let reason = "a segment of it is empty or made of dots";
        if value.split(['/', '\\']).any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(SecretError::Unusable { name: name.to_owned(), place: "path", reason });
        }
        Ok(utf8_percent_encode(value, PATH).to_string())
    }

    fn in_query(&self, name: &str) -> Result<String, SecretError> {
        Ok(utf8_percent_encode(self.text(name, "query")?.value(), QUERY).to_string())
    }

    fn in_headers(&self, headers: &mut HeaderMap) -> Result<Option<Signer>, SecretError> {
        let mut signing = None;
        for (header, value) in headers.iter_mut() {
            let Some(text) =
                value.to_str().ok().filter(|text| placeholder(text).is_some()).map(str::to_owned)
            else {
                continue;
            };
            if header == SIGNATURE
                && let Some(secret) = self.signing(&text)?
            {
                signing = Some(secret);
                continue;
            }
            let filled = self.in_header(header, &text)?;
            *value = filled;
            value.set_sensitive(true);
        }
        Ok(signing)
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
        let filled = match secret.kind {
            SecretKind::Bearer if alone("bearer") => format!("Bearer {}", secret.value()),
            SecretKind::Basic if alone("basic") => {
                format!("Basic {}", STANDARD.encode(format!("{}:{}", secret.username, secret.value())))
            }
            _ => {
                let place = format!("header {header}");
                let text = substitute(text, |name| Ok(self.text(name, &place)?.value().to_owned()))?;
                text.expect("the caller saw a placeholder")
            }
        };
        let reason = "a header cannot carry it";
        let unusable = |_| SecretError::Unusable { name: found.name.to_owned(), place: "header", reason };
        HeaderValue::try_from(filled).map_err(unusable)
    }

    /// The signing key, if that is what the whole header asks for.
    fn signing(&self, text: &str) -> Result<Option<Signer>, SecretError> {
        let Some(found) = placeholder(text).filter(|found| found.range == (0..text.len())) else {
            return Ok(None);
        };
        let secret = self.secret(found.name)?;
        Ok((secret.kind == SecretKind::StandardWebhooks)
            .then(|| Signer::new(found.name, secret.value.clone())))
    }
}

/// Where secrets of this kind belong, if not everywhere.
fn home(kind: SecretKind) -> Option<&'static str> {
    match kind {
        SecretKind::Text => None,
        SecretKind::Bearer => {
            Some("a bearer token is the whole of the header authorization, or stands behind Bearer")
        }
        SecretKind::Basic => {
            Some("a basic password is the whole of the header authorization, or stands behind Basic")
        }
        SecretKind::StandardWebhooks => Some("a signing key is the whole of the header webhook-signature"),
    }
}
