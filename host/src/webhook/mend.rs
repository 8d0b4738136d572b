//! What a sender of `/webhook/alerts` means, where that is plain; what is wrong otherwise stays as it came.

use campanile_lenient::{fit, flatten};
use serde_json::Value;

use super::request::{MOST_ALERTS, MOST_METADATA};
use crate::alert::{self, MOST_DEPTH};

/// The fields of a request.
pub(super) const FIELDS: [&str; 3] = ["alerts", "batch_id", "metadata"];
/// How many letters may differ for a key to be meant for another, and how long it may be.
const TYPO: usize = 2;
const LONGEST_TYPO: usize = 32;

/// Makes of a request what the schema takes. Gives a line for each place where that is not what was posted, with its path.
pub(super) fn mend(request: &mut Value) -> Vec<String> {
    let mut odd = unknown_keys(request);
    odd.extend(alert::mend_key(request, "batch_id"));
    if let Some(metadata) = request.get_mut("metadata") {
        flatten(metadata, MOST_DEPTH, "metadata", &mut odd);
        fit(metadata, MOST_METADATA, &[], "metadata", &mut odd);
    }
    // More are refused, whatever they are.
    let alerts =
        request.get_mut("alerts").and_then(Value::as_array_mut).into_iter().flatten().take(MOST_ALERTS);
    odd.extend(alerts.enumerate().flat_map(|(index, alert)| alert::mend(alert, &format!("alerts[{index}]"))));
    odd
}

/// A typo of `batch_id` costs its protection.
fn unknown_keys(request: &Value) -> Vec<String> {
    let keys = request.as_object().into_iter().flat_map(|fields| fields.keys());
    let unknown = keys.filter(|key| !FIELDS.contains(&key.as_str()));
    unknown.take(100).map(|key| unknown_key(key)).collect()
}

fn unknown_key(key: &str) -> String {
    match meant(key, &FIELDS) {
        Some(field) => format!("{key}: is not a known key and was left out: did you mean `{field}`?"),
        None => format!("{key}: is not a known key and was left out: known are {}", FIELDS.join(", ")),
    }
}

/// The one of these names that is meant by another, if that is near.
pub(super) fn meant<'a>(key: &str, names: &[&'a str]) -> Option<&'a str> {
    let key = key.to_lowercase().replace(['-', ' ', '.'], "_");
    let near = |field: &&str| key.len() <= LONGEST_TYPO && strsim::osa_distance(&key, field) <= TYPO;
    names.iter().copied().find(near)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unknown_key_is_named_with_the_one_that_is_meant() {
        for (key, field) in [
            ("batchid", "batch_id"),
            ("batchId", "batch_id"),
            ("Batch-ID", "batch_id"),
            ("metdata", "metadata"),
        ] {
            let odd = mend(&mut json!({"alerts": [], key: "x"}));
            assert_eq!(odd, [format!("{key}: is not a known key and was left out: did you mean `{field}`?")]);
        }
        let odd = mend(&mut json!({"alerts": [], "version": "4"}));
        assert_eq!(
            odd,
            ["version: is not a known key and was left out: known are alerts, batch_id, metadata"]
        );
        assert!(mend(&mut json!({"alerts": [], "batch_id": "b", "metadata": {}})).is_empty());
    }

    #[test]
    fn what_is_too_long_for_a_request_is_cut() {
        let mut request = json!({"batch_id": "x".repeat(300), "metadata": {"note": "y".repeat(17 << 10)}});
        let odd = mend(&mut request);
        assert_eq!(request["batch_id"].as_str().unwrap().len(), 200);
        assert_eq!(alert::bounds_fault(&request["metadata"], MOST_METADATA), None);
        assert!(odd[0].starts_with("batch_id: has 300 characters, more than 200"), "{odd:?}");
        assert!(odd[1].starts_with("metadata.note: the text was cut from 17410"), "{odd:?}");
    }

    #[test]
    fn each_alert_is_mended_at_its_path() {
        let mut request = json!({"alerts": [{"severity": "low"}, {"severity": "page"}]});
        assert_eq!(mend(&mut request), ["alerts[1].severity: \"page\" was read as critical"]);
    }
}
