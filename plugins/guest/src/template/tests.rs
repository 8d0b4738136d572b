//! What templates can do, and what they cannot.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::Object;
use minijinja::{Environment, ErrorKind, Value};
use serde_json::{Value as Json, json};

use super::*;
use crate::testing::{BLANKS, firing, largest, resolved};
use crate::text::{html, width};
use crate::types::Retry;

const TEMPLATE: Template =
    Template { key: "text", default: "built in: {{ title }}", limit: 4000, required: true, escape: html };

fn document() -> Json {
    json!({
        "title": "Pool <full>", "description": "a & b", "severity": "high", "type": "database",
        "source": { "name": "Monitoring" }, "context": { "environment": "production", "service": "payments" },
        "labels": { "host": "db-1", "team": "pay" }, "starts_at": "2026-01-02T03:04:05Z", "null": null,
        "links": [{ "href": "https://run.example/?a=1&b=\"2\"", "text": "Run" }, "javascript:x"],
        "data": { "triage": { "priority": "P1" }, "n": [1, 2.5, true] }, "metrics": { "cpu": 0.93 },
    })
}

fn texts(delivery: &Delivery) -> Texts {
    Texts::of(delivery, &Document::parse(&delivery.alert.document).unwrap())
}

/// What the template renders, and what went less well.
fn tried(source: &str, document: &Json) -> (String, Vec<String>) {
    let mut texts = texts(&firing(document));
    (texts.render(&TEMPLATE, Some(source)), texts.notes)
}

fn rendered(source: &str) -> String {
    let (text, notes) = tried(source, &document());
    assert!(notes.is_empty(), "{notes:?}");
    text
}

#[test]
fn a_template_names_the_fields_of_the_alert() {
    assert_eq!(
        rendered(
            "{{ id }} {{ severity }} {{ status }} {{ type }} {{ source.name }} {{ priority }} {{ place }} {{ labels.host }}"
        ),
        "alert-1 high firing database Monitoring P1 production/payments db-1"
    );
    assert_eq!(
        rendered(
            "{{ receiver }} {{ delivery_id }} {{ thread_id }} {{ starts_at }} {{ metrics.cpu }} {{ data.n[1] }}"
        ),
        "receiver alert-1/receiver thread-1/receiver 2026-01-02T03:04:05Z 0.93 2.5"
    );
    assert_eq!(rendered("{{ emoji }} {{ state }}"), "🟠 High");
    let mut over = texts(&resolved(&document(), None));
    assert_eq!(over.render(&TEMPLATE, Some("{{ emoji }} {{ state }} {{ status }}")), "✅ Resolved resolved");
}

#[test]
fn what_is_absent_renders_nothing() {
    assert_eq!(rendered("[{{ nothing.at.all }}{{ null }}{{ ends_at | one_line }}]"), "[]");
    assert_eq!(rendered("{% for x in nothing.here %}x{% endfor %}{{ nothing or 'else' }}"), "else");
}

#[test]
fn whole_numbers_keep_their_digits() {
    let mut document = document();
    document["data"] =
        json!({"trace": 15_912_487_216_748_294_321_u64, "low": i64::MIN, "wei": "19876543210987654321000"});
    let (text, _) = tried("{{ data.trace }} {{ data.low }} {{ data.wei }}", &document);
    assert_eq!(text, "15912487216748294321 -9223372036854775808 19876543210987654321000");
}

#[test]
fn filters_help() {
    assert_eq!(rendered("{{ labels | pairs }}"), "host=db-1, team=pay");
    assert_eq!(rendered("{{ title | upper | cut(5) }}"), "POOL…");
    assert_eq!(rendered("{{ 'a\nb' | one_line }}"), "a b");
    assert_eq!(
        rendered("{% for name, value in labels | items %}{{ name }}:{{ value }};{% endfor %}"),
        "host:db-1;team:pay;"
    );
    assert_eq!(rendered("{{ nothing | default('none') }}"), "none");
}

#[test]
fn an_alert_cannot_write_markup_and_a_template_can() {
    assert_eq!(rendered("<b>{{ title }}</b>"), "<b>Pool &lt;full&gt;</b>");
    assert_eq!(
        rendered("{% for l in links %}<a href=\"{{ l.href }}\">{{ l.text }}</a>{% endfor %}"),
        "<a href=\"https://run.example/?a=1&amp;b=&quot;2&quot;\">Run</a>"
    );
    for source in [
        "{% autoescape false %}{{ title }}{% endautoescape %}",
        "{% set x %}<i>{{ title }}</i>{% endset %}{{ x }}",
        "{{ title ~ '' }}",
        "{{ [title] | join('<') }}",
        "{{ title | replace('P', '<') }}",
        "{{ [title, title] }}",
        "{{ {title: title} }}",
        "{% filter upper %}{{ title }}{% endfilter %}",
    ] {
        let (text, _) = tried(source, &document());
        assert!(!text.to_lowercase().contains("<full>"), "{source}: {text}");
    }
    assert!(
        tried("{{ title | safe }}", &document()).1[0].contains("unknown filter"),
        "only the template is markup"
    );
}

#[test]
fn a_template_that_fails_does_not_lose_the_alert() {
    for (source, why) in [
        ("{{ title", "line 1: syntax error"),
        ("\n\n{% for %}", "line 3: syntax error"),
        ("{{ title | nope }}", "unknown filter"),
        ("{{ nope() }}", "unknown function"),
        ("{% include 'x' %}", "syntax error"),
        ("{{ 1 / 0 }}", ""),
        (
            "{% for a in links[0].href %}{% for b in description * 99 %}{% for c in description * 99 %}{% endfor %}{% endfor %}{% endfor %}",
            "fuel",
        ),
        ("{{ 'x' * 100000000 }}", ""),
        ("  ", "renders nothing"),
        ("{{ nothing }}", "renders nothing"),
        ("{{ '\u{200b} ' }}", "renders nothing"),
    ] {
        let (text, notes) = tried(source, &document());
        assert_eq!(text, "built in: Pool &lt;full&gt;", "{source}");
        assert!(
            notes.len() == 1 && notes[0].contains("`text`") && notes[0].contains(why),
            "{source}: {notes:?}"
        );
    }
    assert!(tried(&"x".repeat(20_000), &document()).1[0].contains("20000 bytes"));
    assert!(tried(&"x".repeat(5_000), &document()).1[0].contains("4000 characters"));
}

#[test]
fn a_blank_text_is_an_empty_one_and_a_blank_title_is_the_id() {
    let title_alone = Template { default: "{{ title }}", ..TEMPLATE };
    let optional = Template { required: false, ..title_alone };
    for blank in BLANKS {
        let mut texts = texts(&firing(&json!({ "title": blank })));
        assert_eq!(texts.render(&title_alone, None), "alert-1", "{blank:?}");
        assert_eq!(texts.render(&optional, None), "", "{blank:?}");
    }
}

/// What a filter reads counts, and not only what it gives.
#[test]
fn filters_of_long_texts_use_up_the_fuel() {
    let document = json!({ "title": "t", "description": "x".repeat(64_000), "n": vec![0; 2_000] });
    for filter in ["cut(1)", "length", "one_line | cut(1)", "upper | length", "trim | cut(1)"] {
        let (_, notes) =
            tried(&format!("{{% for a in n %}}{{{{ description | {filter} }}}}{{% endfor %}}"), &document);
        assert!(notes.len() == 1 && notes[0].contains("fuel"), "{filter}: {notes:?}");
    }
    let (text, notes) = tried("{% for a in n %}{{ alert | cut(1) }}{% endfor %}", &document);
    assert!(text.starts_with("built in") && notes.len() == 1 && notes[0].contains("fuel"), "{notes:?}");
}

/// Lists of lists of one text are small, and what is written of them is not: a gigabyte here.
#[test]
fn what_is_written_of_lists_counts_before_it_is_made() {
    let document = json!({ "title": "t", "description": "x".repeat(64_000) });
    let lists: String = [("a", "description"), ("b", "a"), ("c", "b"), ("d", "c")]
        .map(|(name, of)| format!("{{% set {name} = [{}] %}}", [of; 11].join(", ")))
        .concat();
    for shown in ["d", "d | cut(1)", "[d] | join", "{'d': d} | pairs", "d | upper"] {
        let (text, notes) = tried(&format!("{lists}{{{{ {shown} }}}}"), &document);
        assert!(
            text.starts_with("built in") && notes.len() == 1 && notes[0].contains("fuel"),
            "{shown}: {notes:?}"
        );
    }
}

/// Writes a letter as often as it is let.
#[derive(Debug, Default)]
struct Endless(AtomicUsize);

impl Object for Endless {
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for _ in 0..100_000_000 {
            self.0.fetch_add(1, Ordering::Relaxed);
            f.write_str("x")?;
        }
        Ok(())
    }
}

#[test]
fn writing_ends_with_the_fuel() {
    let endless = Arc::new(Endless::default());
    let mut environment = Environment::new();
    environment.set_fuel(Some(1_000));
    environment.add_filter("shown", filters::shown);
    let context = BTreeMap::from([("a", Value::from_dyn_object(endless.clone()))]);
    let error = environment.render_str("{{ a | shown }}", context).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfFuel);
    let written = endless.0.load(Ordering::Relaxed);
    assert!(written <= 64 * 1_000, "{written} letters");
}

#[test]
fn templates_nest_only_so_deep() {
    let blocks = format!("{}{}", "{% for a in [1] %}".repeat(60), "{% endfor %}".repeat(60));
    for source in [format!("{{{{ {}", "(".repeat(1000)), blocks] {
        let (text, notes) = tried(&source, &document());
        assert!(text.starts_with("built in") && notes.len() == 1, "{source}: {notes:?}");
    }
}

#[test]
fn the_receipt_tells_of_it() {
    let mut texts = texts(&firing(&document()));
    texts.render(&TEMPLATE, Some("{{"));
    let receipt = texts.noted(Receipt { id: None, message: "200".to_owned() });
    assert!(
        receipt.message.starts_with("200; the built-in text was sent, since the template `text` failed: "),
        "{receipt:?}"
    );
}

#[test]
fn what_is_too_long_loses_the_end_of_its_longest_values() {
    let document =
        json!({ "title": "short", "description": "<".repeat(70_000), "labels": { "end": "kept" } });
    let (text, notes) =
        tried("<b>{{ title }}</b> <i>{{ description }}</i> <u>{{ labels.end }}</u>", &document);
    assert!(notes.is_empty(), "{notes:?}");
    assert!(text.starts_with("<b>short</b> <i>&lt;") && text.ends_with("more)</i> <u>kept</u>"), "{text}");
    assert!(width(&text) <= TEMPLATE.limit && width(&text) > TEMPLATE.limit - 10, "{}", width(&text));
}

#[test]
fn the_largest_alert_fits() {
    let source =
        "{{ title }}{{ description }}{% for n, v in labels | items %}<b>{{ n }}</b>{{ v }}{% endfor %}";
    for character in ['x', '<', '🔥'] {
        let (text, notes) = tried(source, &largest(character));
        assert!(width(&text) <= TEMPLATE.limit, "{}", width(&text));
        assert!(notes.is_empty(), "{notes:?}");
    }
}

#[test]
fn a_template_gives_json_whatever_the_alert_says() {
    let odd = json!({ "title": "a \"b\"\n\\c\u{1}", "labels": { "\"": "<x>" }, "n": [1, 2.5, null, true] });
    let source = r#"{"text": "{{ emoji }} {{ title }}", "title": {{ title | json }}, "labels": {{ labels | json }},
        "n": {{ n | json }}, "none": {{ nothing | json }}, "alert": {{ alert | json }}, "attempt": {{ attempt }}}"#;
    let mut delivery = resolved(&odd, Some("INC-7"));
    delivery.alert.metadata = r#"{"run": 7}"#.to_owned();
    let text = texts(&delivery).json("body", source).unwrap();
    assert_eq!(
        serde_json::from_str::<Json>(&text).unwrap(),
        json!({
            "text": "✅ a \"b\"\n\\c\u{1}", "title": odd["title"], "labels": odd["labels"], "n": odd["n"],
            "none": null, "alert": odd, "attempt": 1,
        })
    );
    let text = texts(&delivery).json("body", "[{{ earlier | json }}, {{ metadata | json }}]").unwrap();
    assert_eq!(text, r#"[{"id":"INC-7","message":"200"}, {"run":7}]"#, "it is sent as it is written");
    let forged = texts(&firing(&json!({ "earlier": { "id": "INC-8" } })));
    assert_eq!(forged.json("body", "[{{ earlier | json }}, \"{{ earlier.id }}\"]").unwrap(), r#"[null, ""]"#);
    assert!(
        tried("{{ title | json }}", &odd).1[0].contains("unknown filter"),
        "elsewhere it would be markup"
    );
}

#[test]
fn what_is_no_json_says_where() {
    for (source, why) in [
        (
            "{\n  \"title\": {{ title }}\n}",
            "`body` gives no JSON: expected value at line 2 column 12, behind `\"title\": P`; a text stands in quotes, such as \"{{ title }}\"",
        ),
        ("{{ nothing }}", "`body` gives no JSON: EOF while parsing a value at line 1 column 0, behind ``"),
        ("{\"a\": 1} {{ title }}", "trailing characters at line 1 column 10"),
        ("{{ title", "`body` failed: line 1: syntax error"),
    ] {
        let failure = texts(&firing(&document())).json("body", source).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry), ("config-invalid", Retry::Never));
        assert!(failure.message.contains(why), "{}", failure.message);
    }
}
