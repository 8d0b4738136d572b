//! How long a service asks to wait, by the headers of its answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What `Retry-After` says; without one, when the limit that is used up starts anew: GitHub says so by
/// `x-ratelimit-remaining` and `x-ratelimit-reset`, in seconds since 1970 (docs.github.com, "Rate limits for the REST API").
pub(super) fn retry_after(header: impl Fn(&str) -> Option<String>) -> Option<String> {
    header("retry-after").or_else(|| {
        header("x-ratelimit-remaining").filter(|left| left.trim() == "0")?;
        let reset = Duration::from_secs(header("x-ratelimit-reset")?.trim().parse().ok()?);
        // What does not fit into a date of HTTP is none.
        (reset.as_secs() < 1 << 37).then(|| httpdate::fmt_http_date(UNIX_EPOCH + reset))
    })
}

/// How long a `Retry-After` asks to wait, in milliseconds: seconds, or an HTTP date (RFC 9110, section 10.2.3).
pub(super) fn asked(retry_after: &str, now: SystemTime) -> Option<u64> {
    let value = retry_after.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(headers: &[(&str, &str)]) -> Option<u64> {
        let header = |name: &str| Some(headers.iter().find(|(given, _)| *given == name)?.1.to_owned());
        asked(&retry_after(header)?, UNIX_EPOCH + Duration::from_secs(1_000_000))
    }

    #[test]
    fn a_limit_that_is_used_up_says_when_it_starts_anew() {
        let reset = ("x-ratelimit-reset", "1000060");
        assert_eq!(waits(&[("x-ratelimit-remaining", "0"), reset]), Some(60_000));
        assert_eq!(waits(&[("x-ratelimit-remaining", "4999"), reset]), None);
        assert_eq!(
            waits(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "18446744073709551615")]),
            None
        );
        assert_eq!(waits(&[("retry-after", "3"), ("x-ratelimit-remaining", "0"), reset]), Some(3000));
    }
}
