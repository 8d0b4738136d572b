//! Inputs that make a plugin fail by themselves. One that failed twice is refused for a while, twice as long each time: the
//! plugin would only fail again, and its other senders would wait meanwhile.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::{FIRST, LONGEST};
use crate::alert::Sender;

/// How many are remembered; the one that failed longest ago makes room.
const MOST: usize = 256;
/// How many are listed.
const LISTED: usize = 10;
/// After how many failures an input is refused.
const FAILURES: u32 = 2;

/// A digest of what a plugin is called with. Its key is this process's own, so that no sender can make another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::plugin) struct Input(u64);

impl Input {
    /// The digest of these parts.
    pub(in crate::plugin) fn of(parts: &[&[u8]]) -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(KEY.hash_one(parts))
    }
}

/// An input that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct FailingInput {
    /// Who sent it.
    pub sender: Sender,
    /// The alert or the trace of the last call with it, as in the log.
    pub about: String,
    /// How often the plugin failed on it.
    pub failures: u32,
    /// What the plugin did at last.
    pub why: String,
    /// How much longer it is refused.
    pub seconds_left: u64,
}

struct Record {
    sender: Sender,
    about: String,
    failures: u32,
    why: String,
    failed_at: Instant,
    until: Instant,
}

/// What is known of the inputs of one plugin.
#[derive(Default)]
pub(super) struct Inputs(HashMap<Input, Record>);

impl Inputs {
    /// Why an input is refused, if it is. Once its time is over one call with it is let through.
    pub(super) fn refuse(&mut self, input: Input) -> Option<FailingInput> {
        let record = self.0.get_mut(&input).filter(|record| record.failures >= FAILURES)?;
        let refused = record.shown();
        if refused.is_none() {
            record.until = Instant::now() + length(record.failures);
        }
        refused
    }

    /// The plugin failed on it.
    pub(super) fn failed(&mut self, input: Input, sender: &Sender, about: &str, why: &str) {
        if self.0.len() >= MOST
            && !self.0.contains_key(&input)
            && let Some(oldest) =
                self.0.iter().min_by_key(|(_, record)| record.failed_at).map(|(input, _)| *input)
        {
            self.0.remove(&oldest);
        }
        let now = Instant::now();
        let failures = self.0.get(&input).map_or(0, |record| record.failures).saturating_add(1);
        let until = if failures >= FAILURES { now + length(failures) } else { now };
        let (about, why) = (about.to_owned(), why.to_owned());
        self.0.insert(input, Record { sender: sender.clone(), about, failures, why, failed_at: now, until });
    }

    /// The plugin took it.
    pub(super) fn passed(&mut self, input: Input) {
        if !self.0.is_empty() {
            self.0.remove(&input);
        }
    }

    /// Those that are refused now, the latest first.
    pub(super) fn refused(&self) -> Vec<FailingInput> {
        let mut records: Vec<_> = self.0.values().collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.failed_at));
        records.into_iter().filter_map(Record::shown).take(LISTED).collect()
    }
}

impl Record {
    fn shown(&self) -> Option<FailingInput> {
        let left = self.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| FailingInput {
            sender: self.sender.clone(),
            about: self.about.clone(),
            failures: self.failures,
            why: self.why.clone(),
            seconds_left: left.as_secs_f64().ceil() as u64,
        })
    }
}

/// How long an input is refused after so many failures.
fn length(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(FAILURES).min(16);
    FIRST.saturating_mul(1 << doublings).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expire(inputs: &mut Inputs) {
        inputs.0.values_mut().for_each(|record| record.until = Instant::now());
    }

    #[test]
    fn an_input_is_refused_after_two_failures_and_longer_each_time() {
        let (mut inputs, input, sender) = (Inputs::default(), Input::of(&[b"a"]), Sender::host());
        inputs.failed(input, &sender, "one", "it crashed");
        assert_eq!(inputs.refuse(input), None, "once is no pattern");
        inputs.failed(input, &sender, "two", "it crashed again");
        let refused = inputs.refuse(input).unwrap();
        assert_eq!((refused.failures, refused.seconds_left, &*refused.why), (2, 30, "it crashed again"));
        assert_eq!(inputs.refuse(Input::of(&[b"b"])), None);
        assert_eq!(inputs.refused(), [refused]);
        for seconds in [60, 120, 240, 480, 900, 900] {
            expire(&mut inputs);
            assert_eq!(inputs.refuse(input), None, "one is let through");
            assert!(inputs.refuse(input).is_some(), "and no more");
            inputs.failed(input, &sender, "", "");
            assert_eq!(inputs.refuse(input).unwrap().seconds_left, seconds);
        }
        inputs.passed(input);
        assert_eq!(inputs.refuse(input), None);
    }

    #[test]
    fn the_oldest_inputs_make_room() {
        let mut inputs = Inputs::default();
        let input = |number: usize| Input::of(&[&number.to_le_bytes()]);
        for number in 0..=MOST {
            (0..2).for_each(|_| inputs.failed(input(number), &Sender::host(), "", ""));
        }
        assert_eq!(inputs.0.len(), MOST);
        assert!(inputs.refuse(input(0)).is_none() && inputs.refuse(input(MOST)).is_some());
    }

    #[test]
    fn parts_are_told_apart() {
        assert_ne!(Input::of(&[b"ab", b"c"]), Input::of(&[b"a", b"bc"]));
    }
}
