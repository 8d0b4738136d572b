//! What Discord's answers mean: an error comes as `{"code": 10015, "message": "Unknown Webhook"}`.
//!
//! Sources: docs.discord.com/developers/topics/opcodes-and-status-codes (JSON error codes) and …/topics/rate-limits
//! (429 with `retry_after`, in seconds with a fraction).

use campanile_guest::http::{Rule, Service};

const WEBHOOK: &str =
    "make a new webhook in the channel's settings, and put its id and token into the secret";

/// The message that was to be changed is not there any more.
pub(crate) const GONE: &str = "message-gone";

pub(crate) const DISCORD: Service = Service {
    id: &["/id"],
    // The last is made by [`crate::answer`].
    error: &["/code", "/message", "/fields"],
    success: None,
    wait: Some("/retry_after"),
    rules: &[
        Rule::backoff("130000: ", "overloaded"),
        Rule::never("10008: ", GONE, ""),
        Rule::never("10015: ", "unknown-webhook", WEBHOOK),
        Rule::never("50027: ", "invalid-webhook-token", WEBHOOK),
        Rule::never(
            "10003: ",
            "unknown-channel",
            "check `thread`: the id of a thread of the webhook's channel",
        ),
        Rule::never("50006: ", "empty-message", "see to it that `title`, `text` or `facts` give something"),
        Rule::never(
            "thread_id: ",
            "invalid-form-body",
            "check `thread`: the id of a thread of the webhook's channel",
        ),
        Rule::never("content: ", "invalid-form-body", "check `mention`"),
        Rule::never("50035: ", "invalid-form-body", ""),
    ],
};
