//! Finding alerts by what they are.

use campanile_store::{Filter, Found, Micros, Progress};
use jiff::{SignedDuration, Timestamp};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::life;
use super::lookup::{AlertState, LookupError};
use crate::alert::{self, Alert, Severity};
use crate::ledger::{Acknowledgement, Outcome};
use crate::records::Records;

/// How many alerts a page has when nothing is said.
pub(super) const PAGE: u16 = 50;
/// The most alerts of one page.
pub const LARGEST_PAGE: u16 = 1_000;

/// Which alerts. Everything that is given has to hold.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertFilter {
    /// Only what is open now: of each life its newest notification. What is stale is left out.
    #[serde(default)]
    pub open: bool,
    /// With `open`: what is stale as well, which was not posted for `store.stale-after`.
    #[serde(default)]
    pub stale: bool,
    /// Whether it is acknowledged.
    pub acknowledged: Option<bool>,
    /// What became of them, `running`, or `suspended`.
    #[param(inline)]
    pub outcome: Option<ListedOutcome>,
    /// How bad they are.
    #[serde(default, deserialize_with = "alert::any_severity")]
    pub severity: Option<Severity>,
    /// Their scope: the source that they were posted to, or that of the key which posted them to `/webhook/alerts`.
    #[param(example = "grafana", pattern = r"^[^\u0000]*$")]
    pub scope: Option<String>,
    /// Their `id`, or `dedup_key`.
    #[param(example = "web-1/cpu", pattern = r"^[^\u0000]*$")]
    pub key: Option<String>,
    /// A receiver that has them.
    #[param(example = "slack-ops", pattern = r"^[^\u0000]*$")]
    pub receiver: Option<String>,
    /// What is in their title, their key or one of their labels, in any case.
    #[param(example = "disk", pattern = r"^[^\u0000]*$")]
    pub text: Option<String>,
    /// Accepted at this time or later: RFC 3339, or how long ago.
    #[serde(default, deserialize_with = "time")]
    #[param(value_type = Option<String>, pattern = r"^([0-9]{1,4}(ms|s|m|h)|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$", example = "2h")]
    pub since: Option<Timestamp>,
    /// Accepted before this time: RFC 3339, or how long ago.
    #[serde(default, deserialize_with = "time")]
    #[param(value_type = Option<String>, pattern = r"^([0-9]{1,4}(ms|s|m|h)|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$", example = "2023-12-02T00:00:00Z")]
    pub until: Option<Timestamp>,
    /// How many at most, 1 to 1,000 [default: 50].
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// `next` of the page before.
    #[param(pattern = r"^[0-9]{1,18}$", example = "4711")]
    pub cursor: Option<String>,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListedOutcome {
    /// Every receiver has it.
    Delivered,
    /// Some receivers have it.
    Partial,
    /// No receiver has it.
    Failed,
    /// No receiver was to have it.
    Dropped,
    /// No route took it.
    Unrouted,
    /// It is not at its end.
    Running,
    /// It waits for an operator.
    Suspended,
}

impl ListedOutcome {
    fn outcome(self) -> Option<campanile_store::Outcome> {
        use campanile_store::Outcome::{Delivered, Dropped, Failed, Partial, Unrouted};
        match self {
            Self::Delivered => Some(Delivered),
            Self::Partial => Some(Partial),
            Self::Failed => Some(Failed),
            Self::Dropped => Some(Dropped),
            Self::Unrouted => Some(Unrouted),
            Self::Running | Self::Suspended => None,
        }
    }
}

/// A page of alerts, in order of acceptance, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertPage {
    /// The alerts.
    pub alerts: Vec<ListedAlert>,
    /// What to give as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
}

/// One alert of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListedAlert {
    /// Its id: `/alerts/{workflow_id}` has the full story.
    pub workflow_id: String,
    /// Where it stands.
    pub state: AlertState,
    /// What its post became.
    #[schema(value_type = String, example = "new")]
    pub disposition: campanile_store::Disposition,
    /// Whether its life goes on.
    pub open: bool,
    /// Whether its life goes on, and was not posted for `store.stale-after`.
    pub stale: bool,
    /// The headline.
    pub title: String,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub outcome: Option<Outcome>,
    /// Firing or resolved.
    pub status: alert::Status,
    /// How bad it is.
    pub severity: Severity,
    /// Its scope: the source that it was posted to, or that of the key which posted it to `/webhook/alerts`.
    pub scope: String,
    /// The name of its source.
    pub source: String,
    /// Its `id`, or `dedup_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// How often its life was posted again.
    pub repeats: i64,
    /// Who has acknowledged its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub acknowledged: Option<Acknowledgement>,
    /// When the host accepted it.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub accepted_at: Timestamp,
    /// When its life began: it may have been notified again since.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub began_at: Timestamp,
    /// When its life was posted last.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
    /// When it came to its end.
    #[serde(default, with = "crate::time::optional", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
}

/// One page of alerts.
///
/// # Errors
///
/// The store does not answer, or what it holds cannot be read.
pub async fn list(records: &Records, filter: &AlertFilter) -> Result<AlertPage, LookupError> {
    let before = filter.cursor.as_ref().and_then(|cursor| cursor.parse().ok());
    let most = usize::from(filter.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE));
    let page = records.store()?.list(&of_store(filter), before, most).await?;
    let alerts = page.found.into_iter().map(|found| listed(records, found)).collect::<Result<_, _>>()?;
    Ok(AlertPage { alerts, next: page.next.map(|next| next.to_string()) })
}

fn of_store(filter: &AlertFilter) -> Filter {
    let micros = |at: Timestamp| -> Micros { at.as_microsecond() };
    Filter {
        open: filter.open,
        stale: filter.stale,
        acknowledged: filter.acknowledged,
        severity: filter.severity.map(Severity::rank),
        scope: filter.scope.clone(),
        key: filter.key.clone(),
        receiver: filter.receiver.clone(),
        outcome: filter.outcome.and_then(ListedOutcome::outcome),
        pending: filter.outcome == Some(ListedOutcome::Running),
        suspended: filter.outcome == Some(ListedOutcome::Suspended),
        since: filter.since.map(micros),
        until: filter.until.map(micros),
        text: filter.text.clone(),
    }
}

fn listed(records: &Records, found: Found) -> Result<ListedAlert, LookupError> {
    let alert: Alert = records.read(&found.document)?;
    let acknowledged = found.acknowledgement.map(|one| records.read(&one)).transpose()?;
    Ok(ListedAlert {
        workflow_id: found.id,
        state: found.progress.into(),
        disposition: found.disposition,
        open: found.is_open,
        stale: found.is_stale,
        title: alert.title,
        outcome: found.outcome.map(Outcome::from),
        status: alert.status,
        severity: Severity::from_rank(found.severity),
        scope: found.scope,
        source: alert.source.name,
        key: found.key,
        repeats: found.duplicates,
        acknowledged,
        accepted_at: life::time(found.accepted_at),
        began_at: life::time(found.began_at),
        seen_at: life::time(found.seen_at),
        closed_at: found.ended_at.map(life::time),
    })
}

impl From<Progress> for AlertState {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Waiting => Self::Waiting,
            Progress::Held => Self::Held,
            Progress::Suspended => Self::Suspended,
            // The store learns late that it has been started.
            Progress::Claimed | Progress::Started => Self::Running,
            Progress::Ended => Self::Completed,
        }
    }
}

/// A time as RFC 3339, or as how long ago: `2h`.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let ago = |text: &str| Timestamp::now().checked_sub(text.parse::<SignedDuration>().ok()?.abs()).ok();
    let time = text.parse().ok().or_else(|| ago(&text));
    time.map(Some).ok_or_else(|| {
        D::Error::custom(format!(
            "{text:?} is neither an RFC 3339 time such as 2023-12-01T14:30:22Z nor how long ago, such as 2h"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_filter_are_read_in_any_case() {
        let read = |document: serde_json::Value| serde_json::from_value::<AlertFilter>(document);
        let severity = |word: &str| read(serde_json::json!({"severity": word})).unwrap().severity;
        assert_eq!(["HIGH", "page"].map(severity), [Some(Severity::High), Some(Severity::Critical)]);
        let error = read(serde_json::json!({"severity": "urgent"})).unwrap_err().to_string();
        assert!(error.contains("`urgent`, expected one of `low`"), "{error}");
        assert_eq!(read(serde_json::json!({})).unwrap().severity, None);
    }
}
