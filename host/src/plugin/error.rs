//! Why a plugin call did not succeed, and whether to try again: data that the caller acts on without reading texts.

use crate::ledger::Retry;

/// The longest message that is kept, in characters.
pub(super) const LONGEST_MESSAGE: usize = 1_024;
/// The longest error code of a plugin that is kept, in characters.
const LONGEST_CODE: usize = 64;
/// The code of a failure whose own code is not kebab case.
const NAMELESS_FAILURE: &str = "plugin-error";

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// In kebab case, for machines: the plugin's own, or the name of the [`Reason`].
    pub code: String,
    /// For the person on call; one line, at most 1,024 characters.
    pub message: String,
    /// Whether another attempt is worth making.
    pub retry: Retry,
    /// Whose fault it is and of which kind.
    pub reason: Reason,
}

/// The kinds of failure: a closed set, since it labels a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The plugin answered with a failure of its own.
    Guest,
    /// The plugin crashed: it panicked, exited, or broke a rule of WebAssembly.
    Trap,
    /// It did not answer in time.
    Deadline,
    /// It asked for more memory than it may have.
    Memory,
    /// As many calls as allowed were running.
    Busy,
    /// Its answer cannot be used: too large, or not what the contract says.
    InvalidOutput,
    /// No such plugin is loaded and enabled.
    NotLoaded,
}

impl Reason {
    /// The name, in kebab case.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Guest => "guest",
            Reason::Trap => "trap",
            Reason::Deadline => "deadline",
            Reason::Memory => "memory",
            Reason::Busy => "busy",
            Reason::InvalidOutput => "invalid-output",
            Reason::NotLoaded => "not-loaded",
        }
    }

    /// Whether a failure of this kind is worth another attempt. What can heal by itself or by a new version of the
    /// plugin is tried again; an answer that cannot be used comes from code that will give it again, and for a
    /// notifier the message may well have been sent.
    ///
    /// | reason | retry |
    /// |---|---|
    /// | guest | as the plugin said |
    /// | trap, deadline, memory | backoff |
    /// | busy, not loaded | backoff |
    /// | invalid output | never |
    fn retry(self) -> Retry {
        match self {
            Reason::InvalidOutput => Retry::Never,
            Reason::Guest
            | Reason::Trap
            | Reason::Deadline
            | Reason::Memory
            | Reason::Busy
            | Reason::NotLoaded => Retry::Backoff,
        }
    }
}

impl CallError {
    /// A failure that the host found, with the code and the retry that go with its reason.
    pub(super) fn of(reason: Reason, message: impl AsRef<str>) -> Self {
        Self {
            code: reason.as_str().to_owned(),
            message: one_line(message.as_ref(), LONGEST_MESSAGE),
            retry: reason.retry(),
            reason,
        }
    }

    /// The plugin's own failure, with its texts made harmless.
    pub(super) fn from_guest(code: &str, message: &str, retry: Retry) -> Self {
        let code = if is_kebab(code) { code } else { NAMELESS_FAILURE };
        let message = one_line(message, LONGEST_MESSAGE);
        Self { code: code.to_owned(), message, retry, reason: Reason::Guest }
    }
}

/// A plugin's text as one harmless line: at most `longest` characters, control characters escaped.
pub(super) fn one_line(text: &str, longest: usize) -> String {
    let mut line = String::with_capacity(text.len().min(longest));
    for (at, c) in text.trim_end().chars().enumerate() {
        if at == longest {
            line.push('…');
            break;
        }
        match c {
            '\t' => line.push(' '),
            c if is_dangerous(c) => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// Control characters, and those that reorder or break the text around them.
fn is_dangerous(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_kebab(code: &str) -> bool {
    let starts_well = code.starts_with(|c: char| c.is_ascii_lowercase());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    starts_well && code.len() <= LONGEST_CODE && code.chars().all(allowed) && !code.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_code_is_kept_if_it_is_kebab_case() {
        let code = |given: &str| CallError::from_guest(given, "m", Retry::Never).code;
        assert_eq!(code("http-404"), "http-404");
        for bad in ["", "Http", "a b", "-a", "a-", "4xx", "ä", &"x".repeat(65)] {
            assert_eq!(code(bad), NAMELESS_FAILURE, "{bad:?}");
        }
    }

    #[test]
    fn a_plugins_text_becomes_one_harmless_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m\u{202e}c\n", 99), "a\\nb\\u{1b}[31m\\u{202e}c");
        assert_eq!(one_line("grün\t→ ok", 99), "grün → ok");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert!(
            CallError::of(Reason::Trap, "x".repeat(5_000)).message.chars().count() <= LONGEST_MESSAGE + 1
        );
    }

    #[test]
    fn only_an_unusable_answer_is_not_tried_again() {
        use Reason::*;
        for reason in [Trap, Deadline, Memory, Busy, NotLoaded] {
            assert_eq!(CallError::of(reason, "").retry, Retry::Backoff, "{reason:?}");
        }
        assert_eq!(CallError::of(InvalidOutput, "").retry, Retry::Never);
    }
}
