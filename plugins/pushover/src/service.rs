//! What Pushover's answers mean: `{"status": 1, "request": "…"}`, with a `receipt` for an emergency; or a 4xx with
//! `{"status": 0, "errors": ["…"], …}`, which would repeat itself.
//!
//! Sources: pushover.net/api, "Response Format" and "Being Friendly to our API"; pushover.net/api/receipts.

use campanile_guest::http::{Rule, Service};

const TOKEN: &str = "check the secret behind `token`: the API token of an application at pushover.net";
const USER: &str =
    "check the secret behind `user`: a user or group key, shown at pushover.net, that is active";

pub(crate) const PUSHOVER: Service = Service {
    id: &["/receipt"],
    error: &["/errors/0"],
    success: Some("/status"),
    wait: None,
    rules: &[
        Rule::never(
            "message cannot be blank",
            "empty-message",
            "see to it that the template `text` gives something",
        ),
        Rule::never("token", "invalid-token", TOKEN),
        Rule::never("user", "invalid-user", USER),
        Rule::never("device", "invalid-device", "check `device`, or leave it out for all devices"),
        Rule::never("sound", "invalid-sound", "check `sound`, or leave it out"),
    ],
};
