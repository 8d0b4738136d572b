//! Ids of notifications: `alert-<id>-<yyyymmdd>-<hhmmss>`, with `-resolved` behind that of a resolve.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::Micros;

const SECOND: Micros = 1_000_000;
/// How far the time in an id may be from now: a sender's clock can be anywhere, also where there is no next second.
const FARTHEST: Micros = 10 * 366 * 86_400 * SECOND;

/// The id with this time.
pub(crate) fn id(prefix: &str, at: Micros, is_resolve: bool) -> String {
    let time = Timestamp::from_microsecond(at).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC);
    let suffix = if is_resolve { "-resolved" } else { "" };
    format!("{prefix}{}{suffix}", time.strftime("%Y%m%d-%H%M%S"))
}

/// The time for a new id: `wanted`, unless that is taken. Those up to `last` are; the next ones go on from `now`.
pub(crate) fn free(wanted: Micros, last: Option<Micros>, now: Micros) -> Micros {
    let second = |at: Micros| at.div_euclid(SECOND);
    let wanted = wanted.clamp(now - FARTHEST, now + FARTHEST);
    match last {
        Some(last) if second(wanted) <= second(last) => last.saturating_add(SECOND).max(now),
        _ => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Micros = 1_701_441_022_000_000;

    #[test]
    fn an_id_has_its_time_in_utc() {
        assert_eq!(id("alert-7-", START, true), "alert-7-20231201-143022-resolved");
    }

    #[test]
    fn a_taken_time_counts_up_from_now() {
        let now = START + 60 * SECOND;
        assert_eq!(free(START, None, now), START);
        assert_eq!(free(START, Some(START + 1), now), now);
        assert_eq!(free(START, Some(now), now), now + SECOND);
        assert_eq!(free(now + SECOND, Some(now), now), now + SECOND);
        assert_eq!(free(i64::MAX, None, now), now + FARTHEST);
    }
}
