//! The tags of an event, which the script posts as a list of objects with `tag` and `value`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use campanile_guest::source::{Draft, Sheet};
use serde_json::{Value, json};

use crate::macros::{Event, TAGS, is_unknown};

/// Adds the tags as labels, and says where the alert belongs: by the tags, the service and the host.
pub(crate) fn tagged(draft: Draft, body: &Value, event: &Event, sheet: &mut Sheet) -> Draft {
    let tags = read(&body[TAGS], sheet);
    let tag = |names: &[&str]| names.iter().find_map(|name| tags.get(*name)).map(String::as_str);
    let draft = draft
        .context("environment", tag(&["environment", "env"]))
        .context("service", tag(&["service"]).or(event.first(&["service_name", "host_name"])));
    let labels: Vec<(String, Value)> = tags.into_iter().map(|(name, value)| (name, json!(value))).collect();
    draft.labels(labels.iter().map(|(name, value)| (name, value)))
}

/// A name may come several times, and its values are listed then; a tag may be a name alone.
fn read(given: &Value, sheet: &mut Sheet) -> BTreeMap<String, String> {
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for (index, tag) in listed(given, sheet).iter().enumerate() {
        let at = format!("{TAGS}[{index}]");
        let Some(name) = sheet.text(&at, tag, "/tag") else {
            sheet.odd(&at, tag, "is no tag: left out");
            continue;
        };
        let value = sheet.text(&at, tag, "/value").map_or_else(|| "true".to_owned(), Cow::into_owned);
        tags.entry(name.into_owned()).and_modify(|known| known.extend([",", &value])).or_insert(value);
    }
    tags
}

/// The list; what Zabbix has not filled in is none.
fn listed<'a>(tags: &'a Value, sheet: &mut Sheet) -> &'a [Value] {
    match tags.as_str().map(str::trim) {
        Some(text) if text.is_empty() || is_unknown(text) => &[],
        _ => sheet.list(TAGS, tags),
    }
}
