//! What the operator set.

use campanile_guest::config;
use campanile_guest::types::Failure;

/// Where the methods of the API are.
pub(crate) const URL: &str = "https://api.pushover.net/1";

/// How often an emergency rings, and how long, in seconds.
pub(crate) const RETRY: &str = "60";
pub(crate) const EXPIRE: &str = "3600";

/// The settings.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) user: String,
    pub(crate) device: Option<String>,
    pub(crate) sound: Option<String>,
    pub(crate) emergency: bool,
    pub(crate) retry: String,
    pub(crate) expire: String,
    pub(crate) title: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) html: bool,
}

impl Settings {
    /// Reads them. Placeholders in a body count only as the configuration hands them out, so they have no defaults.
    pub(crate) fn read() -> Result<Self, Failure> {
        Ok(Self {
            url: config::get("url")?.unwrap_or_else(|| URL.to_owned()),
            token: config::required("token", "${secret:PUSHOVER_TOKEN}")?,
            user: config::required("user", "${secret:PUSHOVER_USER}")?,
            device: config::get("device")?,
            sound: config::get("sound")?,
            emergency: config::flag("emergency", true)?,
            retry: config::get("retry")?.unwrap_or_else(|| RETRY.to_owned()),
            expire: config::get("expire")?.unwrap_or_else(|| EXPIRE.to_owned()),
            title: config::get("title")?,
            text: config::get("text")?,
            html: config::flag("html", false)?,
        })
    }
}
