//! Attempts across Temporal's boundary: a failed step becomes a Temporal failure in one function, and comes back in
//! another. Nowhere else is decided what is retried: a bare `?` in an activity would make every error retryable.

use std::time::Duration;

use serde::Deserialize;
use temporalio_common::error::ApplicationFailure;
use temporalio_common::protos::temporal::api::common::v1::Payloads;
use temporalio_common::protos::temporal::api::enums::v1::TimeoutType;
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
use temporalio_sdk::activities::ActivityError;
use temporalio_sdk::{ActivityExecutionError, WorkflowResult};

use super::json::Json;
use crate::ledger::{Activity, Attempt, Retry, Step, StepError};
use crate::plan::Target;

/// A failed step as a Temporal failure: its type is the error's code, its message the error's, its details the
/// step. `delay` is the time until the next attempt, if there is one.
pub(super) fn from_step(step: Step, delay: Option<Duration>) -> ActivityError {
    let (code, message, retry) = match &step.error {
        Some(error) => (error.code.clone(), error.message.clone(), error.retry),
        None => ("unknown".to_owned(), "the step failed without an error".to_owned(), Retry::Never),
    };
    let failure = ApplicationFailure::builder(message)
        .type_name(code)
        .non_retryable(!retry.is_worthwhile())
        .maybe_next_retry_delay(delay)
        .details(Json(step))
        .build();
    ActivityError::Application(Box::new(failure))
}

/// An attempt of `process_alert` that needs more time, as a Temporal failure.
pub(super) fn from_error(error: StepError) -> ActivityError {
    let failure = ApplicationFailure::builder(error.message).type_name(error.code).build();
    ActivityError::Application(Box::new(failure))
}

/// Something that is to be tried again after a while, as a Temporal failure.
pub(super) fn later(message: &str, delay: Duration) -> ActivityError {
    let failure = ApplicationFailure::builder(message.to_owned()).type_name("not-yet".to_owned());
    ActivityError::Application(Box::new(failure.next_retry_delay(delay).build()))
}

/// What an activity came back with, as a step of the ledger. `attempts` is how many were made if the failure itself
/// does not say, as when the worker died. Cancellation ends the workflow.
pub(super) fn into_step(
    activity: Activity,
    target: &Target,
    attempts: u32,
    result: Result<Step, ActivityExecutionError>,
) -> WorkflowResult<Step> {
    let error = match result {
        Ok(step) => return Ok(step),
        Err(error @ ActivityExecutionError::Cancelled(_)) => return Err(error.into()),
        Err(error) => error,
    };
    let mut before = Vec::new();
    let (code, message) = match error.failure().map(innermost) {
        None => ("worker", error.to_string()),
        Some(failure) => match (step_of(failure), &failure.failure_info) {
            (Some(step), _) => return Ok(step),
            (None, Some(FailureInfo::TimeoutFailureInfo(timeout))) => {
                before = timeout.last_heartbeat_details.as_ref().map(attempts_of).unwrap_or_default();
                ("timeout", format!("the attempt did not end in time: {}", message_of(failure)))
            }
            (None, _) => ("worker", message_of(failure)),
        },
    };
    let error = StepError { code: code.to_owned(), message, retry: Retry::Backoff };
    Ok(Step {
        attempts: attempts.max(1),
        error: Some(error),
        before,
        ..Step::untried(activity, &target.name)
    })
}

/// What a failure comes from: a durable activity's is wrapped, a local one's is not.
pub(super) fn innermost(mut failure: &Failure) -> &Failure {
    while let Some(cause) = &failure.cause {
        failure = cause;
    }
    failure
}

/// Which time an activity exceeded, if it failed by that.
pub(super) fn timeout_of(error: &ActivityExecutionError) -> Option<TimeoutType> {
    let ActivityExecutionError::Failed(_) = error else { return None };
    match &innermost(error.failure()?).failure_info {
        Some(FailureInfo::TimeoutFailureInfo(timeout)) => Some(timeout.timeout_type()),
        _ => None,
    }
}

/// The attempts that an activity's heartbeats tell of.
pub(super) fn attempts_of(details: &Payloads) -> Vec<Attempt> {
    let payload = details.payloads.first();
    payload.and_then(|payload| serde_json::from_slice(&payload.data).ok()).unwrap_or_default()
}

/// What a failure says. With encryption, that is apart from the failure itself.
pub(super) fn message_of(failure: &Failure) -> String {
    #[derive(Deserialize)]
    struct Common {
        message: String,
    }
    let apart = failure.encoded_attributes.as_ref();
    let apart = apart.and_then(|payload| serde_json::from_slice::<Common>(&payload.data).ok());
    apart.map_or_else(|| failure.message.clone(), |common| common.message)
}

/// The step in an application failure's details.
pub(super) fn step_of(failure: &Failure) -> Option<Step> {
    let Some(FailureInfo::ApplicationFailureInfo(info)) = &failure.failure_info else { return None };
    let payload = info.details.as_ref()?.payloads.first()?;
    serde_json::from_slice(&payload.data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(retry: Retry) -> Step {
        Step {
            attempts: 1,
            error: Some(StepError { code: "http-503".to_owned(), message: "m".to_owned(), retry }),
            ..Step::untried(Activity::SendNotification, "slack")
        }
    }

    fn failure(retry: Retry, delay: Option<Duration>) -> ApplicationFailure {
        match from_step(failed(retry), delay) {
            ActivityError::Application(failure) => *failure,
            other => panic!("not an application failure: {other:?}"),
        }
    }

    #[test]
    fn whether_temporal_retries_is_what_the_plugin_said() {
        let table =
            [(Retry::Never, true), (Retry::Backoff, false), (Retry::After { after_ms: 7_000 }, false)];
        for (retry, non_retryable) in table {
            assert_eq!(failure(retry, None).is_non_retryable(), non_retryable, "{retry:?}");
        }
    }

    #[test]
    fn the_failure_carries_code_and_delay() {
        let failure = failure(Retry::Backoff, Some(Duration::from_secs(7)));
        assert_eq!(failure.type_name(), Some("http-503"));
        assert_eq!(failure.next_retry_delay(), Some(Duration::from_secs(7)));
    }
}
