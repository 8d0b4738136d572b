//! A condition as it is evaluated: names are resolved, functions found and patterns compiled.

use super::functions::Function;
use super::pattern::Pattern;

/// One part of a condition. No deeper than [`super::bounds`] lets it be.
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(String),
    Type(&'static str),
    Alert,
    /// What a comprehension goes over: the number of those around it.
    Variable(usize),
    Field(Box<Node>, String),
    Has(Box<Node>, String),
    Index(Box<[Node; 2]>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Conditional(Box<[Node; 3]>),
    Binary(Operator, Box<[Node; 2]>),
    In(Box<[Node; 2]>),
    Call(&'static Function, Vec<Node>),
    Matches(Box<Node>, Pattern),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Each(Box<Each>),
}

/// `range.exists(variable, …)` and its like.
pub(super) struct Each {
    pub range: Node,
    pub what: What,
}

/// What is done with each element of a list, or key of a map.
pub(super) enum What {
    All(Node),
    Exists(Node),
    ExistsOne(Node),
    Map { when: Option<Node>, item: Node },
}

/// What stands between two values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    /// As it is written.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Node {
    /// Its parts.
    pub(super) fn parts(&self) -> Vec<&Node> {
        match self {
            Self::Field(of, _)
            | Self::Has(of, _)
            | Self::Not(of)
            | Self::Negate(of)
            | Self::Matches(of, _) => {
                vec![of]
            }
            Self::Index(pair) | Self::Binary(_, pair) | Self::In(pair) => pair.iter().collect(),
            Self::Conditional(parts) => parts.iter().collect(),
            Self::And(parts) | Self::Or(parts) | Self::Call(_, parts) | Self::List(parts) => {
                parts.iter().collect()
            }
            Self::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
            Self::Each(each) => match &each.what {
                What::All(part) | What::Exists(part) | What::ExistsOne(part) => vec![&each.range, part],
                What::Map { when, item } => {
                    [Some(&each.range), when.as_ref(), Some(item)].into_iter().flatten().collect()
                }
            },
            _ => Vec::new(),
        }
    }
}
