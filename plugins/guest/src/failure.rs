//! Short ways to say why a call failed.

use crate::types::{Failure, Retry};

/// A failure that would repeat itself: nothing is gained by another attempt.
pub fn permanent(code: &str, message: impl Into<String>) -> Failure {
    Failure { code: code.to_owned(), message: message.into(), retry: Retry::Never }
}

/// A failure that may pass: the host tries again with its own backoff.
pub fn passing(code: &str, message: impl Into<String>) -> Failure {
    Failure { code: code.to_owned(), message: message.into(), retry: Retry::Backoff }
}
