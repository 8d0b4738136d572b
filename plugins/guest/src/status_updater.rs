//! What every shipped status updater says the same way: the glue between its one function and the contract.

mod words;

use crate::types::Alert;

pub use words::{Acknowledgement, COMMENT_ON, is_commented};

/// `change` of the contract, as every status updater sees it: bindings are generated once per plugin, and so are their types.
#[derive(Clone, Debug)]
pub struct Change {
    /// The same for every attempt: an idempotency key.
    pub change_id: String,
    /// The updater's name in the plan.
    pub updater: String,
    /// Counts from 1.
    pub attempt: u32,
    /// The W3C trace context.
    pub traceparent: String,
    /// The alert.
    pub alert: Alert,
    /// What became of it so far.
    pub outcome: Outcome,
    /// Receiver by receiver.
    pub deliveries: Vec<DeliveryResult>,
}

/// `outcome` of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Retries are under way and nobody has been told yet.
    Pending,
    /// Every receiver has it.
    Delivered,
    /// Some receivers have it.
    Partial,
    /// No receiver has it.
    Failed,
    /// A processor dropped it.
    Dropped,
    /// No route took it.
    Unrouted,
}

/// `delivery-result` of the contract.
#[derive(Clone, Debug)]
pub struct DeliveryResult {
    /// The receiver's name.
    pub receiver: String,
    /// How far it has come.
    pub state: DeliveryState,
    /// One line: the receipt or the last error.
    pub message: String,
}

/// `delivery-state` of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Its retries are under way.
    Pending,
    /// It has the alert.
    Delivered,
    /// It was given up.
    Failed,
}

/// Makes the crate a status updater: generates the bindings, exports them, and calls `update` for each change.
///
/// `update` is a `fn(&Change) -> Result<Receipt, Failure>`; `http` and `secrets` are what it would like to be granted.
#[macro_export]
macro_rules! status_updater {
    (
        name: $name:expr, summary: $summary:expr, config: $config:expr,
        http: [$($http:expr),* $(,)?], secrets: [$($secret:expr),* $(,)?], update: $update:path $(,)?
    ) => {
        #[allow(unsafe_code, reason = "the boundary of the component, generated from `wit/`")]
        mod bindings {
            $crate::wit_bindgen::generate!({
                path: "../../wit",
                world: "campanile:status-updater/plugin@0.1.0",
                with: { "campanile:types/types@0.1.0": campanile_guest::types },
                runtime_path: "campanile_guest::wit_bindgen::rt",
                generate_all,
            });
            #[cfg(target_family = "wasm")]
            use super::Plugin;
            #[cfg(target_family = "wasm")]
            export!(Plugin);

            use exports::campanile::status_updater::status_updater as contract;

            impl From<contract::Change> for $crate::Change {
                fn from(change: contract::Change) -> Self {
                    Self {
                        change_id: change.change_id,
                        updater: change.updater,
                        attempt: change.attempt,
                        traceparent: change.traceparent,
                        alert: change.alert,
                        outcome: change.outcome.into(),
                        deliveries: change.deliveries.into_iter().map(Into::into).collect(),
                    }
                }
            }

            impl From<contract::Outcome> for $crate::Outcome {
                fn from(outcome: contract::Outcome) -> Self {
                    match outcome {
                        contract::Outcome::Pending => Self::Pending,
                        contract::Outcome::Delivered => Self::Delivered,
                        contract::Outcome::Partial => Self::Partial,
                        contract::Outcome::Failed => Self::Failed,
                        contract::Outcome::Dropped => Self::Dropped,
                        contract::Outcome::Unrouted => Self::Unrouted,
                    }
                }
            }

            impl From<contract::DeliveryResult> for $crate::DeliveryResult {
                fn from(result: contract::DeliveryResult) -> Self {
                    let state = match result.state {
                        contract::DeliveryState::Pending => $crate::DeliveryState::Pending,
                        contract::DeliveryState::Delivered => $crate::DeliveryState::Delivered,
                        contract::DeliveryState::Failed => $crate::DeliveryState::Failed,
                    };
                    Self { receiver: result.receiver, state, message: result.message }
                }
            }
        }

        struct Plugin;

        impl bindings::exports::campanile::status_updater::status_updater::Guest for Plugin {
            fn describe() -> $crate::types::Description {
                $crate::types::Description {
                    name: String::from($name),
                    version: String::from(env!("CARGO_PKG_VERSION")),
                    summary: String::from($summary),
                    config_schema: String::from($config),
                    http: vec![$(String::from($http)),*],
                    secrets: vec![$(String::from($secret)),*],
                }
            }

            fn update_status(
                change: bindings::exports::campanile::status_updater::status_updater::Change,
            ) -> Result<$crate::types::Receipt, $crate::types::Failure> {
                $update(&change.into())
            }
        }
    };
}
