//! What the operator set.

use campanile_guest::config;
use campanile_guest::types::Failure;

use crate::address;

/// The settings.
pub(crate) struct Settings {
    pub(crate) to: Vec<String>,
    pub(crate) from: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) facts: bool,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self, Failure> {
        Ok(Self {
            to: address::list(&config::required("to", "ops@example.com")?)?,
            from: config::get("from")?,
            subject: config::get("subject")?,
            text: config::get("text")?,
            facts: config::flag("facts", true)?,
        })
    }

    /// Those of somebody who set nothing but a recipient.
    #[cfg(test)]
    pub(crate) fn of(to: &str) -> Self {
        Self { to: vec![to.to_owned()], from: None, subject: None, text: None, facts: true }
    }
}
