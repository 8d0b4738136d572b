//! How each deed of the hostile guests has to end.

use serde_json::Value;

/// How a call ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// It answers as if nothing had been.
    Well,
    /// It crashes, with these words in the message.
    Trap(&'static str),
    /// It is stopped at its deadline.
    Deadline,
    /// It is refused more memory and crashes of it.
    Memory,
    /// It asks too much of the host, as these words say.
    HostCalls(&'static str),
    /// What it answers cannot be used; the message has these words.
    Unusable(&'static str),
    /// It fails with a code of its own.
    Failure(&'static str),
}

use End::{Deadline, Failure, HostCalls, Memory, Trap, Unusable, Well};

/// The deeds that any function of a guest can do.
pub(super) const DEEDS: [(&str, End); 52] = [
    ("abort", Trap("unreachable")),
    ("assert", Trap("assertion `left == right` failed: counting, left: 1, right: 2")),
    ("backtrack", Deadline),
    ("borrow-flood", Deadline),
    ("busy-poll", Deadline),
    ("clock-flood", Deadline),
    ("config-enumerate", Well),
    ("config-flood", Deadline),
    ("dirty-lines", Well),
    ("early-body", Well),
    ("eat", Memory),
    ("endless-line", Well),
    ("environment", Well),
    ("exit-0", Trap("exit with code 0")),
    ("exit-1", Trap("exit with code 1")),
    ("far-read", Trap("out of bounds memory access")),
    ("field-flood", HostCalls("it held more than 1000 handles at once (`handles` in [limits])")),
    ("files", Well),
    ("fill", Deadline),
    ("forged-handle", Trap("handle")),
    ("forged-log-lines", Well),
    ("grow", Well),
    ("header-count", HostCalls("it made headers of more than 32 KiB (`request-head` in [limits])")),
    ("header-size", HostCalls("it made headers of more than 32 KiB (`request-head` in [limits])")),
    ("large-write", Trap("it passed more than 4096 bytes to `blocking-write-and-flush` at once")),
    ("late-future", Well),
    ("log-flood", Deadline),
    ("log-large", Well),
    ("odd-values", Well),
    ("pollable-flood", HostCalls("it held more than 1000 handles at once (`handles` in [limits])")),
    ("poll-nothing", Trap("empty")),
    ("print-flood", Deadline),
    ("random-flood", Deadline),
    (
        "random-huge",
        HostCalls("it asked for more than 64 KiB of random bytes at once (`random` in [limits])"),
    ),
    ("recurse", Trap("call stack exhausted")),
    ("recurse-calling", Trap("call stack exhausted")),
    ("recurse-wide", Trap("out of bounds memory access")),
    (
        "refused-panic",
        Trap("its last request that failed: POST http://169.254.169.254/latest: it is not granted"),
    ),
    ("remember", Well),
    ("request-flood", HostCalls("it held more than 1000 handles at once (`handles` in [limits])")),
    ("reserve", Well),
    ("sleep", Deadline),
    ("sleep-past", Well),
    ("slow-burn", Well),
    ("sockets", Well),
    ("spin", Deadline),
    ("stdin", Well),
    ("stream-flood", HostCalls("it held more than 1000 handles at once (`handles` in [limits])")),
    ("trap", Trap("trapping as asked")),
    ("twice-dropped", Trap("handle")),
    ("unpermitted-write", Trap("it passed more bytes to `write` than the stream's `check-write` allowed")),
    ("unreachable", Trap("unreachable")),
];

/// Answers, and how they end for a processor, whose text is a change, and for the others, whose text is a message.
pub(super) const ANSWERS: [(&str, End, End); 15] = [
    ("backoff", Failure("as-asked"), Failure("as-asked")),
    ("big", Unusable("it passed more than 4 MiB"), Unusable("it passed more than 4 MiB")),
    ("code-flood", Failure("code-"), Failure("code-")),
    ("deep", Unusable("recursion limit"), Well),
    ("fail", Failure("no-mood"), Failure("no-mood")),
    ("garbage", Unusable("it is not JSON"), Well),
    ("huge", Unusable("more than 16384"), Unusable("more than the limit of 1 MiB")),
    ("identity", Unusable("id"), Well),
    ("invalid", Unusable("urgent"), Well),
    ("long", Unusable("more than 16384"), Unusable("more than the limit of 1 MiB")),
    ("long-id", Well, Well),
    ("never", Failure("as-asked"), Failure("as-asked")),
    ("scalar", Unusable("an object"), Well),
    ("shout", Failure("plugin-error"), Failure("plugin-error")),
    ("strip", Unusable("title"), Well),
];

/// What a guest may say of itself, and the words of the refusal; none if it is loaded all the same.
pub(super) const DESCRIPTIONS: [(&str, Option<&str>); 9] = [
    ("big", Some("it passed more than 4 MiB")),
    ("garbage", None),
    ("long", None),
    ("many", Some("it passed more than 4 MiB")),
    ("schema-deep", Some("more than 65536")),
    ("schema-flood", Some("more than 64 levels")),
    ("schema-large", Some("more than 65536")),
    ("schema-loud", Some("Schema")),
    ("schema-pattern", Some("is not a \"regex\"")),
];

/// The names of all that a guest can do, say, or be.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let deeds = DEEDS.into_iter().map(|(name, _)| name);
    let answers = ANSWERS.into_iter().map(|(name, ..)| name);
    // `drop` does no harm: the tests of processors ask for it.
    deeds.chain(answers).chain(DESCRIPTIONS.into_iter().map(|(name, _)| name)).chain(["drop"])
}

impl End {
    /// What is wrong with a step of a ledger.
    pub(super) fn fault(self, step: &Value) -> Option<String> {
        let (code, words) = match self {
            End::Well => return (step["result"] != "ok").then(|| format!("it should end well: {step}")),
            End::Trap(words) => ("trap", words),
            End::Deadline => ("deadline", "it did not answer within 900ms (`deadline` in [limits])"),
            End::Memory => ("memory", "memory limit 32 MiB reached (`memory` in [limits])"),
            End::HostCalls(words) => ("host-calls", words),
            End::Unusable(words) => ("invalid-output", words),
            End::Failure(code) => (code, "failing as asked"),
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (found, message) = (text(&step["error"]["code"]), text(&step["error"]["message"]));
        let fits = found.starts_with(code) && message.contains(words);
        (!fits).then(|| format!("it should end with {code}, {words:?}: {step}"))
    }

    /// The words of the refusal of a plugin that does the deed while it is loaded; none if it is loaded all the same.
    pub(super) fn refusal(self) -> Option<&'static str> {
        match self {
            End::Well | End::Failure(_) => None,
            End::Trap(words) | End::HostCalls(words) | End::Unusable(words) => Some(words),
            End::Deadline => Some("it did not answer within 5s"),
            End::Memory => Some("memory limit 32 MiB reached (`memory` in [limits])"),
        }
    }
}
