//! What a guest wrote to stderr before it crashed: its beginning and its end, and of these what names the error. A
//! runtime often has the last word itself, and that says nothing of the plugin.

use std::collections::VecDeque;

use super::error::one_line;

/// How many lines are kept of the beginning, and of the end.
const FIRST: usize = 16;
const LATEST: usize = 48;
/// The longest line that is kept, in characters: that of an exception leaves room for its place.
const LONGEST_LINE: usize = 512;
/// The longest text that names an error, in characters.
const LONGEST: usize = 600;
/// How many lines are shown of the beginning, and of the end, where nothing names the error.
const SHOWN_FIRST: usize = 2;
const SHOWN_LATEST: usize = 4;
/// How many lines the message of a panic or an exception may have.
const MESSAGE: usize = 6;

/// How a line begins that follows every Rust panic and explains nothing.
const RUST_HINT: &str = "note: run with `RUST_BACKTRACE";

/// The lines of one call's stderr.
#[derive(Default)]
pub(super) struct LastWords {
    first: Vec<String>,
    latest: VecDeque<String>,
    left_out: bool,
}

impl LastWords {
    /// Takes one more line, with the spaces that it begins with.
    pub(super) fn push(&mut self, line: &str) {
        let line = one_line(line, LONGEST_LINE);
        if self.first.len() < FIRST {
            return self.first.push(line);
        }
        self.latest.push_back(line);
        if self.latest.len() > LATEST {
            self.latest.pop_front();
            self.left_out = true;
        }
    }

    /// In one line; nothing if the guest wrote nothing.
    pub(super) fn text(&self) -> Option<String> {
        let lines: Vec<&str> = self.first.iter().chain(&self.latest).map(String::as_str).collect();
        let text = python(&lines).or_else(|| javascript(&lines)).or_else(|| rust(&lines));
        let text = text.unwrap_or_else(|| self.ends(&lines));
        (!text.is_empty()).then(|| one_line(&text, LONGEST))
    }

    /// The beginning and the end.
    fn ends(&self, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| line.trim()).collect();
        if lines.len() <= SHOWN_FIRST + SHOWN_LATEST && !self.left_out {
            return lines.join("; ");
        }
        let end = &lines[lines.len() - SHOWN_LATEST..];
        format!("{}; …; {}", lines[..SHOWN_FIRST].join("; "), end.join("; "))
    }
}

/// The exception at the end of the last traceback, and the innermost of the frames above it.
///
/// ```text
/// Traceback (most recent call last):
///   File "/0/app.py", line 41, in notify
///     {}["channel"]
/// KeyError: 'channel'
/// ```
fn python(lines: &[&str]) -> Option<String> {
    let frame = lines.iter().rposition(|line| line.starts_with("  File \""))?;
    let rest = lines[frame + 1..].iter().skip_while(|line| line.starts_with(' '));
    let message = message(rest.take_while(|line| !is_panic(line)));
    (!message.is_empty()).then(|| format!("{message} ({})", lines[frame].trim()))
}

/// The error that SpiderMonkey prints with its stack, or without where nothing waited for the promise.
///
/// ```text
/// can't access property "channel", missing is undefined
/// Stack:
///   notify@notifier.js:41:3
/// ```
fn javascript(lines: &[&str]) -> Option<String> {
    let stack = lines.iter().rposition(|line| *line == "Stack:").filter(|place| *place > 0);
    if let Some(stack) = stack {
        let place = lines.get(stack + 1).filter(|line| line.starts_with(' '));
        let place = place.map(|place| format!(" ({})", place.trim())).unwrap_or_default();
        return Some(format!("{}{place}", lines[stack - 1].trim()));
    }
    let loose = lines.iter().rposition(|line| line.starts_with("Exception while "))?;
    lines.get(loose + 1).map(|line| line.trim().to_owned())
}

/// Place and message of the last panic.
///
/// ```text
/// thread '<unnamed>' panicked at src/lib.rs:41:9:
/// assertion `left == right` failed
///   left: 1
///  right: 2
/// note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
/// ```
fn rust(lines: &[&str]) -> Option<String> {
    let at = lines.iter().rposition(|line| is_panic(line))?;
    let place = lines[at].find("panicked at ").map_or(lines[at], |found| &lines[at][found..]);
    let rest = lines[at + 1..].iter().take_while(|line| !line.starts_with(RUST_HINT));
    Some(format!("{place} {}", message(rest)).trim_end().to_owned())
}

fn is_panic(line: &str) -> bool {
    line.starts_with("thread '") && line.contains(" panicked at ")
}

/// The lines of a message as one.
fn message<'a>(lines: impl Iterator<Item = &'a &'a str>) -> String {
    lines.take(MESSAGE).map(|line| line.trim()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
