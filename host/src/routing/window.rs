//! Windows of time: when a route is in force, or silent.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::Fault;

/// `[windows.NAME]`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WindowConfig {
    /// The time zone that its times are of, such as `Europe/Berlin` [default: UTC].
    #[serde(default)]
    pub time_zone: Option<String>,
    /// The times that it consists of.
    pub times: Vec<TimesConfig>,
}

/// Some hours of some days.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TimesConfig {
    /// The days of the week; all unless listed.
    pub days: Vec<Day>,
    /// When it begins, such as `09:00` [default: with the day].
    #[schemars(with = "Option<String>")]
    pub from: Option<Time>,
    /// When it ends, such as `17:00`; before `from`, it is on the day after [default: with the day].
    #[schemars(with = "Option<String>")]
    pub until: Option<Time>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    fn weekday(self) -> Weekday {
        match self {
            Day::Mon => Weekday::Monday,
            Day::Tue => Weekday::Tuesday,
            Day::Wed => Weekday::Wednesday,
            Day::Thu => Weekday::Thursday,
            Day::Fri => Weekday::Friday,
            Day::Sat => Weekday::Saturday,
            Day::Sun => Weekday::Sunday,
        }
    }
}

/// A window, understood.
#[derive(Clone, Debug)]
pub(super) struct Window {
    zone: TimeZone,
    times: Vec<TimesConfig>,
}

impl Window {
    /// `at` is the path of its table.
    pub(super) fn new(at: &str, config: &WindowConfig) -> Result<Self, Fault> {
        let name = config.time_zone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(name).map_err(|_| Fault {
            path: format!("{at}.time-zone"),
            value: Some(name.into()),
            message: format!("{name:?} is not a time zone such as Europe/Berlin"),
        })?;
        Ok(Self { zone, times: config.times.clone() })
    }

    /// Whether it is open then.
    pub(super) fn holds(&self, at: Timestamp) -> bool {
        let now = at.to_zoned(self.zone.clone());
        let (day, time) = (now.weekday(), now.time());
        let before = now.checked_sub(1.day()).map_or(day, |before| before.weekday());
        self.times.iter().any(|times| times.hold(day, before, time))
    }
}

impl TimesConfig {
    fn hold(&self, day: Weekday, before: Weekday, time: Time) -> bool {
        let is_on = |day| self.days.is_empty() || self.days.iter().any(|one| one.weekday() == day);
        let from = self.from.unwrap_or(Time::midnight());
        match self.until {
            None => is_on(day) && time >= from,
            Some(until) if from < until => is_on(day) && time >= from && time < until,
            Some(until) => is_on(day) && time >= from || is_on(before) && time < until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(toml: &str, at: &str) -> bool {
        let window = Window::new("windows.x", &toml::from_str(toml).unwrap()).unwrap();
        window.holds(at.parse().unwrap())
    }

    #[test]
    fn a_window_is_of_a_place_and_may_go_over_midnight() {
        let office = "time-zone = 'Europe/Berlin'\ntimes = [{ days = ['mon', 'fri'], from = '09:00', until = '17:00' }]";
        let night = "times = [{ days = ['fri'], from = '22:00', until = '06:00' }]";
        let sunday = "times = [{ days = ['sun'] }]";
        // 2026-11-27 is a Friday.
        let table = [
            (office, "2026-11-27T08:00:00Z", true),
            (office, "2026-11-27T07:59:59Z", false),
            (office, "2026-11-27T16:00:00Z", false),
            (office, "2026-06-26T07:00:00Z", true),
            (office, "2026-11-26T10:00:00Z", false),
            (night, "2026-11-27T21:59:59Z", false),
            (night, "2026-11-27T22:00:00Z", true),
            (night, "2026-11-28T05:59:59Z", true),
            (night, "2026-11-28T22:30:00Z", false),
            (sunday, "2026-11-29T00:00:00Z", true),
            (sunday, "2026-11-29T23:59:59Z", true),
            (sunday, "2026-11-30T00:00:00Z", false),
        ];
        for (window, at, expected) in table {
            assert_eq!(holds(window, at), expected, "{window} at {at}");
        }
    }

    #[test]
    fn a_place_that_is_none_is_a_fault() {
        let config = toml::from_str("time-zone = 'Berlin'\ntimes = []").unwrap();
        let fault = Window::new("windows.x", &config).unwrap_err().to_string();
        assert_eq!(fault, "windows.x.time-zone: \"Berlin\" is not a time zone such as Europe/Berlin");
    }
}
