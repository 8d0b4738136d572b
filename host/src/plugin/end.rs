//! The end of a call, seen from its requests: what a plugin did not wait for, or did not finish, decides how the call
//! ended, and is named.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Role;
use super::egress::Settled;
use super::error::{CallError, Reason, one_line};
use super::imports::HostState;

/// What a call that is too late may take to say what it waited for. Its requests have the same deadline.
const AFTERTHOUGHT: Duration = Duration::from_millis(50);
/// How many warnings of one call are kept, and the longest, in characters: a step of the ledger has room for 12 KiB.
const MOST_WARNINGS: usize = 4;
const LONGEST_WARNING: usize = 320;
/// How many requests a failure names.
const MOST_NAMED: usize = 3;

/// A call that returned ok: with the warnings that go with it, or as a failure after all, if it is there to send something
/// and that did not succeed. `limit` is the time that it had, of `full`.
pub(super) async fn settled(
    state: &mut HostState,
    role: Role,
    (limit, full): (Duration, Duration),
    retired: &CancellationToken,
) -> Result<Vec<String>, CallError> {
    let settled = state.settle(state.deadline(), retired).await;
    let sends = matches!(role, Role::Notifier | Role::StatusUpdater);
    if sends && !settled.failed.is_empty() {
        let text = format!("it returned ok without waiting for {}", named(&settled.failed));
        // The next attempt has all of the time.
        let was_cut_short = limit < full && state.deadline() <= Instant::now();
        let reason = if was_cut_short { Reason::Deadline } else { Reason::NotAwaited };
        return Err(CallError::of(reason, text));
    }
    let is_idle = role == Role::Notifier && settled.dropped.is_empty() && state.was_idle();
    let idle = is_idle.then(|| idle(state));
    let mut warnings: Vec<String> = warnings(&settled).chain(idle).collect();
    let left_out = warnings.len().saturating_sub(MOST_WARNINGS);
    warnings.truncate(MOST_WARNINGS);
    warnings.iter_mut().for_each(|warning| *warning = one_line(warning, LONGEST_WARNING));
    warnings.extend((left_out > 0).then(|| format!("{left_out} more warnings are not listed")));
    Ok(warnings)
}

/// A call that was too late, with what it waited for.
pub(super) async fn late(late: CallError, state: &mut HostState, retired: &CancellationToken) -> CallError {
    let mut settled = state.settle(Instant::now() + AFTERTHOUGHT, retired).await;
    if settled.failed.is_empty() {
        // The plugin got the code of that one, and had no time left for it.
        settled.failed.extend(state.requests.failures().pop());
    }
    if settled.failed.is_empty() {
        return late;
    }
    let reason = if settled.has_unfinished_body { Reason::RequestBody } else { late.reason };
    CallError::of(reason, format!("{}; {}", late.message, named(&settled.failed)))
}

fn warnings(settled: &Settled) -> impl Iterator<Item = String> {
    let Settled { finished, failed, dropped, .. } = settled;
    let finished = finished
        .iter()
        .map(|text| format!("it returned ok without waiting for {text}; the host waited in its place"));
    let failed = failed.iter().map(|text| format!("it returned ok without waiting for {text}"));
    let dropped = dropped.iter().map(|text| {
        format!("it dropped {text}: before an answer came, so that the request may not have arrived")
    });
    finished.chain(failed).chain(dropped)
}

fn idle(state: &HostState) -> String {
    match state.requests.failures().last() {
        None => "it returned ok without sending any request or mail".to_owned(),
        Some(why) => format!("it returned ok, but none of its requests got an answer; the last one: {why}"),
    }
}

/// The first of these, and how many there are besides.
fn named(texts: &[String]) -> String {
    let first = texts.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match texts.len().saturating_sub(MOST_NAMED) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}
