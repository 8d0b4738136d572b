//! The rule: how urgent an alert is, from 0 to 100, and which priority that makes.
//!
//! | what | points |
//! |---|---|
//! | severity | low 20, medium 40, high 60, critical 80 |
//! | environment | production +15; development and test −20; any other, or none, 0 |
//! | type | security and availability +10; database +5; any other 0 |
//! | status | a resolved alert counts 10 at most: nobody has to act |
//!
//! 80 and more is `P1`, 60 `P2`, 40 `P3`, less `P4`.

use campanile_guest::types::{Severity, Status};

/// The score, 0 to 100.
pub(crate) fn score(severity: Severity, environment: Option<&str>, kind: &str, status: Status) -> u8 {
    let points = of_severity(severity) + environment.map_or(0, of_environment) + of_kind(kind);
    let most = if status == Status::Resolved { 10 } else { 100 };
    // The clamp keeps the value within 0 to 100, which fits.
    points.clamp(0, most) as u8
}

/// The priority that a score makes.
pub(crate) fn priority(score: u8) -> &'static str {
    match score {
        80.. => "P1",
        60.. => "P2",
        40.. => "P3",
        _ => "P4",
    }
}

fn of_severity(severity: Severity) -> i32 {
    match severity {
        Severity::Low => 20,
        Severity::Medium => 40,
        Severity::High => 60,
        Severity::Critical => 80,
    }
}

fn of_environment(environment: &str) -> i32 {
    match environment.to_lowercase().as_str() {
        "production" | "prod" | "live" => 15,
        "development" | "dev" | "test" | "testing" | "local" | "sandbox" => -20,
        _ => 0,
    }
}

fn of_kind(kind: &str) -> i32 {
    match kind {
        "security" | "availability" => 10,
        "database" => 5,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_environment_and_type_add_up() {
        let cases = [
            (Severity::High, Some("production"), "security", 85, "P1"),
            (Severity::Critical, None, "infrastructure", 80, "P1"),
            (Severity::Critical, Some("Dev"), "application", 60, "P2"),
            (Severity::Medium, None, "performance", 40, "P3"),
            (Severity::Low, Some("PROD"), "custom", 35, "P4"),
            (Severity::Critical, Some("live"), "availability", 100, "P1"),
            (Severity::Low, Some("test"), "custom", 0, "P4"),
        ];
        for (severity, environment, kind, expected, expected_priority) in cases {
            let scored = score(severity, environment, kind, Status::Firing);
            assert_eq!(
                (scored, priority(scored)),
                (expected, expected_priority),
                "{severity:?} {environment:?} {kind}"
            );
        }
    }

    #[test]
    fn what_is_resolved_is_never_urgent() {
        let scored = score(Severity::Critical, Some("production"), "security", Status::Resolved);
        assert_eq!((scored, priority(scored)), (10, "P4"));
    }
}
