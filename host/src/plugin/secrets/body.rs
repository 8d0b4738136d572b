//! Filling placeholders into a body, escaped as the body's type asks for it. Only those count that the host handed out
//! in this very call; what looks like one is text.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use percent_encoding::utf8_percent_encode;
use serde::de::IgnoredAny;
use url::Url;

use super::Secrets;
use super::fill::{QUERY, Request, SecretError, substitute};
use super::mark::Mark;
use crate::plugin::grants::Grants;

/// How a value is written into a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    /// Inside a JSON string.
    Json,
    /// Percent-encoded.
    Form,
    /// As it is.
    Plain,
}

impl Syntax {
    fn of(headers: &HeaderMap, body: &str) -> Self {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        match kind.as_deref() {
            Some(kind) if kind.ends_with("/json") || kind.ends_with("+json") => Self::Json,
            Some("application/x-www-form-urlencoded") => Self::Form,
            Some(_) => Self::Plain,
            None if serde_json::from_str::<IgnoredAny>(body).is_ok() => Self::Json,
            None => Self::Plain,
        }
    }

    fn write(self, value: &str) -> String {
        match self {
            Self::Json => json_escaped(value),
            Self::Form => utf8_percent_encode(value, QUERY).to_string(),
            Self::Plain => value.to_owned(),
        }
    }
}

/// A text as it stands in a JSON string, without the quotes.
pub(super) fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

impl Secrets {
    /// Fills in every placeholder of a body. What is not UTF-8 holds none.
    ///
    /// # Errors
    /// The first placeholder that may not or cannot be filled in, and values that would make more than `most` bytes.
    pub(in crate::plugin) fn fill_body(
        &self,
        grants: &Grants,
        mark: &Mark,
        url: &Url,
        headers: &HeaderMap,
        body: Bytes,
        most: u64,
    ) -> Result<Bytes, SecretError> {
        let Some(text) = std::str::from_utf8(&body).ok().filter(|text| mark.is_in(text)) else {
            return Ok(body);
        };
        let request = Request::new(self, grants, url);
        let syntax = Syntax::of(headers, text);
        let mut left = most.saturating_sub(text.len() as u64);
        let filled = substitute(text, |found| {
            if !mark.is_on(found) {
                return Ok(None);
            }
            let value = syntax.write(request.in_body(found.name)?);
            let reason = "the body would be larger than the limit `request-body`";
            let too_large = SecretError::Unusable { name: found.name.to_owned(), place: "body", reason };
            let room = left + found.range.len() as u64;
            left = room.checked_sub(value.len() as u64).ok_or(too_large)?;
            Ok(Some(value))
        })?;
        Ok(filled.map_or(body, Bytes::from))
    }
}
