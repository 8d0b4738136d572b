//! What the eye looks for first: how bad it is, or that it is over.

use crate::types::{Alert, Severity, Status};

/// How an alert shows in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Such as 🔴.
    pub emoji: &'static str,
    /// Such as `Critical`; `Resolved` for what has ended.
    pub word: &'static str,
    /// As `0xRRGGBB`.
    pub colour: u32,
}

impl Look {
    /// How this alert shows.
    pub fn of(alert: &Alert) -> Self {
        let (emoji, word, colour) = match (alert.status, alert.severity) {
            (Status::Resolved, _) => ("✅", "Resolved", 0x2E_B6_7D),
            (Status::Firing, Severity::Critical) => ("🔴", "Critical", 0xD0_00_00),
            (Status::Firing, Severity::High) => ("🟠", "High", 0xF2_73_0C),
            (Status::Firing, Severity::Medium) => ("🟡", "Medium", 0xEC_B2_2E),
            (Status::Firing, Severity::Low) => ("🔵", "Low", 0x36_A2_D9),
        };
        Self { emoji, word, colour }
    }
}
