//! What the operator set.

use campanile_guest::config;
use campanile_guest::types::Failure;
use serde_json::Value;

use crate::responders;

/// Where the alerts of the Alert API are, for accounts outside of the EU.
pub(crate) const URL: &str = "https://api.opsgenie.com/v2/alerts";

/// The key of an API integration, which the host puts in.
pub(crate) const KEY: &str = "${secret:OPSGENIE_KEY}";

/// The settings.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) responders: Vec<Value>,
    pub(crate) tags: Vec<String>,
    pub(crate) message: Option<String>,
    pub(crate) description: Option<String>,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self, Failure> {
        Ok(Self {
            url: config::get("url")?.unwrap_or_else(|| URL.to_owned()),
            key: config::get("key")?.unwrap_or_else(|| KEY.to_owned()),
            responders: responders::parse(&config::list("responders")?.unwrap_or_default())?,
            tags: config::list("tags")?.unwrap_or_default(),
            message: config::get("message")?,
            description: config::get("description")?,
        })
    }
}
