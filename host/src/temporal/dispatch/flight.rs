//! What is in flight: alerts whose workflows this process has started, and that are not at their end. One that goes on for long, since a
//! receiver has to be tried again, takes no room of others. No I/O.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use campanile_store::Claim;

/// How long an alert is in flight at most.
const LONGEST: Duration = Duration::from_secs(10);
/// How long a workflow goes on before the store is to know that it has been started. Most are at their end by then.
const SOON: Duration = Duration::from_secs(2);
/// The rank of a critical alert.
const CRITICAL: i16 = super::CRITICAL;

/// The alerts in flight, by number.
#[derive(Default)]
pub(super) struct InFlight {
    alerts: BTreeMap<i64, Flight>,
    critical: usize,
}

struct Flight {
    since: Instant,
    is_critical: bool,
    /// Temporal has started it.
    is_started: bool,
    /// The store knows that.
    is_noted: bool,
}

impl InFlight {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.alerts.len()
    }

    /// How many of them are critical.
    pub(super) fn critical(&self) -> usize {
        self.critical
    }

    pub(super) fn numbers(&self) -> Vec<i64> {
        self.alerts.keys().copied().collect()
    }

    pub(super) fn add(&mut self, claim: &Claim, now: Instant) {
        for claimed in &claim.notifications {
            let is_critical = claimed.severity >= CRITICAL;
            let flight = Flight { since: now, is_critical, is_started: false, is_noted: false };
            self.critical += usize::from(is_critical);
            let before = self.alerts.insert(claimed.number, flight);
            self.critical -= usize::from(before.is_some_and(|before| before.is_critical));
        }
    }

    /// Temporal has started the workflow of a claim.
    pub(super) fn started(&mut self, claim: &Claim) {
        for claimed in &claim.notifications {
            if let Some(flight) = self.alerts.get_mut(&claimed.number) {
                flight.is_started = true;
            }
        }
    }

    pub(super) fn remove(&mut self, numbers: &[i64]) {
        for number in numbers {
            let flight = self.alerts.remove(number);
            self.critical -= usize::from(flight.is_some_and(|flight| flight.is_critical));
        }
    }

    /// Those that go on, and of which the store does not know that they were started.
    pub(super) fn going_on(&self, now: Instant) -> Vec<i64> {
        let goes_on = |flight: &Flight| {
            flight.is_started && !flight.is_noted && now.duration_since(flight.since) >= SOON
        };
        self.alerts.iter().filter(|(_, flight)| goes_on(flight)).map(|(number, _)| *number).collect()
    }

    /// The store knows of these that they were started.
    pub(super) fn noted(&mut self, numbers: &[i64]) {
        for number in numbers {
            if let Some(flight) = self.alerts.get_mut(number) {
                flight.is_noted = true;
            }
        }
    }

    /// Forgets those that have been in flight for long. What could not be started is claimed again by then.
    pub(super) fn forget(&mut self, now: Instant) {
        let is_over = |flight: &Flight| now.duration_since(flight.since) >= LONGEST;
        let over: Vec<i64> =
            self.alerts.iter().filter(|(_, flight)| is_over(flight)).map(|(number, _)| *number).collect();
        self.remove(&over);
    }
}

#[cfg(test)]
mod tests {
    use campanile_store::{Claimed, Disposition};

    use super::*;

    fn claim(number: i64, severity: i16) -> Claim {
        let id = format!("alert-{number}");
        let claimed = Claimed {
            number,
            id: id.clone(),
            thread_id: id.clone(),
            disposition: Disposition::New,
            is_worse: false,
            scope: String::new(),
            severity,
            accepted_at: 0,
            acknowledgement: None,
            document: Vec::new(),
            origin: Vec::new(),
        };
        Claim { workflow_id: id, notifications: vec![claimed] }
    }

    #[test]
    fn an_alert_is_in_flight_until_its_end_or_for_ten_seconds() {
        let (mut flight, start) = (InFlight::default(), Instant::now());
        [claim(1, 3), claim(2, 0), claim(3, 3)].iter().for_each(|claim| flight.add(claim, start));
        flight.add(&claim(3, 3), start);
        assert_eq!((flight.count(), flight.critical()), (3, 2));
        flight.started(&claim(2, 0));
        flight.remove(&[1]);
        assert_eq!((flight.count(), flight.critical()), (2, 1));
        assert_eq!(flight.going_on(start), [0; 0]);
        assert_eq!(flight.going_on(start + SOON), [2], "the other one is not started");
        flight.noted(&[2]);
        assert_eq!((flight.count(), flight.going_on(start + SOON)), (2, vec![]));
        flight.forget(start + LONGEST);
        assert_eq!((flight.count(), flight.critical()), (0, 0));
    }
}
