//! What stands in an issue, before it is written in the form that Jira takes.

use campanile_guest::fit::{Room, fit_facts, more_links};
use campanile_guest::text::{Escape, escaped};
use campanile_guest::{Delivery, Document, Fact, fact, facts, one_line};

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
    /// That there are more links.
    pub(crate) more: Option<String>,
}

impl Description {
    /// Of an alert, below this text.
    pub(crate) fn of(text: String, delivery: &Delivery, document: &Document, escape: Escape) -> Self {
        let short = |text: &str, limit| escaped(&one_line(text), limit, escape);
        let fact = |(name, value): (&str, &str)| (short(name, NAME), short(value, VALUE));
        let links = document.links().into_iter().filter(|(href, _)| href.len() <= LINK).take(LINKS);
        let links: Vec<_> = links.map(|(href, text)| (one_line(href), short(text, LABEL))).collect();
        Self {
            text,
            facts: fit_facts(known(delivery, document), Room::entries(FACTS), |_| 0, fact),
            more: more_links(document, links.len()),
            links,
        }
    }
}

/// The alert's id, what is known about it, then what it has of its own.
fn known<'a>(delivery: &'a Delivery, document: &'a Document) -> impl Iterator<Item = Fact<'a>> {
    [fact("Alert", &delivery.alert.id)].into_iter().chain(facts(&delivery.alert, document))
}
