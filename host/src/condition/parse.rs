//! From text to [`Node`]: the parser is that of the `cel` crate, and what it makes of the text is gone when this
//! returns. What conditions cannot do (messages, bytes, patterns that an alert brings along) is refused here.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, MapExpr, operators,
};
use cel::parser::ParseErrors;
use cel::parser::pratt_parser::PrattParser;

use super::bounds;
use super::functions;
use super::pattern::Pattern;
use super::tree::{Each, Node, Operator, What};

/// How a text that cannot be parsed is refused.
pub(super) const NOT_AN_EXPRESSION: &str = "is not a CEL expression such as alert.severity == \"critical\"";

/// Reads a condition within [`bounds`].
///
/// # Errors
///
/// What is wrong with it, as the rest of a sentence.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    bounds::check(text)?;
    let parser = PrattParser::new().enable_variadic_operator_asts(true).error_recovery_limit(0);
    let expression = parser.parse(text).map_err(|errors| first(&errors))?;
    Scope { variables: Vec::new(), patterns: 0 }
        .node(expression)
        .map_err(|error| format!("cannot work: {error}"))
}

/// The first error of the text itself: the parser stops there, and says so, too.
fn first(errors: &ParseErrors) -> String {
    match errors.errors.iter().find(|error| error.pos.0 > 0).or(errors.errors.first()) {
        Some(error) if error.pos.0 > 1 => {
            format!("{NOT_AN_EXPRESSION}: {} at character {} of line {}", error.msg, error.pos.1, error.pos.0)
        }
        Some(error) => format!("{NOT_AN_EXPRESSION}: {} at character {}", error.msg, error.pos.1),
        None => NOT_AN_EXPRESSION.to_owned(),
    }
}

/// The most patterns of one condition: each may need a MiB and some milliseconds when it is read.
const MOST_PATTERNS: usize = 20;

/// What is known on the way through an expression.
struct Scope {
    /// The names that it can use beside `alert`.
    variables: Vec<String>,
    /// How many patterns there were.
    patterns: usize,
}

impl Scope {
    fn node(&mut self, expression: IdedExpr) -> Result<Node, String> {
        match expression.expr {
            Expr::Literal(value) => literal(value),
            Expr::Ident(name) => self.named(&name),
            Expr::Select(select) => {
                let of = Box::new(self.node(*select.operand)?);
                Ok(if select.test { Node::Has(of, select.field) } else { Node::Field(of, select.field) })
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => Ok(Node::List(self.nodes(list.elements)?)),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(each) => self.each(*each),
            Expr::Struct(message) => {
                Err(format!("{} {{…}} is not something that conditions can make", message.type_name))
            }
            Expr::Unspecified => Err("a part is missing".to_owned()),
        }
    }

    fn nodes(&mut self, expressions: Vec<IdedExpr>) -> Result<Vec<Node>, String> {
        expressions.into_iter().map(|part| self.node(part)).collect()
    }

    fn named(&self, name: &str) -> Result<Node, String> {
        if let Some(depth) = self.variables.iter().rposition(|variable| variable == name) {
            return Ok(Node::Variable(depth));
        }
        if name == "alert" {
            return Ok(Node::Alert);
        }
        let kind = functions::TYPES.iter().find(|kind| **kind == name);
        kind.map(|kind| Node::Type(kind)).ok_or_else(|| format!("Undeclared reference to '{name}'"))
    }

    fn map(&mut self, map: MapExpr) -> Result<Node, String> {
        let mut entries = Vec::with_capacity(map.entries.len());
        for entry in map.entries {
            if let EntryExpr::MapEntry(entry) = entry.expr {
                entries.push((self.node(entry.key)?, self.node(entry.value)?));
            }
        }
        Ok(Node::Map(entries))
    }

    fn call(&mut self, call: CallExpr) -> Result<Node, String> {
        if call.target.is_none()
            && let Some(operator) = binary(&call.func_name)
        {
            return Ok(Node::Binary(operator, self.exactly(call.args)?));
        }
        match call.func_name.as_str() {
            operators::LOGICAL_AND => Ok(Node::And(self.nodes(call.args)?)),
            operators::LOGICAL_OR => Ok(Node::Or(self.nodes(call.args)?)),
            operators::LOGICAL_NOT => Ok(Node::Not(self.one(call.args)?)),
            operators::NEGATE => Ok(Node::Negate(self.one(call.args)?)),
            operators::CONDITIONAL => Ok(Node::Conditional(self.exactly(call.args)?)),
            operators::IN => Ok(Node::In(self.exactly(call.args)?)),
            operators::INDEX => Ok(Node::Index(self.exactly(call.args)?)),
            name => {
                let is_method = call.target.is_some();
                let arguments = call.target.map(|target| *target).into_iter().chain(call.args).collect();
                if name == "matches" {
                    self.matches(arguments)
                } else {
                    self.function(name, is_method, arguments)
                }
            }
        }
    }

    fn function(&mut self, name: &str, is_method: bool, arguments: Vec<IdedExpr>) -> Result<Node, String> {
        let arguments = self.nodes(arguments)?;
        Ok(Node::Call(functions::find(name, is_method, arguments.len())?, arguments))
    }

    /// The pattern is part of the condition: compiled once, and never a text that a sender wrote.
    fn matches(&mut self, arguments: Vec<IdedExpr>) -> Result<Node, String> {
        let [text, pattern] = <[IdedExpr; 2]>::try_from(arguments).map_err(|_| {
            "matches takes a text and a pattern, such as alert.title.matches(\"^db-[0-9]+\")".to_owned()
        })?;
        let Expr::Literal(LiteralValue::String(pattern)) = pattern.expr else {
            return Err(
                "the pattern of matches must be written out, such as alert.title.matches(\"^db-[0-9]+\")"
                    .to_owned(),
            );
        };
        self.patterns += 1;
        if self.patterns > MOST_PATTERNS {
            return Err(format!(
                "there are more than {MOST_PATTERNS} patterns: join them, as in \"^db-|^web-\""
            ));
        }
        Ok(Node::Matches(Box::new(self.node(text)?), Pattern::new(pattern.inner())?))
    }

    fn one(&mut self, arguments: Vec<IdedExpr>) -> Result<Box<Node>, String> {
        let [one] = *self.exactly::<1>(arguments)?;
        Ok(Box::new(one))
    }

    fn exactly<const N: usize>(&mut self, arguments: Vec<IdedExpr>) -> Result<Box<[Node; N]>, String> {
        <Box<[Node; N]>>::try_from(self.nodes(arguments)?).map_err(|_| "a part is missing".to_owned())
    }

    /// What the macros `all`, `exists`, `exists_one`, `map` and `filter` became.
    fn each(&mut self, each: ComprehensionExpr) -> Result<Node, String> {
        let range = self.node(each.iter_range)?;
        let Expr::Call(step) = each.loop_step.expr else { return Err("a part is missing".to_owned()) };
        self.variables.push(each.iter_var);
        let what = self.what(step);
        self.variables.pop();
        Ok(Node::Each(Box::new(Each { range, what: what? })))
    }

    /// The step of a macro: `result && …`, `result || …`, `result + […]`, or `… ? result + … : result`.
    fn what(&mut self, step: CallExpr) -> Result<What, String> {
        let mut parts = step.args.into_iter();
        match (step.func_name.as_str(), parts.next(), parts.next()) {
            (operators::LOGICAL_AND, _, Some(part)) => Ok(What::All(self.node(part)?)),
            (operators::LOGICAL_OR, _, Some(part)) => Ok(What::Exists(self.node(part)?)),
            (operators::ADD, _, Some(IdedExpr { expr: Expr::List(list), .. })) => {
                let [item] = *self.exactly(list.elements)?;
                Ok(What::Map { when: None, item })
            }
            (operators::CONDITIONAL, Some(when), Some(IdedExpr { expr: Expr::Call(then), .. })) => {
                let when = self.node(when)?;
                match self.what(then) {
                    Ok(What::Map { item, .. }) => Ok(What::Map { when: Some(when), item }),
                    // It counts instead.
                    Ok(What::ExistsOne(_)) => Ok(What::ExistsOne(when)),
                    other => other,
                }
            }
            (operators::ADD, ..) => Ok(What::ExistsOne(Node::Null)),
            _ => Err("a part is missing".to_owned()),
        }
    }
}

fn literal(value: LiteralValue) -> Result<Node, String> {
    Ok(match value {
        LiteralValue::Null => Node::Null,
        LiteralValue::Boolean(value) => Node::Bool(*value),
        LiteralValue::Int(number) => Node::Int(*number.inner()),
        LiteralValue::UInt(number) => Node::UInt(*number.inner()),
        LiteralValue::Double(number) => Node::Double(*number.inner()),
        LiteralValue::String(text) => Node::Text(text.into_inner()),
        LiteralValue::Bytes(_) => return Err("b\"…\" are bytes: an alert has none".to_owned()),
    })
}

fn binary(name: &str) -> Option<Operator> {
    Some(match name {
        operators::EQUALS => Operator::Equal,
        operators::NOT_EQUALS => Operator::NotEqual,
        operators::LESS => Operator::Less,
        operators::LESS_EQUALS => Operator::LessOrEqual,
        operators::GREATER => Operator::Greater,
        operators::GREATER_EQUALS => Operator::GreaterOrEqual,
        operators::ADD => Operator::Add,
        operators::SUBSTRACT => Operator::Subtract,
        operators::MULTIPLY => Operator::Multiply,
        operators::DIVIDE => Operator::Divide,
        operators::MODULO => Operator::Remainder,
        _ => return None,
    })
}
