//! The context of an alert: a condition on metrics or logs, or whatever else the service has to say.

use std::borrow::Cow;

use campanile_guest::source::{Draft, text};
use serde_json::Value;

/// Where services other than metrics and logs say in one line what happened, best first.
const SUMMARIES: [&str; 6] = [
    "/properties/title",
    "/annotations/description",
    "/annotations/summary",
    "/DetectionSummary",
    "/SearchQuery",
    "/operationName",
];

/// Addresses of what a log alert found, best first.
const RESULTS: [&str; 4] = [
    "/condition/allOf/0/linkToFilteredSearchResultsUI",
    "/condition/allOf/0/linkToSearchResultsUI",
    "/LinkToFilteredSearchResultsUI",
    "/LinkToSearchResults",
];

/// What happened, as a line for each part of the condition.
pub(crate) fn summary(context: &Value) -> Option<String> {
    let lines = parts(context).map(|part| line(part, context)).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { first(context, &SUMMARIES).map(Cow::into_owned) } else { Some(lines.join("\n")) }
}

/// A name for what comes without an alert rule.
pub(crate) fn name(context: &Value) -> Option<Cow<'_, str>> {
    text(context, "/AlertData/BudgetName")
}

/// Adds what the context tells.
pub(crate) fn tell(mut draft: Draft, context: &Value) -> Draft {
    for part in parts(context) {
        let dimensions = part["dimensions"].as_array();
        draft = named(draft, dimensions).metric(&metric(part), &part["metricValue"]);
    }
    draft = named(draft, context["Dimensions"].as_array())
        .link("Search results", first(context, &RESULTS).as_deref());
    let properties =
        if context["condition"].is_object() { &context["properties"] } else { &context["labels"] };
    draft
        .labels(properties.as_object().into_iter().flatten())
        .data("condition", &context["condition"]["allOf"])
        .data("condition_type", &context["conditionType"])
        .data("window_size", &context["condition"]["windowSize"])
        .rest("context", &rest(context))
}

/// The context of those that have no condition. The caller's claims are nobody else's business.
fn rest(context: &Value) -> Value {
    let Some(fields) = context.as_object().filter(|fields| !fields.contains_key("condition")) else {
        return Value::Null;
    };
    let kept = fields
        .iter()
        .filter(|(name, value)| !value.is_null() && !["authorization", "claims"].contains(&name.as_str()));
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn parts(context: &Value) -> impl Iterator<Item = &Value> {
    context["condition"]["allOf"].as_array().into_iter().flatten()
}

/// Such as `Average Percentage CPU is 31.1 (GreaterThan 25 over PT5M)`; what is not given is left out.
fn line(part: &Value, context: &Value) -> String {
    let mut words = plain(&[&part["timeAggregation"], &part["metricName"], &part["metricMeasureColumn"]]);
    words.extend(plain(&[&part["metricValue"]]).into_iter().map(|value| format!("is {value}")));
    let mut limit = plain(&[&part["operator"], &part["threshold"]]);
    limit
        .extend(plain(&[&context["condition"]["windowSize"]]).into_iter().map(|size| format!("over {size}")));
    if !limit.is_empty() {
        words.push(format!("({})", limit.join(" ")));
    }
    words.join(" ")
}

fn plain(values: &[&Value]) -> Vec<String> {
    values.iter().filter_map(|value| text(value, "").map(Cow::into_owned)).collect()
}

/// The metric, or what a log alert measures: a column, or its rows.
fn metric(part: &Value) -> Cow<'_, str> {
    let name = first(part, &["/metricName", "/metricMeasureColumn", "/timeAggregation"]);
    name.unwrap_or(Cow::Borrowed("value"))
}

fn named(draft: Draft, dimensions: Option<&Vec<Value>>) -> Draft {
    dimensions.into_iter().flatten().fold(draft, |draft, dimension| match text(dimension, "/name") {
        Some(name) => draft.label(&name, &dimension["value"]),
        None => draft,
    })
}

fn first<'a>(value: &'a Value, pointers: &[&str]) -> Option<Cow<'a, str>> {
    pointers.iter().find_map(|pointer| text(value, pointer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use campanile_guest::source::{Settings, Sheet};
    use campanile_guest::types::Status;
    use serde_json::json;

    fn told(payload: &str) -> (Option<String>, Value) {
        let payload: Value = serde_json::from_str(payload).unwrap();
        let context = &payload["data"]["alertContext"];
        let settings = Settings::of("azure-monitor", "Azure Monitor", "infrastructure");
        let mut sheet = Sheet::default();
        sheet.add(tell(Draft::new("", &settings, Status::Firing, None), context));
        (summary(context), serde_json::from_str(&sheet.alerts[0]).unwrap())
    }

    #[test]
    fn a_log_alert_tells_what_it_measured_and_where_to_see_it() {
        let (summary, alert) = told(include_str!("../payloads/log-alert-v2.json"));
        assert_eq!(summary.as_deref(), Some("Count CounterValue is 0.0 (LowerThan 1 over PT10M)"));
        assert_eq!(alert["metrics"], json!({"CounterValue": 0.0}));
        assert_eq!(
            alert["labels"],
            json!({"Computer": "TestComputer", "name1": "value1", "name2": "value2"})
        );
        assert_eq!(alert["links"][0]["text"], "Search results");
        assert_eq!(alert["data"].get("context"), None);
    }

    #[test]
    fn an_activity_is_told_without_the_claims_of_its_caller() {
        let (summary, alert) = told(include_str!("../payloads/activity-log.json"));
        assert_eq!(summary.as_deref(), Some("Microsoft.Compute/virtualMachines/restart/action"));
        let context = &alert["data"]["context"];
        assert_eq!((&context["status"], context.get("claims")), (&json!("Succeeded"), None));
    }

    #[test]
    fn the_health_of_a_service_is_told_by_its_title() {
        let (summary, alert) = told(include_str!("../payloads/service-health.json"));
        assert_eq!(summary.as_deref(), Some("Azure Synapse Analytics Scheduled Maintenance Pending"));
        assert_eq!(alert["data"]["context"]["properties"]["stage"], "Planned");
        assert_eq!(alert.get("labels"), None);
    }

    #[test]
    fn an_alert_of_prometheus_has_its_labels() {
        let (summary, alert) = told(include_str!("../payloads/prometheus.json"));
        assert_eq!(summary.as_deref(), Some("alert on SQL availability"));
        assert_eq!(alert["labels"], json!({"Environment": "Prod", "cluster": "myCluster1"}));
    }

    #[test]
    fn what_is_not_given_is_left_out() {
        let context = json!({"condition": {"allOf": [{"metricName": "Egress", "metricValue": null}, 7]}});
        assert_eq!(summary(&context).as_deref(), Some("Egress"));
        assert_eq!(summary(&Value::Null), None);
    }
}
