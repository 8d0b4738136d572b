//! What ntfy's answers mean: `{"id": "…", …}`, or `{"code": 40301, "http": 403, "error": "forbidden", …}`.
//!
//! Source: server/errors.go in github.com/binwiederhier/ntfy.

use campanile_guest::http::{Rule, Service};

const TOKEN: &str = "set `token` to a secret of kind bearer, or of kind basic, that may write to the topic";
const TOPIC: &str = "set `topic` to 1 to 64 letters, digits, - and _";
const SHORTER: &str = "the server takes shorter messages only; set `text` to a shorter template";
const REPORT: &str = "this is a fault of the plugin: please report it";

pub(crate) const NTFY: Service = Service {
    id: &["/id"],
    error: &["/code", "/error"],
    success: None,
    wait: None,
    rules: &[
        Rule::never("40101:", "unauthorized", TOKEN),
        Rule::never("40301:", "forbidden", TOKEN),
        Rule::never("40009:", "topic-invalid", TOPIC),
        Rule::never("40010:", "topic-disallowed", TOPIC),
        Rule::never("40014:", "too-large", SHORTER),
        Rule::never("41303:", "too-large", SHORTER),
        Rule::never("40017:", "invalid-json", REPORT),
        Rule::never("40018:", "invalid-actions", REPORT),
    ],
};
