//! The one table from the words that senders use to the four severities of an alert.

/// The words for each severity, in lower case. `docs/sources.md` shows this table.
pub const SEVERITIES: [(&str, &[&str]); 4] = [
    ("critical", &["critical", "crit", "fatal", "emergency", "disaster", "page", "p1", "sev0"]),
    ("high", &["high", "error", "err", "major", "alert", "p2", "sev1"]),
    ("medium", &["medium", "warning", "warn", "moderate", "minor", "average", "p3", "sev2"]),
    (
        "low",
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

/// The severity that a word means, whatever its case.
pub fn severity(word: &str) -> Option<&'static str> {
    let word = word.trim();
    let is_it = |known: &&str| word.eq_ignore_ascii_case(known);
    SEVERITIES.into_iter().find(|(_, words)| words.iter().any(&is_it)).map(|(severity, _)| severity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_senders_are_known_in_any_case() {
        for (word, known) in
            [("Sev0", "critical"), ("ERROR", "high"), ("warning", "medium"), ("P5", "low"), (" info ", "low")]
        {
            assert_eq!(severity(word), Some(known), "{word}");
        }
        assert_eq!(severity("bogus"), None);
    }

    #[test]
    fn the_documented_table_is_this_one() {
        let document = include_str!("../../../docs/sources.md");
        for (severity, words) in SEVERITIES {
            let list = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            let row = format!("| `{severity}` | {list} |");
            assert!(document.contains(&row), "docs/sources.md lacks the row\n{row}");
        }
    }
}
