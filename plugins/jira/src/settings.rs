//! What the operator set.

use campanile_guest::config;
use campanile_guest::failure::permanent;
use campanile_guest::types::Failure;

/// The account's token, which the host puts in.
pub(crate) const TOKEN: &str = "${secret:JIRA_TOKEN}";

/// The kind of issue.
pub(crate) const ISSUE_TYPE: &str = "Task";

/// The priorities of critical, high, medium and low.
pub(crate) const PRIORITIES: [&str; 4] = ["Highest", "High", "Medium", "Low"];

/// The settings.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) api: Api,
    pub(crate) token: String,
    pub(crate) project: String,
    pub(crate) issue_type: String,
    pub(crate) priorities: Option<[String; 4]>,
    pub(crate) labels: Vec<String>,
    pub(crate) summary: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) comment: Option<String>,
    pub(crate) resolve_transition: Option<String>,
}

/// The version of the API: 3 is that of Jira Cloud, 2 that of Data Center.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    V2,
    V3,
}

impl Api {
    pub(crate) fn version(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

impl Settings {
    /// Reads them. The plugin's schema has seen to it that `api` is one of the two.
    pub(crate) fn read() -> Result<Self, Failure> {
        let two = config::get("api")?.is_some_and(|version| version == "2");
        let or = |key, default: &str| Ok(config::get(key)?.unwrap_or_else(|| default.to_owned()));
        Ok(Self {
            url: config::required("url", "https://example.atlassian.net")?,
            api: if two { Api::V2 } else { Api::V3 },
            token: or("token", TOKEN)?,
            project: config::required("project", "OPS")?,
            issue_type: or("issue-type", ISSUE_TYPE)?,
            priorities: match config::list("priorities")? {
                Some(names) => priorities(&names)?,
                None => Some(PRIORITIES.map(str::to_owned)),
            },
            labels: config::list("labels")?.unwrap_or_default(),
            summary: config::get("summary")?,
            text: config::get("text")?,
            comment: config::get("comment")?,
            resolve_transition: config::get("resolve-transition")?,
        })
    }
}

/// The four priorities; none if none are named.
pub(crate) fn priorities(names: &[String]) -> Result<Option<[String; 4]>, Failure> {
    if names.is_empty() {
        return Ok(None);
    }
    names.to_vec().try_into().map(Some).map_err(|names: Vec<_>| {
        let message = format!(
            "the configuration's `priorities` is {:?}, not four names, such as {:?} for critical, high, medium and low",
            names.join(", "),
            PRIORITIES.join(", "),
        );
        permanent("config-invalid", message)
    })
}
