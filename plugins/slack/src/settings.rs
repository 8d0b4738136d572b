//! What the operator set.

use campanile_guest::config;
use campanile_guest::types::Failure;

/// The incoming webhook, with the part that is secret left to the host.
pub(crate) const WEBHOOK: &str = "https://hooks.slack.com/services/${secret:SLACK_PATH}";

/// Where the methods of the Web API are.
pub(crate) const WEB_API: &str = "https://slack.com/api";

/// The app's token, which the host puts in.
pub(crate) const TOKEN: &str = "${secret:SLACK_TOKEN}";

/// The settings.
pub(crate) struct Settings {
    pub(crate) way: Way,
    pub(crate) title: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) facts: bool,
}

/// How Slack is told.
pub(crate) enum Way {
    /// By an incoming webhook.
    Webhook { url: String },
    /// As an app.
    WebApi(WebApi),
}

/// What the Web API wants to know.
pub(crate) struct WebApi {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) channel: String,
}

impl Settings {
    /// Reads them. A `channel` means the Web API.
    pub(crate) fn read() -> Result<Self, Failure> {
        let (url, channel) = (config::get("url")?, config::get("channel")?);
        let token = config::get("token")?.unwrap_or_else(|| TOKEN.to_owned());
        let way = match channel {
            Some(channel) => {
                Way::WebApi(WebApi { url: url.unwrap_or_else(|| WEB_API.to_owned()), token, channel })
            }
            None => Way::Webhook { url: url.unwrap_or_else(|| WEBHOOK.to_owned()) },
        };
        let (title, text, facts) =
            (config::get("title")?, config::get("text")?, config::flag("facts", true)?);
        Ok(Self { way, title, text, facts })
    }
}
