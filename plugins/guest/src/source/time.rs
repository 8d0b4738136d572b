//! Times as vendors write them.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::Value;

/// The seconds since 1970 that a number may be: from 2001 until 2500. What else vendors write in digits is no such number:
/// `20261129` would be in 1970, `20261129150000` in 2612.
const SECONDS: Range<i64> = 1_000_000_000..16_725_225_600;

/// The time as RFC 3339 in UTC, from RFC 3339 (as leniently as the host reads it), or from seconds or milliseconds since 1970,
/// as a number or as digits, if it is between 2001 and 2500. Go's zero time, the year 1, is none.
pub fn rfc3339(value: &Value) -> Option<String> {
    parse(value).map(|time| time.to_string())
}

/// The same with six digits of a second, as the host writes every time: for a time that stays a fact.
pub fn fact_time(value: &Value) -> Option<String> {
    parse(value).map(|time| format!("{time:.6}"))
}

/// Whether the time has come.
pub fn is_past(value: &Value) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    parse(value).is_some_and(|time| time.as_second() <= now as i64)
}

fn parse(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole_epoch(whole),
            None => epoch(number.as_f64()?),
        },
        Value::String(text) => match campanile_lenient::time(text) {
            Some(time) => Some(time).filter(|time| time.as_second() > -60_000_000_000),
            None => match text.trim().parse() {
                Ok(whole) => whole_epoch(whole),
                Err(_) => epoch(text.trim().parse().ok()?),
            },
        },
        _ => None,
    }
}

/// Seconds, or milliseconds where that is larger.
fn whole_epoch(number: i64) -> Option<Timestamp> {
    let time = if number < 100_000_000_000 {
        Timestamp::from_second(number)
    } else {
        Timestamp::from_millisecond(number)
    };
    time.ok().filter(|time| SECONDS.contains(&time.as_second()))
}

/// The same with a fraction, of which a number of 64 bits has no more than microseconds.
fn epoch(number: f64) -> Option<Timestamp> {
    let seconds = if number.abs() < 1e11 { number } else { number / 1e3 };
    let time = Timestamp::from_microsecond((seconds * 1e6).round() as i64);
    time.ok().filter(|time| SECONDS.contains(&time.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_of_all_vendors_are_read() {
        for (given, read) in [
            (json!("2026-01-22T11:47:17.11Z"), "2026-01-22T11:47:17.11Z"),
            (json!("2022-09-25T18:50:37.811+0000"), "2022-09-25T18:50:37.811Z"),
            (json!("2018-10-09T08:35:16+02:00"), "2018-10-09T06:35:16Z"),
            (json!("2018-10-09 06:35:16"), "2018-10-09T06:35:16Z"),
            (json!("9999-12-31T23:59:59Z"), "9999-12-30T22:00:00Z"),
            (json!(1_412_697_183_000_u64), "2014-10-07T15:53:03Z"),
            (json!("1412697183000"), "2014-10-07T15:53:03Z"),
            (json!(1_767_225_600_123_u64), "2026-01-01T00:00:00.123Z"),
            (json!(1_767_225_600.123), "2026-01-01T00:00:00.123Z"),
            (json!(1_412_697_183.5), "2014-10-07T15:53:03.5Z"),
        ] {
            assert_eq!(rfc3339(&given).as_deref(), Some(read), "{given}");
        }
        for none in [json!("0001-01-01T00:00:00Z"), json!(0), json!("soon"), json!(null), json!([])] {
            assert_eq!(rfc3339(&none), None, "{none}");
        }
    }

    #[test]
    fn digits_that_are_a_date_or_a_duration_are_no_seconds() {
        for none in ["20261129", "202611291500", "20261129150000", "20261129.5", "-1", "999999999", "86400"] {
            assert_eq!(rfc3339(&json!(none)), None, "{none}");
            let number: Value = serde_json::from_str(none).unwrap();
            assert_eq!(rfc3339(&number), None, "{none}");
        }
        assert_eq!(rfc3339(&json!("1000000000")).as_deref(), Some("2001-09-09T01:46:40Z"));
    }

    #[test]
    fn a_time_among_facts_has_six_digits_of_a_second() {
        for (given, read) in [
            (json!("2026-01-22T11:47:17.11Z"), "2026-01-22T11:47:17.110000Z"),
            (json!(1_412_697_183), "2014-10-07T15:53:03.000000Z"),
            (json!("2026-01-22T11:47:17.123456789Z"), "2026-01-22T11:47:17.123456Z"),
        ] {
            assert_eq!(fact_time(&given).as_deref(), Some(read), "{given}");
        }
        assert_eq!(fact_time(&json!("soon")), None);
    }

    #[test]
    fn what_is_past_is_told() {
        assert!(is_past(&json!("2020-01-01T00:00:00Z")));
        assert!(!is_past(&json!("9020-01-01T00:00:00Z")));
        assert!(!is_past(&json!(null)));
    }
}
