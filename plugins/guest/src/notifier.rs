//! What every shipped notifier says the same way: the glue between its one function and the contract.

use crate::types::{Alert, Receipt};

/// `delivery` of the contract, as every notifier sees it: bindings are generated once per plugin, and so are their types.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The same for every attempt: an idempotency key.
    pub delivery_id: String,
    /// The same for a firing and the resolve that ends it.
    pub thread_id: String,
    /// What the receiver answered to the firing, when this is the resolve that ends it.
    pub earlier: Option<Receipt>,
    /// The receiver's name in the plan.
    pub receiver: String,
    /// Counts from 1.
    pub attempt: u32,
    /// The W3C trace context.
    pub traceparent: String,
    /// The alert.
    pub alert: Alert,
}

impl Delivery {
    /// The service's own id of the firing, when this is the resolve that ends it and the service gave one.
    pub fn earlier_id(&self) -> Option<&str> {
        self.earlier.as_ref()?.id.as_deref()
    }
}

/// Makes the crate a notifier: generates the bindings, exports them, and calls `notify` for each delivery.
///
/// `notify` is a `fn(&Delivery) -> Result<Receipt, Failure>`; `http` and `secrets` are what it would like to be granted.
/// The generated module `bindings` has what else the contract offers a notifier, such as mail.
#[macro_export]
macro_rules! notifier {
    (
        name: $name:expr, summary: $summary:expr, config: $config:expr,
        http: [$($http:expr),* $(,)?], secrets: [$($secret:expr),* $(,)?], notify: $notify:path $(,)?
    ) => {
        #[allow(unsafe_code, reason = "the boundary of the component, generated from `wit/`")]
        mod bindings {
            $crate::wit_bindgen::generate!({
                path: "../../wit",
                world: "campanile:notifier/plugin@0.1.0",
                with: { "campanile:types/types@0.1.0": campanile_guest::types },
                runtime_path: "campanile_guest::wit_bindgen::rt",
                generate_all,
            });
            #[cfg(target_family = "wasm")]
            use super::Plugin;
            #[cfg(target_family = "wasm")]
            export!(Plugin);
        }

        struct Plugin;

        impl bindings::exports::campanile::notifier::notifier::Guest for Plugin {
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

            fn notify(
                delivery: bindings::exports::campanile::notifier::notifier::Delivery,
            ) -> Result<$crate::types::Receipt, $crate::types::Failure> {
                $notify(&$crate::Delivery {
                    delivery_id: delivery.delivery_id,
                    thread_id: delivery.thread_id,
                    earlier: delivery.earlier,
                    receiver: delivery.receiver,
                    attempt: delivery.attempt,
                    traceparent: delivery.traceparent,
                    alert: delivery.alert,
                })
            }
        }
    };
}
