//! How a time is written wherever one leaves the host: RFC 3339, UTC, with six digits of a second. No I/O.

use jiff::{SignedDuration, Timestamp};

/// Such as `2023-12-01T14:30:22.123456Z`.
pub fn text(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// The time that its text says: what is read again is equal to what was written.
fn to_the_microsecond(at: Timestamp) -> Timestamp {
    let rest = i64::from(at.subsec_nanosecond()).rem_euclid(1_000);
    at.checked_sub(SignedDuration::from_nanos(rest)).unwrap_or(at)
}

/// For `#[serde(with = …)]` on a [`Timestamp`].
pub mod required {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a time.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::text(*at))
    }

    /// Reads a time, of any precision.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer).map(super::to_the_microsecond)
    }
}

/// For `#[serde(with = …)]` on an `Option<Timestamp>`.
pub mod optional {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a time, or `null`.
    pub fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(super::text).serialize(serializer)
    }

    /// Reads a time of any precision, or `null`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<Timestamp>::deserialize(deserializer)?.map(super::to_the_microsecond))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Times {
        #[serde(with = "required")]
        at: Timestamp,
        #[serde(default, with = "optional", skip_serializing_if = "Option::is_none")]
        end: Option<Timestamp>,
    }

    fn again(at: &str) -> Value {
        let times: Times = serde_json::from_value(json!({"at": at, "end": at})).unwrap();
        let written = serde_json::to_value(&times).unwrap();
        assert_eq!(
            times.at,
            written["at"].as_str().unwrap().parse().unwrap(),
            "{at} is read as it is written"
        );
        assert_eq!(written["at"], written["end"]);
        written["at"].clone()
    }

    #[test]
    fn every_time_has_six_digits_of_a_second() {
        assert_eq!(again("2023-12-01T14:30:22Z"), "2023-12-01T14:30:22.000000Z");
        assert_eq!(again("2023-12-01T15:30:22.5+01:00"), "2023-12-01T14:30:22.500000Z");
        assert_eq!(again("2023-12-01T14:30:22.123456789Z"), "2023-12-01T14:30:22.123456Z");
        assert_eq!(again("1969-12-31T23:59:59.999999999Z"), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn a_time_that_is_not_there_stays_away() {
        let times: Times = serde_json::from_value(json!({"at": "1970-01-01T00:00:00Z"})).unwrap();
        assert_eq!(serde_json::to_value(times).unwrap(), json!({"at": "1970-01-01T00:00:00.000000Z"}));
    }

    /// A field that is written by jiff's own means has as many digits as it happens to have.
    #[test]
    fn every_time_that_is_written_is_written_here() {
        let mut left = Vec::new();
        for path in walk(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
            let text = std::fs::read_to_string(&path).unwrap();
            left.extend(bare_fields(&text).into_iter().map(|field| format!("{}: {field}", path.display())));
        }
        assert!(left.is_empty(), "without `#[serde(with = \"crate::time::…\")]`:\n{}", left.join("\n"));
    }

    fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let below = |path: std::path::PathBuf| if path.is_dir() { walk(&path) } else { vec![path] };
        entries.flat_map(below).filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
    }

    /// The times in types that are serialised whose attributes do not say how.
    fn bare_fields(text: &str) -> Vec<String> {
        let (mut is_written, mut attributes, mut found) = (false, String::new(), Vec::new());
        for line in text.lines().map(str::trim) {
            match line {
                _ if line.starts_with("#[derive(") => {
                    is_written = line.contains("Serialize,") || line.contains("Serialize)")
                }
                _ if line.starts_with("#[") => attributes.push_str(line),
                _ if line.starts_with("///") => {}
                _ => {
                    let is_time = line.ends_with("Timestamp,") || line.ends_with("Timestamp>,");
                    if is_written && line.contains(": ") && is_time && !attributes.contains("with = ") {
                        found.push(line.to_owned());
                    }
                    attributes.clear();
                    is_written &= line != "}";
                }
            }
        }
        found
    }
}
