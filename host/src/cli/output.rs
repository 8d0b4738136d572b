//! What commands print. All of it goes through here, a line at a time: whatever a line is made of, it stays one, with no
//! control characters and in one direction.

use std::fmt::Display;
use std::io::{self, Write};

use serde_json::Value;

use crate::shown;
use crate::webhook::scrubbed;

/// Prints one line to standard output, as `println!` does.
macro_rules! say {
    () => { $crate::cli::output::line("") };
    ($($part:tt)+) => { $crate::cli::output::line(format_args!($($part)+)) };
}
pub(super) use say;

/// Prints a line.
pub(super) fn line(text: impl Display) {
    let text = text.to_string();
    print(&mut io::stdout().lock(), &shown::line(&text));
}

/// Prints a text of ours that has several lines.
pub(super) fn lines(text: impl Display) {
    text.to_string().lines().for_each(line);
}

/// Prints JSON for programs.
pub(super) fn json(value: &Value) {
    lines(format_args!("{value:#}"));
}

/// Prints to standard error why a command failed, without the keys that it was given.
pub(super) fn error(text: impl Display) {
    let text = scrubbed(&text.to_string());
    text.lines().for_each(|text| print(&mut io::stderr().lock(), &shown::line(text)));
}

fn print(to: &mut impl Write, line: &str) {
    #[cfg(test)]
    if tests::keep(line) {
        return;
    }
    // A reader that has gone, such as `head`, has read enough.
    _ = writeln!(to, "{line}");
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;

    thread_local! {
        /// What was printed on this thread since it was looked at, if a test looks.
        static KEPT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
    }

    /// The lines that `command` prints, to standard output and standard error.
    pub(in crate::cli) fn printed(command: impl FnOnce()) -> Vec<String> {
        KEPT.set(Some(Vec::new()));
        command();
        KEPT.take().unwrap_or_default()
    }

    pub(super) fn keep(line: &str) -> bool {
        KEPT.with_borrow_mut(|kept| kept.as_mut().map(|kept| kept.push(line.to_owned())).is_some())
    }
}
