//! What all events have in common: the repository, and keys of what is there once in it.

use std::borrow::Cow;

use campanile_guest::source::{Draft, Sheet};
use serde_json::Value;

/// Where repositories are unless a company runs a server of its own.
const GITHUB: &str = "github.com";

/// The repository of a delivery.
pub(crate) struct Repository {
    /// What it is known by, and the field that it is from: its number, which stays when it is renamed.
    identity: (&'static str, Option<String>),
    /// Owner and name.
    pub(crate) full_name: Option<String>,
    name: Option<String>,
    pub(crate) default_branch: Option<String>,
}

/// The server that counts the repository, unless that is github.com.
fn host(payload: &Value) -> Option<&str> {
    let (_, address) = payload["repository"]["html_url"].as_str()?.split_once("://")?;
    address.split('/').next().filter(|host| !host.is_empty() && *host != GITHUB)
}

impl Repository {
    pub(crate) fn of(payload: &Value, sheet: &mut Sheet) -> Self {
        let mut text = |at| sheet.text("", payload, at).map(Cow::into_owned);
        let (full_name, host) = (text("/repository/full_name"), host(payload));
        let on_host =
            |id: String| host.iter().copied().map(str::to_owned).chain([id]).collect::<Vec<_>>().join("/");
        let identity = match text("/repository/id") {
            Some(id) => ("repository.id", Some(on_host(id))),
            None => ("repository.full_name", full_name.clone()),
        };
        Self {
            identity,
            full_name,
            name: text("/repository/name"),
            default_branch: text("/repository/default_branch"),
        }
    }

    /// Owner and name, for people.
    pub(crate) fn shown(&self) -> &str {
        self.full_name.as_deref().or(self.name.as_deref()).unwrap_or("a repository")
    }

    /// Says where it happened.
    pub(crate) fn locate(&self, draft: Draft) -> Draft {
        draft.context("service", self.name.as_deref()).label("repository", &self.full_name.as_deref().into())
    }

    /// Gives the alert the key that its firing and its end share: of `kind`, in this repository, and of `parts`, each with the
    /// field that it is from.
    pub(crate) fn identify(
        &self,
        draft: Draft,
        kind: &str,
        parts: &[(&str, Option<&str>)],
        sheet: &mut Sheet,
    ) -> Draft {
        let mut key = kind.to_owned();
        let whole = [(self.identity.0, self.identity.1.as_deref())];
        for (at, part) in whole.iter().chain(parts) {
            let Some(part) = part else {
                sheet.warnings.push(format!("{at}: is missing: no end will find the alert"));
                return draft;
            };
            key.push('/');
            key.push_str(part);
        }
        draft.dedup_key(&key)
    }
}

#[cfg(test)]
mod tests {
    use crate::hook::tests::{alert, with};
    use serde_json::json;

    const FAILED: &str = include_str!("../payloads/deployment-failed.json");

    #[test]
    fn a_repository_that_is_renamed_stays_the_same() {
        let renamed = with(FAILED, &[("/repository/full_name", json!("acme/store"))]);
        assert_eq!(alert(&renamed)["dedup_key"], alert(FAILED)["dedup_key"]);
    }

    #[test]
    fn a_server_of_ones_own_counts_for_itself() {
        let own = with(FAILED, &[("/repository/html_url", json!("https://git.acme.example/acme/shop"))]);
        assert_eq!(alert(&own)["dedup_key"], "deployment/git.acme.example/300029405/production/deploy");
    }
}
