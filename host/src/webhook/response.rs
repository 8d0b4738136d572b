//! The one model of answers to posts and of refusals.

use campanile_store::{Disposition, Placed};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault::Fault;
use crate::ledger::{Ledger, Outcome};
use crate::time;

/// The answer to a post, and to everything that is refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WebhookResponse {
    /// Whether the host has accepted the alerts; with status 202, whether the spool holds the request.
    pub success: bool,
    /// One line for a person.
    #[schema(example = "Processed 1 alerts successfully")]
    pub message: String,
    /// How many alerts were accepted.
    pub processed_count: usize,
    /// Per alert, in the order of the request: its id, for `/alerts/{workflow_id}`.
    #[schema(example = json!(["alert-123-20231201-143022"]))]
    pub workflow_ids: Vec<String>,
    /// Of an asynchronous post: what each alert became, in the order of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub alerts: Option<Vec<AcceptedAlert>>,
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

/// What one alert of a post became.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AcceptedAlert {
    /// Its id; a duplicate has that of the alert that it repeats.
    #[schema(example = "alert-123-20231201-143022")]
    pub workflow_id: String,
    /// `new`, `duplicate`, `escalated`, `renewed`, `resolves`, `flapped` or `nothing-open`.
    #[schema(value_type = String, example = "new")]
    pub disposition: Disposition,
}

impl From<&Placed> for AcceptedAlert {
    fn from(placed: &Placed) -> Self {
        Self { workflow_id: placed.id.clone(), disposition: placed.disposition }
    }
}

/// What became of one alert of a synchronous post.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertResult {
    /// Its id: ask `/alerts/{workflow_id}` again if it is not completed.
    pub workflow_id: String,
    /// What its post became.
    #[schema(value_type = String, example = "new")]
    pub disposition: Disposition,
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
    pub(super) fn accepted(placed: &[Placed], results: Option<Vec<AlertResult>>) -> Self {
        let count = placed.len();
        Self {
            success: true,
            message: results
                .as_deref()
                .map_or_else(|| format!("Processed {count} alerts successfully"), outcomes),
            processed_count: count,
            workflow_ids: placed.iter().map(|placed| placed.id.clone()).collect(),
            alerts: results.is_none().then(|| placed.iter().map(AcceptedAlert::from).collect()),
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
        Self { message, warnings, alerts: None, ..Self::accepted(&[], None) }
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
            alerts: None,
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

    fn message(outcomes: &[Option<Outcome>]) -> String {
        let id = String::new;
        let result = |outcome: &Option<Outcome>| AlertResult {
            workflow_id: id(),
            disposition: Disposition::New,
            completed: outcome.is_some(),
            outcome: *outcome,
            ledger: None,
        };
        let placed = Placed { id: id(), disposition: Disposition::New, number: 0, at: 0 };
        let alerts = vec![placed; outcomes.len()];
        let results = outcomes.iter().map(result).collect();
        let answer = WebhookResponse::accepted(&alerts, Some(results));
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
