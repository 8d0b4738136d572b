//! What all events have in common: the repository, and keys of what is there once in it.

use std::borrow::Cow;

use campanile_guest::source::{Draft, Sheet};
use serde_json::Value;

/// The repository of a delivery.
pub(crate) struct Repository {
    /// Owner and name.
    pub(crate) full_name: Option<String>,
    name: Option<String>,
    pub(crate) default_branch: Option<String>,
}

impl Repository {
    pub(crate) fn of(payload: &Value, sheet: &mut Sheet) -> Self {
        let mut text = |at| sheet.text("", payload, at).map(Cow::into_owned);
        Self {
            full_name: text("/repository/full_name"),
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
        let whole = [("repository.full_name", self.full_name.as_deref())];
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
