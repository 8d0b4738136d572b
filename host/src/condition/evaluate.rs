//! Evaluating a condition: every step and every byte counts against a budget, whatever the condition and the alert say.

use std::rc::Rc;

use super::functions::{self, Function};
use super::operators;
use super::tree::{Each, Node, Operator, What};
use super::value::Value;

/// The most steps of one evaluation, which take 10 ms at most where the host is a release. A step is a part of the condition
/// that is evaluated, an element that is looked at, or some bytes of a text.
pub(super) const MOST_STEPS: u64 = 150_000;
/// The most bytes of texts, lists and maps that one evaluation makes.
pub(super) const MOST_MADE: u64 = 1 << 20;
/// How many bytes of a text are compared or searched in one step.
const BYTES_A_STEP: u64 = 64;
/// How many places of a pattern are tried in one step.
pub(super) const PLACES_A_STEP: u64 = 8;

/// Why a condition has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// It depends on what the alert says: a field is absent, a text is no number.
    OfValues(String),
    /// It does not fit together, whatever the alert says.
    OfTypes(String),
    /// The budget is used up: nothing that is evaluated beside it counts any more.
    TooMuch(Budget),
}

/// What an evaluation can use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    Steps,
    Bytes,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OfValues(text) | Self::OfTypes(text) => f.write_str(text),
            Self::TooMuch(Budget::Steps) => {
                write!(f, "takes more than {MOST_STEPS} steps, the budget of one evaluation")
            }
            Self::TooMuch(Budget::Bytes) => {
                write!(f, "makes more than {} KiB, the budget of one evaluation", MOST_MADE >> 10)
            }
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, Error>;

/// One evaluation.
pub(super) struct Evaluation<'a> {
    alert: Value<'a>,
    /// What the comprehensions on the way here go over, the outermost first.
    variables: Vec<Value<'a>>,
    steps: u64,
    made: u64,
}

impl<'a> Evaluation<'a> {
    pub(super) fn of(alert: &'a serde_json::Value) -> Self {
        Self { alert: Value::Alert(alert), variables: Vec::new(), steps: MOST_STEPS, made: MOST_MADE }
    }

    /// Counts steps.
    #[inline]
    pub(super) fn step(&mut self, steps: u64) -> Result<()> {
        match self.steps.checked_sub(steps) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => {
                self.steps = 0;
                Err(Error::TooMuch(Budget::Steps))
            }
        }
    }

    /// Counts the steps that it takes to look at so many bytes.
    #[inline]
    pub(super) fn look_at(&mut self, bytes: usize) -> Result<()> {
        self.step(bytes as u64 / BYTES_A_STEP)
    }

    /// Counts bytes that are made, before they are.
    fn make(&mut self, bytes: usize) -> Result<()> {
        self.made = self.made.checked_sub(bytes as u64).ok_or(Error::TooMuch(Budget::Bytes))?;
        self.look_at(bytes)
    }

    /// Makes a text of several.
    pub(super) fn text(&mut self, parts: &[&str]) -> Result<Value<'a>> {
        self.make(parts.iter().map(|part| part.len()).sum())?;
        Ok(Value::Made(parts.concat().into()))
    }

    /// Counts elements of a list or map, before they are made.
    pub(super) fn elements(&mut self, count: usize) -> Result<()> {
        self.step(count as u64)?;
        self.make(count.saturating_mul(size_of::<Value<'_>>()))
    }

    /// What a part of the condition is worth.
    pub(super) fn value(&mut self, node: &'a Node) -> Result<Value<'a>> {
        self.step(1)?;
        match node {
            Node::Null => Ok(Value::Null),
            Node::Bool(value) => Ok(Value::Bool(*value)),
            Node::Int(number) => Ok(Value::Int(*number)),
            Node::UInt(number) => Ok(Value::UInt(*number)),
            Node::Double(number) => Ok(Value::Double(*number)),
            Node::Text(text) => Ok(Value::Text(text)),
            Node::Type(kind) => Ok(Value::Type(kind)),
            Node::Alert => Ok(self.alert.clone()),
            Node::Variable(depth) => Ok(self.variables.get(*depth).cloned().unwrap_or(Value::Null)),
            Node::Field(of, name) => self.field(of, name),
            Node::Has(of, name) => self.has(of, name),
            Node::And(parts) => self.joined(parts, false),
            Node::Or(parts) => self.joined(parts, true),
            Node::Not(part) => self.is(part, "!").map(|holds| Value::Bool(!holds)),
            Node::Binary(operator, pair) => self.binary(*operator, pair),
            Node::In(pair) => self.is_in(pair),
            Node::Matches(text, pattern) => self.matches(text, pattern),
            Node::Index(pair) => self.index(pair),
            Node::Conditional(parts) => self.conditional(parts),
            Node::Negate(part) => operators::negated(&self.value(part)?),
            Node::Call(function, arguments) => self.call(function, arguments),
            Node::List(parts) => self.list(parts),
            Node::Map(entries) => self.map(entries),
            Node::Each(each) => self.each(each),
        }
    }

    fn call(&mut self, function: &'static Function, arguments: &'a [Node]) -> Result<Value<'a>> {
        let arguments = arguments.iter().map(|part| self.value(part)).collect::<Result<Vec<_>>>()?;
        functions::call(self, function, &arguments)
    }

    fn list(&mut self, parts: &'a [Node]) -> Result<Value<'a>> {
        parts.iter().map(|part| self.made(part)).collect::<Result<Rc<[_]>>>().map(Value::List)
    }

    /// A value that becomes an element.
    fn made(&mut self, node: &'a Node) -> Result<Value<'a>> {
        self.elements(1)?;
        self.value(node)
    }

    /// A part that has to be true or false.
    #[inline]
    fn is(&mut self, node: &'a Node, operator: &str) -> Result<bool> {
        match self.value(node)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(Error::OfTypes(format!("{operator} does not take {}", other.kind()))),
        }
    }

    /// `&&` and `||`: a part that says `decisive` decides, whatever the others are, an error included.
    fn joined(&mut self, parts: &'a [Node], decisive: bool) -> Result<Value<'a>> {
        let mut failed = None;
        for part in parts {
            match self.is(part, if decisive { "||" } else { "&&" }) {
                Ok(holds) if holds == decisive => return Ok(Value::Bool(decisive)),
                Err(error @ Error::TooMuch(_)) => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
                Ok(_) => {}
            }
        }
        failed.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn conditional(&mut self, [when, then, otherwise]: &'a [Node; 3]) -> Result<Value<'a>> {
        let holds = self.is(when, "?")?;
        self.value(if holds { then } else { otherwise })
    }

    #[inline]
    fn field(&mut self, of: &'a Node, name: &str) -> Result<Value<'a>> {
        let value = self.value(of)?;
        operators::field(self, &value, name)?.ok_or_else(|| operators::no_such_key(name))
    }

    fn has(&mut self, of: &'a Node, name: &str) -> Result<Value<'a>> {
        let value = self.value(of)?;
        Ok(Value::Bool(operators::field(self, &value, name)?.is_some()))
    }

    fn index(&mut self, [of, at]: &'a [Node; 2]) -> Result<Value<'a>> {
        let (of, at) = (self.value(of)?, self.value(at)?);
        operators::index(self, &of, &at)
    }

    fn binary(&mut self, operator: Operator, [left, right]: &'a [Node; 2]) -> Result<Value<'a>> {
        let (left, right) = (self.value(left)?, self.value(right)?);
        operators::binary(self, operator, &left, &right)
    }

    /// A list that is written out is not made.
    fn is_in(&mut self, [element, list]: &'a [Node; 2]) -> Result<Value<'a>> {
        let element = self.value(element)?;
        let Node::List(parts) = list else {
            let list = self.value(list)?;
            return operators::contains(self, &list, &element).map(Value::Bool);
        };
        let mut is_found = false;
        for part in parts {
            let other = self.value(part)?;
            is_found = is_found || operators::equal(self, &element, &other)?;
        }
        Ok(Value::Bool(is_found))
    }

    fn matches(&mut self, text: &'a Node, pattern: &super::pattern::Pattern) -> Result<Value<'a>> {
        let value = self.value(text)?;
        let text =
            value.text().ok_or_else(|| Error::OfTypes(format!("matches does not take {}", value.kind())))?;
        self.step(pattern.steps(text.len()))?;
        Ok(Value::Bool(pattern.is_match(text)))
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Result<Value<'a>> {
        let mut made: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let (key, value) = (self.made(key)?, self.made(value)?);
            operators::check_key(&key)?;
            for (other, _) in &made {
                if operators::equal(self, &key, other)? {
                    return Err(Error::OfValues("a map has the same key twice".to_owned()));
                }
            }
            made.push((key, value));
        }
        Ok(Value::Map(made.into()))
    }

    fn each(&mut self, each: &'a Each) -> Result<Value<'a>> {
        let range = self.value(&each.range)?;
        let elements = range.elements().ok_or_else(|| {
            Error::OfTypes(format!(
                "a {} has no elements: all, exists, map and filter take a list or a map",
                range.kind()
            ))
        })?;
        match &each.what {
            What::All(part) => self.quantified(elements, part, false),
            What::Exists(part) => self.quantified(elements, part, true),
            What::ExistsOne(part) => {
                let mut count = 0_usize;
                for element in elements {
                    count += usize::from(self.with(element, |run| run.is(part, "exists_one"))?);
                }
                Ok(Value::Bool(count == 1))
            }
            What::Map { when, item } => self.mapped(elements, when.as_ref(), item),
        }
    }

    /// Evaluates something where the innermost variable is an element.
    fn with<T>(&mut self, element: Value<'a>, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.step(1)?;
        self.variables.push(element);
        let result = part(self);
        self.variables.pop();
        result
    }

    /// `all` and `exists`: as with `&&` and `||`, one element can decide, whatever the others are.
    fn quantified(
        &mut self,
        elements: impl Iterator<Item = Value<'a>>,
        part: &'a Node,
        decisive: bool,
    ) -> Result<Value<'a>> {
        let mut failed = None;
        for element in elements {
            match self.with(element, |run| run.is(part, if decisive { "exists" } else { "all" })) {
                Ok(holds) if holds == decisive => return Ok(Value::Bool(decisive)),
                Err(error @ Error::TooMuch(_)) => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
                Ok(_) => {}
            }
        }
        failed.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn mapped(
        &mut self,
        elements: impl Iterator<Item = Value<'a>>,
        when: Option<&'a Node>,
        item: &'a Node,
    ) -> Result<Value<'a>> {
        let mut made = Vec::new();
        for element in elements {
            let item = self.with(element, |run| {
                let is_wanted = when.map_or(Ok(true), |when| run.is(when, "filter"))?;
                is_wanted.then(|| run.made(item)).transpose()
            })?;
            made.extend(item);
        }
        Ok(Value::List(made.into()))
    }
}
