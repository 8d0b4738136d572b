//! What commands print. All of it goes through here, a line at a time: whatever a line is made of, it stays one, with no
//! control characters and in one direction.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

use rustix::stdio::stdout;
use rustix::termios::tcgetwinsize;
use serde_json::Value;

use crate::shown;
use crate::webhook::scrubbed;

/// Why standard output did not take a line.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints one line to standard output, as `println!` does.
macro_rules! say {
    () => { $crate::cli::output::line("") };
    ($($part:tt)+) => { $crate::cli::output::line(format_args!($($part)+)) };
}
pub(super) use say;

/// Prints a line.
pub(super) fn line(text: impl Display) {
    let text = text.to_string();
    answer(&shown::line(&text));
}

/// Prints a text of ours that has several lines.
pub(super) fn lines(text: impl Display) {
    text.to_string().lines().for_each(line);
}

/// Prints a line of cells for programs, with tabs between them.
pub(super) fn cells(cells: &[String]) {
    let cells: Vec<_> = cells.iter().map(|cell| shown::line(cell)).collect();
    answer(&cells.join("\t"));
}

/// Prints JSON for programs.
pub(super) fn json(value: &Value) {
    lines(format_args!("{value:#}"));
}

/// Prints to standard error what is beside the answer, or why there is none, without the keys that the command was given.
pub(super) fn note(text: impl Display) {
    let text = scrubbed(&text.to_string());
    // Where this cannot be printed, no other place is left.
    text.lines().for_each(|text| _ = print(&mut io::stderr().lock(), &shown::line(text)));
}

/// The width of the terminal that standard output goes to; `None` if it goes elsewhere.
pub(super) fn terminal_width() -> Option<usize> {
    #[cfg(test)]
    if let Some(width) = tests::width() {
        return Some(width);
    }
    let size = tcgetwinsize(stdout()).ok()?;
    // A terminal that does not know its width has the one of a teletype.
    Some(if size.ws_col == 0 { 80 } else { size.ws_col.into() })
}

/// Why a part of the answer was lost, if it was.
pub(super) fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

fn answer(line: &str) {
    match print(&mut io::stdout().lock(), line) {
        // A reader that has gone, such as `head`, has read enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => _ = LOST.set(error),
        _ => {}
    }
}

fn print(to: &mut impl Write, line: &str) -> io::Result<()> {
    #[cfg(test)]
    if tests::keep(line) {
        return Ok(());
    }
    writeln!(to, "{line}")
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::{Cell, RefCell};

    thread_local! {
        /// What was printed on this thread since it was looked at, if a test looks.
        static KEPT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
        /// The width of the terminal that a test pretends to have.
        static WIDTH: Cell<Option<usize>> = const { Cell::new(None) };
    }

    pub(super) fn width() -> Option<usize> {
        WIDTH.get()
    }

    /// The lines that `command` prints on a terminal of this width.
    pub(in crate::cli) fn printed_on(width: usize, command: impl FnOnce()) -> Vec<String> {
        WIDTH.set(Some(width));
        let lines = printed(command);
        WIDTH.set(None);
        lines
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
