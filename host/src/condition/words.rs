//! Comparisons that are decided before there is an alert: `alert.severity == "HIGH"`, although a severity is in lower case.

use super::tree::{Node, Operator};

/// How many letters may be wrong in a word that was mistyped; of three letters, one.
const MOST_EDITS: usize = 2;
const LETTERS: usize = 3;

/// The fields that have one of a few words, and these. Whatever was posted, an alert has them in lower case.
pub(super) const FIELDS: [(&str, &[&str]); 3] = [
    ("severity", &["low", "medium", "high", "critical"]),
    ("status", &["firing", "resolved"]),
    (
        "type",
        &[
            "security",
            "performance",
            "infrastructure",
            "application",
            "network",
            "database",
            "availability",
            "custom",
        ],
    ),
];

/// How many comparisons are listed at most.
const MOST_DOUBTS: usize = 20;

/// A field that has one of a few words.
#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    words: &'static [&'static str],
}

/// One text for each comparison of such a field with what it never is, each once.
pub(super) fn doubts(condition: &Node) -> Vec<String> {
    let mut doubts = Vec::new();
    each(condition, &mut |doubt| {
        if doubts.len() < MOST_DOUBTS && !doubts.contains(&doubt) {
            doubts.push(doubt);
        }
    });
    doubts
}

fn each(node: &Node, found: &mut dyn FnMut(String)) {
    match node {
        Node::Binary(operator, pair) => compared(*operator, pair, found),
        Node::In(pair) => listed(pair, found),
        Node::Call(function, arguments) => {
            if let (Some((name, holds)), [of, Node::Text(part)]) = (function.of_texts(), arguments.as_slice())
                && let Some(field) = field(of)
                && !field.words.iter().any(|word| holds(word, part))
            {
                found(field.no_word(&format!("{name}({part:?})")));
            }
        }
        Node::Matches(of, pattern) => {
            if let Some(field) = field(of)
                && !field.words.iter().any(|word| pattern.is_match(word))
            {
                found(field.no_word("matches(…)"));
            }
        }
        _ => {}
    }
    node.parts().into_iter().for_each(|part| each(part, found));
}

/// `alert.severity == "HIGH"`, either way round, and `alert.severity >= "high"`.
fn compared(operator: Operator, pair: &[Node; 2], found: &mut dyn FnMut(String)) {
    let (of, word) = match pair {
        [of, Node::Text(word)] | [Node::Text(word), of] => (of, word),
        _ => return,
    };
    let Some(field) = field(of) else { return };
    match operator {
        Operator::Equal | Operator::NotEqual => found_unless_known(field, word, found),
        _ => found(field.by_alphabet(operator)),
    }
}

/// `alert.severity in ["HIGH"]`; of a map, its keys.
fn listed(pair: &[Node; 2], found: &mut dyn FnMut(String)) {
    let [of, container] = pair;
    let Some(field) = field(of) else { return };
    let words: Vec<&Node> = match container {
        Node::List(words) => words.iter().collect(),
        Node::Map(entries) => entries.iter().map(|(key, _)| key).collect(),
        _ => return,
    };
    for word in words {
        if let Node::Text(word) = word {
            found_unless_known(field, word, found);
        }
    }
}

fn found_unless_known(field: Field, word: &str, found: &mut dyn FnMut(String)) {
    if !field.words.contains(&word) {
        found(field.never(word));
    }
}

/// `alert.severity` or `alert["severity"]`.
fn field(node: &Node) -> Option<Field> {
    let found = match node {
        Node::Field(of, name) if matches!(**of, Node::Alert) => name,
        Node::Index(pair) => match &**pair {
            [Node::Alert, Node::Text(name)] => name,
            _ => return None,
        },
        _ => return None,
    };
    let (name, words) = FIELDS.into_iter().find(|(name, _)| name == found)?;
    Some(Field { name, words })
}

impl Field {
    fn never(self, word: &str) -> String {
        let Self { name, .. } = self;
        let meant = self.nearest(word).map(|meant| format!(": did you mean {meant:?}?"));
        format!(
            "compares alert.{name} with {word:?}, which it never is{}{}",
            self.listed(),
            meant.unwrap_or_default()
        )
    }

    fn no_word(self, call: &str) -> String {
        format!("asks for alert.{}.{call}, which holds for no alert{}", self.name, self.listed())
    }

    fn by_alphabet(self, operator: Operator) -> String {
        let (name, sign) = (self.name, operator.sign());
        format!(
            "compares alert.{name} by {sign}, which goes by the alphabet{}: list those that are meant, such as alert.{name} in \
             [{:?}, {:?}]",
            self.listed(),
            self.words[self.words.len() - 2],
            self.words[self.words.len() - 1]
        )
    }

    fn listed(self) -> String {
        format!(" (it is one of {})", self.words.join(", "))
    }

    /// The word that was meant: the same but for its case, what a sender's word stands for, or one with few other letters.
    fn nearest(self, word: &str) -> Option<&'static str> {
        let (given, most) = (word.trim().to_lowercase(), MOST_EDITS.min(word.chars().count() / LETTERS));
        if let Some(same) = self.words.iter().find(|known| **known == given) {
            return Some(same);
        }
        if let Some(meant) = campanile_lenient::severity(&given).filter(|_| self.name == "severity") {
            return Some(meant);
        }
        let edits = self.words.iter().map(|known| (strsim::damerau_levenshtein(&given, known), *known));
        edits.filter(|(edits, _)| *edits <= most).min().map(|(_, known)| known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{AlertType, Severity, Status};
    use crate::condition::Condition;
    use serde::de::DeserializeOwned;
    use serde_json::json;

    fn said(text: &str) -> String {
        Condition::parse(text).unwrap().doubts().collect::<Vec<_>>().join("\n")
    }

    fn all_are<T: DeserializeOwned>(words: &[&str]) -> bool {
        words.iter().all(|word| serde_json::from_value::<T>(json!(word)).is_ok())
    }

    #[test]
    fn the_words_are_those_of_alerts() {
        let [(_, severities), (_, statuses), (_, types)] = FIELDS;
        assert!(
            all_are::<Severity>(severities) && all_are::<Status>(statuses) && all_are::<AlertType>(types)
        );
        let mut alert = json!({"title": "t", "description": "", "source": {"name": "n", "type": "t"},
            "severity": "x", "status": "x", "type": "x"});
        let faults = crate::alert::schema_faults(&alert);
        for (name, words) in FIELDS {
            let message = &faults.iter().find(|fault| fault.path == name).unwrap().message;
            assert!(message.ends_with(&format!("is not one of {}", words.join(", "))), "{message}");
            alert[name] = json!(words[0]);
        }
        assert!(crate::alert::schema_faults(&alert).is_empty());
    }

    #[test]
    fn a_word_that_a_field_never_has_is_named_with_the_one_that_is_meant() {
        let list = "which it never is (it is one of low, medium, high, critical)";
        for (text, word, meant) in [
            ("alert.severity == 'HIGH'", "HIGH", ": did you mean \"high\"?"),
            ("'HIGH' != alert.severity", "HIGH", ": did you mean \"high\"?"),
            ("alert['severity'] == 'Critical '", "Critical ", ": did you mean \"critical\"?"),
            (
                "has(alert.labels.a) && !(alert.severity in ['low', 'warning'])",
                "warning",
                ": did you mean \"medium\"?",
            ),
            ("alert.severity in {'hihg': 1}", "hihg", ": did you mean \"high\"?"),
            ("alert.links.exists(link, alert.severity == 'bogus')", "bogus", ""),
        ] {
            assert_eq!(said(text), format!("compares alert.severity with {word:?}, {list}{meant}"), "{text}");
        }
        assert!(said("alert.status == 'Resolved'").ends_with("did you mean \"resolved\"?"));
        assert!(said("alert.type == 'databse' ? true : false").ends_with("did you mean \"database\"?"));
        assert_eq!(said("alert.severity == 'HIGH' || alert.severity == 'HIGH'").lines().count(), 1);
    }

    #[test]
    fn what_holds_for_no_alert_or_goes_by_the_alphabet_is_named() {
        assert!(
            said("alert.severity.startsWith('H')")
                .starts_with("asks for alert.severity.startsWith(\"H\"), which holds for no")
        );
        assert!(
            said("alert.status.matches('^FIRING$')")
                .starts_with("asks for alert.status.matches(…), which holds for no")
        );
        let order = said("alert.severity >= 'high'");
        assert!(order.starts_with("compares alert.severity by >=, which goes by the alphabet"), "{order}");
        assert!(order.ends_with("such as alert.severity in [\"high\", \"critical\"]"), "{order}");
    }

    #[test]
    fn what_can_hold_is_no_doubt() {
        for text in [
            "alert.severity in ['high', 'critical'] && alert.status == 'firing' && alert.type != 'custom'",
            "alert.severity.startsWith('h') || alert.severity.matches('^(high|critical)$')",
            "alert.labels.severity == 'HIGH' || alert.source.type == 'HIGH'",
            "alert.severity == alert.title || alert.severity in [alert.title]",
        ] {
            assert_eq!(said(text), "", "{text}");
        }
    }
}
