//! Every deed by its name. What a deed found out it prints as `DEED: what it saw`; whatever ends well is followed by an
//! ordinary answer.

use crate::{answers, calls, cpu, memory, script, wasi};

const DEEDS: [(&str, fn()); 53] = [
    ("abort", cpu::abort),
    ("assert", cpu::assert),
    ("backtrack", cpu::backtrack),
    ("borrow-flood", calls::borrow_flood),
    ("busy-poll", calls::busy_poll),
    ("clock-flood", calls::clock_flood),
    ("config-enumerate", calls::config_enumerate),
    ("config-flood", calls::config_flood),
    ("dirty-lines", calls::dirty_lines),
    ("early-body", calls::early_body),
    ("eat", memory::eat),
    ("endless-line", calls::endless_line),
    ("environment", wasi::environment),
    ("exit-0", cpu::exit_0),
    ("exit-1", cpu::exit_1),
    ("far-read", memory::far_read),
    ("field-flood", calls::field_flood),
    ("files", wasi::files),
    ("fill", memory::fill),
    ("forged-handle", calls::forged_handle),
    ("forged-log-lines", calls::forged_log_lines),
    ("grow", memory::grow),
    ("header-count", calls::header_count),
    ("header-size", calls::header_size),
    ("large-write", calls::large_write),
    ("late-future", calls::late_future),
    ("log-flood", calls::log_flood),
    ("log-large", calls::log_large),
    ("names", names),
    ("odd-values", calls::odd_values),
    ("pollable-flood", calls::pollable_flood),
    ("poll-nothing", calls::poll_nothing),
    ("print-flood", calls::print_flood),
    ("random-flood", calls::random_flood),
    ("random-huge", calls::random_huge),
    ("recurse", cpu::recurse),
    ("recurse-calling", calls::recurse_calling),
    ("recurse-wide", cpu::recurse_wide),
    ("refused-panic", calls::refused_panic),
    ("remember", memory::remember),
    ("request-flood", calls::request_flood),
    ("reserve", memory::reserve),
    ("sleep", calls::sleep),
    ("sleep-past", calls::sleep_past),
    ("slow-burn", calls::slow_burn),
    ("sockets", wasi::sockets),
    ("spin", cpu::spin),
    ("stdin", wasi::input),
    ("stream-flood", calls::stream_flood),
    ("trap", cpu::trap),
    ("twice-dropped", calls::twice_dropped),
    ("unpermitted-write", calls::unpermitted_write),
    ("unreachable", cpu::unreachable),
];

/// Does what `what` names, and returns at once if that is no deed.
pub fn commit(what: &str) {
    if let Some((_, deed)) = DEEDS.iter().find(|(name, _)| *name == what) {
        deed();
    }
}

/// What runs when a guest is instantiated.
pub extern "C" fn initialise() {
    commit(&script::at("initialise"));
}

/// Prints what a test can ask for.
fn names() {
    let deeds = DEEDS.iter().map(|(name, _)| *name);
    deeds.chain(answers::NAMES).for_each(|name| println!("names: {name}"));
}
