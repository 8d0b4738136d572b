//! What the operator set.

use campanile_guest::types::Failure;
use campanile_guest::{config, is_commented};

/// The token, which the host puts in.
pub(crate) const TOKEN: &str = "${secret:JIRA_TOKEN}";

/// Where the issue's key is.
pub(crate) const ISSUE: &str = "/data/jira/issue";

/// The settings, as far as they concern what has become of the alert.
pub(crate) struct Settings {
    /// Without `/rest` and a slash at its end.
    pub(crate) url: String,
    pub(crate) api: Api,
    pub(crate) authorization: String,
    pub(crate) issue: String,
    /// Whether there is a comment, and what it says.
    pub(crate) comments: bool,
    pub(crate) comment: Option<String>,
    pub(crate) transition: Option<String>,
}

/// The version of Jira's REST API: how it writes texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// In wiki markup.
    V2,
    /// In the Atlassian Document Format.
    V3,
}

impl Settings {
    /// Reads them, for an alert in this state.
    pub(crate) fn read(state: &str) -> Result<Self, Failure> {
        let or = |key: &str, default: &str| Ok(config::get(key)?.unwrap_or_else(|| default.to_owned()));
        Ok(Self {
            url: config::required("url", "https://example.atlassian.net")?.trim_end_matches('/').to_owned(),
            api: if config::get("api")?.as_deref() == Some("2") { Api::V2 } else { Api::V3 },
            authorization: or("authorization", TOKEN)?,
            issue: or("issue", ISSUE)?,
            comments: is_commented(state, config::list("comment-on")?),
            comment: config::get("comment")?,
            transition: config::get(&format!("transition-{state}"))?,
        })
    }
}
