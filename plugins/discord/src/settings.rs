//! What the operator set.

use campanile_guest::config;
use campanile_guest::http::Request;
use campanile_guest::types::Failure;

/// The webhook, with the part that is secret left to the host. The version is named, since without one Discord takes
/// an old version (docs.discord.com/developers/reference, "API Versioning").
pub(crate) const URL: &str = "https://discord.com/api/v10/webhooks/${secret:DISCORD_PATH}";

/// The settings.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) thread: Option<String>,
    pub(crate) mention: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) facts: bool,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self, Failure> {
        Ok(Self {
            url: config::get("url")?.unwrap_or_else(|| URL.to_owned()),
            thread: config::get("thread")?,
            mention: config::get("mention")?,
            title: config::get("title")?,
            text: config::get("text")?,
            facts: config::flag("facts", true)?,
        })
    }

    /// The request, to the thread if there is one.
    pub(crate) fn in_thread(&self, request: Request) -> Request {
        match &self.thread {
            Some(thread) => request.query("thread_id", thread),
            None => request,
        }
    }
}
