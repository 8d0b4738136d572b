//! Conditions: CEL expressions over `alert`. What an operator writes as `when`.

mod check;
mod quick;

use std::cell::OnceCell;
use std::sync::LazyLock;

use cel::{Context, Program, Value as CelValue};
use serde_json::{Value, json};

use quick::Quick;

/// A condition, understood.
pub struct Condition {
    program: Program,
    quick: Quick,
    /// What it reads of an alert that no alert is known to have.
    unknown_fields: Vec<String>,
}

/// An alert as conditions see it: made once, asked many times.
pub struct Facts<'a> {
    alert: &'a Value,
    context: OnceCell<Context<'static, 'static>>,
}

/// What an alert may lack and conditions need not ask for.
const NEVER_ABSENT: [&str; 4] = ["labels", "data", "metrics", "context"];

impl<'a> Facts<'a> {
    /// `alert` is the whole document; objects that it lacks are empty.
    pub fn of(alert: &'a Value) -> Self {
        Self { alert, context: OnceCell::new() }
    }

    /// The alert as CEL has it, once an expression needs that.
    fn context(&self) -> &Context<'static, 'static> {
        static FUNCTIONS: LazyLock<Context<'static, 'static>> = LazyLock::new(Context::default);
        self.context.get_or_init(|| {
            let mut alert = self.alert.clone();
            if let Value::Object(fields) = &mut alert {
                for name in NEVER_ABSENT {
                    fields.entry(name).or_insert_with(|| json!({}));
                }
            }
            let mut context = FUNCTIONS.new_inner_scope();
            // JSON has nothing that CEL has not.
            _ = context.add_variable("alert", &alert);
            context
        })
    }
}

impl Condition {
    /// Reads an expression, and tries it on an alert that has every field, to see that it fits together and gives true
    /// or false. Fields that only some alerts have, such as labels, may be missing.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the rest of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        static SAMPLE: LazyLock<Value> = LazyLock::new(sample);
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first().map(|error| error.msg.as_str()).unwrap_or_default();
            format!("is not a CEL expression such as alert.severity == \"critical\": {first}")
        })?;
        let expression = program.expression();
        check::parts(expression, Facts::of(&SAMPLE).context())?;
        let unknown_fields = check::unknown_fields(&expression.expr, &SAMPLE);
        Ok(Self { quick: Quick::of(&expression.expr), unknown_fields, program })
    }

    /// Fields that it reads without asking for them by `has`, although the alerts that are documented have none: mistyped, unless
    /// the senders or processors add them.
    pub fn unknown_fields(&self) -> &[String] {
        &self.unknown_fields
    }

    /// Whether it holds for an alert.
    ///
    /// # Errors
    ///
    /// It names a field that the alert lacks, or compares what cannot be compared. The text says which.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, String> {
        if let Some(verdict) = self.quick.verdict(facts.alert) {
            return Ok(verdict);
        }
        match self.program.execute(facts.context()) {
            Ok(CelValue::Bool(holds)) => Ok(holds),
            Ok(other) => Err(not_a_verdict(&other)),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn not_a_verdict(value: &CelValue) -> String {
    format!("gives {}, not true or false", value.type_of())
}

/// An alert with every field that the webhook documents.
fn sample() -> Value {
    json!({
        "id": "a", "dedup_key": "a", "title": "t", "description": "d", "type": "custom", "severity": "low",
        "status": "firing", "starts_at": "2023-12-01T14:30:22Z", "ends_at": "2023-12-01T14:45:00Z",
        "source": {"name": "n", "type": "t"}, "context": {"environment": "e", "service": "s"},
        "labels": {}, "links": [], "data": {}, "metrics": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> Result<bool, String> {
        let alert = json!({
            "severity": "high", "labels": {"team": "shop"}, "data": {"x": 2}, "metrics": {"cpu": 95.5, "n": 3},
        });
        Condition::parse(text)?.holds(&Facts::of(&alert))
    }

    #[test]
    fn conditions_are_over_the_whole_alert() {
        assert_eq!(holds("alert.severity in ['high', 'critical']"), Ok(true));
        assert_eq!(holds("alert.labels.team == 'search'"), Ok(false));
        assert_eq!(holds("has(alert.data) && alert.data.x == 1"), Ok(false));
        assert_eq!(holds("alert.metrics.cpu > 90.0 && alert.metrics.n == 3"), Ok(true));
        assert_eq!(holds("has(alert.context.service)"), Ok(false));
        assert_eq!(holds("has(alert.labels.squad) && alert.labels.squad == 'a'"), Ok(false));
        assert!(holds("alert.labels.nothing == 'a'").unwrap_err().contains("nothing"));
    }

    /// What needs no interpreter is decided as the interpreter would.
    #[test]
    fn what_is_quick_says_what_cel_says() {
        let alerts = [
            json!({}),
            json!({"severity": "high", "labels": {"team": "shop"}}),
            json!({"severity": 3, "labels": {"team": null}}),
            json!({"severity": "low", "labels": {"team": "ops", "a": {"b": "c"}}, "context": {"service": "shop"}}),
            json!({"severity": "critical", "labels": {"team": 7}, "source": {"name": "shop"}}),
            json!({"severity": "critical", "labels": null, "context": null, "source": null, "ticket": null}),
            json!({"labels": {}, "ticket": {"id": "t"}}),
        ];
        let conditions = [
            "alert.severity == 'high'",
            "'high' == alert.severity",
            "alert.severity in ['high', 'low'] && alert.labels.team == 'shop'",
            "has(alert.labels.team) && alert.labels.team == 'shop'",
            "has(alert.labels.a) && has(alert.labels.a.b) && alert.labels.a.b == 'c'",
            "has(alert.context.service) && alert.labels.team != 'ops'",
            "alert.labels.team == 'ops' && alert.severity > 2",
            "alert.source.name == 'shop' && alert.severity == 'low'",
            "has(alert.source) && alert.source.name == 'shop'",
            "alert.severity == 'high' || alert.labels.team == 'ops'",
            "!(alert.severity == 'high')",
            "alert.severity != 'high'",
            "alert.severity == 'high' || alert.labels.team == 'ops' || alert.labels.team == 'shop'",
            "alert.labels.team.startsWith('sh') && !alert.labels.team.endsWith('x')",
            "alert.labels.team.matches('^(sh|o)') && !alert.severity.matches('i.h$')",
            "alert.severity.contains('i') || alert.ticket.id.contains('t')",
            "(alert.severity == 'low' || has(alert.ticket)) && alert.labels.team != 'shop'",
            "alert.labels.team == 'ops' ? true : alert.severity == 'low'",
            "has(alert.labels)",
            "has(alert.data)",
            "has(alert.ticket)",
            "has(alert.ticket.id)",
            "has(alert.ticket) && has(alert.ticket.id) && alert.ticket.id == 't'",
            "has(alert.labels.a.b)",
            "alert.labels.a.b == 'c'",
        ];
        let mut decided = 0;
        for text in conditions {
            let program = Program::compile(text).unwrap();
            let quick = Quick::of(&program.expression().expr);
            for alert in &alerts {
                let facts = Facts::of(alert);
                let slow = program.execute(facts.context()).ok();
                if let Some(verdict) = quick.verdict(alert) {
                    assert_eq!(slow, Some(CelValue::Bool(verdict)), "{text} of {alert}");
                    decided += 1;
                }
            }
        }
        assert!(decided > 80, "{decided}");
    }

    #[test]
    fn what_depends_on_values_is_left_to_alerts() {
        for text in [
            "alert.id.startsWith('1') && int(alert.id) > 100",
            "alert.severity == 'low' || timestamp(alert.title) < timestamp(alert.starts_at)",
            "size(alert.links) > 0 && 10 / size(alert.links) > 2",
            "alert.severity == 'low' ? true : alert.links[0].href.startsWith('https')",
        ] {
            assert_eq!(Condition::parse(text).err(), None, "{text}");
        }
    }

    #[test]
    fn a_field_that_no_alert_has_is_told() {
        let unknown = |text: &str| Condition::parse(text).unwrap().unknown_fields().join(" ");
        assert_eq!(
            unknown("alert.severty == 'high' || alert.labels.team in ['a', alert.tem]"),
            "severty tem"
        );
        assert_eq!(unknown("has(alert.ticket) && alert.ticket.id == 't'"), "");
        assert_eq!(unknown("alert.links.exists(link, link.url == alert.ur)"), "ur");
    }

    #[test]
    fn what_cannot_work_is_told_before_there_is_an_alert() {
        for (text, part) in [
            ("alert.severity ==", "is not a CEL expression"),
            ("alert.severity", "gives string, not true or false"),
            ("severity == 'high'", "cannot work: Undeclared reference to 'severity'"),
            ("alert.severity > 3", "cannot work: "),
            ("alert.title.beginsWith('a')", "cannot work: "),
            ("alert.severity == 'critical' && alert.title.matches('(')", "cannot work: regex parse error"),
            ("alert.severity == 'critical' && alert.title > 3", "cannot work: "),
            ("alert.severity == 'low' || critical", "cannot work: Undeclared reference to 'critical'"),
            ("!(alert.severity == 'low' && alert.title)", "gives string, not true or false"),
        ] {
            let refused = Condition::parse(text).err().unwrap_or_default();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
