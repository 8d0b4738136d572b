//! What the operator set.

use campanile_guest::config;
use campanile_guest::types::Failure;

/// The public server.
pub(crate) const URL: &str = "https://ntfy.sh/";

/// The settings.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) topic: String,
    pub(crate) token: String,
    pub(crate) title: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) replace: bool,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self, Failure> {
        Ok(Self {
            url: config::get("url")?.unwrap_or_else(|| URL.to_owned()),
            topic: config::required("topic", "alerts-9f3c21")?,
            token: config::get("token")?.unwrap_or_default(),
            title: config::get("title")?,
            text: config::get("text")?,
            replace: config::flag("replace", true)?,
        })
    }
}
