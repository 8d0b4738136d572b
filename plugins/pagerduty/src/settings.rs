//! What the operator set.

use campanile_guest::config;
use campanile_guest::types::Failure;

/// Where events go, for accounts in the US.
pub(crate) const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// The settings. The templates are those of [`crate::event`].
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) routing_key: String,
    pub(crate) client_url: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) component: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) class: Option<String>,
}

impl Settings {
    /// Reads them. In a body the host fills in only the placeholder that comes from the configuration, so the routing
    /// key has no default.
    pub(crate) fn read() -> Result<Self, Failure> {
        Ok(Self {
            url: config::get("url")?.unwrap_or_else(|| URL.to_owned()),
            routing_key: config::required("routing-key", "${secret:PAGERDUTY_ROUTING_KEY}")?,
            client_url: config::get("client-url")?,
            summary: config::get("summary")?,
            source: config::get("source")?,
            component: config::get("component")?,
            group: config::get("group")?,
            class: config::get("class")?,
        })
    }
}
