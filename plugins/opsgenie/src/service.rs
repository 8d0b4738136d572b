//! What Opsgenie's answers mean: 202 says that the request was taken, and will be processed.
//!
//! Sources: docs.opsgenie.com/docs/response (status codes), docs.opsgenie.com/docs/api-rate-limiting (429), and the messages
//! that github.com/streaak/keyhacks/pull/124, falcosecurity/falcosidekick/issues/719 and louislam/uptime-kuma/issues/3613 quote;
//! `errors`, by field, is in the tests of github.com/opsgenie/opsgenie-go-sdk-v2.

use campanile_guest::http::{Rule, Service};

const KEY: &str = "check the secret behind `key`: the key of an API integration that is switched on, and `url`: accounts in the \
                   EU have \"https://api.eu.opsgenie.com/v2/alerts\", and Jira Service Management has \
                   \"https://api.atlassian.com/jsm/ops/integration/v2/alerts\"";

pub(crate) const OPSGENIE: Service = Service {
    id: &["/requestId"],
    error: &[
        "/message",
        "/errors/message",
        "/errors/alias",
        "/errors/description",
        "/errors/responders",
        "/errors/tags",
        "/errors/details",
        "/errors/entity",
        "/errors/source",
        "/errors/priority",
        "/errors/note",
    ],
    success: None,
    wait: None,
    rules: &[
        Rule::never("Could not authenticate", "invalid-key", KEY),
        Rule::never("Key format is not valid", "invalid-key", KEY),
        Rule::never("use an API key from an API integration", "invalid-key", KEY),
    ],
};
