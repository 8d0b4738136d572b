//! The one model of answers to posts and of refusals.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::Fault;
use crate::ledger::{Ledger, Outcome};
use crate::temporal::Submitted;
use crate::time;

/// The answer to a post, and to everything that is refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WebhookResponse {
    /// Whether Temporal holds the alerts; with status 202, whether the spool holds the request.
    pub success: bool,
    /// One line for a person.
    #[schema(example = "Processed 1 alerts successfully")]
    pub message: String,
    /// How many alerts were accepted.
    pub processed_count: usize,
    /// Per alert, in the order of the request: the workflow that holds its result.
    #[schema(example = json!(["alert-123-20231201-143022"]))]
    pub workflow_ids: Vec<String>,
    /// What is wrong with the request.
    pub errors: Vec<Fault>,
    /// When this was answered: RFC 3339, UTC, with microseconds.
    #[schema(format = DateTime, example = "2023-12-01T14:30:22.123456Z")]
    pub timestamp: String,
    /// What was odd about the request, and what was made of it; the alerts' ledgers have it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Of a synchronous post: what became of each alert, in the order of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub results: Option<Vec<AlertResult>>,
    /// Of a refusal: what kind it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "invalid-request")]
    pub code: Option<String>,
    /// Of a refusal: the request's id, as in the log and in the header `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub request_id: Option<String>,
}

/// What became of one alert of a synchronous post.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertResult {
    /// The workflow that holds its result: ask `/alerts/{workflow_id}` again if it is not completed.
    pub workflow_id: String,
    /// The alert's identity in this host.
    pub id: String,
    /// Whether it was done in time.
    pub completed: bool,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub outcome: Option<Outcome>,
    /// The full story.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ledger: Option<Ledger>,
}

impl WebhookResponse {
    pub(super) fn accepted(submitted: Submitted, results: Option<Vec<AlertResult>>) -> Self {
        let count = submitted.alerts.len();
        Self {
            success: true,
            message: results
                .as_deref()
                .map_or_else(|| format!("Processed {count} alerts successfully"), outcomes),
            processed_count: count,
            workflow_ids: submitted.alerts.into_iter().map(|carried| carried.workflow_id).collect(),
            errors: Vec::new(),
            timestamp: now(),
            warnings: Vec::new(),
            results,
            code: None,
            request_id: None,
        }
    }

    /// The request was understood and held no alert.
    pub(super) fn nothing(warnings: Vec<String>) -> Self {
        let message = "The request holds no alert".to_owned();
        Self { message, warnings, ..Self::accepted(Submitted { alerts: Vec::new() }, None) }
    }

    /// The request is on the disk, and is handed over later.
    pub(super) fn spooled() -> Self {
        let message = "The request is kept here, and handed over as soon as it can be".to_owned();
        Self { message, ..Self::nothing(Vec::new()) }
    }

    pub(super) fn refused(message: String, errors: Vec<Fault>, code: &str, request_id: &str) -> Self {
        Self {
            success: false,
            message,
            processed_count: 0,
            workflow_ids: Vec::new(),
            errors,
            timestamp: now(),
            warnings: Vec::new(),
            results: None,
            code: Some(code.to_owned()),
            request_id: Some(request_id.to_owned()),
        }
    }
}

/// What became of the alerts, such as `1 of 2 alerts delivered, 1 failed`.
fn outcomes(results: &[AlertResult]) -> String {
    let of = |outcome| results.iter().filter(|result| result.outcome == outcome).count();
    let others = [
        (Some(Outcome::Partial), "delivered in part"),
        (Some(Outcome::Failed), "failed"),
        (Some(Outcome::Dropped), "dropped"),
        (Some(Outcome::Unrouted), "unrouted"),
        (None, "not done yet"),
    ];
    let alerts = if results.len() == 1 { "alert" } else { "alerts" };
    let first = format!("{} of {} {alerts} delivered", of(Some(Outcome::Delivered)), results.len());
    let others =
        others.into_iter().map(|(outcome, words)| (of(outcome), words)).filter(|(count, _)| *count > 0);
    others.fold(first, |message, (count, words)| format!("{message}, {count} {words}"))
}

/// Now.
pub(super) fn now() -> String {
    time::text(Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporal::Carried;

    fn message(outcomes: &[Option<Outcome>]) -> String {
        let id = String::new;
        let result = |outcome: &Option<Outcome>| AlertResult {
            workflow_id: id(),
            id: id(),
            completed: outcome.is_some(),
            outcome: *outcome,
            ledger: None,
        };
        let alerts = outcomes.iter().map(|_| Carried { workflow_id: id(), id: id() }).collect();
        let results = outcomes.iter().map(result).collect();
        let answer = WebhookResponse::accepted(Submitted { alerts }, Some(results));
        assert!(answer.success && answer.processed_count == outcomes.len(), "all are accepted");
        answer.message
    }

    #[test]
    fn a_synchronous_answer_counts_what_became_of_the_alerts() {
        let [delivered, partial, failed, dropped, unrouted] =
            [Outcome::Delivered, Outcome::Partial, Outcome::Failed, Outcome::Dropped, Outcome::Unrouted]
                .map(Some);
        assert_eq!(message(&[delivered]), "1 of 1 alert delivered");
        assert_eq!(message(&[failed, delivered]), "1 of 2 alerts delivered, 1 failed");
        assert_eq!(message(&[None, dropped, None]), "0 of 3 alerts delivered, 1 dropped, 2 not done yet");
        assert_eq!(
            message(&[unrouted, partial, failed, delivered]),
            "1 of 4 alerts delivered, 1 delivered in part, 1 failed, 1 unrouted"
        );
    }
}
