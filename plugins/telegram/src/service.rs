//! What the Bot API's answers mean: an error comes as `{"ok": false, "error_code": 400, "description": "…"}`, and its status is
//! the error's code.
//!
//! Sources: core.telegram.org/bots/api ("Making requests", ResponseParameters); the descriptions are documented nowhere, and
//! are as collected in github.com/TelegramBotAPI/errors and reported in github.com/tdlib/telegram-bot-api.

use campanile_guest::http::{Rule, Service};

const CHAT: &str = "add the bot to the chat, let it post there, and check `chat`";
const TOKEN: &str = "check the secret behind `url`: the bot's token, such as 123456:AbC-dEf";
const MOVED: &str = "the group became a supergroup: set `chat` to its new id, such as -1001234567890";
const TEMPLATE: &str =
    "check the HTML of the template `text`; Telegram knows few tags, and all must be closed";

/// The message that was to be changed is not there any more, or cannot be changed.
pub(crate) const GONE: &str = "message-gone";

/// The text's markup is not Telegram's.
pub(crate) const INVALID: &str = "invalid-html";

pub(crate) const TELEGRAM: Service = Service {
    id: &["/result/chat/id", "/result/message_id"],
    error: &["/description"],
    success: Some("/ok"),
    wait: Some("/parameters/retry_after"),
    rules: &[
        Rule::done("message is not modified"),
        Rule::never("message to edit not found", GONE, ""),
        Rule::never("message can't be edited", GONE, ""),
        Rule::never("MESSAGE_ID_INVALID", GONE, ""),
        Rule::never("upgraded to a supergroup", "chat-moved", MOVED),
        Rule::never("can't parse entities", INVALID, TEMPLATE),
        Rule::never("text is empty", INVALID, "see to it that the template `text` gives more than markup"),
        Rule::never("message is too long", "too-long", "set `text` to a shorter template"),
        Rule::never("chat not found", "chat-not-found", CHAT),
        Rule::never("not enough rights", "not-enough-rights", CHAT),
        Rule::never(
            "message thread not found",
            "topic-not-found",
            "check `topic`: the id of a topic of the chat",
        ),
        Rule::never("bot was blocked", "bot-blocked", CHAT),
        Rule::never("bot was kicked", "bot-kicked", CHAT),
        Rule::never("bot is not a member", "bot-not-member", CHAT),
        Rule::never("Unauthorized", "unauthorized", TOKEN),
        Rule::never("Not Found", "not-found", TOKEN),
    ],
};
