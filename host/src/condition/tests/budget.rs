//! No alert and no condition takes an evaluation over its budget.

use std::time::{Duration, Instant};

use arbitrary::Unstructured;

use super::super::evaluate::{Evaluation, MOST_STEPS};
use super::random;
use super::{Condition, Facts, Json, json};
use crate::alert;

/// How long one evaluation may take where tests run; the figures of the benchmark say how long it takes in a release.
const PATIENCE: Duration = Duration::from_secs(2);

/// Alerts that are as large as they get, each in another way.
fn largest() -> Vec<Json> {
    let text = "a".repeat(170_000);
    let labels: serde_json::Map<String, Json> = (0..38_000).map(|n| (format!("{n}"), json!(""))).collect();
    let links: Vec<_> = (0..400).map(|n| format!("https://run.example/{n}")).collect();
    let alerts = vec![
        json!({"labels": labels}),
        json!({"links": links}),
        json!({"data": {"list": vec![0; 200_000]}}),
        json!({"title": text, "description": text, "data": {"text": text}, "links": ["a".repeat(40)]}),
        json!({"data": {"list": vec!["a".repeat(4_000); 100]}}),
        json!({"data": {"list": vec![vec![vec![1; 10]; 100]; 100]}}),
    ];
    for alert in &alerts {
        assert!(alert.to_string().len() <= alert::MOST_BYTES);
    }
    alerts
}

/// Conditions whose work grows with what an alert says.
const GROWING: [&str; 18] = [
    "alert.links.exists(a, alert.links.exists(b, alert.links.exists(c, a + b == c)))",
    "alert.labels.exists(a, alert.labels.exists(b, a == b + '!'))",
    "alert.labels.all(a, alert.labels[a] == alert.labels[a])",
    "alert.data.list.all(a, alert.data.list == alert.data.list)",
    "alert.data.list.map(a, alert.data.list) == []",
    "alert.data.list.map(a, alert.data.list + alert.data.list) == []",
    "alert.links.map(a, alert.links.map(b, alert.links.map(c, c))) == []",
    "alert.links.map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a) == []",
    "[alert.description].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a) == []",
    "alert.description + alert.description + alert.description == ''",
    "alert.description.contains(alert.title + '!')",
    "alert.data.list.exists(a, alert.description.contains('b'))",
    "alert.description.matches('(a|aa|aaa|aaaa)*b')",
    "alert.description.matches('[ab]{0,300}[ab]{300}c')",
    "alert.data.list.exists(a, string(a).matches('^(a?){50}a{50}$'))",
    "size(alert.data.list.filter(a, size(alert.data.list.filter(b, a == b)) > 1)) > 1",
    "alert.data.list == alert.data.list.map(a, a)",
    "alert.data.list in [alert.data.list.map(a, a)]",
];

#[test]
fn large_alerts_stay_in_the_budget() {
    let alerts = largest();
    let mut failed = 0;
    for text in GROWING {
        let condition = Condition::parse(text).unwrap();
        for alert in &alerts {
            let began = Instant::now();
            let verdict = condition.holds(&Facts::of(alert));
            let took = began.elapsed();
            assert!(took < PATIENCE, "{text} took {took:?}: {verdict:?}");
            failed += usize::from(verdict.is_err_and(|error| error.contains("the budget of one evaluation")));
        }
    }
    assert!(failed >= GROWING.len(), "{failed} went over the budget");
}

#[test]
fn an_error_over_budget_says_so() {
    let links: Vec<_> = (0..400).collect();
    let said = |text: &str| Condition::parse(text).unwrap().holds(&Facts::of(&json!({"links": links})));
    let steps = Err(format!("takes more than {MOST_STEPS} steps, the budget of one evaluation"));
    assert_eq!(said("alert.links.exists(a, alert.links.exists(b, a + b < 0))"), steps);
    // What is decided beside it does not hide it.
    assert_eq!(said("alert.links.exists(a, alert.links.exists(b, a + b < 0)) || true"), steps);
    let made = Err("makes more than 1024 KiB, the budget of one evaluation".to_owned());
    assert_eq!(said("alert.links.map(a, alert.links.map(b, b)) == []"), made);
    assert_eq!(said("alert.links.map(a, alert.links.map(b, b)) == [] || true"), made);
}

#[test]
fn a_condition_that_is_over_budget_by_itself_is_refused() {
    let forty = format!("[{}]", "1,".repeat(40));
    let nested = (0..7).map(|n| format!("{forty}.all(x{n}, ")).collect::<String>() + "true" + &")".repeat(7);
    // Either budget alone: what is looked through is not made, and what is made is not looked through.
    let often = |what: &str| format!("{forty}.all(x, {forty}.all(y, {what}))");
    let steps = often(&format!("1 in [{}]", "1,".repeat(200)));
    let bytes = often(&format!("'{0}' + '{0}' != ''", "a".repeat(500)));
    for (text, begin) in
        [(nested, ""), (steps, "takes more than 150000 steps, "), (bytes, "makes more than 1024 KiB, ")]
    {
        let began = Instant::now();
        let refused = Condition::parse(&text).err().unwrap_or_default();
        let end = "the budget of one evaluation, even for an alert with few words";
        assert!(refused.starts_with(begin) && refused.ends_with(end), "{text}: {refused}");
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    }
}

#[test]
fn patterns_are_part_of_the_condition() {
    for (text, part) in [
        ("alert.title.matches(alert.labels.pattern)", "the pattern of matches must be written out"),
        ("alert.title.matches('a' + 'b')", "the pattern of matches must be written out"),
        ("alert.title.matches('((a{100}){100}){100}')", "exceeds size limit"),
        ("alert.title.matches()", "matches takes a text and a pattern"),
    ] {
        let refused = Condition::parse(text).err().unwrap_or_default();
        assert!(refused.contains(part), "{text}: {refused}");
    }
    let nested = format!("alert.title.matches('{}a{}')", "(".repeat(1_000), ")".repeat(1_000));
    assert!(Condition::parse(&nested).err().unwrap_or_default().contains("nest"));
}

/// Any expression over any alert ends, within the budget.
#[test]
fn any_expression_ends() {
    bolero::check!(name = "evaluations").with_iterations(3_000).with_max_len(600).for_each(
        |bytes: &[u8]| {
            let mut random = Unstructured::new(bytes);
            let (alert, text) = (random::alert(&mut random), random::condition(&mut random, 5));
            let Ok(expression) = super::super::parse::parse(&text) else { return };
            let began = Instant::now();
            _ = Evaluation::of(&alert).value(&expression).map(drop);
            assert!(began.elapsed() < PATIENCE, "{text} of {alert} took {:?}", began.elapsed());
        },
    );
}
