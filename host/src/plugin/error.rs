//! Why a plugin call did not succeed, and whether to try again: data that the caller acts on without reading texts.

use std::time::Duration;

use crate::ledger::Retry;
use crate::shown::is_unprintable;

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
    /// Whether the plugin had less time than its own deadline gives it, since the caller had no more.
    pub cut_short: bool,
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
    /// It did not finish the body of a request before its time was over: the request was not sent.
    RequestBody,
    /// It returned ok without waiting for a request, and that did not succeed.
    NotAwaited,
    /// It asked for more memory than it may have.
    Memory,
    /// It asked too much of the host: too many bytes in one call of it, too many handles, random bytes or headers.
    HostCalls,
    /// Its answer cannot be used: too large, or not what the contract says.
    InvalidOutput,
    /// It failed so often that it is left alone for a while.
    Quarantined,
    /// It failed on this very input twice before, which is refused for a while.
    FailingInput,
    /// As many calls as allowed were running.
    Busy,
    /// No such plugin is loaded and enabled.
    NotLoaded,
    /// It was replaced or removed while it ran, and its call did not end in time.
    Replaced,
    /// The host itself failed.
    Host,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Whoever the plugin talks to, or the plugin: only it can tell.
    Service,
    /// The plugin.
    Plugin,
    /// What the operator put into the plugin directory or took out of it.
    Operator,
    /// The host: it has not the capacity, or a fault of its own.
    Host,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 14] = [
        Reason::Guest,
        Reason::Trap,
        Reason::Deadline,
        Reason::RequestBody,
        Reason::NotAwaited,
        Reason::Memory,
        Reason::HostCalls,
        Reason::InvalidOutput,
        Reason::Quarantined,
        Reason::FailingInput,
        Reason::Busy,
        Reason::NotLoaded,
        Reason::Replaced,
        Reason::Host,
    ];

    /// The name, in kebab case.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Guest => "guest",
            Reason::Trap => "trap",
            Reason::Deadline => "deadline",
            Reason::RequestBody => "request-body-not-finished",
            Reason::NotAwaited => "request-not-awaited",
            Reason::Memory => "memory",
            Reason::HostCalls => "host-calls",
            Reason::InvalidOutput => "invalid-output",
            Reason::Quarantined => "quarantined",
            Reason::FailingInput => "failing-input",
            Reason::Busy => "busy",
            Reason::NotLoaded => "not-loaded",
            Reason::Replaced => "replaced",
            Reason::Host => "host",
        }
    }

    /// Whose fault it is.
    pub fn blame(self) -> Blame {
        match self {
            Reason::Guest | Reason::NotAwaited => Blame::Service,
            Reason::Trap
            | Reason::Deadline
            | Reason::RequestBody
            | Reason::Memory
            | Reason::HostCalls
            | Reason::InvalidOutput
            | Reason::Quarantined
            | Reason::FailingInput => Blame::Plugin,
            Reason::NotLoaded | Reason::Replaced => Blame::Operator,
            Reason::Busy | Reason::Host => Blame::Host,
        }
    }

    /// Whether a failure of this kind is worth another attempt. What can heal by itself or by a new version of the
    /// plugin is tried again; an answer that cannot be used comes from code that will give it again, and for a
    /// notifier the message may well have been sent, as with a request that it did not wait for. A plugin's own failure
    /// and a quarantine say themselves when.
    fn retry(self) -> Retry {
        match self {
            Reason::InvalidOutput | Reason::NotAwaited => Retry::Never,
            _ => Retry::Backoff,
        }
    }
}

impl CallError {
    /// Nobody can be called, as the message says.
    pub fn not_loaded(message: impl AsRef<str>) -> Self {
        Self::of(Reason::NotLoaded, message)
    }

    /// A failure that the host found, with the code and the retry that go with its reason.
    pub(super) fn of(reason: Reason, message: impl AsRef<str>) -> Self {
        Self {
            code: reason.as_str().to_owned(),
            message: one_line(message.as_ref(), LONGEST_MESSAGE),
            retry: reason.retry(),
            reason,
            cut_short: false,
        }
    }

    /// The plugin's own failure, with its texts made harmless.
    pub(super) fn from_guest(code: &str, message: &str, retry: Retry) -> Self {
        let code = if is_kebab(code) { code } else { NAMELESS_FAILURE };
        let message = one_line(message, LONGEST_MESSAGE);
        Self { code: code.to_owned(), message, retry, reason: Reason::Guest, cut_short: false }
    }
}

/// A time without the digits that nobody asked for: `1.5s`, `400ms`.
pub(super) fn shown(time: Duration) -> String {
    let millis = (time + Duration::from_micros(500)).as_millis();
    format!("{:?}", Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

/// A plugin's text as one harmless line: at most `longest` characters and an ellipsis, control characters escaped.
pub(super) fn one_line(text: &str, longest: usize) -> String {
    let mut line = String::with_capacity(text.len().min(longest));
    let mut left = longest;
    for c in text.trim_end().chars() {
        let shown = if c == '\t' { ' ' } else { c };
        let escaped = is_unprintable(shown).then(|| shown.escape_default());
        let size = escaped.as_ref().map_or(1, ExactSizeIterator::len);
        if size > left {
            line.push('…');
            break;
        }
        left -= size;
        match escaped {
            Some(escaped) => line.extend(escaped),
            None => line.push(shown),
        }
    }
    line
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
        assert_eq!(one_line("ab\u{202e}def", 9), "ab…");
        assert!(
            CallError::of(Reason::Trap, "x".repeat(5_000)).message.chars().count() <= LONGEST_MESSAGE + 1
        );
    }

    #[test]
    fn every_kind_has_a_code_somebody_to_blame_and_a_retry() {
        use Reason::*;
        let table = [
            (Guest, "guest", Blame::Service, Retry::Backoff),
            (Trap, "trap", Blame::Plugin, Retry::Backoff),
            (Deadline, "deadline", Blame::Plugin, Retry::Backoff),
            (RequestBody, "request-body-not-finished", Blame::Plugin, Retry::Backoff),
            (NotAwaited, "request-not-awaited", Blame::Service, Retry::Never),
            (Memory, "memory", Blame::Plugin, Retry::Backoff),
            (HostCalls, "host-calls", Blame::Plugin, Retry::Backoff),
            (InvalidOutput, "invalid-output", Blame::Plugin, Retry::Never),
            (Quarantined, "quarantined", Blame::Plugin, Retry::Backoff),
            (FailingInput, "failing-input", Blame::Plugin, Retry::Backoff),
            (Busy, "busy", Blame::Host, Retry::Backoff),
            (NotLoaded, "not-loaded", Blame::Operator, Retry::Backoff),
            (Replaced, "replaced", Blame::Operator, Retry::Backoff),
            (Host, "host", Blame::Host, Retry::Backoff),
        ];
        assert_eq!(table.map(|(reason, ..)| reason), Reason::ALL);
        for (reason, code, blame, retry) in table {
            let error = CallError::of(reason, "");
            assert_eq!((error.code.as_str(), reason.blame(), error.retry), (code, blame, retry));
        }
    }

    #[test]
    fn times_are_shown_without_noise() {
        assert_eq!(shown(Duration::from_micros(999_990)), "1s");
        assert_eq!(shown(Duration::from_millis(1_500)), "1.5s");
        assert_eq!(shown(Duration::from_micros(400_200)), "400ms");
    }
}
