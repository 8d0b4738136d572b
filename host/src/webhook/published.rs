//! What the published description says beyond what the types give: where `null` is as good as nothing, which texts work as
//! parts of an id, the headers of refusals, and examples. Requests are checked against the types' own schemas.

use serde_json::{Value, json};

use super::request::OPTIONAL;

/// No control characters: databases, logs and URLs do without them.
const ID: &str = r"^[^\u0000-\u001F\u007F-\u009F]+$";
/// Neither those, nor an end in `~` or `#` and a number, which is how the host numbers the parts of a batch.
const BATCH_ID: &str = r"^([0-9]+|[^\u0000-\u001F\u007F-\u009F]*[^\u0000-\u001F\u007F-\u009F0-9]|[^\u0000-\u001F\u007F-\u009F]*[^\u0000-\u001F\u007F-\u009F0-9~#][0-9]+)$";
/// An alert, and a request as a vendor sends it.
const ALERT: &str = include_str!("../../../examples/security-login.json");
const GROUP: &str = include_str!("../../../plugins/alertmanager/payloads/firing.json");

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
    let paths = &mut document["paths"];
    let alert: Value = serde_json::from_str(ALERT).unwrap_or_default();
    for (path, example) in [
        ("/webhook/alerts", json!({"alerts": [alert]})),
        ("/webhook/alerts/sync", json!({"alerts": [alert]})),
        ("/webhook/{source}", serde_json::from_str(GROUP).unwrap_or_default()),
    ] {
        paths[path]["post"]["requestBody"]["content"]["application/json"]["example"] = example;
    }
    let mut put = paths["/webhook/{source}"]["post"].clone();
    put["operationId"] = "put_source".into();
    paths["/webhook/{source}"]["put"] = put;
    for operation in
        paths.as_object_mut().into_iter().flatten().flat_map(|(_, path)| path.as_object_mut()).flatten()
    {
        add_headers(&mut operation.1["responses"]);
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
