//! Times as senders write them.

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

/// The last time that is taken: what is later, as `9999-12-31T23:59:59Z`, is read as this one.
pub const LAST: Timestamp = Timestamp::constant(253_402_207_200, 0);
/// How many digits of a second are read.
const DIGITS: usize = 9;
/// No time is longer.
const LONGEST: usize = 100;

/// A date with a time, as RFC 3339 writes it: also with a space between the two, with an offset that has no colon, and without
/// an offset, which is UTC.
pub fn time(text: &str) -> Option<Timestamp> {
    if text.len() > LONGEST {
        return None;
    }
    let text = shortened(text.trim());
    let pieces = Pieces::parse(&text).ok()?;
    let offset = match (pieces.to_numeric_offset(), pieces.time_zone_annotation()) {
        (Some(offset), _) => offset,
        (None, None) => Offset::UTC,
        (None, Some(_)) => return None,
    };
    let at = pieces.date().to_datetime(pieces.time()?);
    match offset.to_timestamp(at) {
        Ok(time) => Some(time.min(LAST)),
        Err(_) => (at.year() == 9_999).then_some(LAST),
    }
}

/// The text without the digits of a second that are not read.
fn shortened(text: &str) -> String {
    let Some((whole, rest)) = text.split_once('.') else { return text.to_owned() };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    format!("{whole}.{}{}", &rest[..digits.min(DIGITS)], &rest[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        time(text).map(|time| time.to_string())
    }

    #[test]
    fn a_time_without_a_zone_is_utc() {
        for text in [
            "2026-11-29T15:00:00Z",
            "2026-11-29T15:00:00",
            "2026-11-29 15:00:00",
            " 2026-11-29 15:00 ",
            "2026-11-29T16:00:00+01:00",
            "2026-11-29T16:00:00+0100",
            "2026-11-29t15:00:00z",
        ] {
            assert_eq!(read(text).as_deref(), Some("2026-11-29T15:00:00Z"), "{text}");
        }
        let digits = read("2026-11-29T15:00:00.1234567890123Z");
        assert_eq!(digits.as_deref(), Some("2026-11-29T15:00:00.123456789Z"));
    }

    #[test]
    fn a_time_beyond_the_last_is_the_last() {
        for text in ["9999-12-31T23:59:59.9999999Z", "9999-12-31 23:59:59", "9999-12-30T22:00:00.5Z"] {
            assert_eq!(time(text), Some(LAST), "{text}");
        }
        assert_eq!(LAST.to_string(), "9999-12-30T22:00:00Z");
        assert_eq!(LAST.as_second(), Timestamp::MAX.as_second());
    }

    #[test]
    fn what_is_not_a_date_with_a_time_is_not_read() {
        for text in [
            "",
            "soon",
            "2026-11-29",
            "20261129",
            "15:00",
            "1412697183",
            "2026-11-29T15:00:00[Europe/Berlin]",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
