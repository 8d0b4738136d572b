//! One spelling for labels, so that routes can rely on it: `" Team Name"` becomes `team_name`.

use std::collections::{BTreeMap, BTreeSet};

/// The name in lower case, trimmed, with `_` for each run of white space.
pub(crate) fn normalised(name: &str) -> String {
    name.to_lowercase().split_whitespace().collect::<Vec<_>>().join("_")
}

/// What has to change in the labels: a new value by name, or `None` for a name that goes.
///
/// Where two names become one, the one that was in order already wins, else the first in the given order. A name
/// of nothing but white space goes. `None` if the names that go have more than `most` bytes together.
pub(crate) fn changes(labels: &[(String, String)], most: usize) -> Option<BTreeMap<String, Option<String>>> {
    let names: BTreeSet<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
    let (mut changes, mut left) = (BTreeMap::new(), most);
    for (name, value) in labels {
        let (new_name, new_value) = (normalised(name), value.trim());
        if *name == new_name && !name.is_empty() {
            if value != new_value {
                changes.insert(new_name, Some(new_value.to_owned()));
            }
            continue;
        }
        left = left.checked_sub(name.len())?;
        changes.insert(name.clone(), None);
        let taken = new_name.is_empty() || names.contains(new_name.as_str());
        if !taken {
            changes.entry(new_name).or_insert_with(|| Some(new_value.to_owned()));
        }
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(labels: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
        let owned: Vec<_> =
            labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        changes(&owned, 100).unwrap().into_iter().collect()
    }

    fn to(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn what_is_in_order_stays_untouched() {
        assert!(changed(&[("team", "payments"), ("tier", "")]).is_empty());
    }

    #[test]
    fn names_and_values_are_tidied() {
        assert_eq!(
            changed(&[(" Team  Name", " Payments ")]),
            [to(" Team  Name", None), to("team_name", Some("Payments"))]
        );
        assert_eq!(changed(&[("team", " x")]), [to("team", Some("x"))]);
    }

    #[test]
    fn the_name_that_was_in_order_wins() {
        assert_eq!(changed(&[("TEAM", "a"), ("team", "b")]), [to("TEAM", None)]);
        assert_eq!(
            changed(&[("TEAM", "a"), ("Team", "b")]),
            [to("TEAM", None), to("Team", None), to("team", Some("a"))]
        );
    }

    #[test]
    fn too_many_changes_are_none() {
        let labels = ["Team", "team", "Tier"].map(|name| (name.to_owned(), String::new()));
        assert!(changes(&labels, 8).is_some() && changes(&labels, 7).is_none());
    }

    #[test]
    fn a_name_without_letters_goes() {
        assert_eq!(changed(&[(" ", "a"), ("", "b")]), [to("", None), to(" ", None)]);
    }
}
