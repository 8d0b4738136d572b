//! A plugin that keeps failing is left alone for a while: after some offences in a row its calls fail at once, until one
//! call that is let through for trial goes well. A new version of the plugin starts with a clean slate.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::{CallError, Reason};
use crate::ledger::Retry;

/// How long the first quarantine lasts; each that follows without a good call in between is twice as long.
const FIRST: Duration = Duration::from_secs(30);
/// How long one lasts at most.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// When to come again while the call for trial is under way.
const TRIAL_RETRY: Duration = Duration::from_secs(1);

/// One plugin's record.
pub(super) struct Quarantine {
    plugin: String,
    /// How many offences in a row lead to it; 0 is never.
    after: u32,
    gauge: metrics::Gauge,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    offences: u32,
    sentence: Option<Sentence>,
}

struct Sentence {
    until: Instant,
    length: Duration,
    on_trial: bool,
    why: String,
}

/// What a call was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conduct<'a> {
    /// It answered as the contract says, be it with a failure of its own.
    Good,
    /// It crashed, hit a limit, or answered with what cannot be used.
    Offence(&'a str),
    /// It did not get far enough to tell.
    Unknown,
}

impl Quarantine {
    pub(super) fn new(plugin: &str, after: u32) -> Self {
        let gauge = metrics::gauge!("campanile_plugin_quarantined", "plugin" => plugin.to_owned());
        gauge.set(0.0);
        Self { plugin: plugin.to_owned(), after, gauge, record: Mutex::default() }
    }

    /// Lets a call through, or says when to come again.
    pub(super) fn enter(&self) -> Result<Pass<'_>, CallError> {
        let mut record = self.record.lock();
        let Some(sentence) = &mut record.sentence else {
            return Ok(Pass { quarantine: self, on_trial: false });
        };
        let left = sentence.until.saturating_duration_since(Instant::now());
        if !left.is_zero() || sentence.on_trial {
            return Err(self.refused(sentence, left.max(TRIAL_RETRY)));
        }
        sentence.on_trial = true;
        Ok(Pass { quarantine: self, on_trial: true })
    }

    fn refused(&self, sentence: &Sentence, wait: Duration) -> CallError {
        let Self { plugin, .. } = self;
        let seconds = wait.as_secs_f64().ceil();
        let text = format!(
            "{plugin} is in quarantine for another {seconds} s, since it {}; \
             `campanile plugin release {plugin}` or a new version ends that",
            sentence.why
        );
        let after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        CallError { retry: Retry::After { after_ms }, ..CallError::of(Reason::Quarantined, text) }
    }

    /// Lets it go now. Whether it was in quarantine.
    pub(super) fn release(&self) -> bool {
        let was = std::mem::take(&mut *self.record.lock()).sentence.is_some();
        if was {
            self.gauge.set(0.0);
            tracing::info!(plugin = self.plugin, "plugin released from quarantine by request");
        }
        was
    }

    /// Why it is in quarantine and for how much longer.
    pub(super) fn status(&self) -> Option<(String, Duration)> {
        let record = self.record.lock();
        let sentence = record.sentence.as_ref()?;
        Some((sentence.why.clone(), sentence.until.saturating_duration_since(Instant::now())))
    }

    fn conclude(&self, on_trial: bool, conduct: Conduct<'_>) {
        let mut record = self.record.lock();
        match (&mut record.sentence, conduct) {
            (Some(_), Conduct::Good) if on_trial => {
                *record = Record::default();
                self.gauge.set(0.0);
                tracing::info!(
                    plugin = self.plugin,
                    "plugin released from quarantine: its trial call went well"
                );
            }
            (Some(sentence), conduct) if on_trial => {
                sentence.on_trial = false;
                if let Conduct::Offence(why) = conduct {
                    let length = sentence.length.saturating_mul(2).min(LONGEST);
                    let why = format!("failed its trial call: {why}");
                    record.sentence = Some(self.sentence(length, why));
                }
            }
            // Calls that began before do not count.
            (Some(_), _) | (None, Conduct::Unknown) => {}
            (None, Conduct::Good) => record.offences = 0,
            (None, Conduct::Offence(why)) => {
                record.offences += 1;
                if record.offences == self.after {
                    let why = format!("failed {} times in a row, at last: {why}", self.after);
                    record.sentence = Some(self.sentence(FIRST, why));
                }
            }
        }
    }

    fn sentence(&self, length: Duration, why: String) -> Sentence {
        self.gauge.set(1.0);
        metrics::counter!("campanile_plugin_quarantines_total", "plugin" => self.plugin.clone()).increment(1);
        tracing::error!(plugin = self.plugin, "plugin quarantined for {length:?}: it {why}");
        Sentence { until: Instant::now() + length, length, on_trial: false, why }
    }
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        if self.record.get_mut().sentence.is_some() {
            self.gauge.set(0.0);
        }
    }
}

/// A call that was let through.
pub(super) struct Pass<'a> {
    quarantine: &'a Quarantine,
    on_trial: bool,
}

impl Pass<'_> {
    /// Tells what the call was like. A pass that is dropped instead tells nothing.
    pub(super) fn conclude(mut self, conduct: Conduct<'_>) {
        self.quarantine.conclude(std::mem::take(&mut self.on_trial), conduct);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.on_trial {
            self.quarantine.conclude(true, Conduct::Unknown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Conduct<'static> = Conduct::Offence("it crashed");

    fn call(quarantine: &Quarantine, conduct: Conduct<'_>) -> Result<(), CallError> {
        quarantine.enter().map(|pass| pass.conclude(conduct))
    }

    /// A plugin that has just been quarantined, and may have its trial.
    fn ready_for_trial() -> Quarantine {
        let quarantine = Quarantine::new("p", 1);
        call(&quarantine, CRASH).unwrap();
        expire(&quarantine);
        quarantine
    }

    fn expire(quarantine: &Quarantine) {
        quarantine.record.lock().sentence.as_mut().unwrap().until = Instant::now();
    }

    fn length(quarantine: &Quarantine) -> Duration {
        quarantine.record.lock().sentence.as_ref().unwrap().length
    }

    #[test]
    fn only_offences_in_a_row_count() {
        let quarantine = Quarantine::new("p", 2);
        for conduct in [CRASH, Conduct::Good, CRASH, Conduct::Unknown, CRASH] {
            call(&quarantine, conduct).unwrap();
        }
        let error = call(&quarantine, Conduct::Good).unwrap_err();
        assert_eq!(error.reason, Reason::Quarantined);
        assert!(error.retry.delay().unwrap() > Duration::from_secs(29), "{error:?}");
        assert!(error.message.contains("failed 2 times in a row, at last: it crashed"), "{error}");
    }

    #[test]
    fn one_call_is_tried_and_releases_the_plugin() {
        let quarantine = ready_for_trial();
        let trial = quarantine.enter().unwrap();
        assert_eq!(quarantine.enter().err().unwrap().reason, Reason::Quarantined, "one at a time");
        trial.conclude(Conduct::Good);
        assert!(quarantine.status().is_none());
        assert!(quarantine.enter().is_ok());
    }

    #[test]
    fn a_failed_trial_doubles_the_time_up_to_a_bound() {
        let quarantine = ready_for_trial();
        for seconds in [60, 120, 240, 480, 900, 900] {
            expire(&quarantine);
            call(&quarantine, CRASH).unwrap();
            assert_eq!(length(&quarantine), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn a_trial_that_ends_without_an_answer_makes_room_for_another() {
        let quarantine = ready_for_trial();
        drop(quarantine.enter().unwrap());
        quarantine.enter().unwrap().conclude(Conduct::Unknown);
        assert!(quarantine.enter().is_ok());
    }

    #[test]
    fn it_can_be_released_by_hand_and_switched_off() {
        let quarantine = ready_for_trial();
        assert!(quarantine.release() && !quarantine.release());
        assert!(quarantine.enter().is_ok());
        let never = Quarantine::new("p", 0);
        (0..100).for_each(|_| call(&never, CRASH).unwrap());
    }
}
