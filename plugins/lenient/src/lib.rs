//! How the host and the shipped sources read what senders post: one bad value costs itself, not the alerts around it, and
//! each one that was changed is named by its path. No I/O.

mod fit;
mod json;
mod key;
mod severity;
mod time;

pub use fit::{depth, fit, fit_alert, flatten, grouped, mark, share, shorten, size};
pub use json::read;
pub use key::key;
pub use severity::{SEVERITIES, severity};
pub use time::{LAST, time};

/// How many lines about one document are kept: its reader shows fewer.
const MOST_LINES: usize = 100;
/// How much of a name or a value a line repeats, in characters.
const EXCERPT: usize = 80;

/// The path of what stands at `key` of what stands at `at`.
fn inside(at: &str, key: &str) -> String {
    let dot = if at.is_empty() { "" } else { "." };
    format!("{at}{dot}{}", excerpt(key))
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
