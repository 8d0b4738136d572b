//! What an incident is about: labels of the resource, the metric and the policy, and what was measured.

use campanile_guest::source::{Draft, Sheet, number};
use serde_json::Value;

/// Where labels stand; a later one wins.
const LABELS: [&str; 5] = [
    "/metadata/system_labels",
    "/metadata/user_labels",
    "/resource/labels",
    "/metric/labels",
    "/policy_user_labels",
];

/// What to route by besides.
const NAMES: [(&str, &str); 4] = [
    ("policy_name", "/policy_name"),
    ("condition_name", "/condition_name"),
    ("resource_type", "/resource/type"),
    ("metric_type", "/metric/type"),
];

/// Facts that are kept.
const FACTS: [&str; 7] = [
    "incident_id",
    "scoping_project_id",
    "resource_name",
    "resource_display_name",
    "resource_type_display_name",
    "threshold_value",
    "condition",
];

/// Adds all of it.
pub(crate) fn tell(draft: Draft, incident: &Value, sheet: &mut Sheet) -> Draft {
    let draft = LABELS.into_iter().fold(draft, |draft, at| labelled(draft, incident, at, sheet));
    let names = NAMES.into_iter().filter_map(|(name, at)| Some((name, incident.pointer(at)?)));
    let draft = names.fold(draft, |draft, (name, value)| draft.label(name, value));
    let draft = FACTS.into_iter().fold(draft, |draft, name| draft.data(name, &incident[name]));
    let metric = sheet.first("incident", incident, &["/metric/displayName", "/metric/type"]);
    draft
        // Google writes what it measured as a text.
        .metric(metric.as_deref().unwrap_or("value"), &number(&incident["observed_value"]))
        .context("environment", label(incident, &["environment", "env"]))
        .context("service", label(incident, &["service"]))
}

fn labelled(draft: Draft, incident: &Value, at: &str, sheet: &mut Sheet) -> Draft {
    let labels = incident.pointer(at).unwrap_or(&Value::Null);
    draft.labels(sheet.fields(&format!("incident{}", at.replace('/', ".")), labels))
}

/// The first of these labels that is there.
fn label<'a>(incident: &'a Value, names: &[&str]) -> Option<&'a str> {
    let places = LABELS.iter().rev().filter_map(|at| incident.pointer(at));
    let mut found = names.iter().flat_map(|name| places.clone().map(move |labels| &labels[*name]));
    found.find_map(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use crate::incident::tests::read;
    use serde_json::json;

    #[test]
    fn labels_of_the_policy_win_and_odd_ones_cost_themselves() {
        let (alert, warnings) = read(&json!({"incident": {
            "incident_id": "i", "state": "open",
            "metadata": {"user_labels": {"team": "ops", "env": "staging"}, "system_labels": null},
            "resource": {"type": 7, "labels": ["zone"]},
            "metric": {"labels": {"env": "test"}},
            "policy_user_labels": {"team": "payments"},
        }}));
        assert_eq!(alert["labels"], json!({"team": "payments", "env": "test", "resource_type": "7"}));
        assert_eq!(alert["context"], json!({"environment": "test"}));
        assert_eq!(warnings, ["incident.resource.labels: [\"zone\"] is not an object: left out"]);
    }

    #[test]
    fn what_was_measured_is_a_number_if_it_is_one() {
        for (observed, metric) in [
            (json!("0.835"), json!(0.835)),
            (json!("9007199254740993"), json!(9_007_199_254_740_993_u64)),
            (json!("18446744073709551616"), json!("18446744073709551616")),
            (json!(7), json!(7)),
            (json!("NaN"), json!("NaN")),
            (json!("nothing"), json!("nothing")),
        ] {
            let (alert, _) = read(&json!({"incident": {
                "incident_id": "i", "state": "open", "metric": {"type": "m"}, "observed_value": observed,
            }}));
            assert_eq!(alert["metrics"], json!({ "m": metric }));
        }
    }
}
