//! What is accepted is parsed, tried, evaluated and dropped on the stack of any worker.

use std::time::{Duration, Instant};

use arbitrary::Unstructured;

use super::super::bounds::{self, MOST_BYTES};
use super::{Condition, Facts, json};

/// A quarter of what the host's threads have: what asks stands on the same stack.
const STACK: usize = (2 << 20) / 4;

/// A condition that is as deep or long as the number says.
type Shape = fn(usize) -> String;

/// Shapes of conditions, by name.
const SHAPES: [(&str, Shape); 37] = [
    ("sum", |n| format!("1{} == 0", "+1".repeat(n))),
    ("product", |n| format!("1{} == 0", "*1".repeat(n))),
    ("texts", |n| format!("'a'{} == ''", "+'a'".repeat(n))),
    ("fields", |n| format!("alert.data{} == 0", ".a".repeat(n))),
    ("optional fields", |n| format!("alert.data{} == 0", ".?a".repeat(n))),
    ("indices", |n| format!("alert.data{} == 0", "[0]".repeat(n))),
    ("nested indices", |n| format!("{}0{} == 0", "alert.links[".repeat(n), "]".repeat(n))),
    ("calls", |n| format!("''{} == 0", ".size()".repeat(n))),
    ("nested calls", |n| format!("{}1{} == ''", "string(".repeat(n), ")".repeat(n))),
    ("equalities", |n| format!("true{}", "==true".repeat(n))),
    ("comparisons", |n| format!("1{}", "<1".repeat(n))),
    ("memberships", |n| format!("1{}", " in []".repeat(n))),
    ("and", |n| format!("true{}", "&&true".repeat(n))),
    ("or", |n| format!("false{}", "||false".repeat(n))),
    ("and or", |n| format!("true{}", "&&true||false".repeat(n))),
    ("ternaries", |n| format!("{}true", "true?true:".repeat(n))),
    ("ternaries in front", |n| format!("{}true{}", "(".repeat(n), ")?true:false".repeat(n))),
    ("ternaries between", |n| format!("{}true{}", "true?(".repeat(n), "):false".repeat(n))),
    ("not", |n| format!("{}true", "!".repeat(n))),
    ("minus", |n| format!("{}1 == 1", "-".repeat(n))),
    ("not and minus", |n| format!("{}1 == 1", "!-".repeat(n))),
    ("parentheses", |n| format!("{}true{}", "(".repeat(n), ")".repeat(n))),
    ("not in parentheses", |n| format!("{}true{}", "!(".repeat(n), ")".repeat(n))),
    ("lists", |n| format!("{}{} == 0", "[".repeat(n), "]".repeat(n))),
    ("maps", |n| format!("{}1{} == 0", "{1:".repeat(n), "}".repeat(n))),
    ("long list", |n| format!("1 in [{}]", "1,".repeat(n))),
    ("comprehensions", |n| format!("{}true{}", "[1].all(x,".repeat(n), ")".repeat(n))),
    ("chained comprehensions", |n| format!("[1]{} == []", ".map(x,[x])".repeat(n))),
    ("sums behind brackets", |n| format!("{}1{} == 0", "(".repeat(n), ")+1+1+1+1+1+1+1+1".repeat(n))),
    ("long sums behind brackets", |n| format!("(((((((1{0}){0}){0}){0}){0}){0}){0}) == 0", "+1".repeat(n))),
    ("fields behind brackets", |n| format!("(((((alert{0}){0}){0}){0}){0}) == 0", ".a".repeat(n))),
    ("indices behind brackets", |n| format!("(((((alert{0}){0}){0}){0}){0}) == 0", "[0]".repeat(n))),
    ("equalities behind brackets", |n| format!("(((((true{0}){0}){0}){0}){0})", "==true".repeat(n))),
    ("ternaries behind brackets", |n| {
        format!("(((((true{0}){0}){0}){0}){0})", "==true==true ? true : true".repeat(n))
    }),
    ("calls behind calls", |n| format!("{}''{}", "string(".repeat(n), ").size()+1+1+1+1".repeat(n))),
    ("escapes", |n| format!("'{}' == ''", "\\\\".repeat(n))),
    ("messages", |n| format!("{}1{}", "a{a:".repeat(n), "}".repeat(n))),
];

/// The longest of a shape that is accepted.
fn longest(shape: Shape) -> usize {
    let (mut fits, mut too_long) = (1, MOST_BYTES);
    while fits + 1 < too_long {
        let middle = usize::midpoint(fits, too_long);
        let is_accepted = bounds::check(&shape(middle)).is_ok();
        if is_accepted { fits = middle } else { too_long = middle }
    }
    fits
}

/// Runs something on a stack as threads of the host have it: what overflows it ends the process.
fn on_a_small_stack(what: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(what).unwrap();
    thread.join().unwrap();
}

/// Parses, tries, evaluates and drops a condition, and what is left of it without the trial.
fn use_it(text: &str) -> Result<(), String> {
    let alert = json!({"links": [0, 0], "data": {"a": {"a": {"a": 1}}}, "title": "a".repeat(1_000)});
    if let Ok(expression) = super::super::parse::parse(text) {
        _ = super::super::Evaluation::of(&alert).value(&expression).map(drop);
    }
    _ = Condition::parse(text)?.holds(&Facts::of(&alert));
    Ok(())
}

#[test]
fn longest_conditions_fit_the_stack() {
    on_a_small_stack(|| {
        for (name, shape) in SHAPES {
            let (length, began) = (longest(shape), Instant::now());
            let said = use_it(&shape(length));
            let took = began.elapsed();
            println!("{name}: {length} long: {said:?} in {took:?}");
            assert!(took < Duration::from_secs(2), "{name}, {length} long, took {took:?}");
        }
    });
}

#[test]
fn longer_conditions_are_refused_unparsed() {
    for (name, shape) in SHAPES {
        let began = Instant::now();
        let refused = Condition::parse(&shape(100_000)).err().unwrap_or_default();
        assert!(refused.contains("bytes, more than 8192"), "{name}: {refused}");
        let refused = Condition::parse(&shape(longest(shape) + 1)).err().unwrap_or_default();
        assert!(
            refused.contains("more than 8192")
                || refused.contains("more than 2000")
                || refused.contains("levels deep"),
            "{name}: {refused}"
        );
        assert!(began.elapsed() < Duration::from_secs(1), "{name} took {:?}", began.elapsed());
    }
}

/// What is neither long nor deep.
#[test]
fn many_words_are_refused_by_their_number() {
    let numbers = |count| format!("1 in [{}]", "1,".repeat(count));
    assert_eq!(bounds::check(&numbers(998)), Ok(()), "2,000 words and signs");
    let refused = Condition::parse(&numbers(999)).err().unwrap_or_default();
    assert_eq!(refused, "has more than 2000 words and signs: split it, or put the values into a label");
}

#[test]
fn usual_conditions_are_far_from_the_bounds() {
    let teams: Vec<String> = (0..400).map(|number| format!("'team-{number}'")).collect();
    for text in [
        format!("alert.labels.team in [{}]", teams.join(", ")),
        format!("alert.title.contains('a'){}", " || alert.title.contains('db')".repeat(200)),
        format!("alert.severity == 'low' ? true : ({})", "alert.severity == 'high' ? true : ".repeat(10) + "false"),
        "((((alert.labels.a == 'b') && (alert.title.startsWith('c'))) || ((size(alert.links) > (1 + 2) * 3))))".to_owned(),
    ] {
        assert_eq!(Condition::parse(&text).err(), None, "{text}");
    }
}

/// Brackets that close others, comments and quotes do not hide anything from the count.
#[test]
fn nothing_hides_from_the_bounds() {
    let deep = "(".repeat(1_000);
    for text in [
        format!("'\\'' + '{deep}' == {deep}"),
        format!("r'\\' == {deep}"),
        format!("\"\"\"\"\"\" == {deep}"),
        format!("// '\n{deep}"),
        "[)".repeat(500),
        "(]".repeat(500),
        "{)".repeat(500),
        "a é ( ".repeat(300),
        "a @ ( ".repeat(300),
    ] {
        on_a_small_stack(move || {
            let refused = Condition::parse(&text).err();
            assert!(refused.is_some(), "{text}");
        });
    }
}

/// Any row of words is refused or evaluated, on a small stack.
#[test]
fn any_words_are_refused_or_evaluated() {
    const WORDS: [&str; 44] = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        ".",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "&&",
        "||",
        " in ",
        "alert",
        "x",
        "1",
        "2u",
        "1.5",
        "'a'",
        "r'\\'",
        "true",
        "null",
        ".all(x,",
        ".exists(x,",
        ".map(x,",
        ".filter(x,",
        "has(",
        "size(",
        ".matches('a')",
        "`a`",
        "b'a'",
        "é",
    ];
    on_a_small_stack(|| {
        bolero::check!(name = "conditions").with_iterations(4_000).with_max_len(400).for_each(
            |bytes: &[u8]| {
                let mut random = Unstructured::new(bytes);
                let words = std::iter::from_fn(|| {
                    (!random.is_empty()).then(|| *random.choose(&WORDS).unwrap_or(&"1"))
                });
                _ = use_it(&words.collect::<String>());
            },
        );
    });
}
