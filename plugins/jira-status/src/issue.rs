//! Which issue an alert belongs to.

use campanile_guest::failure::permanent;
use campanile_guest::template::{Template, Texts};
use campanile_guest::types::Failure;
use campanile_guest::{Change, Document, cut, text};

/// The longest key, in characters.
const KEY: usize = 255;

const TEMPLATE: Template =
    Template { key: "issue", default: "", limit: KEY, required: false, escape: text::plain };

/// The key or id at a JSON pointer or as a template gives it; none if there is no text.
pub(crate) fn key(change: &Change, document: &Document, wanted: &str) -> Result<Option<String>, Failure> {
    let found = match wanted.starts_with('/') {
        true => document.text(wanted).unwrap_or_default().to_owned(),
        false => Texts::of_change(change, document).attempt(&TEMPLATE, wanted).map_err(|why| failed(&why))?,
    };
    if found.is_empty() { Ok(None) } else { checked(found).map(Some) }
}

fn failed(why: &str) -> Failure {
    let message =
        format!("the template `issue` failed: {why}; a JSON pointer such as \"/data/jira/issue\" works, too");
    permanent("config-invalid", message)
}

/// A key goes into an address, so it has to look like one.
fn checked(key: String) -> Result<String, Failure> {
    if key.len() <= KEY && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Ok(key);
    }
    let message = format!("the alert's issue is {:?}; the key of one is such as OPS-7", cut(&key, 80));
    Err(permanent("issue-invalid", message))
}
