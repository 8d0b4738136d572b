//! What `wit/` says, as Rust: the only place with generated code, and where it is translated into our own types.

use self::shared::campanile::types::types as wit;
use super::imports::HostState;
use super::{CallError, Change, Decoded, Delivery, Receipt, SourceReply, SourceRequest};
use crate::alert::{AlertItem, Severity, Status, THREAD_ID};
use crate::ledger::{DeliveryResult, DeliveryState, Outcome, Retry};
use crate::plan::LONGEST_DELAY;

pub(super) use self::processor::exports::campanile::processor::processor::Decision as RawDecision;
use self::source::exports::campanile::source::source as sources;
pub(super) use self::sources::Decoded as RawDecoded;
use self::status_updater::exports::campanile::status_updater::status_updater as updates;
pub(super) use self::wit::{Alert, Description, Failure};

/// The types that all roles share.
pub(super) mod shared {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package campanile:host; world shared { import campanile:types/types@0.1.0; }",
    });
}

/// The host functions that are ours to provide; `wasmtime-wasi` and `wasmtime-wasi-http` provide the others.
pub(super) mod provided {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package campanile:host; world provided {
            import wasi:config/store@0.2.0-rc.1;
            import wasi:logging/logging@0.1.0-draft;
            import campanile:mail/sender@0.1.0;
        }",
        imports: { "campanile:mail/sender": async | trappable, default: trappable },
    });
}

/// The role that enriches, rescores, relabels or drops alerts.
pub(super) mod processor {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package campanile:host; world processor { export campanile:processor/processor@0.1.0; }",
        exports: { default: async },
        with: { "campanile:types/types": super::shared::campanile::types::types },
    });
}

/// The role that tells somebody.
pub(super) mod notifier {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package campanile:host; world notifier { export campanile:notifier/notifier@0.1.0; }",
        exports: { default: async },
        with: { "campanile:types/types": super::shared::campanile::types::types },
    });
}

/// The role that writes back.
pub(super) mod status_updater {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package campanile:host; world status-updater { export campanile:status-updater/status-updater@0.1.0; }",
        exports: { default: async },
        with: { "campanile:types/types": super::shared::campanile::types::types },
    });
}

/// The role that turns requests into alerts.
pub(super) mod source {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package campanile:host; world source { export campanile:source/source@0.1.0; }",
        exports: { default: async },
        with: { "campanile:types/types": super::shared::campanile::types::types },
    });
}

/// A component that was linked and type-checked, ready to be instantiated.
#[derive(Clone)]
pub(super) enum Guest {
    Processor(processor::ProcessorPre<HostState>),
    Notifier(notifier::NotifierPre<HostState>),
    StatusUpdater(status_updater::StatusUpdaterPre<HostState>),
    Source(source::SourcePre<HostState>),
}

impl Guest {
    /// Instantiates the component and asks what it is.
    pub(super) async fn describe(&self, store: &mut super::call::Store) -> wasmtime::Result<Description> {
        match self {
            Guest::Processor(pre) => {
                let guest = pre.instantiate_async(&mut *store).await?;
                guest.campanile_processor_processor().call_describe(store).await
            }
            Guest::Notifier(pre) => {
                let guest = pre.instantiate_async(&mut *store).await?;
                guest.campanile_notifier_notifier().call_describe(store).await
            }
            Guest::StatusUpdater(pre) => {
                let guest = pre.instantiate_async(&mut *store).await?;
                guest.campanile_status_updater_status_updater().call_describe(store).await
            }
            Guest::Source(pre) => {
                let guest = pre.instantiate_async(&mut *store).await?;
                guest.campanile_source_source().call_describe(store).await
            }
        }
    }
}

/// The alert as guests see it.
pub(super) fn alert(item: &AlertItem) -> wit::Alert {
    let alert = &item.alert;
    wit::Alert {
        id: item.id.clone(),
        title: alert.title.clone(),
        severity: severity(alert.severity),
        status: status(alert.status),
        labels: alert.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        document: serde_json::to_string(alert).expect("an alert has only text keys"),
        metadata: serde_json::to_string(&item.origin.metadata).expect("metadata has only text keys"),
    }
}

pub(super) fn delivery(
    delivery: &Delivery<'_>,
) -> notifier::exports::campanile::notifier::notifier::Delivery {
    notifier::exports::campanile::notifier::notifier::Delivery {
        delivery_id: delivery.delivery_id.to_owned(),
        thread_id: delivery.thread_id.to_owned(),
        earlier: delivery
            .earlier
            .map(|earlier| wit::Receipt { id: earlier.id.clone(), message: earlier.message.clone() }),
        receiver: delivery.receiver.to_owned(),
        attempt: delivery.attempt,
        traceparent: delivery.item.origin.traceparent.clone(),
        alert: alert(delivery.item),
    }
}

pub(super) fn change(change: &Change<'_>) -> updates::Change {
    updates::Change {
        change_id: change.change_id.to_owned(),
        updater: change.updater.to_owned(),
        attempt: change.attempt,
        traceparent: change.item.origin.traceparent.clone(),
        alert: with_thread(change.item),
        outcome: outcome(change.outcome),
        deliveries: change.deliveries.iter().map(delivery_result).collect(),
    }
}

/// The alert as updaters see it: its document says to which life it belongs, which their records have no field for.
fn with_thread(item: &AlertItem) -> wit::Alert {
    let mut item = item.clone();
    item.alert.extra.insert(THREAD_ID.to_owned(), item.thread_id.clone().into());
    alert(&item)
}

fn delivery_result(result: &DeliveryResult) -> updates::DeliveryResult {
    let state = match result.state {
        DeliveryState::Pending => updates::DeliveryState::Pending,
        DeliveryState::Delivered => updates::DeliveryState::Delivered,
        DeliveryState::Failed => updates::DeliveryState::Failed,
    };
    updates::DeliveryResult { receiver: result.receiver.clone(), state, message: result.message.clone() }
}

fn outcome(outcome: Option<Outcome>) -> updates::Outcome {
    match outcome {
        None => updates::Outcome::Pending,
        Some(Outcome::Delivered) => updates::Outcome::Delivered,
        Some(Outcome::Partial) => updates::Outcome::Partial,
        Some(Outcome::Failed) => updates::Outcome::Failed,
        Some(Outcome::Dropped) => updates::Outcome::Dropped,
        Some(Outcome::Unrouted) => updates::Outcome::Unrouted,
    }
}

fn severity(severity: Severity) -> wit::Severity {
    match severity {
        Severity::Low => wit::Severity::Low,
        Severity::Medium => wit::Severity::Medium,
        Severity::High => wit::Severity::High,
        Severity::Critical => wit::Severity::Critical,
    }
}

fn status(status: Status) -> wit::Status {
    match status {
        Status::Firing => wit::Status::Firing,
        Status::Resolved => wit::Status::Resolved,
    }
}

pub(super) fn source_request(request: SourceRequest) -> sources::Request {
    let SourceRequest { method, path, headers, body } = request;
    sources::Request { method, path, headers, body }
}

impl From<sources::Decoded> for Decoded {
    fn from(decoded: sources::Decoded) -> Self {
        let sources::Decoded { alerts, warnings, delivery_id, reply } = decoded;
        let reply = reply.map(|sources::Reply { status, content_type, body }| SourceReply {
            status,
            content_type,
            body,
        });
        Self { alerts, warnings, delivery_id, reply }
    }
}

impl From<wit::Receipt> for Receipt {
    fn from(receipt: wit::Receipt) -> Self {
        Self { id: receipt.id, message: receipt.message }
    }
}

/// [`LONGEST_DELAY`] in milliseconds.
const LONGEST_DELAY_MS: u64 = LONGEST_DELAY.as_secs() * 1_000;

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        let retry = match failure.retry {
            wit::Retry::Never => Retry::Never,
            wit::Retry::Backoff => Retry::Backoff,
            wit::Retry::After(after_ms) => Retry::After { after_ms: after_ms.min(LONGEST_DELAY_MS) },
        };
        CallError::from_guest(&failure.code, &failure.message, retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_can_ask_for_an_hour_at_most() {
        let asked = |after_ms| {
            let retry = wit::Retry::After(after_ms);
            CallError::from(Failure { code: "busy".to_owned(), message: String::new(), retry }).retry
        };
        assert_eq!(asked(5_000), Retry::After { after_ms: 5_000 });
        assert_eq!(asked(u64::MAX), Retry::After { after_ms: 3_600_000 });
    }
}
