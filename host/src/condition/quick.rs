//! Conditions that need no interpreter: routes ask, one after the other, whether a text of the alert is one of a few. With
//! hundreds of routes that is what routing costs.

use cel::common::ast::{Expr, LiteralValue, operators};
use serde_json::Value;

use super::NEVER_ABSENT;

/// The comparisons that all have to hold for a condition to hold.
pub(super) struct Quick {
    tests: Vec<Test>,
    /// There is nothing else in it.
    is_all: bool,
}

struct Test {
    /// Below `alert`.
    path: Vec<String>,
    wants: Wants,
}

enum Wants {
    Present,
    OneOf(Vec<String>),
}

impl Quick {
    /// What of an expression is joined by `&&` and is `has(alert.x)`, `alert.x == "…"` or `alert.x in ["…", "…"]`.
    pub(super) fn of(expression: &Expr) -> Self {
        let mut quick = Self { tests: Vec::new(), is_all: true };
        quick.collect(expression);
        quick
    }

    fn collect(&mut self, expression: &Expr) {
        if let Expr::Call(call) = expression
            && call.func_name == operators::LOGICAL_AND
        {
            return call.args.iter().for_each(|part| self.collect(&part.expr));
        }
        match Test::of(expression) {
            Some(test) => self.tests.push(test),
            None => self.is_all = false,
        }
    }

    /// Whether the condition holds, where that is certain without asking further. One part that does not hold decides, whatever the
    /// others are, an error included, as in CEL.
    pub(super) fn verdict(&self, alert: &Value) -> Option<bool> {
        let mut is_certain = self.is_all;
        for test in &self.tests {
            match test.holds(alert) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => is_certain = false,
            }
        }
        is_certain.then_some(true)
    }
}

impl Test {
    fn of(expression: &Expr) -> Option<Self> {
        if let Expr::Select(select) = expression {
            let mut path = path(&select.operand.expr)?;
            path.push(select.field.clone());
            return select.test.then_some(Self { path, wants: Wants::Present });
        }
        let Expr::Call(call) = expression else { return None };
        let [left, right] = call.args.as_slice() else { return None };
        let (path, texts) = match call.func_name.as_str() {
            operators::EQUALS => match (path(&left.expr), path(&right.expr)) {
                (Some(path), _) => (path, vec![text(&right.expr)?]),
                (None, Some(path)) => (path, vec![text(&left.expr)?]),
                (None, None) => return None,
            },
            operators::IN => {
                let Expr::List(list) = &right.expr else { return None };
                let texts: Option<Vec<String>> = list.elements.iter().map(|one| text(&one.expr)).collect();
                (path(&left.expr)?, texts?)
            }
            _ => return None,
        };
        Some(Self { path, wants: Wants::OneOf(texts) })
    }

    /// `None` where CEL has to say: the value is no text, or what it is in is not there.
    fn holds(&self, alert: &Value) -> Option<bool> {
        let (last, before) = self.path.split_last()?;
        let is_never_absent = |name: &String| NEVER_ABSENT.contains(&name.as_str());
        let mut place = Some(alert);
        for (depth, name) in before.iter().enumerate() {
            place = match place?.get(name) {
                // As good as empty.
                None if depth == 0 && is_never_absent(name) => None,
                found => Some(found?),
            };
        }
        match (&self.wants, place) {
            (Wants::Present, None) => Some(false),
            (Wants::Present, Some(Value::Object(fields))) => {
                Some(fields.contains_key(last) || before.is_empty() && is_never_absent(last))
            }
            (Wants::OneOf(texts), Some(Value::Object(fields))) => {
                let text = fields.get(last)?.as_str()?;
                Some(texts.iter().any(|one| one == text))
            }
            _ => None,
        }
    }
}

/// `alert.a.b` as `["a", "b"]`.
fn path(expression: &Expr) -> Option<Vec<String>> {
    match expression {
        Expr::Ident(name) => (name == "alert").then(Vec::new),
        Expr::Select(select) if !select.test => {
            let mut path = path(&select.operand.expr)?;
            path.push(select.field.clone());
            Some(path)
        }
        _ => None,
    }
}

fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}
