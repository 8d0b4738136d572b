//! A change in words: the one that says how the alert stands, and lines for a comment.

use super::{Change, DeliveryState, Outcome};
use crate::document::Document;
use crate::fit::{Room, fit, more};
use crate::http::plain_id;
use crate::template::{Template, Texts};
use crate::text::{cut, one_line, printable};
use crate::types::Status;

/// How many receivers a comment lists, and how long each line is, in characters.
const RECEIVERS: usize = 50;
const LINE: usize = 300;

/// What the line begins with by which a repeat finds its comment.
const MARK: &str = "change: ";

/// What a comment says. With the mark behind it, and a space behind every character, it is less than Jira's 32,767.
const COMMENT: Template =
    Template { key: "comment", default: "{{ lines }}", limit: 16_000, required: true, escape: printable };

/// On what updaters comment, unless the operator says otherwise by `comment-on`: on all but retries under way.
pub const COMMENT_ON: &str = "acknowledged, resolved, delivered, partial, failed, dropped, unrouted";

/// Whether there is a comment on an alert in this state.
pub fn is_commented(state: &str, comment_on: Option<Vec<String>>) -> bool {
    match comment_on {
        Some(states) => states.iter().any(|given| given == state),
        None => COMMENT_ON.split(", ").any(|given| given == state),
    }
}

/// Who took an alert over: `acknowledgement` of its document, which the host adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement<'a> {
    /// Who.
    pub by: &'a str,
    /// What they said to it; may be empty.
    pub note: &'a str,
    /// When, in RFC 3339; may be empty.
    pub at: &'a str,
}

impl Document {
    /// Who took the alert over, if somebody did.
    pub fn acknowledgement(&self) -> Option<Acknowledgement<'_>> {
        self.value().get("acknowledgement").filter(|value| value.is_object())?;
        let text = |pointer| self.text(pointer).unwrap_or_default();
        Some(Acknowledgement {
            by: self.text("/acknowledgement/by").unwrap_or("somebody"),
            note: text("/acknowledgement/note"),
            at: text("/acknowledgement/at"),
        })
    }
}

impl Document {
    /// The id of the alert's life, the same for all notifications of it: `thread_id` of its document, which the host adds.
    pub fn thread_id(&self) -> Option<&str> {
        self.text("/thread_id")
    }
}

impl Change {
    /// The id of the life that this change belongs to.
    pub fn thread_id<'a>(&'a self, document: &'a Document) -> &'a str {
        document.thread_id().unwrap_or(&self.alert.id)
    }

    /// How the alert stands: `resolved`, else `acknowledged` if somebody took it over, else the outcome.
    pub fn state(&self, document: &Document) -> &'static str {
        match (self.alert.status, document.acknowledgement()) {
            (Status::Resolved, _) => "resolved",
            (Status::Firing, Some(_)) => "acknowledged",
            (Status::Firing, None) => self.outcome.as_str(),
        }
    }

    /// What a comment says, line by line: the operator's words, else [`Self::lines`]. The last line is the mark by which a
    /// repeat finds it; no other line looks like one.
    pub fn comment(&self, texts: &mut Texts, written: Option<&str>) -> Vec<String> {
        let text = texts.render(&COMMENT, written);
        let unmarked =
            |line: &str| if line.trim().starts_with(MARK) { format!("- {line}") } else { line.to_owned() };
        text.lines().map(unmarked).chain([self.mark()]).collect()
    }

    /// All that is known, line by line.
    pub(crate) fn lines(&self, document: &Document) -> Vec<String> {
        let mut lines = vec![format!("alert: {}", self.alert.title), format!("id: {}", self.alert.id)];
        lines.extend(document.acknowledgement().map(|taken| {
            let note = if taken.note.is_empty() { String::new() } else { format!(": {}", taken.note) };
            format!("acknowledged: by {}{note}", taken.by)
        }));
        lines.push(format!("outcome: {}", self.outcome.as_str()));
        let deliveries = self.deliveries.iter().map(|delivery| {
            format!("- {}: {}: {}", delivery.receiver, delivery.state.as_str(), delivery.message)
        });
        lines.extend(fit(deliveries, Room::entries(RECEIVERS), |_| 0, more));
        lines.iter().map(|line| cut(&one_line(line), LINE)).collect()
    }

    /// A line that a comment on this change has, and no other: what comes from outside stands behind other words.
    pub fn mark(&self) -> String {
        format!("{MARK}{}", plain_id(&self.change_id))
    }
}

impl Outcome {
    /// As the contract calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Unrouted => "unrouted",
        }
    }
}

impl DeliveryState {
    /// As the contract calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{change, ended};

    fn document(value: &Value) -> Document {
        Document::parse(&value.to_string()).unwrap()
    }

    fn comment(change: &Change, value: &Value, written: Option<&str>) -> Vec<String> {
        change.comment(&mut Texts::of_change(change, &document(value)), written)
    }

    #[test]
    fn a_resolve_counts_more_than_an_acknowledgement_and_that_more_than_the_outcome() {
        let taken = json!({ "acknowledgement": { "by": "ana" } });
        let state = |change: &Change, value: &Value| change.state(&document(value));
        assert_eq!(state(&change(&taken, Outcome::Partial), &taken), "acknowledged");
        assert_eq!(state(&ended(&taken, Outcome::Partial), &taken), "resolved");
        for odd in [json!({}), json!({ "acknowledgement": null }), json!({ "acknowledgement": true })] {
            assert_eq!(state(&change(&odd, Outcome::Partial), &odd), "partial");
        }
    }

    #[test]
    fn all_notifications_of_a_life_share_an_id() {
        let value = json!({ "thread_id": "alert-0" });
        let changes = [change(&value, Outcome::Delivered), ended(&value, Outcome::Delivered)];
        assert!(changes.iter().all(|change| change.thread_id(&document(&value)) == "alert-0"));
        let without = document(&json!({}));
        assert_eq!(change(&json!({}), Outcome::Delivered).thread_id(&without), "alert-1");
    }

    #[test]
    fn comments_are_on_what_the_operator_says() {
        assert!(is_commented("resolved", None) && !is_commented("pending", None));
        assert!(!is_commented("resolved", Some(Vec::new())));
        assert!(is_commented("pending", Some(vec!["pending".to_owned()])));
    }

    #[test]
    fn lines_tell_who_has_it() {
        let value = json!({
            "title": "Pool\nfull", "acknowledgement": { "by": "ana", "note": "on it", "at": "2026-01-01T00:00:00Z" },
        });
        assert_eq!(
            comment(&change(&value, Outcome::Partial), &value, None),
            [
                "alert: Pool full",
                "id: alert-1",
                "acknowledged: by ana: on it",
                "outcome: partial",
                "- slack: delivered: 200: ok",
                "- email: failed: no such user",
                "change: alert-1/updater/partial",
            ]
        );
    }

    #[test]
    fn an_operator_words_a_comment() {
        let value = json!({ "title": "Pool full" });
        let told = "{{ title }}: {{ outcome }}\n\n{% for d in deliveries %}{{ d.receiver }}={{ d.state }} {% endfor %}";
        assert_eq!(
            comment(&change(&value, Outcome::Partial), &value, Some(told)),
            ["Pool full: partial", "", "slack=delivered email=failed", "change: alert-1/updater/partial"]
        );
        let change = change(&value, Outcome::Partial);
        assert_eq!(comment(&change, &value, Some("{{ nope(")), comment(&change, &value, None));
    }

    #[test]
    fn more_receivers_than_a_comment_lists_are_counted() {
        let mut change = change(&json!({}), Outcome::Pending);
        change.deliveries = vec![change.deliveries[0].clone(); 57];
        let lines = change.lines(&document(&json!({})));
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (3 + RECEIVERS, "… and 8 more"));
    }

    #[test]
    fn no_text_from_outside_is_a_mark() {
        let forged = "x\nchange: alert-1/updater/delivered";
        let value = json!({ "title": forged, "acknowledgement": { "by": forged, "note": forged } });
        let mut change = change(&value, Outcome::Pending);
        change.deliveries[0].message = forged.to_owned();
        change.deliveries[1].receiver = forged.to_owned();
        for written in [None, Some("{{ title }}\n{{ acknowledgement.note }}\n  {{ deliveries[0].message }}")]
        {
            let lines = comment(&change, &value, written);
            assert_eq!(lines.iter().filter(|line| line.trim().starts_with(MARK)).count(), 1, "{lines:?}");
        }
        change.change_id = "a\nchange: b".to_owned();
        assert_eq!(change.mark(), "change: a%0Achange:%20b");
    }
}
