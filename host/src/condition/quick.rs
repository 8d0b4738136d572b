//! Conditions that need no interpreter: routes ask, one after the other, whether a text of the alert is one of a few. With
//! hundreds of routes that is what routing costs.

use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use regex::Regex;
use serde_json::Value;

use super::NEVER_ABSENT;

/// What of a condition can be decided without CEL.
pub(super) enum Quick {
    /// All of them have to hold.
    All(Vec<Quick>),
    /// One of them has to.
    Any(Vec<Quick>),
    Not(Box<Quick>),
    Test(Test),
    /// CEL has to say.
    Unknown,
}

/// A question about one value.
pub(super) struct Test {
    /// Below `alert`.
    path: Vec<String>,
    wants: Wants,
}

enum Wants {
    Present,
    OneOf(Vec<String>),
    Start(String),
    End(String),
    Part(String),
    /// CEL would read the expression anew each time.
    Match(Box<Regex>),
}

impl Quick {
    pub(super) fn of(expression: &Expr) -> Self {
        let Expr::Call(call) = expression else { return Self::test(expression) };
        let parts = || call.args.iter().map(|part| Self::of(&part.expr)).collect();
        match call.func_name.as_str() {
            operators::LOGICAL_AND => Self::All(parts()),
            operators::LOGICAL_OR => Self::Any(parts()),
            operators::LOGICAL_NOT => parts().pop().map_or(Self::Unknown, |part| Self::Not(Box::new(part))),
            operators::NOT_EQUALS => {
                Self::Not(Box::new(Test::equality(call).map_or(Self::Unknown, Self::Test)))
            }
            _ => Self::test(expression),
        }
    }

    fn test(expression: &Expr) -> Self {
        Test::of(expression).map_or(Self::Unknown, Self::Test)
    }

    /// Whether the condition holds, where that is certain without asking further. One part that decides does so whatever the
    /// others are, an error included, as in CEL.
    pub(super) fn verdict(&self, alert: &Value) -> Option<bool> {
        match self {
            Self::All(parts) => joined(parts, alert, false),
            Self::Any(parts) => joined(parts, alert, true),
            Self::Not(part) => part.verdict(alert).map(|holds| !holds),
            Self::Test(test) => test.holds(alert),
            Self::Unknown => None,
        }
    }
}

/// What several parts give together, if one that says `decisive` decides.
fn joined(parts: &[Quick], alert: &Value, decisive: bool) -> Option<bool> {
    let mut is_certain = true;
    for part in parts {
        match part.verdict(alert) {
            Some(verdict) if verdict == decisive => return Some(decisive),
            Some(_) => {}
            None => is_certain = false,
        }
    }
    is_certain.then_some(!decisive)
}

impl Test {
    fn of(expression: &Expr) -> Option<Self> {
        if let Expr::Select(select) = expression {
            let mut path = path(&select.operand.expr)?;
            path.push(select.field.clone());
            return select.test.then_some(Self { path, wants: Wants::Present });
        }
        let Expr::Call(call) = expression else { return None };
        match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
            (operators::EQUALS, ..) => Self::equality(call),
            (operators::IN, _, [left, right]) => {
                let Expr::List(list) = &right.expr else { return None };
                let texts: Option<Vec<String>> = list.elements.iter().map(|one| text(&one.expr)).collect();
                Some(Self { path: path(&left.expr)?, wants: Wants::OneOf(texts?) })
            }
            (method, Some(target), [argument]) => {
                let (path, text) = (path(&target.expr)?, text(&argument.expr)?);
                let wants = match method {
                    "startsWith" => Wants::Start(text),
                    "endsWith" => Wants::End(text),
                    "contains" => Wants::Part(text),
                    "matches" => Wants::Match(Box::new(Regex::new(&text).ok()?)),
                    _ => return None,
                };
                Some(Self { path, wants })
            }
            _ => None,
        }
    }

    /// A value compared to a text, on whichever side that is.
    fn equality(call: &CallExpr) -> Option<Self> {
        let [left, right] = call.args.as_slice() else { return None };
        let (path, text) = match (path(&left.expr), path(&right.expr)) {
            (Some(path), _) => (path, text(&right.expr)?),
            (None, Some(path)) => (path, text(&left.expr)?),
            (None, None) => return None,
        };
        Some(Self { path, wants: Wants::OneOf(vec![text]) })
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
            (wants, Some(Value::Object(fields))) => {
                let text = fields.get(last)?.as_str()?;
                Some(match wants {
                    Wants::Present => true,
                    Wants::OneOf(texts) => texts.iter().any(|one| one == text),
                    Wants::Start(start) => text.starts_with(start),
                    Wants::End(end) => text.ends_with(end),
                    Wants::Part(part) => text.contains(part),
                    Wants::Match(expression) => expression.is_match(text),
                })
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

pub(super) fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}
