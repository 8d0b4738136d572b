//! What PagerDuty's answers mean: 202 is taken, 400 is wrong for good, 429 and 5xx may pass.
//!
//! Sources: github.com/PagerDuty/developer-docs, docs/events-API-v2/01-Overview.md ("Response Codes & Retry Logic"), and the
//! example of a 400 of v2.developer.pagerduty.com/docs/send-an-event-events-api-v2.

use campanile_guest::http::{Rule, Service};

const ROUTING_KEY: &str = "check the secret behind `routing-key`: the integration key of an Events API v2 integration, 32 characters";

pub(crate) const PAGERDUTY: Service = Service {
    id: &["/dedup_key"],
    error: &["/message", "/errors/0", "/errors/1", "/errors/2"],
    success: None,
    wait: None,
    rules: &[Rule::never("routing_key", "invalid-routing-key", ROUTING_KEY)],
};
