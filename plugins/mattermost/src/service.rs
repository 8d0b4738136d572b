//! What Mattermost's answers mean. Its errors have an id, such as `api.context.permissions.app_error`, and a text.
//!
//! Sources: github.com/mattermost/mattermost, api/v4/source/introduction.yaml ("errors", "rate limiting"), and for the ids
//! server/channels/api4/post.go, app/post.go and app/webhook.go.

use campanile_guest::http::{Rule, Service};

const INVITE: &str =
    "add the bot to the team and to the channel, and check `channel`: the id from the channel's details";
const TOKEN: &str = "check the secret behind `token`: an access token of a bot that is enabled";
const HOOK: &str = "check `url` and the secret in it: the webhook was deleted, or the key is wrong";
const SWITCH: &str = "incoming webhooks are switched off: System Console, Integrations";
const LOCKED: &str = "the webhook may not post to its channel: check who made it, and where it points to";

/// The message that was to be replied to is not there any more.
pub(crate) const GONE: &str = "message-gone";

/// The bot may not; or the message that was to be changed is not there any more, which is told in the same way.
pub(crate) const FORBIDDEN: &str = "no-permission";

/// The message is there, but cannot be changed any more.
pub(crate) const FIXED: &str = "message-fixed";

pub(crate) const MATTERMOST: Service = Service {
    id: &["/id"],
    error: &["/id", "/message", "/detailed_error"],
    success: None,
    wait: None,
    rules: &[
        Rule::never("post.update_post.permissions_time_limit", FIXED, ""),
        Rule::never("post.update_post.permissions_details", GONE, ""),
        Rule::never("post.create_post.root_id", GONE, ""),
        Rule::never("post.create_post.channel_root_id", GONE, ""),
        Rule::never("post.create_post.can_not_post_to_deleted", "is-archived", "set `channel` to another"),
        Rule::never(
            "post.update_post.can_not_update_post_in_deleted",
            "is-archived",
            "set `channel` to another",
        ),
        Rule::never("api.context.permissions", FORBIDDEN, INVITE),
        Rule::never("api.context.session_expired", "invalid-token", TOKEN),
        Rule::never("app.channel.get.existing", "channel-not-found", INVITE),
        Rule::never("web.incoming_webhook.invalid", "invalid-webhook", HOOK),
        Rule::never("web.incoming_webhook.disabled", "webhooks-disabled", SWITCH),
        Rule::never("web.incoming_webhook.channel.app_error", "channel-not-found", LOCKED),
        Rule::never("web.incoming_webhook.permissions", FORBIDDEN, LOCKED),
        Rule::never("web.incoming_webhook.user", FORBIDDEN, LOCKED),
    ],
};
