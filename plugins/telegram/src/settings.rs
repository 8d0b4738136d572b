//! What the operator set.

use campanile_guest::config;
use campanile_guest::types::Failure;

/// The Bot API, with the bot's token left to the host.
pub(crate) const URL: &str = "https://api.telegram.org/bot${secret:TELEGRAM_TOKEN}";

/// The settings.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) chat: String,
    pub(crate) topic: Option<i64>,
    pub(crate) silent: bool,
    pub(crate) resolved: Resolved,
    pub(crate) text: Option<String>,
}

/// What a resolve does with the message of the firing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// Replies to it.
    Reply,
    /// Changes it, which notifies nobody.
    Edit,
}

impl Settings {
    /// Reads them. The plugin's schema has seen to it that the values are known.
    pub(crate) fn read() -> Result<Self, Failure> {
        let resolved = if config::get("resolved")?.as_deref() == Some("edit") {
            Resolved::Edit
        } else {
            Resolved::Reply
        };
        Ok(Self {
            url: config::get("url")?.unwrap_or_else(|| URL.to_owned()),
            chat: config::required("chat", "-1001234567890")?,
            topic: config::get("topic")?.and_then(|topic| topic.parse().ok()),
            silent: config::flag("silent", false)?,
            resolved,
            text: config::get("text")?,
        })
    }
}
