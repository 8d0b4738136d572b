//! Signing a request in the Standard Webhooks form: HMAC-SHA256 over id, time and body, in the header
//! `webhook-signature` as `v1,<base64>`.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use standardwebhooks::Webhook;

/// Where the plugin puts the placeholder and the host the signature.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static(standardwebhooks::HEADER_WEBHOOK_SIGNATURE);
const TIMESTAMP: HeaderName = HeaderName::from_static(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP);
const ID: HeaderName = HeaderName::from_static(standardwebhooks::HEADER_WEBHOOK_ID);

/// Why a request could not be signed. It is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) enum SignError {
    /// There is nothing that identifies the message.
    #[error("the header webhook-id is missing or not plain text; set it to the delivery-id")]
    Id,
    /// The body cannot be signed.
    #[error("the body is not UTF-8, so it cannot be signed in the Standard Webhooks form")]
    Body,
}

/// A key that waits for the body it is to sign.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Signer {
    name: String,
    key: SecretString,
}

impl Signer {
    pub(super) fn new(name: &str, key: SecretString) -> Self {
        Self { name: name.to_owned(), key }
    }

    /// The name of the secret that is the key.
    pub(in crate::plugin) fn name(&self) -> &str {
        &self.name
    }

    /// Adds `webhook-timestamp` and `webhook-signature` for this body.
    ///
    /// # Errors
    /// If there is no `webhook-id`, or the body is not UTF-8.
    pub(in crate::plugin) fn sign(
        &self,
        headers: &mut HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), SignError> {
        let id = headers.get(ID).and_then(|id| id.to_str().ok()).ok_or(SignError::Id)?;
        let key = Webhook::new(self.key.expose_secret()).expect("keys are checked when they are read");
        let signature = key.sign(id, now.as_second(), body).map_err(|_| SignError::Body)?;
        let signature = HeaderValue::try_from(signature).expect("base64 is plain text");
        headers.insert(TIMESTAMP, HeaderValue::from(now.as_second()));
        headers.insert(SIGNATURE, signature);
        Ok(())
    }
}

/// Whether this is a key that signs.
pub(super) fn is_key(value: &str) -> bool {
    Webhook::new(value).is_ok() && value != "whsec_"
}
