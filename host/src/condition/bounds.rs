//! What a condition may be, before it is parsed: its bytes, its words and how deep it goes. Parsing, dropping, checking
//! and evaluating recurse as deep as the expression does, so this is what keeps them on the stack.

use cel::parser::pratt_parser::{Lexer, TokenKind, get_binary_op_info};

use super::number;
use super::parse::NOT_AN_EXPRESSION;

/// The longest condition, in bytes.
pub(super) const MOST_BYTES: usize = 8 << 10;
/// The most words, numbers, texts and signs in one.
pub(super) const MOST_TOKENS: usize = 2_000;
/// The deepest condition. Each bracket, each `?` and each operator, dot or index in a row is a level.
pub(super) const MOST_LEVELS: usize = 64;

/// What a bracket adds to the depth of the expression around it: itself, `||` and `&&`.
const OF_A_BRACKET: usize = 3;

/// Whether a condition is short and flat enough to be parsed.
///
/// # Errors
///
/// What there is too much of, as the rest of a sentence.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.len() > MOST_BYTES {
        return Err(format!("has {} bytes, more than {MOST_BYTES}", text.len()));
    }
    let mut lexer = Lexer::new(text);
    let mut depth = Depth { around: 0, open: Vec::new(), here: Level::default() };
    let (mut tokens, mut before) = (0, TokenKind::TokEnd);
    loop {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd => return Ok(()),
            TokenKind::TokError => return Err(no_token(text, token.start, &lexer)),
            TokenKind::TokWhitespace | TokenKind::TokComment => continue,
            kind @ (TokenKind::TokInt | TokenKind::TokUint | TokenKind::TokFloat) => {
                let number = text.get(token.start..token.end).unwrap_or_default();
                number::check(kind, number, before == TokenKind::TokMinus)
                    .map_err(|why| format!("{why} at character {}", column(text, token.start)))?;
            }
            kind if !depth.add(kind) => {
                return Err(not_an_expression(
                    &format!("`{}` closes nothing", kind.as_str()),
                    text,
                    token.start,
                ));
            }
            _ => {}
        }
        before = token.kind;
        tokens += 1;
        if tokens > MOST_TOKENS {
            return Err(format!(
                "has more than {MOST_TOKENS} words and signs: split it, or put the values into a label"
            ));
        }
        if depth.levels() > MOST_LEVELS {
            return Err(too_deep(text, token.start));
        }
    }
}

fn no_token(text: &str, start: usize, lexer: &Lexer<'_>) -> String {
    not_an_expression(lexer.get_error().map_or("unexpected character", |error| &error.message), text, start)
}

fn not_an_expression(what: &str, text: &str, start: usize) -> String {
    format!("{NOT_AN_EXPRESSION}: {what} at character {}", column(text, start))
}

fn too_deep(text: &str, start: usize) -> String {
    format!(
        "is more than {MOST_LEVELS} levels deep at character {}: each bracket, `?`, and operator, dot or index in a row \
         is one; `in [\"a\", \"b\"]` takes the place of many `==`",
        column(text, start)
    )
}

fn column(text: &str, start: usize) -> usize {
    text.get(..start).map_or(start, |before| before.chars().count()) + 1
}

/// How deep the expression is at a token: never less than what the parser makes of it.
struct Depth {
    /// The levels of all brackets that are open.
    around: usize,
    /// What stood before each of them, and what closes it.
    open: Vec<(Level, TokenKind)>,
    here: Level,
}

/// What was seen since the last bracket or comma.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Operators, dots, indices and calls in a row: each may hold all that stood before it.
    row: usize,
    /// `a ? b : c ? d : e`: each holds all that comes after it.
    questions: usize,
    /// The levels of the deepest bracket that was closed: what follows it in the row holds it.
    under: usize,
    /// The most levels that there were beside this, before a comma, `&&`, `||`, `?` or `:`.
    beside: usize,
}

impl Level {
    fn levels(self) -> usize {
        self.around() + self.under
    }

    /// The levels around a bracket that opens here, which is beside those that were closed.
    fn around(self) -> usize {
        OF_A_BRACKET + self.row + self.questions
    }

    fn deepest(self) -> usize {
        self.beside.max(self.levels())
    }

    /// What comes next is beside this.
    fn next(self, questions: usize) -> Self {
        Self { questions, beside: self.beside.max(self.levels() + 1), ..Self::default() }
    }
}

impl Depth {
    fn levels(&self) -> usize {
        self.around + self.here.levels()
    }

    /// `false` if the token closes a bracket that is not open.
    fn add(&mut self, kind: TokenKind) -> bool {
        use TokenKind as Token;
        match kind {
            Token::TokLeftParen => self.opens(Token::TokRightParen),
            Token::TokLeftBracket => self.opens(Token::TokRightBracket),
            Token::TokLeftBrace => self.opens(Token::TokRightBrace),
            Token::TokRightParen | Token::TokRightBracket | Token::TokRightBrace => return self.closes(kind),
            Token::TokComma => self.here = self.here.next(0),
            // What stands beside them is beside it in the expression, too.
            Token::TokLogicalAnd | Token::TokLogicalOr | Token::TokColon => {
                self.here = self.here.next(self.here.questions);
            }
            Token::TokQuestion => self.here = self.here.next(self.here.questions + 1),
            Token::TokDot | Token::TokExclamation => self.here.row += 1,
            kind if !get_binary_op_info(kind).name.is_empty() => self.here.row += 1,
            _ => {}
        }
        true
    }

    fn opens(&mut self, closed_by: TokenKind) {
        self.here.row += 1;
        self.around += self.here.around();
        self.open.push((std::mem::take(&mut self.here), closed_by));
    }

    fn closes(&mut self, kind: TokenKind) -> bool {
        let Some((before, closed_by)) = self.open.pop() else { return false };
        self.around -= before.around();
        self.here = Level { under: before.under.max(self.here.deepest()), ..before };
        closed_by == kind
    }
}
