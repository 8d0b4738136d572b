//! The one table from the words that vendors use to the four severities of an alert.

use crate::types;

pub use types::Severity;

/// The words for each severity, in lower case. `docs/sources.md` shows this table.
const WORDS: [(Severity, &[&str]); 4] = [
    (Severity::Critical, &["critical", "crit", "fatal", "emergency", "disaster", "page", "p1", "sev0"]),
    (Severity::High, &["high", "error", "err", "major", "alert", "p2", "sev1"]),
    (Severity::Medium, &["medium", "warning", "warn", "moderate", "minor", "average", "p3", "sev2"]),
    (
        Severity::Low,
        &[
            "low",
            "info",
            "information",
            "informational",
            "notice",
            "debug",
            "none",
            "p4",
            "p5",
            "sev3",
            "sev4",
        ],
    ),
];

impl Severity {
    /// The severity that a vendor's word means, whatever its case.
    pub fn named(word: &str) -> Option<Self> {
        let word = word.trim();
        let is_it = |known: &&str| word.eq_ignore_ascii_case(known);
        WORDS.into_iter().find(|(_, words)| words.iter().any(&is_it)).map(|(severity, _)| severity)
    }

    /// The name in an alert's JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_vendors_are_known() {
        for (word, severity) in
            [("Sev0", "critical"), ("ERROR", "high"), ("warning", "medium"), ("P5", "low"), (" info ", "low")]
        {
            assert_eq!(Severity::named(word).map(Severity::as_str), Some(severity), "{word}");
        }
        assert_eq!(Severity::named("bogus"), None);
    }

    #[test]
    fn the_documented_table_is_this_one() {
        let document = include_str!("../../../../docs/sources.md");
        for (severity, words) in WORDS {
            let list = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            let row = format!("| `{}` | {list} |", severity.as_str());
            assert!(document.contains(&row), "docs/sources.md lacks the row\n{row}");
        }
    }
}
