//! Lists that are longer than what a service takes: what is left out is told, so that nobody takes a part for the whole.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::document::Document;
use crate::facts::Fact;
use crate::text::width;

/// What a list may take: how many entries, and how much all of them, in whichever unit the service counts.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// How many entries, the one that tells of others included.
    pub entries: usize,
    /// How much all of them may take.
    pub size: usize,
}

impl Room {
    /// So many entries, of any size.
    pub const fn entries(entries: usize) -> Self {
        Self { entries, size: usize::MAX }
    }

    /// Any number of entries, of this size in all.
    pub const fn size(size: usize) -> Self {
        Self { entries: usize::MAX, size }
    }

    /// Takes an entry's part of the room, if it is there.
    fn takes(&mut self, size: usize) -> bool {
        let left = self.entries.checked_sub(1).zip(self.size.checked_sub(size));
        if let Some((entries, size)) = left {
            *self = Self { entries, size };
        }
        left.is_some()
    }
}

/// The items that there is room for, in their order: for lists in which nothing can say that there are more.
pub fn within<T>(items: impl IntoIterator<Item = T>, mut room: Room, size: impl Fn(&T) -> usize) -> Vec<T> {
    items.into_iter().filter(|item| room.takes(size(item))).collect()
}

/// The items that there is room for, in their order. If that is not all of them, the last one is `more`, which says how
/// many others there are; it is there even if it is all that there is.
pub fn fit<T>(
    items: impl IntoIterator<Item = T>,
    room: Room,
    size: impl Fn(&T) -> usize,
    more: impl Fn(usize) -> T,
) -> Vec<T> {
    let (items, mut whole, mut rest) = (items.into_iter().collect::<Vec<_>>(), room, room);
    if items.iter().all(|item| whole.takes(size(item))) {
        return items;
    }
    let count = items.len();
    if !rest.takes(size(&more(count))) {
        rest.entries = 0;
    }
    let mut kept = within(items, rest, size);
    kept.push(more(count - kept.len()));
    kept
}

/// The facts as the service shows them, each made by `entry`; the last one may say that there are more.
pub fn fit_facts<'a, T>(
    facts: impl IntoIterator<Item = Fact<'a>>,
    room: Room,
    size: impl Fn(&T) -> usize,
    entry: impl Fn((&str, &str)) -> T,
) -> Vec<T> {
    let facts = facts.into_iter().map(|(name, value)| entry((&name, &value)));
    fit(facts, room, size, |missing| {
        let (name, value) = more_facts(missing);
        entry((&name, &value))
    })
}

/// The facts as an object, within a size that `size` measures by name and value; the first of a name counts.
pub fn fit_object(
    facts: impl IntoIterator<Item = (String, String)>,
    room: usize,
    size: impl Fn(&str, &str) -> usize,
) -> Map<String, Value> {
    let mut names = BTreeSet::new();
    let facts = facts.into_iter().filter(|(name, _)| names.insert(name.clone()));
    let kept = fit(facts, Room::size(room), |(name, value)| size(name, value), more_facts);
    kept.into_iter().map(|(name, value)| (name, value.into())).collect()
}

/// The texts with this separator between them, within `limit`; the last one may say that there are more.
pub fn joined(texts: impl IntoIterator<Item = String>, separator: &str, limit: usize) -> String {
    let room = Room::size(limit.saturating_add(width(separator)));
    let size = |text: &String| width(text) + width(separator);
    fit(texts, room, size, more).join(separator)
}

/// That there are more, as a fact.
pub fn more_facts(missing: usize) -> (String, String) {
    ("…".to_owned(), format!("and {missing} more"))
}

/// That the alert has more links than those that are shown, if it has.
pub fn more_links(document: &Document, shown: usize) -> Option<String> {
    let missing = document.links().len().saturating_sub(shown);
    (missing > 0).then(|| more(missing))
}

/// That there are more: `… and 7 more`.
pub fn more(missing: usize) -> String {
    format!("… and {missing} more")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fact;

    fn words(words: &str, room: Room) -> Vec<String> {
        fit(words.split(' ').map(str::to_owned), room, |word| word.len(), more)
    }

    #[test]
    fn what_fits_stays_whole() {
        assert_eq!(words("a b c", Room::entries(3)), ["a", "b", "c"]);
        assert_eq!(words("aa b", Room::size(3)), ["aa", "b"]);
        assert!(fit(Vec::<String>::new(), Room::entries(0), String::len, more).is_empty());
    }

    #[test]
    fn what_is_left_out_is_told_within_the_room() {
        assert_eq!(words("a b c d", Room::entries(3)), ["a", "b", "… and 2 more"]);
        assert_eq!(words("a b", Room::entries(1)), ["… and 2 more"]);
        assert_eq!(
            words("aaaa bbbbbbbbbbbbbbbbbbbb cc", Room::size(21)),
            ["aaaa", "cc", "… and 1 more"],
            "shorter ones follow one that is too long"
        );
        for size in 16..60 {
            let kept = words(&"x ".repeat(100), Room { entries: 30, size });
            assert!(kept.len() <= 30 && kept.iter().map(String::len).sum::<usize>() <= size, "{kept:?}");
        }
    }

    #[test]
    fn what_tells_of_others_may_stand_elsewhere() {
        assert_eq!(within([1, 9, 2, 3], Room { entries: 2, size: 8 }, |n| *n), [1, 2]);
    }

    #[test]
    fn facts_end_in_one() {
        let facts = || [("a", "1"), ("b", "2"), ("c", "3")].map(|(name, value)| fact(name, value));
        let shown = |room| fit_facts(facts(), room, |_| 0, |(name, value)| format!("{name}: {value}"));
        assert_eq!(shown(Room::entries(3)), ["a: 1", "b: 2", "c: 3"]);
        assert_eq!(shown(Room::entries(2)), ["a: 1", "…: and 2 more"]);
    }

    #[test]
    fn an_object_has_each_name_once() {
        let facts = || ["a", "b", "a", "c"].map(|name| (name.to_owned(), "x".repeat(9)));
        let object = |room| fit_object(facts(), room, |name, value| width(name) + width(value));
        assert_eq!(object(30).keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(Value::from(object(29)), serde_json::json!({ "a": "xxxxxxxxx", "…": "and 2 more" }));
    }

    #[test]
    fn links_that_are_not_shown_are_counted() {
        let document =
            Document::parse(r#"{"links": ["https://a.example", "https://b.example", "odd"]}"#).unwrap();
        assert_eq!(more_links(&document, 1).as_deref(), Some("… and 1 more"));
        assert_eq!(more_links(&document, 2), None);
    }

    #[test]
    fn joined_texts_count_what_is_between_them() {
        let links = || ["aaaa", "bbbb", "cccccccc"].map(str::to_owned);
        assert_eq!(joined(links(), " · ", 22), "aaaa · bbbb · cccccccc");
        assert_eq!(joined(links(), " · ", 21), "aaaa · … and 2 more");
        assert_eq!(joined([], " · ", 0), "");
    }
}
