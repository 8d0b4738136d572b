//! What tests leave to chance, and the variables by which a run is repeated or made longer.

use std::fmt::Debug;
use std::str::FromStr;

/// The number that a variable of the environment gives.
///
/// # Panics
///
/// It gives something else.
pub fn variable<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text} is not a number: {error:?}")))
}

/// The seed of a test's random choices: a new one, or what `TESTS_SEED` gives. A test prints it, so that its run can be repeated.
pub fn seed() -> u64 {
    variable("TESTS_SEED").unwrap_or_else(|| fastrand::u64(..))
}

/// How often a test kills something: `times`, or what `TESTS_KILLS` gives.
pub fn kills(times: usize) -> usize {
    variable("TESTS_KILLS").unwrap_or(times)
}
