//! Signing a request with a key that is never sent: for AWS, or in the Standard Webhooks form, HMAC-SHA256 over id, time
//! and body, in the header `webhook-signature` as `v1,<base64>`.

use std::error::Error;

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use standardwebhooks::Webhook;
use url::Url;

use super::sigv4::Scope;

/// Where the plugin puts the placeholder and the host the signature.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static(standardwebhooks::HEADER_WEBHOOK_SIGNATURE);
const TIMESTAMP: HeaderName = HeaderName::from_static(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP);
const ID: HeaderName = HeaderName::from_static(standardwebhooks::HEADER_WEBHOOK_ID);
const KEY_PREFIX: &str = "whsec_";

/// Why a request could not be signed. It is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) enum SignError {
    /// There is nothing that identifies the message.
    #[error("the header webhook-id is missing or not plain text; set it to the delivery-id")]
    Id,
    /// The body cannot be signed.
    #[error("the body is not UTF-8, so it cannot be signed in the Standard Webhooks form")]
    Body,
    /// URL or headers cannot be signed for AWS.
    #[error("it cannot be written as AWS wants it signed: {0}")]
    Request(String),
}

/// A request that is complete but for its signature.
pub(in crate::plugin) struct Unsigned<'a> {
    pub method: &'a Method,
    pub url: &'a Url,
    pub headers: &'a mut HeaderMap,
    pub body: &'a [u8],
}

/// A key that waits for the body it is to sign.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Signer {
    name: String,
    key: SecretString,
    form: Form,
}

/// What a signature covers, and how it is written.
#[derive(Clone, Debug)]
pub(super) enum Form {
    StandardWebhooks,
    Sigv4(Scope),
}

impl Signer {
    pub(super) fn new(name: &str, key: SecretString, form: Form) -> Self {
        Self { name: name.to_owned(), key, form }
    }

    /// The name of the secret that is the key.
    pub(in crate::plugin) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the signature covers other headers, those of another signature among them.
    pub(super) fn covers_headers(&self) -> bool {
        matches!(self.form, Form::Sigv4(_))
    }

    /// Adds the signature and the headers that go with it.
    ///
    /// # Errors
    /// If there is no `webhook-id`, or what is to be signed cannot be written in the form's way.
    pub(in crate::plugin) fn sign(
        &self,
        request: &mut Unsigned<'_>,
        now: Timestamp,
    ) -> Result<(), SignError> {
        match &self.form {
            Form::StandardWebhooks => self.sign_webhook(request, now),
            Form::Sigv4(scope) => scope.sign(&self.key, request, now).map_err(|error| {
                SignError::Request(error.source().map_or_else(|| error.to_string(), ToString::to_string))
            }),
        }
    }

    fn sign_webhook(&self, request: &mut Unsigned<'_>, now: Timestamp) -> Result<(), SignError> {
        let id = request.headers.get(ID).and_then(|id| id.to_str().ok()).ok_or(SignError::Id)?;
        let key = Webhook::new(self.key.expose_secret()).expect("keys are checked when they are read");
        let signature = key.sign(id, now.as_second(), request.body).map_err(|_| SignError::Body)?;
        let signature = HeaderValue::try_from(signature).expect("base64 is plain text");
        request.headers.insert(TIMESTAMP, HeaderValue::from(now.as_second()));
        request.headers.insert(SIGNATURE, signature);
        Ok(())
    }
}

/// Whether this is a key that signs in the Standard Webhooks form.
pub(super) fn is_key(value: &str) -> bool {
    Webhook::new(value).is_ok() && value != KEY_PREFIX
}

/// Such a key without what stands in front of all of them.
pub(super) fn bare_key(value: &str) -> Option<String> {
    value.strip_prefix(KEY_PREFIX).map(str::to_owned)
}
