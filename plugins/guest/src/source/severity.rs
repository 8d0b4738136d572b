//! The severities of an alert, by the words that vendors use.

use crate::types;

pub use types::Severity;

impl Severity {
    /// The severity that a vendor's word means, whatever its case.
    pub fn named(word: &str) -> Option<Self> {
        let name = campanile_lenient::severity(word)?;
        [Self::Low, Self::Medium, Self::High, Self::Critical].into_iter().find(|one| one.as_str() == name)
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
    fn each_severity_has_words() {
        for (severity, words) in campanile_lenient::SEVERITIES {
            for word in words {
                assert_eq!(Severity::named(word).map(Severity::as_str), Some(severity), "{word}");
            }
        }
        assert_eq!(Severity::named("bogus"), None);
    }
}
