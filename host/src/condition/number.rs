//! Numbers as a condition writes them: one that 64 bits do not hold is a text in an alert, with its digits.

use cel::parser::pratt_parser::TokenKind;

/// How many digits of a number an error shows.
const SHOWN: usize = 60;

/// Whether a number is one that an alert can have; `is_negative` where a minus stands before it.
///
/// # Errors
///
/// What to write instead, as the rest of a sentence up to the place.
pub(super) fn check(kind: TokenKind, number: &str, is_negative: bool) -> Result<(), String> {
    let whole = number.trim_end_matches(['u', 'U']);
    let sign = if is_negative { "-" } else { "" };
    let fits = match kind {
        TokenKind::TokUint => is_unsigned(whole),
        TokenKind::TokInt => is_signed(sign, whole),
        _ => number.parse::<f64>().is_ok_and(f64::is_finite),
    };
    if fits {
        return Ok(());
    }
    let shown = whole.get(..SHOWN).map_or_else(|| whole.to_owned(), |beginning| format!("{beginning}…"));
    Err(match kind {
        TokenKind::TokInt if !is_negative && is_unsigned(whole) => {
            format!(
                "has a number above {}, which takes a u behind it, {shown}u, instead of {shown}",
                i64::MAX
            )
        }
        _ => format!(
            "has a number that 64 bits do not hold; an alert has such a number as a text, with its digits, so compare with \
             \"{sign}{shown}\", in quotes, instead of {sign}{shown}"
        ),
    })
}

fn is_signed(sign: &str, digits: &str) -> bool {
    match hexadecimal(digits) {
        Some(digits) => i64::from_str_radix(digits, 16).is_ok(),
        None => format!("{sign}{digits}").parse::<i64>().is_ok(),
    }
}

fn is_unsigned(digits: &str) -> bool {
    match hexadecimal(digits) {
        Some(digits) => u64::from_str_radix(digits, 16).is_ok(),
        None => digits.parse::<u64>().is_ok(),
    }
}

fn hexadecimal(digits: &str) -> Option<&str> {
    digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"))
}
