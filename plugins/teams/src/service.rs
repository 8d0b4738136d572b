//! What a workflow's answers mean: 202 says that it has begun, not that the card was posted.
//!
//! Sources: the errors that github.com/ericferon/glpi-webhook/issues/51 and github.com/caronc/apprise/issues/1161 quote.

use campanile_guest::http::{Rule, Service};

const URL: &str = "check `url` and the secret in its `sig`: copy the workflow's address again, its query included, and let \
                   anyone trigger it";

pub(crate) const WORKFLOW: Service = Service {
    id: &[],
    error: &["/error/code", "/error/message"],
    success: None,
    wait: None,
    rules: &[
        Rule::never("DirectApiAuthorizationRequired", "invalid-sig", URL),
        Rule::never("MissingApiVersionParameter", "invalid-url", URL),
    ],
};
