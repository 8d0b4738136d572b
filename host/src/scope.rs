//! Whose ids are whose. An id that a sender chose counts among what was posted to one source, or to `/webhook/alerts` by keys of
//! one scope; the id of a request among what keys of one scope posted to one source. In the ids of alerts the scope stands behind
//! an `@`: `alert-42@grafana-20231201-143022`. So senders of different scopes never meet, whatever ids they choose. No I/O.

/// The longest name of a key or a source, in characters.
const LONGEST_NAME: usize = 64;
/// What `/webhook/alerts` is among sources.
const ALERTS: &str = "alerts";

/// Among what an id counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    source: Option<&'a str>,
    key: Option<&'a str>,
}

impl<'a> Scope<'a> {
    /// That of the alerts which were posted to a source, or to `/webhook/alerts` by a key of this scope; `None` for what was posted
    /// there without a key.
    pub fn of_alerts(scope: Option<&'a str>) -> Self {
        Self { source: scope.filter(|scope| *scope != ALERTS), key: None }
    }

    /// That of the requests which were posted to a source by keys of one scope; `None` where no key is asked for.
    pub fn of_requests(source: Option<&'a str>, key: Option<&'a str>) -> Self {
        Self { source, key }
    }

    /// Its name.
    pub fn name(self) -> &'a str {
        self.source.unwrap_or(ALERTS)
    }

    /// An id of this scope as part of a workflow's id: different for each scope and id. An `@` of the sender's is doubled, and
    /// names have none.
    pub fn id(self, id: &str) -> String {
        let id = id.replace('@', "@@");
        match (self.source, self.key) {
            (None, None) => id,
            (source, None) => format!("{id}@{}", source.unwrap_or(ALERTS)),
            (source, Some(key)) => format!("{id}@{}/{key}", source.unwrap_or(ALERTS)),
        }
    }
}

/// What is wrong with the name of a key or a source, which stands in ids.
pub fn name_fault(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(allowed);
    (!fits).then(|| {
        format!(
            "{name:?} is not a name of 1 to {LONGEST_NAME} letters, digits, '-', '_' or '.', such as team-a"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Ids and names of few, nasty characters, so that they would meet if they could.
    fn text(random: &mut fastrand::Rng, letters: &[char], least: usize) -> String {
        let length = random.usize(least..5);
        std::iter::repeat_with(|| letters[random.usize(..letters.len())]).take(length).collect()
    }

    #[test]
    fn ids_of_different_scopes_never_meet() {
        let mut seen: HashMap<String, (Option<String>, Option<String>, String)> = HashMap::new();
        for seed in 0..20_000 {
            let random = &mut fastrand::Rng::with_seed(seed);
            let id = text(random, &['a', '@', '/', '%', '#', '~', '-', '2', '\u{e4}'], 0);
            let name = |random: &mut fastrand::Rng| {
                let name = text(random, &['a', '-', '.', '_', '2'], 1);
                assert_eq!(name_fault(&name), None);
                random.bool().then_some(name)
            };
            let own = (name(random), name(random), id);
            let made = Scope::of_requests(own.0.as_deref(), own.1.as_deref()).id(&own.2);
            let first = seen.entry(made.clone()).or_insert_with(|| own.clone());
            assert_eq!(*first, own, "seed {seed}: both are {made}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_name() {
        for name in ["", "a/b", "a@b", "ä", "a b", "a\n", "a#1", "a~2", &"a".repeat(65)] {
            assert!(name_fault(name).is_some(), "{name:?}");
        }
    }
}
