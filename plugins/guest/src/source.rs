//! What the shipped sources share: from a vendor's fields to the alerts that the host takes.

mod draft;
mod labelled;
mod severity;
mod time;

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;

use campanile_lenient::{fit_alert, share};
use serde_json::{Map, Number, Value};

use crate::failure::permanent;
use crate::types::{Failure, Status};

pub use draft::Draft;
use draft::inside;
pub use labelled::{fingerprint, labelled};
pub use severity::Severity;
pub use time::{fact_time, is_past, rfc3339};

/// The longest excerpt of an odd value in a warning, in characters.
const EXCERPT: usize = 80;
/// The most entries of a list that are read: one more than the host takes, so that it can say so.
const MOST_ENTRIES: usize = 10_001;
/// The most that the alerts of a request may have together, in bytes: the host takes 8 MiB with all else.
const MOST_BYTES: usize = 7 << 20;
/// The most that one of them may have, and what each may have once memory holds twice, or three times, what all of them may.
const LARGEST: usize = 512 << 10;
const SMALL: usize = 4 << 10;
const SMALLEST: usize = 1 << 10;
/// How many warnings are kept; the host shows fewer.
const MOST_WARNINGS: usize = 100;

thread_local! {
    /// What was odd about the JSON that was read: a call reads one request, and [`Sheet::complete`] takes it.
    static MENDED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What the operator can set of every shipped source.
pub struct Settings {
    /// `name`: the alert's `source.name`.
    pub name: String,
    /// The alert's `source.type`, which is the vendor's.
    pub vendor: &'static str,
    /// `type`: the alert's `type` where the payload gives none.
    pub kind: String,
    /// `severity`: where the payload gives none that is known.
    pub severity: Severity,
}

impl Settings {
    /// The settings of a source that nobody has set.
    pub fn of(vendor: &'static str, name: &str, kind: &str) -> Self {
        Self { name: name.to_owned(), vendor, kind: kind.to_owned(), severity: Severity::Medium }
    }

    /// With what the operator wrote under `[config]`. The plugin's schema has seen to it that the values are known.
    pub fn read(self) -> Result<Self, Failure> {
        let set = |key: &str| crate::config::get(key);
        Ok(Self {
            name: set("name")?.unwrap_or(self.name),
            kind: set("type")?.unwrap_or(self.kind),
            severity: set("severity")?.and_then(|word| Severity::named(&word)).unwrap_or(self.severity),
            vendor: self.vendor,
        })
    }
}

/// What a request held, in the making: the fields of `decoded` that every source fills.
#[derive(Debug, Default)]
pub struct Sheet {
    /// The alerts as JSON.
    pub alerts: Vec<String>,
    /// What was odd.
    pub warnings: Vec<String>,
    /// The size of the alerts.
    size: usize,
}

impl Sheet {
    /// Takes an alert; of one that is too large, the longest texts are cut.
    pub fn add(&mut self, draft: Draft) {
        let (mut alert, warnings) = draft.finish();
        self.warnings.extend(warnings);
        let room = match self.size / MOST_BYTES {
            0 | 1 => LARGEST,
            2 => SMALL,
            _ => SMALLEST,
        };
        fit_alert(&mut alert, room, &format!("alerts[{}]", self.alerts.len()), &mut self.warnings);
        self.warnings.truncate(MOST_WARNINGS);
        self.alerts.push(alert.to_string());
        self.size += self.alerts.last().map_or(0, String::len);
    }

    /// Notes what was odd: where, what stands there, and what was made of it. What is read twice is noted once.
    pub fn odd(&mut self, at: &str, value: &Value, what: &str) {
        let warning = odd(at, value, what);
        if self.warnings.len() < MOST_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The text at a JSON pointer of what stands `at` this place, as [`text`] reads it; a list or an object is left out
    /// with a warning.
    pub fn text<'a>(&mut self, at: &str, value: &'a Value, pointer: &str) -> Option<Cow<'a, str>> {
        let found = value.pointer(pointer)?;
        if found.is_array() || found.is_object() {
            self.odd(&path(at, pointer), found, "is not a text: left out");
        }
        text(found, "")
    }

    /// The first of these that is a text.
    pub fn first<'a>(&mut self, at: &str, value: &'a Value, pointers: &[&str]) -> Option<Cow<'a, str>> {
        pointers.iter().find_map(|pointer| self.text(at, value, pointer))
    }

    /// The entries of an optional list; what is not a list is left out with a warning.
    pub fn list<'a>(&mut self, at: &str, value: &'a Value) -> &'a [Value] {
        match value {
            Value::Array(items) => few(items),
            Value::Null => &[],
            other => {
                self.odd(at, other, "is not a list: left out");
                &[]
            }
        }
    }

    /// The fields of an optional object; what is not an object is left out with a warning.
    pub fn fields<'a>(
        &mut self,
        at: &str,
        value: &'a Value,
    ) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        if !value.is_object() && !value.is_null() {
            self.odd(at, value, "is not an object: left out");
        }
        value.as_object().into_iter().flat_map(Map::iter)
    }

    /// The sheet, cut to what the host takes, with what was odd about the JSON that was read.
    pub fn complete(mut self) -> Result<Self, Failure> {
        self.fit();
        self.warnings.splice(0..0, MENDED.take());
        self.warnings.truncate(MOST_WARNINGS);
        if self.size <= MOST_BYTES {
            return Ok(self);
        }
        let message = format!(
            "the alerts of this request have more than {MOST_BYTES} bytes together: send fewer in one"
        );
        Err(permanent("too-large", message))
    }

    /// Cuts the largest alerts, if all of them have more than the host takes.
    fn fit(&mut self) {
        let share = share(self.alerts.iter().map(String::len).collect(), MOST_BYTES);
        for (index, text) in self.alerts.iter_mut().enumerate().filter(|(_, text)| text.len() > share) {
            let mut alert = serde_json::from_str(text).unwrap_or_default();
            fit_alert(&mut alert, share, &format!("alerts[{index}]"), &mut self.warnings);
            *text = alert.to_string();
        }
        self.size = self.alerts.iter().map(String::len).sum();
    }
}

fn odd(at: &str, value: &Value, what: &str) -> String {
    format!("{at}: {} {what}", crate::cut(&excerpt(value), EXCERPT))
}

/// The beginning of a value as JSON: of a large one no more is written.
fn excerpt(value: &Value) -> String {
    struct Beginning(Vec<u8>);
    impl io::Write for Beginning {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // A character has four bytes at most.
            let room = (4 * EXCERPT + 4).saturating_sub(self.0.len());
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = &bytes[..bytes.len().min(room)];
            self.0.extend(taken);
            Ok(taken.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut beginning = Beginning(Vec::new());
    // It ends with an error where there is no room for more.
    let _ = serde_json::to_writer(&mut beginning, value);
    let text = String::from_utf8_lossy(&beginning.0);
    text.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned()
}

/// The body as JSON.
pub fn json(body: &[u8]) -> Result<Value, Failure> {
    read("", body).map_err(|error| permanent("not-json", format!("the body is not JSON: {error}")))
}

/// A text that stands at `at` of the body, as JSON. What is odd about it becomes a warning of the sheet.
pub fn read(at: &str, text: &[u8]) -> Result<Value, serde_json::Error> {
    let (value, mended) = campanile_lenient::read(text)?;
    let dot = if at.is_empty() { "" } else { "." };
    MENDED.with_borrow_mut(|all| all.extend(mended.into_iter().map(|line| format!("{at}{dot}{line}"))));
    Ok(value)
}

/// The entries of the list at `key`, which the payload cannot do without; of too many, one more than the host takes.
pub fn entries<'a>(payload: &'a Value, key: &str, example: &str) -> Result<&'a [Value], Failure> {
    payload
        .get(key)
        .and_then(Value::as_array)
        .map(|list| few(list))
        .ok_or_else(|| permanent("invalid-payload", format!("the body has no list `{key}`, as in {example}")))
}

/// The entries of a list that are read.
pub fn few(list: &[Value]) -> &[Value] {
    &list[..list.len().min(MOST_ENTRIES)]
}

/// The text at a JSON pointer, without white space around it; never empty. A number or a boolean is read as its text.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Option<Cow<'a, str>> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(Cow::Borrowed),
        scalar @ (Value::Number(_) | Value::Bool(_)) => Some(Cow::Owned(scalar.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A value as a number, if it is one or is written like one. An integer of more digits than one has room for stays a text.
pub fn number(value: &Value) -> Value {
    let Some(text) = value.as_str().map(str::trim) else { return value.clone() };
    match serde_json::from_str::<Number>(text) {
        Ok(number) if !number.is_f64() || text.contains(['.', 'e', 'E']) => Value::Number(number),
        _ => value.clone(),
    }
}

/// `alerts[2].annotations.summary` for what stands at `/annotations/summary` of `alerts[2]`.
fn path(at: &str, pointer: &str) -> String {
    pointer.split('/').skip(1).fold(at.to_owned(), |at, part| {
        match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => format!("{at}[{part}]"),
            false => inside(&at, part),
        }
    })
}

/// Whether an alert of Alertmanager's shape fires: its `status` says so, or says nothing.
pub fn firing(at: &str, alert: &Value, sheet: &mut Sheet) -> Status {
    match &alert["status"] {
        Value::Null => Status::Firing,
        Value::String(status) if status.trim().eq_ignore_ascii_case("resolved") => Status::Resolved,
        Value::String(status) if ["firing", ""].contains(&status.trim().to_ascii_lowercase().as_str()) => {
            Status::Firing
        }
        odd => {
            sheet.odd(&inside(at, "status"), odd, "is not firing or resolved: firing was taken");
            Status::Firing
        }
    }
}

/// A header's text, by its name in lower case.
pub fn header<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(given, _)| given == name)?;
    std::str::from_utf8(value).ok().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sheet(alerts: usize, bytes: usize) -> Sheet {
        let settings = Settings::of("vendor", "Vendor", "custom");
        let (mut sheet, large) = (Sheet::default(), json!("x".repeat(bytes)));
        for number in 0..alerts {
            let draft = Draft::new("", &settings, Status::Firing, Some("t")).dedup_key(&number.to_string());
            sheet.add(draft.data("large", &large));
        }
        sheet
    }

    #[test]
    fn no_size_loses_an_alert() {
        for (alerts, bytes) in
            [(1, 7 << 20), (14, 512 << 10), (40, 400 << 10), (600, 30 << 10), (10_000, 8 << 10)]
        {
            let sheet = sheet(alerts, bytes);
            assert!(sheet.size < 5 * MOST_BYTES, "{} bytes of memory", sheet.size);
            let sheet = sheet.complete().unwrap();
            assert!(sheet.size <= MOST_BYTES && sheet.alerts.len() == alerts, "{alerts} of {bytes}");
            assert!(sheet.warnings[0].contains("].data.large: the text was cut"), "{:?}", sheet.warnings[0]);
            for (number, alert) in sheet.alerts.iter().enumerate() {
                let alert: Value = serde_json::from_str(alert).unwrap();
                assert_eq!(alert["dedup_key"], number.to_string());
                assert!(
                    alert["data"]["large"].as_str().unwrap().contains("x… (cut, "),
                    "{number} of {alerts}"
                );
            }
        }
    }

    #[test]
    fn alerts_that_fit_together_stay_whole() {
        let sheet = sheet(60, 100 << 10).complete().unwrap();
        assert!(sheet.warnings.is_empty(), "{:?}", sheet.warnings);
    }

    #[test]
    fn what_is_odd_about_the_body_is_a_warning() {
        assert_eq!(super::json(br#"{"a": ["\ud83d"]}"#).unwrap(), json!({"a": ["\u{fffd}"]}));
        assert_eq!(read("Message", b"{\"b\": 18446744073709551616}").unwrap()["b"], "18446744073709551616");
        let warnings = Sheet::default().complete().unwrap().warnings;
        assert!(warnings[0].starts_with("a[0]: half a character"), "{warnings:?}");
        assert!(warnings[1].starts_with("Message.b: 18446744073709551616 does not fit"), "{warnings:?}");
        assert!(Sheet::default().complete().unwrap().warnings.is_empty());
    }

    #[test]
    fn of_many_odd_values_the_first_are_shown_and_their_beginnings() {
        let mut sheet = Sheet::default();
        for index in 0..1_000 {
            sheet.odd(&format!("a[{}]", index / 2), &json!("ä".repeat(1_000)), "is odd");
        }
        assert_eq!(sheet.warnings.len(), MOST_WARNINGS);
        assert_eq!(sheet.warnings[1], format!("a[1]: \"{}… is odd", "ä".repeat(EXCERPT - 2)));
        assert_eq!(odd("b", &json!([1, "c"]), "is odd"), "b: [1,\"c\"] is odd");
    }

    #[test]
    fn numbers_and_booleans_are_texts_and_what_is_none_is_said_with_its_path() {
        let value = json!({ "a": { "b": [503, true, " x ", "", null, {"c": 1}, [2]] }, "e": 1.5 });
        let mut sheet = Sheet::default();
        let mut read = |pointer: &str| sheet.text("alerts[2]", &value, pointer).map(Cow::into_owned);
        let found: Vec<_> = (0..7).map(|index| read(&format!("/a/b/{index}"))).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found, [some("503"), some("true"), some("x"), None, None, None, None]);
        assert_eq!((read("/e"), read("/a"), read("/a"), read("/none")), (some("1.5"), None, None, None));
        assert_eq!(
            sheet.warnings,
            [
                "alerts[2].a.b[5]: {\"c\":1} is not a text: left out",
                "alerts[2].a.b[6]: [2] is not a text: left out",
                "alerts[2].a: {\"b\":[503,true,\" x \",\"\",null,{\"c\":1},[2]]} is not a text: left out",
            ]
        );
    }

    #[test]
    fn what_is_no_list_and_no_object_is_left_out_with_a_warning() {
        let (mut sheet, value) = (Sheet::default(), json!({ "a": 7, "b": [1], "c": { "d": 2 } }));
        assert_eq!((sheet.list("a", &value["a"]).len(), sheet.list("b", &value["b"]).len()), (0, 1));
        assert_eq!((sheet.fields("b", &value["b"]).count(), sheet.fields("c", &value["c"]).count()), (0, 1));
        assert_eq!((sheet.list("e", &value["e"]).len(), sheet.fields("e", &value["e"]).count()), (0, 0));
        assert_eq!(sheet.warnings, ["a: 7 is not a list: left out", "b: [1] is not an object: left out"]);
    }

    #[test]
    fn a_number_that_is_written_as_a_text_keeps_its_digits() {
        for (given, read) in [
            (json!("9007199254740993"), json!(9_007_199_254_740_993_u64)),
            (json!("18446744073709551615"), json!(u64::MAX)),
            (json!("-9223372036854775808"), json!(i64::MIN)),
            (json!("18446744073709551616"), json!("18446744073709551616")),
            (json!(" 0.835 "), json!(0.835)),
            (json!("1e3"), json!(1_000.0)),
            (json!("1e999"), json!("1e999")),
            (json!("007"), json!("007")),
            (json!("NaN"), json!("NaN")),
            (json!([1]), json!([1])),
        ] {
            assert_eq!(number(&given), read, "{given}");
        }
    }

    #[test]
    fn headers_are_found_by_name() {
        let headers = [("a".to_owned(), b" x ".to_vec()), ("b".to_owned(), vec![0xff])];
        assert_eq!(header(&headers, "a"), Some("x"));
        assert_eq!(header(&headers, "b"), None);
        assert_eq!(header(&headers, "c"), None);
    }

    #[test]
    fn a_missing_list_is_told_with_an_example() {
        let failure = entries(&json!({"alerts": 7}), "alerts", "{\"alerts\": []}").unwrap_err();
        assert_eq!(failure.message, "the body has no list `alerts`, as in {\"alerts\": []}");
    }
}
