//! The fields of an issue, and the comment on it.
//!
//! Sources: developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues, "Create issue"; a summary has 255
//! characters at most, and a label no white space.

use campanile_guest::template::{Template, Texts};
use campanile_guest::text::plain;
use campanile_guest::types::Severity;
use campanile_guest::{Delivery, Document, digest, one_line};
use serde_json::{Value, json};

use crate::description::{Description, TEXT};
use crate::settings::{Api, Settings};
use crate::{adf, wiki};

/// The longest summary.
pub(crate) const SUMMARY: usize = 255;

const HEADLINE: Template = Template {
    key: "summary",
    default: "{{ title | one_line }}{% if place %} ({{ place }}){% endif %}",
    limit: SUMMARY,
    required: true,
    escape: plain,
};

const BODY: Template =
    Template { key: "text", default: "{{ description }}", limit: TEXT, required: false, escape: plain };

const OVER: Template = Template {
    key: "comment",
    default: "{{ emoji }} {{ state }}: {{ title | one_line }}{% if ends_at %} ({{ ends_at }}){% endif %}",
    limit: TEXT,
    required: true,
    escape: plain,
};

/// The label by which a repeat, or a resolve, finds the issue.
pub(crate) fn label(delivery: &Delivery) -> String {
    format!("campanile-{}", digest(&delivery.thread_id))
}

/// The fields of the issue.
pub(crate) fn fields(
    delivery: &Delivery,
    document: &Document,
    settings: &Settings,
    label: String,
    texts: &mut Texts,
) -> Value {
    let text = texts.render(&escaping(settings.api, BODY), settings.text.as_deref());
    let labels: Vec<_> = settings.labels.iter().cloned().chain([label]).collect();
    let mut fields = json!({
        "project": { "key": settings.project },
        "issuetype": { "name": settings.issue_type },
        "summary": one_line(&texts.render(&HEADLINE, settings.summary.as_deref())),
        "description": description(text, delivery, document, settings.api),
        "labels": labels,
    });
    if let Some(priorities) = &settings.priorities {
        fields["priority"] = json!({ "name": priorities[rank(delivery.alert.severity)] });
    }
    fields
}

/// The comment that it is over.
pub(crate) fn comment(settings: &Settings, texts: &mut Texts) -> Value {
    let text = texts.render(&escaping(settings.api, OVER), settings.comment.as_deref());
    match settings.api {
        Api::V3 => adf::text(&text),
        Api::V2 => json!(text),
    }
}

fn description(text: String, delivery: &Delivery, document: &Document, api: Api) -> Value {
    match api {
        Api::V3 => adf::description(&Description::of(text, delivery, document, adf::escape)),
        Api::V2 => json!(wiki::description(&Description::of(text, delivery, document, wiki::escape))),
    }
}

fn escaping(api: Api, template: Template) -> Template {
    let escape = match api {
        Api::V3 => adf::escape,
        Api::V2 => wiki::escape,
    };
    Template { escape, ..template }
}

/// The place of a severity among the priorities.
fn rank(severity: Severity) -> usize {
    match severity {
        Severity::Critical => 0,
        Severity::High => 1,
        Severity::Medium => 2,
        Severity::Low => 3,
    }
}
