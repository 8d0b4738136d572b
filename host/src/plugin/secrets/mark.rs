//! What tells the placeholders that the host handed out from text that only looks like them. A body is made of whatever
//! an alert says, and an alert can say `${secret:NAME}`, by chance or to have the value shown to somebody. So each call
//! reads its configuration with a mark in every placeholder that nobody else can know, and in a body only those count.

use std::sync::Arc;

use uuid::Uuid;

use super::fill::{Placeholder, placeholders};
use crate::plugin::sidecar::Settings;

/// How many of the random characters are used.
const LENGTH: usize = 16;

/// The mark of one call.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Mark(String);

impl Mark {
    /// A new one.
    pub(in crate::plugin) fn new() -> Self {
        let mut random = Uuid::new_v4().simple().to_string();
        random.truncate(LENGTH);
        Self(random)
    }

    /// The settings with every placeholder marked: `${secret:NAME.MARK}`.
    pub(in crate::plugin) fn apply(&self, settings: &Settings) -> Settings {
        let is_plain = |(_, value): &(String, String)| placeholders(value).next().is_none();
        if settings.iter().all(is_plain) {
            return settings.clone();
        }
        let marked = settings.iter().map(|(name, value)| (name.clone(), self.marked(value)));
        Arc::from_iter(marked)
    }

    fn marked(&self, text: &str) -> String {
        let mut marked = String::with_capacity(text.len() + LENGTH + 1);
        let mut end = 0;
        for found in placeholders(text) {
            marked.push_str(&text[end..found.name_end]);
            marked.push('.');
            marked.push_str(&self.0);
            end = found.name_end;
        }
        marked + &text[end..]
    }

    /// A text without the mark, for people.
    pub(in crate::plugin) fn remove(&self, text: &str) -> String {
        text.replace(&format!(".{}", self.0), "")
    }

    /// Whether a text can hold a marked placeholder at all.
    pub(super) fn is_in(&self, text: &str) -> bool {
        text.contains(&self.0)
    }

    /// Whether this placeholder was handed out in this call.
    pub(super) fn is_on(&self, placeholder: &Placeholder<'_>) -> bool {
        placeholder.mark == Some(&self.0)
    }
}
