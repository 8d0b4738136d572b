//! What the operator set.

use campanile_guest::config;
use campanile_guest::types::Failure;

/// An incoming webhook, with the part that is secret left to the host.
pub(crate) const EXAMPLE: &str = "https://mattermost.example.com/hooks/${secret:MATTERMOST_HOOK}";

/// The bot's token, which the host puts in.
pub(crate) const TOKEN: &str = "${secret:MATTERMOST_TOKEN}";

/// The settings. `url` is the webhook, or where the server is.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) way: Way,
    pub(crate) title: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) facts: bool,
}

/// How Mattermost is told.
pub(crate) enum Way {
    /// By an incoming webhook.
    Webhook,
    /// As a bot.
    Bot(Bot),
}

/// What the REST API wants to know.
pub(crate) struct Bot {
    pub(crate) token: String,
    pub(crate) channel: String,
}

impl Settings {
    /// Reads them. A `channel` means a bot.
    pub(crate) fn read() -> Result<Self, Failure> {
        let url = config::required("url", EXAMPLE)?;
        let token = config::get("token")?.unwrap_or_else(|| TOKEN.to_owned());
        let way = match config::get("channel")? {
            Some(channel) => Way::Bot(Bot { token, channel }),
            None => Way::Webhook,
        };
        let (title, text, facts) =
            (config::get("title")?, config::get("text")?, config::flag("facts", true)?);
        Ok(Self { url, way, title, text, facts })
    }
}
