//! For the unit tests of plugins: deliveries and changes as the host makes them from an alert's document, and services to
//! talk to.

use serde_json::Value;

use crate::http::{Answer, Request, Send};
use crate::notifier::Delivery;
use crate::status_updater::{Change, DeliveryResult, DeliveryState, Outcome};
use crate::text::is_blank;
use crate::types::{Alert, Receipt, Severity, Status};

/// The firing of an alert with this document. What the document lacks is `critical`, with the title `t`.
pub fn firing(document: &Value) -> Delivery {
    Delivery {
        delivery_id: "alert-1/receiver".to_owned(),
        thread_id: "thread-1/receiver".to_owned(),
        earlier: None,
        receiver: "receiver".to_owned(),
        attempt: 1,
        traceparent: String::new(),
        alert: alert(document),
    }
}

/// The resolve that ends it, and the id that the service gave to the firing.
pub fn resolved(document: &Value, earlier: Option<&str>) -> Delivery {
    let mut delivery = firing(document);
    delivery.delivery_id = "alert-1-resolved/receiver".to_owned();
    delivery.alert.status = Status::Resolved;
    delivery.earlier = earlier.map(|id| Receipt { id: Some(id.to_owned()), message: "200".to_owned() });
    delivery
}

/// What became of a firing alert with this document: `slack` has it, `email` was given up.
pub fn change(document: &Value, outcome: Outcome) -> Change {
    let mut document = document.clone();
    if let Some(members) = document.as_object_mut() {
        members.entry("thread_id").or_insert_with(|| "alert-1".into());
    }
    let part = |receiver: &str, state, message: &str| DeliveryResult {
        receiver: receiver.to_owned(),
        state,
        message: message.to_owned(),
    };
    Change {
        change_id: format!("alert-1/updater/{}", outcome.as_str()),
        updater: "updater".to_owned(),
        attempt: 1,
        traceparent: String::new(),
        alert: alert(&document),
        outcome,
        deliveries: vec![
            part("slack", DeliveryState::Delivered, "200: ok"),
            part("email", DeliveryState::Failed, "no such user"),
        ],
    }
}

/// The same for the resolve that ends it.
pub fn ended(document: &Value, outcome: Outcome) -> Change {
    let mut change = change(document, outcome);
    change.change_id = format!("alert-1-resolved/updater/{}", outcome.as_str());
    change.alert.id = "alert-1-resolved".to_owned();
    change.alert.status = Status::Resolved;
    change
}

/// The largest alert that a test wants to survive: texts of 70,000 characters, which are this one but for the last, so that
/// none is blank; 50 long labels, 500 links.
pub fn largest(character: char) -> Value {
    let text = |length: usize| std::iter::repeat_n(character, length - 1).chain(['.']).collect::<String>();
    let long = text(70_000);
    let labels: serde_json::Map<_, _> =
        (0..50).map(|n| (format!("{n}{}", text(1000)), Value::from(text(2000)))).collect();
    let links: Vec<_> = (0..500).map(|n| format!("https://run.example/{n}/{}", text(100))).collect();
    serde_json::json!({
        "title": long, "description": long, "type": long, "source": { "name": long },
        "context": { "environment": long, "service": long }, "labels": labels, "links": links,
    })
}

/// Texts of which nothing can be seen.
pub const BLANKS: [&str; 6] = ["", " ", "\t\n ", "\u{200b}", "\u{feff}\u{2060}", "\u{1b}\u{ad}"];

/// An alert in which every text is this one, and the label `host` says that it is a whole alert all the same.
pub fn blank(text: &str) -> Value {
    serde_json::json!({
        "title": text, "description": text, "source": { "name": text, "type": text },
        "context": { "environment": text, "service": text },
        "labels": { "host": "db-1", "drive": text, "source": text, text: "unnamed" },
        "links": [text, { "href": "https://run.example", "text": text }],
        "metrics": { "cpu": 95.2, "load": text, text: 1 },
        "data": { "note": text, text: "unnamed", "triage": { "priority": text, "tags": [text] } },
    })
}

/// Where a body has a blank text, or a field with a blank name, as JSON pointers.
pub fn blank_texts(body: &Value) -> Vec<String> {
    let found: Vec<Vec<String>> = match body {
        Value::String(text) if is_blank(text) => return vec![String::new()],
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| below(&index.to_string(), item)).collect()
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| if is_blank(name) { vec![format!("/{name:?}")] } else { below(name, value) })
            .collect(),
        _ => Vec::new(),
    };
    found.concat()
}

fn below(name: &str, value: &Value) -> Vec<String> {
    blank_texts(value).into_iter().map(|at| format!("/{name}{at}")).collect()
}

/// Runs `deliver` against a service that gives these answers, status and body: the requests that it got, and what came of
/// it. A request too many panics.
pub fn exchange<T>(answers: &[(u16, &str)], deliver: impl FnOnce(Send) -> T) -> (Vec<Request>, T) {
    let (mut requests, mut answers) = (Vec::new(), answers.iter());
    let result = deliver(&mut |request| {
        requests.push(request.clone());
        let (status, text) = answers.next().expect("no more requests than answers");
        Ok(Answer::of(*status, *text))
    });
    (requests, result)
}

/// The request's JSON body; `null` if it is not JSON.
pub fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap_or_default()
}

fn alert(document: &Value) -> Alert {
    let text = |key: &str| document[key].as_str().map(str::to_owned);
    let labels = document["labels"].as_object().into_iter().flatten();
    Alert {
        id: "alert-1".to_owned(),
        title: text("title").unwrap_or("t".to_owned()),
        severity: severity(document["severity"].as_str()),
        status: Status::Firing,
        labels: labels
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        document: document.to_string(),
        metadata: "{}".to_owned(),
    }
}

fn severity(word: Option<&str>) -> Severity {
    match word {
        Some("low") => Severity::Low,
        Some("medium") => Severity::Medium,
        Some("high") => Severity::High,
        _ => Severity::Critical,
    }
}
