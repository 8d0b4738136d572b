//! Mail on behalf of plugins: the host keeps the server's address and the credentials, a plugin hands over recipients,
//! subject and text, and its sidecar says to whom it may write.

mod compose;
mod recipients;
mod relay;
mod setup;

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error as SmtpError;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use url::Host;

use self::recipients::{Results, Served};
use self::relay::Relay;
use super::grants::Grants;
use super::secrets::Scrubber;

pub use self::setup::MailSetup;

/// The table `[mail]` of the host's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MailConfig {
    /// The mail server, such as `smtp.example.com`.
    pub host: String,
    /// Its port; 587 with `starttls`, 465 with `tls`, 25 with `none` unless given.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: MailTls,
    /// The name by which the host introduces itself: what its address resolves to, such as `alerts.example.com`, or an
    /// address such as `[192.0.2.7]`; `[127.0.0.1]` unless given.
    #[serde(default)]
    pub ehlo: Option<String>,
    /// Allows `tls = "none"` to a server that is not on this machine.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Who logs in; nobody unless given.
    #[serde(default)]
    pub username: Option<String>,
    /// The file with the password; line breaks at its end do not count.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The environment variable with the password, instead of a file.
    #[serde(default)]
    pub password_env: Option<String>,
    /// The sender, `Campanile <alerts@example.com>` or `alerts@example.com`. Plugins may use other senders of the same
    /// domain.
    pub from: String,
    /// How long one message may take in all, such as `10s`; the deadline of the plugin's call goes first.
    #[serde(
        default = "default_timeout",
        with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required"
    )]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// PEM files with certificate authorities to trust beside those of the system.
    #[serde(default)]
    pub root_certificates: Vec<PathBuf>,
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

/// How the connection to the mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Begins in clear text and must switch to TLS before anything is sent.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// Clear text; on loopback only, unless `allow-plaintext` is set.
    None,
}

/// One message, as a plugin hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailMessage {
    /// What identifies it over repeats; the `Message-ID` is made of it.
    pub id: String,
    /// The `id` of the message that it answers to, if it does.
    pub in_reply_to: Option<String>,
    /// The sender; the host's own if absent.
    pub from: Option<String>,
    /// The recipients, one address each.
    pub to: Vec<String>,
    /// The subject, one line.
    pub subject: String,
    /// The body as plain text.
    pub text: String,
    /// The same body as HTML.
    pub html: Option<String>,
}

/// Why a message was not sent. The text is for the person on call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The plugin may not send this; the text names the grant that would allow it.
    #[error("{0}")]
    Denied(String),
    /// An address, the subject or a size cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// The server refused the message for good (SMTP 5xx).
    #[error("{0}")]
    Rejected(String),
    /// The server could not be reached, refused for now (SMTP 4xx), or refuses this host (its name, login or sender), which
    /// the operator has to repair; worth a retry.
    #[error("{0}")]
    Unavailable(String),
}

impl MailError {
    /// The same error with another text.
    fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Denied(text) => Self::Denied(change(text)),
            Self::Invalid(text) => Self::Invalid(change(text)),
            Self::Rejected(text) => Self::Rejected(change(text)),
            Self::Unavailable(text) => Self::Unavailable(change(text)),
        }
    }
}

/// The way out for mail. Cheap to clone; connections are kept and used again.
#[derive(Clone)]
pub struct Mailer {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host<String>,
    from: Mailbox,
    timeout: Duration,
    relay: Relay,
    transport: ArcSwap<AsyncSmtpTransport<Tokio1Executor>>,
    served: Served,
}

impl Mailer {
    /// Prepares everything but the connection, which the first message opens. Needs a tokio runtime.
    pub fn new(setup: MailSetup) -> Self {
        let MailSetup { host, from, timeout, relay, .. } = setup;
        let transport = ArcSwap::from_pointee(relay.transport());
        let served = Served::default();
        Self { inner: Arc::new(Inner { host, from, timeout, relay, transport, served }) }
    }

    /// The mail server.
    pub(super) fn host(&self) -> &Host<String> {
        &self.inner.host
    }

    /// Sends one message and returns the server's answer without secrets; where it does not take all recipients, what it
    /// says to each. A message that is under way when the caller goes away is brought to its end; its `Message-ID` lets a
    /// repeat be recognised.
    ///
    /// # Errors
    /// See [`MailError`]; its text has no secrets either.
    pub async fn send(
        &self,
        grants: &Grants,
        scrubber: &Scrubber,
        message: MailMessage,
        deadline: Instant,
    ) -> Result<String, MailError> {
        let sent = self.send_unsearched(grants, message, deadline).await;
        sent.map(|answer| scrubber.text(&answer)).map_err(|error| error.map(|text| scrubber.text(&text)))
    }

    async fn send_unsearched(
        &self,
        grants: &Grants,
        message: MailMessage,
        deadline: Instant,
    ) -> Result<String, MailError> {
        let id = recipients::fingerprint(&message);
        let message = compose::compose(&self.inner.from, grants, message)?;
        let by = deadline.min(Instant::now() + self.inner.timeout);
        let inner = self.inner.clone();
        let sending = tokio::spawn(async move { inner.deliver(&id, &message, by).await });
        sending
            .await
            .unwrap_or_else(|error| Err(MailError::Unavailable(format!("sending was interrupted: {error}"))))
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("from", &self.inner.from.to_string()).finish_non_exhaustive()
    }
}

impl Inner {
    /// In one go to all who do not have it yet; if the server refuses that, to each by itself.
    async fn deliver(&self, id: &str, message: &Message, by: Instant) -> Result<String, MailError> {
        let (envelope, raw) = (message.envelope(), message.formatted());
        let served = self.served.of(id);
        let rest: Vec<Address> = envelope.to().iter().filter(|to| !served.contains(to)).cloned().collect();
        if rest.is_empty() {
            return Ok("all recipients have it".to_owned());
        }
        let from = envelope.from();
        let result = self.deliver_to(from, rest.clone(), &raw, by).await;
        if let Err(Refusal { error: MailError::Rejected(_), .. }) = &result {
            self.accepts_host(from, by).await?;
        }
        match result {
            Err(Refusal { is_answer: true, .. }) if rest.len() > 1 => {}
            result => return result.map_err(|refusal| refusal.error),
        }
        let mut results = Results::of(served);
        for to in rest {
            let result = self.deliver_to(from, vec![to.clone()], &raw, by).await;
            results.add(to, result.map_err(|refusal| refusal.error));
        }
        self.served.remember(id, results.accepted.clone());
        results.whole()
    }

    /// Whether it is this host that the relay refuses, and not the message or a recipient: an answer does not say to which
    /// command it is one. If there is no time left to ask, it is taken to be the message.
    async fn accepts_host(&self, from: Option<&Address>, by: Instant) -> Result<(), MailError> {
        let Ok(Some(refused)) = timeout_at(by, self.relay.refusal(from)).await else { return Ok(()) };
        let (step, said, advice) = (refused.step, said(&refused.error), refused.advice);
        Err(MailError::Unavailable(format!("the mail relay refuses this host: {step}: {said}: {advice}")))
    }

    async fn deliver_to(
        &self,
        from: Option<&Address>,
        to: Vec<Address>,
        raw: &[u8],
        by: Instant,
    ) -> Result<String, Refusal> {
        let envelope = Envelope::new(from.cloned(), to).map_err(|error| Refusal {
            is_answer: false,
            error: MailError::Invalid(format!("the message cannot be sent: {error}")),
        })?;
        let transport = self.transport.load_full();
        let mut sending = pin!(transport.send_raw(&envelope, raw));
        match timeout_at(by, &mut sending).await {
            Ok(Ok(response)) => {
                Ok(format!("{} {}", response.code(), response.message().collect::<Vec<_>>().join(" ")))
            }
            Ok(Err(error)) => {
                let status = error.status().map(u16::from);
                let is_answer = status.is_some_and(|status| status != CLOSING && !is_about_login(status));
                Err(Refusal { is_answer, error: failure(&error, &self.relay) })
            }
            Err(_) => {
                // A connection that is given up in the middle of a conversation goes back to its pool, where the next
                // message would take the late answer for its own: leave that pool behind.
                self.transport.store(Arc::new(self.relay.transport()));
                let text = "the mail server did not take the message in time".to_owned();
                Err(Refusal { is_answer: false, error: MailError::Unavailable(text) })
            }
        }
    }
}

/// Why nobody got a message.
struct Refusal {
    /// The server said so, of this message.
    is_answer: bool,
    error: MailError,
}

/// The server is about to close the connection (RFC 5321, section 3.8): no word on the message.
const CLOSING: u16 = 421;

/// Whether the server's answer is about the host's login, which somebody has to repair, and not about the message.
fn is_about_login(status: u16) -> bool {
    matches!(status, 530 | 534 | 535 | 538)
}

/// The error with all that caused it.
fn said(error: &SmtpError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // The client's own errors repeat their source in their text.
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        source = error.source();
    }
    text
}

fn failure(error: &SmtpError, relay: &Relay) -> MailError {
    let text = said(error);
    let status = error.status().map(u16::from);
    match status {
        Some(status) if is_about_login(status) => {
            let advice = relay::AUTH.1;
            MailError::Unavailable(format!("the mail server refused the login: {text}: {advice}"))
        }
        Some(500..) => MailError::Rejected(format!("the mail server refused the message: {text}")),
        Some(_) => MailError::Unavailable(format!("the mail server refused the message for now: {text}")),
        None => {
            let Relay { server, port, .. } = relay;
            MailError::Unavailable(format!("the mail server {server}:{port} cannot be used: {text}"))
        }
    }
}

#[cfg(test)]
mod tests;
