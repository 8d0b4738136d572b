//! What the operator set.

use campanile_guest::config;
use campanile_guest::types::Failure;

/// Where spaces are.
pub(crate) const URL: &str = "https://chat.googleapis.com";

/// The parts of the webhook's address that are secret, which the host puts in.
pub(crate) const KEYS: &str = "key=${secret:GOOGLECHAT_KEY}&token=${secret:GOOGLECHAT_TOKEN}";

/// The settings.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) mention: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) facts: bool,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self, Failure> {
        let base = config::get("url")?.unwrap_or_else(|| URL.to_owned());
        Ok(Self {
            url: address(&base, &config::required("space", "AAAAk3ZqY0c")?),
            mention: config::get("mention")?,
            title: config::get("title")?,
            text: config::get("text")?,
            facts: config::flag("facts", true)?,
        })
    }
}

/// The webhook of a space.
pub(crate) fn address(base: &str, space: &str) -> String {
    format!("{}/v1/spaces/{space}/messages?{KEYS}", base.trim_end_matches('/'))
}
