//! What the operator set.

use campanile_guest::config;
use campanile_guest::failure::permanent;
use campanile_guest::types::Failure;
use jiff::SignedDuration;

/// How long a silence lasts, unless the operator says otherwise.
pub(crate) const DURATION: &str = "2h";

/// The settings.
pub(crate) struct Settings {
    /// Without `/api/v2` and a slash at its end.
    pub(crate) url: String,
    pub(crate) labels: Option<Vec<String>>,
    pub(crate) duration: SignedDuration,
    pub(crate) authorization: String,
}

impl Settings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self, Failure> {
        Ok(Self {
            url: config::required("url", "https://alertmanager.example.com")?
                .trim_end_matches('/')
                .to_owned(),
            labels: config::list("labels")?,
            duration: duration(config::get("duration")?.as_deref().unwrap_or(DURATION))?,
            authorization: config::get("authorization")?.unwrap_or_default(),
        })
    }
}

/// A time that is longer than none.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, Failure> {
    let read = text.parse().ok().filter(SignedDuration::is_positive);
    read.ok_or_else(|| {
        let message =
            format!("the configuration's `duration` is {text:?}; hours and minutes work, such as \"1h 30m\"");
        permanent("config-invalid", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_hours_and_minutes() {
        for (text, minutes) in [("2h", 120), ("45m", 45), ("1h 30m", 90), ("1h30m", 90)] {
            assert_eq!(duration(text).unwrap(), SignedDuration::from_mins(minutes), "{text}");
        }
        for text in ["", "2", "soon", "0m", "-1h"] {
            assert!(duration(text).unwrap_err().message.contains(&format!("{text:?}")));
        }
    }
}
