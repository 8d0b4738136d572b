//! What the operator set.

use campanile_guest::types::Failure;
use campanile_guest::{config, is_commented};

/// Where the REST API is.
pub(crate) const API: &str = "https://api.github.com";

/// The token, which the host puts in.
pub(crate) const TOKEN: &str = "${secret:GITHUB_TOKEN}";

/// Where the issue's number is.
pub(crate) const ISSUE: &str = "/data/github/issue";

/// The settings, as far as they concern what has become of the alert.
pub(crate) struct Settings {
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) authorization: String,
    pub(crate) owner: String,
    pub(crate) repo: String,
    pub(crate) issue: String,
    /// Whether there is a comment, and what it says.
    pub(crate) comments: bool,
    pub(crate) comment: Option<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) close: bool,
}

impl Settings {
    /// Reads them, for an alert in this state.
    pub(crate) fn read(state: &str) -> Result<Self, Failure> {
        let or = |key: &str, default: &str| Ok(config::get(key)?.unwrap_or_else(|| default.to_owned()));
        Ok(Self {
            url: or("url", API)?.trim_end_matches('/').to_owned(),
            authorization: or("authorization", TOKEN)?,
            owner: config::required("owner", "octocat")?,
            repo: config::required("repo", "hello-world")?,
            issue: or("issue", ISSUE)?,
            comments: is_commented(state, config::list("comment-on")?),
            comment: config::get("comment")?,
            labels: config::list(&format!("label-{state}"))?.unwrap_or_default(),
            close: state == "resolved" && config::flag("close", true)?,
        })
    }

    /// Whether nothing is to be done.
    pub(crate) fn is_idle(&self) -> bool {
        !self.comments && self.labels.is_empty() && !self.close
    }
}
