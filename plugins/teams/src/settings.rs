//! What the operator set.

use campanile_guest::config;
use campanile_guest::types::Failure;

/// An address as workflows have it, with the part that is secret left to the host.
pub(crate) const EXAMPLE: &str = "https://ID.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/ID/\
     triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=${secret:TEAMS_SIG}";

/// The settings.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) title: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) facts: bool,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self, Failure> {
        let url = config::required("url", EXAMPLE)?;
        let (title, text, facts) =
            (config::get("title")?, config::get("text")?, config::flag("facts", true)?);
        Ok(Self { url, title, text, facts })
    }
}
