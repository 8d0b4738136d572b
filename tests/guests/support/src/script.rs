//! What to do where nobody can be asked: at instantiation and in `describe`. The harness writes it into the bytes of the
//! built component, or the operator into the setting `script`, which there is only once the plugin is loaded.

use std::ptr;

use crate::config;

const MARK: &str = "@script@";
/// `@script@PLACE:DEED` and dots up to the end: the harness looks for just these bytes.
static SCRIPT: [u8; 96] =
    *b"@script@........................................................................................";

/// The deed that is asked for at this place, such as `describe`; empty if none is.
pub fn at(place: &str) -> String {
    let written = written();
    let script = if written.is_empty() { config("script") } else { written };
    let deed = script.strip_prefix(place).and_then(|rest| rest.strip_prefix(':'));
    deed.unwrap_or_default().to_owned()
}

/// Read byte by byte from memory, since the compiler knows what was there when it compiled.
fn written() -> String {
    let bytes = SCRIPT.iter().skip(MARK.len());
    let text: String = bytes.map(|byte| char::from(unsafe { ptr::read_volatile(byte) })).collect();
    text.trim_end_matches('.').to_owned()
}
