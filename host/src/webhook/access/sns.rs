//! Amazon SNS: messages are signed by a key whose certificate Amazon serves. Where the certificate may come from, which
//! topics may post, and what is signed is said by AWS ("Verifying the signatures of Amazon SNS messages"); nothing else of a
//! message is believed before that. A subscription is confirmed only then, and only for a topic that is listed.

mod certificate;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaParameters,
    UnparsedPublicKey,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::fault::Fault;
use crate::plugin::Fetcher;

/// The header that SNS sends, whatever the body.
const MESSAGE_TYPE: &str = "x-amz-sns-message-type";
/// How old a message may be: SNS tries for an hour.
const OLDEST: SignedDuration = SignedDuration::from_hours(2);
/// How many certificates are kept, and for how long.
const MOST_CERTIFICATES: usize = 8;
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// What is signed, in this order, of a notification and of a confirmation.
const OF_NOTIFICATION: [&str; 6] = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
const OF_CONFIRMATION: [&str; 7] =
    ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];

/// `[sources.NAME.sns]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SnsConfig {
    /// The topics that may post, by ARN; subscriptions of these are confirmed, and of no others.
    pub topics: Vec<String>,
}

/// Checks the messages of one source.
pub(in crate::webhook) struct SnsVerifier {
    topics: Vec<String>,
    fetcher: Fetcher,
    keys: Mutex<HashMap<String, Kept>>,
}

/// A public key, and since when it is kept.
type Kept = (Instant, Arc<[u8]>);

impl std::fmt::Debug for SnsVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnsVerifier").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl SnsVerifier {
    /// `at` is the path of the source's table.
    pub(super) fn new(at: &str, config: &SnsConfig, fetcher: Fetcher) -> Result<Self, Vec<Fault>> {
        let fault = |path: String, message: &str| Fault { path, value: None, message: message.to_owned() };
        let mut faults = Vec::new();
        if config.topics.is_empty() {
            faults.push(fault(
                format!("{at}.sns.topics"),
                "is empty: list the ARNs of the topics that may post",
            ));
        }
        for (index, topic) in config.topics.iter().enumerate() {
            if !topic.starts_with("arn:aws") || topic.split(':').nth(2) != Some("sns") {
                let message =
                    "is not the ARN of a topic such as arn:aws:sns:eu-central-1:123456789012:alarms";
                faults.push(fault(format!("{at}.sns.topics[{index}]"), message));
            }
        }
        match faults.is_empty() {
            true => Ok(Self { topics: config.topics.clone(), fetcher, keys: Mutex::default() }),
            false => Err(faults),
        }
    }

    /// Whether a request is a message of SNS, with its envelope.
    pub(super) fn is_meant(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(MESSAGE_TYPE)
    }

    /// Whether the message is one that Amazon signed, for a topic that may post, and recent; then confirms a subscription, if
    /// it asks for that.
    ///
    /// # Errors
    ///
    /// What is wrong, for the sender.
    pub(super) async fn verify(&self, body: &[u8], now: Timestamp) -> Result<(), String> {
        let message: Value =
            serde_json::from_slice(body).map_err(|error| format!("the message is not JSON: {error}"))?;
        let text = |key: &str| message[key].as_str().ok_or_else(|| format!("the message has no {key}"));
        let (topic, kind) = (text("TopicArn")?, text("Type")?);
        if !self.topics.iter().any(|allowed| allowed == topic) {
            return Err(format!("the topic {topic} is not listed in `sns.topics`"));
        }
        check_time(text("Timestamp")?, now)?;
        let algorithm: &RsaParameters = match text("SignatureVersion")? {
            "1" => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "2" => &RSA_PKCS1_2048_8192_SHA256,
            other => return Err(format!("the signature version {other:?} is not known: 1 and 2 are")),
        };
        let signature =
            STANDARD.decode(text("Signature")?).map_err(|_| "the signature is not base64".to_owned())?;
        let certificate = amazons(text("SigningCertURL")?)?;
        if !is_certificate(&certificate) {
            return Err(format!("{certificate} is not where Amazon SNS has its certificates"));
        }
        let key = self.key(&certificate, now).await?;
        let signed = signed(&message, kind)?;
        let key = UnparsedPublicKey::new(algorithm, &*key);
        key.verify(signed.as_bytes(), &signature).map_err(|_| "the signature is not right".to_owned())?;
        match kind {
            "SubscriptionConfirmation" => self.confirm(topic, &amazons(text("SubscribeURL")?)?).await,
            _ => Ok(()),
        }
    }

    async fn confirm(&self, topic: &str, url: &Url) -> Result<(), String> {
        let confirmed = self.fetcher.get(url).await;
        confirmed.map_err(|error| format!("the subscription of {topic} could not be confirmed: {error}"))?;
        tracing::info!(topic, "subscription of an SNS topic confirmed");
        Ok(())
    }

    /// The public key of the certificate at this address.
    async fn key(&self, url: &Url, now: Timestamp) -> Result<Arc<[u8]>, String> {
        let kept = self.keys.lock().get(url.as_str()).filter(|(since, _)| since.elapsed() < KEPT).cloned();
        if let Some((_, key)) = kept {
            return Ok(key);
        }
        let page =
            self.fetcher.get(url).await.map_err(|error| format!("the certificate at {url}: {error}"))?;
        let key = certificate::public_key(&page, url, &self.fetcher, now).await;
        let key = key.map_err(|why| format!("the certificate at {url} {why}"))?;
        let mut keys = self.keys.lock();
        if keys.len() >= MOST_CERTIFICATES {
            keys.clear();
        }
        keys.insert(url.to_string(), (Instant::now(), key.clone()));
        Ok(key)
    }
}

/// An address at Amazon's SNS: `https://sns.<region>.amazonaws.com`, in China with `.cn` behind it.
fn amazons(text: &str) -> Result<Url, String> {
    let refused = || format!("{text:?} is not an address of Amazon SNS");
    let url = Url::parse(text).map_err(|_| refused())?;
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_suffix(".cn").unwrap_or(host);
    let region = host.strip_prefix("sns.").and_then(|rest| rest.strip_suffix(".amazonaws.com"));
    let is_region = region.is_some_and(|region| {
        !region.is_empty()
            && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    });
    let is_plain = url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if is_region && is_plain { Ok(url) } else { Err(refused()) }
}

/// `/SimpleNotificationService-….pem`, and nothing behind it: other pages there hold what others wrote.
fn is_certificate(url: &Url) -> bool {
    let path = url.path();
    let is_plain = url.query().is_none() && url.fragment().is_none() && !path[1..].contains('/');
    is_plain && path.starts_with("/SimpleNotificationService-") && path.ends_with(".pem")
}

fn check_time(text: &str, now: Timestamp) -> Result<(), String> {
    let time: Timestamp = text.parse().map_err(|_| format!("the timestamp {text:?} is none"))?;
    let age = now.duration_since(time);
    match age.abs() <= OLDEST {
        true => Ok(()),
        false => {
            Err(format!("the message is of {time}, {age:#} ago: SNS tries for an hour, or a clock is wrong"))
        }
    }
}

/// What is signed: each field that is there, its name and its value, a line each.
fn signed(message: &Value, kind: &str) -> Result<String, String> {
    let fields: &[&str] = match kind {
        "Notification" => &OF_NOTIFICATION,
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => &OF_CONFIRMATION,
        other => return Err(format!("the message is of type {other:?}, which SNS does not send")),
    };
    let given = fields.iter().filter_map(|field| Some((field, message[*field].as_str()?)));
    Ok(given.map(|(field, value)| format!("{field}\n{value}\n")).collect())
}

#[cfg(test)]
mod tests;
