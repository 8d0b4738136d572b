//! An answer with what Discord says of the request's fields in one place.
//!
//! Source: docs.discord.com/developers/reference, "Error Messages": `errors` has the shape of the request, with
//! `{"_errors": [{"code": "BASE_TYPE_REQUIRED", "message": "This field is required"}]}` for each field that is refused.

use campanile_guest::http::Answer;
use serde_json::Value;

/// The answer; if it refuses fields, with `embeds[0].fields[5].value: This field is required` as `fields`.
pub(crate) fn read(mut answer: Answer) -> Answer {
    let mut json = answer.json();
    let refused = refused(&json["errors"], "");
    if !refused.is_empty() {
        json["fields"] = refused.join("; ").into();
        answer.text = json.to_string();
    }
    answer
}

fn refused(errors: &Value, at: &str) -> Vec<String> {
    let own = errors["_errors"].as_array().into_iter().flatten();
    let own = own.filter_map(|error| Some(format!("{at}: {}", error["message"].as_str()?)));
    let below = errors.as_object().into_iter().flatten().filter(|(name, _)| *name != "_errors");
    own.chain(below.flat_map(|(name, errors)| refused(errors, &inside(at, name)))).collect()
}

fn inside(at: &str, name: &str) -> String {
    match name.parse::<usize>() {
        Ok(index) => format!("{at}[{index}]"),
        Err(_) if at.is_empty() => name.to_owned(),
        Err(_) => format!("{at}.{name}"),
    }
}
