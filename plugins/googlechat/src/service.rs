//! What Google Chat's answers mean: the message's `name`, or `{"error": {"code": 400, "message": "…", "status": "…"}}`.
//!
//! Sources: google.aip.dev/193 (errors; the statuses are those of google.rpc.Code) and
//! developers.google.com/workspace/chat/limits (429, with exponential backoff).

use campanile_guest::http::{Rule, Service};

const KEYS: &str = "check the secrets GOOGLECHAT_KEY and GOOGLECHAT_TOKEN: what stands behind key= and token= in the \
                    webhook's address, with %3D written as =";
const SPACE: &str = "check `space`: what stands between /spaces/ and /messages in the webhook's address, which may \
                     have been deleted";
const REPORT: &str = "check `mention`; if there is none, this is a fault of the plugin: please report it";

pub(crate) const GOOGLE_CHAT: Service = Service {
    id: &["/name"],
    error: &["/error/status", "/error/message", "/error/details/0/fieldViolations/0/description"],
    success: None,
    wait: None,
    rules: &[
        Rule::backoff("RESOURCE_EXHAUSTED:", "rate-limited"),
        Rule::backoff("UNAVAILABLE:", "unavailable"),
        Rule::backoff("INTERNAL:", "internal"),
        Rule::backoff("UNKNOWN:", "unknown"),
        Rule::backoff("ABORTED:", "aborted"),
        Rule::backoff("DEADLINE_EXCEEDED:", "deadline-exceeded"),
        Rule::never("API key", "invalid-key", KEYS),
        Rule::never("UNAUTHENTICATED:", "unauthenticated", KEYS),
        Rule::never("PERMISSION_DENIED:", "permission-denied", KEYS),
        Rule::never("NOT_FOUND:", "not-found", SPACE),
        Rule::never("INVALID_ARGUMENT:", "invalid-argument", REPORT),
        Rule::never("FAILED_PRECONDITION:", "failed-precondition", SPACE),
    ],
};
