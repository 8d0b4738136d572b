//! What runtimes print when a plugin crashes, as they printed it, and what of it is named.

use super::*;

/// Output, and the words that must name its error.
const RECORDED: [(&str, &str); 7] = [
    (
        "\nthread '<unnamed>' (1) panicked at tests/guests/support/src/cpu.rs:46:5:\ntrapping as asked\n\
         note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
        "panicked at tests/guests/support/src/cpu.rs:46:5: trapping as asked",
    ),
    (
        "\nthread '<unnamed>' (1) panicked at tests/guests/support/src/cpu.rs:51:5:\n\
         assertion `left == right` failed: counting\n  left: 1\n right: 2\n\
         note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
        "panicked at tests/guests/support/src/cpu.rs:51:5: assertion `left == right` failed: counting, left: 1, \
         right: 2",
    ),
    (
        "Traceback (most recent call last):\n  File \"/0/app.py\", line 40, in notify\nKeyError: 'channel'\n\n\
         thread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:\n\
         Python function threw an unexpected exception\n\
         note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
        "KeyError: 'channel' (File \"/0/app.py\", line 40, in notify)",
    ),
    (
        "Traceback (most recent call last):\n  File \"/0/app.py\", line 46, in notify\n    int(\"x\")\n    ~~~^^^^^\n\
         ValueError: invalid literal for int() with base 10: 'x'\n\n\
         During handling of the above exception, another exception occurred:\n\n\
         Traceback (most recent call last):\n  File \"/0/app.py\", line 48, in notify\n    deliver(1)\n\
         \x20   ~~~~~~~^^^\n  File \"/0/app.py\", line 60, in deliver\n\
         RuntimeError: first line\nsecond line\n\n\
         thread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:\n\
         Python function threw an unexpected exception\n",
        "RuntimeError: first line, second line (File \"/0/app.py\", line 60, in deliver)",
    ),
    (
        "expected a string, received [undefined]\nStack:\n\
         \x20 _utf8AllocateAndEncode@/tmp/d38f8637cf11/sources/initializer.js:133:11\n\
         \x20 export_notifier_0_1_0$notify@/tmp/d38f8637cf11/sources/initializer.js:7742:45\n\n\
         Redirecting call to abort() to mozalloc_abort\n\n",
        "expected a string, received [undefined] \
         (_utf8AllocateAndEncode@/tmp/d38f8637cf11/sources/initializer.js:133:11)",
    ),
    (
        "Exception while (call) event loop error\n\
         notifier.js:14:115 TypeError: can't access property \"channel\", missing is undefined\n",
        "notifier.js:14:115 TypeError: can't access property \"channel\", missing is undefined",
    ),
    (
        "Error while (call) event loop error, but no exception is pending. Aborting, since that doesn't seem \
         recoverable at all.\n",
        "Error while (call) event loop error, but no exception is pending. Aborting, since that doesn't seem \
         recoverable at all.",
    ),
];

fn words(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    let mut words = LastWords::default();
    // As the host cuts output into lines.
    lines
        .into_iter()
        .map(|line| line.as_ref().trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .for_each(|line| words.push(&line));
    words.text()
}

#[test]
fn the_error_is_named_as_each_runtime_prints_it() {
    for (output, expected) in RECORDED {
        assert_eq!(words(output.lines()).unwrap(), expected);
    }
}

#[test]
fn the_error_is_named_however_much_was_printed_before() {
    let first = fastrand::u64(..1 << 40);
    println!("seeds from {first}");
    for seed in first..first + 300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let noise: Vec<String> = (0..random.usize(0..200))
            .map(|_| (0..random.usize(1..40)).map(|_| random.char('\u{1}'..'\u{2fff}')).collect())
            .collect();
        // Without a shape of its own, only the beginning and the end are shown.
        let (output, expected) = RECORDED[random.usize(..RECORDED.len() - 1)];
        let named = words(noise.iter().map(String::as_str).chain(output.lines())).unwrap();
        assert_eq!(named, expected, "seed {seed}");
    }
}

#[test]
fn without_a_known_shape_beginning_and_end_are_shown() {
    let lines = (1..=90).map(|number| format!("line {number}"));
    let shown = "line 1; line 2; …; line 87; line 88; line 89; line 90";
    assert_eq!(words(lines).unwrap(), shown);
    assert_eq!(words(["one", "  two"]).unwrap(), "one; two");
    assert_eq!(words([""; 0]), None);
}

#[test]
fn a_long_message_leaves_room_for_its_place_and_many_for_what_comes_after() {
    let frame = "  File \"/0/app.py\", line 41, in notify";
    let named = words([frame, &"x".repeat(5_000)]).unwrap();
    assert_eq!(named, format!("{}… ({})", "x".repeat(LONGEST_LINE), frame.trim()));
    let long = "x".repeat(LONGEST_LINE);
    let named = words([frame, &long, &long, &long]).unwrap();
    assert_eq!(named.chars().count(), LONGEST + 1);
}

#[test]
fn whatever_is_printed_is_one_bounded_line() {
    bolero::check!(name = "last-words").with_iterations(1_000).for_each(|bytes: &[u8]| {
        let output = String::from_utf8_lossy(bytes).replace('a', "\n  File \"").replace('b', "\nStack:\n");
        let line = words(output.lines()).unwrap_or_default();
        assert!(line.chars().count() <= LONGEST + 1 && !line.contains(char::is_control), "{line:?}");
    });
}
