//! What the published description says beyond what the types give: where `null` is as good as nothing, what is cut rather than
//! refused, which texts work as parts of an id, the headers of refusals, and examples. Requests are checked against the types' own schemas.

mod examples;

use serde_json::{Value, json};

use super::request::OPTIONAL;

/// No control characters: databases, logs and URLs do without them.
const ID: &str = r"^[^\u0000-\u001F\u007F-\u009F]+$";
/// Neither those, nor an end in `~` or `#` and a number, which is how the host numbers the parts of a batch.
const BATCH_ID: &str = r"^([0-9]+|[^\u0000-\u001F\u007F-\u009F]*[^\u0000-\u001F\u007F-\u009F0-9]|[^\u0000-\u001F\u007F-\u009F]*[^\u0000-\u001F\u007F-\u009F0-9~#][0-9]+)$";
/// The texts that are cut where they are too long, which is not refused.
const CUT: [(&str, &[&str]); 3] = [
    ("WebhookRequest", &["batch_id"]),
    ("AlertPayload", &["id", "title", "description", "dedup_key"]),
    ("AlertSource", &["name", "type"]),
];
/// Adds all of it.
pub(super) fn complete(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    let forgiving: [(&str, &[&str]); 3] = [
        ("WebhookRequest", &["batch_id", "metadata"]),
        ("AlertPayload", &OPTIONAL),
        ("AlertContext", &["environment", "service"]),
    ];
    for (schema, names) in forgiving {
        names.iter().for_each(|name| allow_null(&mut schemas[schema]["properties"][*name]));
    }
    for (schema, name, pattern) in [
        ("AlertPayload", "id", ID),
        ("AlertPayload", "dedup_key", ID),
        ("WebhookRequest", "batch_id", BATCH_ID),
    ] {
        schemas[schema]["properties"][name]["pattern"] = pattern.into();
    }
    for (schema, names) in CUT {
        for name in names {
            schemas[schema]["properties"][*name].as_object_mut().map(|property| property.remove("maxLength"));
        }
    }
    let paths = &mut document["paths"];
    let mut put = paths["/webhook/{source}"]["post"].clone();
    put["operationId"] = "put_source".into();
    paths["/webhook/{source}"]["put"] = put;
    for (path, operations) in paths.as_object_mut().into_iter().flatten() {
        for (_, operation) in operations.as_object_mut().into_iter().flatten() {
            add_head_limit(&mut operation["responses"]);
            add_headers(&mut operation["responses"]);
            examples::add(path, operation);
        }
    }
}

/// Many senders write `null` for what they do not have.
fn allow_null(schema: &mut Value) {
    match &schema["type"] {
        Value::String(kind) => schema["type"] = json!([kind, "null"]),
        _ => {
            let mut inner = schema.take();
            let outer = inner.as_object_mut();
            let [description, default] = ["description", "default"]
                .map(|key| outer.as_ref().and_then(|outer| outer.get(key)).cloned());
            outer.map(|outer| outer.remove("default"));
            *schema = json!({"oneOf": [inner, {"type": "null"}]});
            for (key, value) in [("description", description), ("default", default)] {
                value.into_iter().for_each(|value| schema[key] = value);
            }
        }
    }
}

/// Whatever is asked for.
fn add_head_limit(responses: &mut Value) {
    let schema = json!({"$ref": "#/components/schemas/WebhookResponse"});
    responses["431"] = json!({
        "description": "The head of the request is over the limit",
        "content": {"application/json": {"schema": schema}},
    });
}

fn add_headers(responses: &mut Value) {
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        response["headers"]["x-request-id"] = text("Finds the request in the log");
        match status.as_str() {
            "401" => response["headers"]["www-authenticate"] = text("How a key is shown"),
            "429" | "503" => response["headers"]["retry-after"] = text("Seconds after which to come again"),
            _ => {}
        }
    }
}
