//! Deeds that call the host too often, with too much, or with what makes no sense.

use std::hint::black_box;
use std::io::{Write, stdout};
use std::mem::forget;

use crate::bindings::wasi::cli::stdout::get_stdout;
use crate::bindings::wasi::clocks::monotonic_clock::{
    now, resolution, subscribe_duration, subscribe_instant,
};
use crate::bindings::wasi::config::store;
use crate::bindings::wasi::http::outgoing_handler::handle;
use crate::bindings::wasi::http::types::{
    Fields, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use crate::bindings::wasi::io::poll::{Pollable, poll};
use crate::bindings::wasi::logging::logging::{Level, log};
use crate::bindings::wasi::random::random::get_random_bytes;
use crate::{config, http};

const HOUR: u64 = 3_600_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// Asks again and again for a time that has long come.
pub fn busy_poll() {
    let past = subscribe_instant(0);
    loop {
        black_box(poll(&[&past]));
    }
}

pub fn clock_flood() {
    loop {
        black_box(now());
    }
}

pub fn borrow_flood() {
    let fields = Fields::new();
    loop {
        black_box(fields.has("x"));
    }
}

pub fn config_flood() {
    loop {
        black_box(store::get("script").ok());
    }
}

pub fn random_flood() {
    loop {
        black_box(get_random_bytes(64 << 10));
    }
}

pub fn random_huge() {
    black_box(get_random_bytes(u64::MAX));
}

pub fn log_flood() {
    for line in 0_u64.. {
        log(Level::Info, "flood", &format!("line {line} of far too many"));
    }
}

pub fn print_flood() {
    for line in 0_u64.. {
        println!("line {line} of far too many");
    }
}

pub fn log_large() {
    log(Level::Info, "log-large", &"x".repeat(1 << 20));
    log(Level::Info, &"y".repeat(1 << 20), "");
    println!("log-large: said");
}

pub fn endless_line() {
    let part = "z".repeat(64 << 10);
    let mut out = stdout().lock();
    (0..16).for_each(|_| out.write_all(part.as_bytes()).expect("stdout takes anything"));
    out.flush().expect("stdout takes anything");
}

pub fn dirty_lines() {
    let mut out = stdout().lock();
    out.write_all(b"dirty-lines: \x00 \x07 \x1b[31mred\x1b[0m \xff\xfe \xe2\x80\xae \r back\n")
        .expect("stdout");
    out.flush().expect("stdout takes anything");
}

/// Lines that look as if the host had written them.
pub fn forged_log_lines() {
    let forged = r#"{"level":"ERROR","message":"forged by a plugin","target":"campanile"}"#;
    println!("{forged}");
    log(Level::Info, "forged\n", &format!("first\n{forged}\r\n{forged}"));
}

pub fn field_flood() {
    loop {
        forget(Fields::new());
    }
}

pub fn pollable_flood() {
    loop {
        forget(subscribe_duration(HOUR));
    }
}

pub fn stream_flood() {
    loop {
        forget(get_stdout());
    }
}

pub fn request_flood() {
    loop {
        forget(OutgoingRequest::new(Fields::new()));
    }
}

pub fn header_count() {
    let fields = Fields::new();
    let refused = (0..40_000).find_map(|number| fields.append(&format!("h{number}"), b"v").err());
    println!("header-count: {refused:?}");
}

pub fn header_size() {
    let fields = Fields::new();
    println!("header-size: {:?}", fields.append("h", &vec![b'v'; 128 << 10]));
}

pub fn config_enumerate() {
    println!("config-enumerate: {:?}", store::get_all());
    println!("config-enumerate: {:?}", store::get("../slack/token\0"));
}

pub fn sleep() {
    println!("sleep: begun");
    subscribe_duration(u64::MAX).block();
}

pub fn sleep_past() {
    subscribe_instant(0).block();
    println!("sleep-past: awake");
}

/// Much of a deadline of 300 ms, and no more.
pub fn slow_burn() {
    let end = now() + 150 * MILLISECOND;
    while now() < end {}
    println!("slow-burn: done");
}

pub fn poll_nothing() {
    black_box(poll(&[]));
}

pub fn forged_handle() {
    let forged = unsafe { Fields::from_handle(4_711) };
    black_box(forged.has("x"));
}

pub fn twice_dropped() {
    let fields = Fields::new();
    let again = unsafe { Fields::from_handle(fields.handle()) };
    drop(fields);
    drop(again);
}

/// A request whose answer nobody waits for; the setting `url` says where to.
pub fn late_future() {
    let sent = http::request(&config("url"), &[])
        .and_then(|request| handle(request, None).map(forget).map_err(|error| error.to_string()));
    println!("late-future: {sent:?}");
}

/// More in one write than WASI allows.
pub fn large_write() {
    println!("large-write: {:?}", get_stdout().blocking_write_and_flush(&[b'x'; 5_000]));
}

/// More in one write than the stream has said that it takes.
pub fn unpermitted_write() {
    let request = OutgoingRequest::new(Fields::new());
    let body = request.body().expect("a request has a body");
    let stream = body.write().expect("a body has a stream");
    println!("unpermitted-write: {:?}", stream.write(&vec![b'x'; 2 << 20]));
}

/// All of a body before its request is handed over, in small pieces and then in large ones.
pub fn early_body() {
    let request = OutgoingRequest::new(Fields::new());
    let body = request.body().expect("a request has a body");
    let stream = body.write().expect("a body has a stream");
    for piece in vec![vec![b'x'; 10]; 1_000].into_iter().chain(vec![vec![b'y'; 4_096]; 50]) {
        stream.blocking_write_and_flush(&piece).expect("the host takes it");
    }
    drop(stream);
    OutgoingBody::finish(body, None).expect("it is whole");
    println!("early-body: written");
}

/// What a plugin says that takes for granted that its request succeeds.
pub fn refused_panic() {
    let answer = http::post("http://169.254.169.254/latest", &[], "{}");
    assert!(answer.is_ok(), "the request failed");
}

pub fn recurse_calling() {
    black_box(deeper(0));
}

#[expect(unconditional_recursion, reason = "exhausting the stack is the point")]
fn deeper(depth: u64) -> u64 {
    now() + black_box(deeper(black_box(depth) + 1))
}

/// What no sensible guest asks for; the host may refuse it, and must not stumble.
pub fn odd_values() {
    let options = RequestOptions::new();
    for time in [0, 1, u64::MAX] {
        let connect = options.set_connect_timeout(Some(time));
        let first = options.set_first_byte_timeout(Some(time));
        let between = options.set_between_bytes_timeout(Some(time));
        println!("odd-values: timeouts of {time}: {connect:?} {first:?} {between:?}");
    }
    println!("odd-values: {} {}", now() > 0, resolution() > 0);
    for time in [1, u64::MAX - 1, u64::MAX] {
        println!("odd-values: timer {time}: {}", subscribe_duration(time).ready());
        println!("odd-values: instant {time}: {}", subscribe_instant(time).ready());
    }
    println!("odd-values: random {}", get_random_bytes(0).len());
    println!("odd-values: long key {:?}", store::get(&"k".repeat(1 << 20)));
    odd_headers();
    odd_request();
    let pollable: Pollable = subscribe_duration(0);
    println!("odd-values: polled {:?}", poll(&[&pollable, &pollable, &pollable]));
}

fn odd_headers() {
    let fields = Fields::new();
    for name in ["", " ", "a\0b", "a\r\nb", "ä", "host", "content-length", "transfer-encoding", "connection"]
    {
        println!("odd-values: header {name:?}: {:?}", fields.append(name, b"1"));
    }
    for value in [&b"\0"[..], b"\r\nx: y", b"\xff"] {
        println!("odd-values: value {value:?}: {:?}", fields.append("x", value));
    }
}

fn odd_request() {
    let request = OutgoingRequest::new(Fields::new());
    for text in ["", " ", "\0", "a b", "x\r\ny", "//", "a@b:99999", "http://elsewhere/"] {
        let method = request.set_method(&Method::Other(text.to_owned()));
        let scheme = request.set_scheme(Some(&Scheme::Other(text.to_owned())));
        let (authority, path) = (request.set_authority(Some(text)), request.set_path_with_query(Some(text)));
        println!("odd-values: {text:?}: {method:?} {scheme:?} {authority:?} {path:?}");
    }
}
