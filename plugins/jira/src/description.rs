//! What stands in an issue, before it is written in the form that Jira takes.

use campanile_guest::text::{Escape, escaped};
use campanile_guest::{Delivery, Document, facts, one_line};

/// The most of the text, of a fact's name and value, and of a link's text, in UTF-16 code units once they are escaped. All
/// together stay below the 32,767 characters of a text field, in wiki markup and as the JSON of a document
/// (jira.atlassian.com/browse/JRASERVER-64351).
pub(crate) const TEXT: usize = 7000;
const NAME: usize = 40;
const VALUE: usize = 150;
const LABEL: usize = 60;

/// The longest address of a link, in bytes; a longer one is left out.
const LINK: usize = 300;

/// How many facts and links there are at most.
const FACTS: usize = 16;
const LINKS: usize = 3;

/// The text, what is known, and links as address and text; escaped, but for addresses.
pub(crate) struct Description {
    pub(crate) text: String,
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) links: Vec<(String, String)>,
}

impl Description {
    /// Of an alert, below this text.
    pub(crate) fn of(text: String, delivery: &Delivery, document: &Document, escape: Escape) -> Self {
        let short = |text: &str, limit| escaped(&one_line(text), limit, escape);
        let facts = known(delivery, document).take(FACTS);
        let links = document.links().into_iter().filter(|(href, _)| href.len() <= LINK).take(LINKS);
        Self {
            text,
            facts: facts.map(|(name, value)| (short(name, NAME), short(value, VALUE))).collect(),
            links: links.map(|(href, text)| (one_line(href), short(text, LABEL))).collect(),
        }
    }
}

/// The alert's id, what is known about it, then labels.
fn known<'a>(delivery: &'a Delivery, document: &'a Document) -> impl Iterator<Item = (&'a str, &'a str)> {
    [("Alert", delivery.alert.id.as_str())].into_iter().chain(facts(&delivery.alert, document))
}
