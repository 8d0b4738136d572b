//! What the Web API's answers mean. Refusals come with a status of 200, as `{"ok": false, "error": "…"}`.
//!
//! Sources: the errors listed for `chat.postMessage` and `chat.update` (docs.slack.dev/reference/methods, as kept in
//! github.com/slack-ruby/slack-api-ref), and docs.slack.dev/apis/web-api/rate-limits (429 with `Retry-After`).

use campanile_guest::http::{Rule, Service};

const INVITE: &str = "invite the app to the channel, and check `channel`: an id such as C0123ABC";
const TOKEN: &str = "check the secret behind `token`: a bot token, xoxb-…, of an app that is installed";
const SCOPE: &str = "give the app the scope chat:write, and install it again";
const POLICY: &str = "the workspace does not let the app post there";
const REPORT: &str = "this is a fault of the plugin: please report it";

/// The message that was to be updated, or replied to, is not there any more.
pub(crate) const GONE: &str = "message-gone";

/// The message is there, but cannot be changed any more.
pub(crate) const FIXED: &str = "message-fixed";

pub(crate) const SLACK: Service = Service {
    id: &["/channel", "/ts"],
    error: &["/error", "/response_metadata/messages/0"],
    success: Some("/ok"),
    wait: None,
    rules: &[
        Rule::backoff("ratelimited", "rate-limited"),
        Rule::backoff("rate_limited", "rate-limited"),
        Rule::backoff("fatal_error", "fatal-error"),
        Rule::backoff("internal_error", "internal-error"),
        Rule::backoff("service_unavailable", "service-unavailable"),
        Rule::backoff("request_timeout", "request-timeout"),
        Rule::backoff("team_added_to_org", "team-added-to-org"),
        Rule::backoff("org_login_required", "org-login-required"),
        Rule::backoff("external_channel_migrating", "channel-migrating"),
        Rule::backoff("update_failed", "update-failed"),
        Rule::never("message_not_found", GONE, ""),
        Rule::never("thread_not_found", GONE, ""),
        Rule::never("cant_update_message", FIXED, ""),
        Rule::never("edit_window_closed", FIXED, ""),
        Rule::never("channel_not_found", "channel-not-found", INVITE),
        Rule::never("not_in_channel", "not-in-channel", INVITE),
        Rule::never("is_archived", "is-archived", "the channel is archived; set `channel` to another"),
        Rule::never("is_inactive", "is-archived", "the channel is archived; set `channel` to another"),
        Rule::never("invalid_auth", "invalid-auth", TOKEN),
        Rule::never("not_authed", "not-authed", TOKEN),
        Rule::never("account_inactive", "account-inactive", TOKEN),
        Rule::never("token_revoked", "token-revoked", TOKEN),
        Rule::never("token_expired", "token-expired", TOKEN),
        Rule::never("not_allowed_token_type", "not-allowed-token-type", TOKEN),
        Rule::never("missing_scope", "missing-scope", SCOPE),
        Rule::never("no_permission", "no-permission", INVITE),
        Rule::never("restricted_action", "restricted-action", POLICY),
        Rule::never("access_denied", "access-denied", POLICY),
        Rule::never("msg_too_long", "msg-too-long", REPORT),
        Rule::never("invalid_blocks", "invalid-blocks", REPORT),
        Rule::never("invalid_attachments", "invalid-attachments", REPORT),
        Rule::never("too_many_attachments", "too-many-attachments", REPORT),
        Rule::never("no_text", "no-text", REPORT),
    ],
};
