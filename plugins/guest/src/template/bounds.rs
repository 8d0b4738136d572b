//! How large a template may be. A component has a small stack, and the parser goes as deep as what it reads: what would
//! be too deep is told here, since no plugin survives a stack that is full.

/// The longest template, in bytes.
const LONGEST: usize = 8 * 1024;

/// The most `{% … %}` and `{{ … }}`.
const TAGS: usize = 200;

/// The longest of them, in bytes.
const LONGEST_TAG: usize = 400;

/// How deep brackets may nest in one of them.
const NESTING: usize = 16;

/// Whether the template is small enough to be read; if not, why.
pub(super) fn check(source: &str) -> Result<(), String> {
    within("it has", source.len(), LONGEST, "bytes")?;
    let (mut rest, mut tags) = (source, 0);
    while let Some(start) = rest.find('{') {
        rest = &rest[start + 1..];
        if rest.starts_with(['{', '%']) {
            tags += 1;
            let length = tag(&rest.as_bytes()[1..])?;
            within("it has a {{ … }} or {% … %} of", length, LONGEST_TAG, "bytes")?;
        }
    }
    within("it has", tags, TAGS, "{{ … }} and {% … %}")
}

/// How long the inside of a tag is: up to its end outside of quotes, or to the end of everything.
fn tag(inside: &[u8]) -> Result<usize, String> {
    let (mut quote, mut depth) = (None, 0_usize);
    for (at, pair) in inside.windows(2).enumerate() {
        match (quote, pair[0]) {
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(pair[0]),
            (None, b'}' | b'%') if depth == 0 && pair[1] == b'}' => return Ok(at),
            (None, b'(' | b'[' | b'{') => depth += 1,
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        within("it nests brackets", depth, NESTING, "deep")?;
    }
    Ok(inside.len())
}

fn within(what: &str, size: usize, limit: usize, unit: &str) -> Result<(), String> {
    if size <= limit { Ok(()) } else { Err(format!("{what} {size} {unit}, more than {limit}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_small_enough() {
        for source in
            ["", "{", "}}", "plain", "{{ a }}{% if (a[0].b or '}}{{') %}{{ {'a': {'b': 1}} }}{% endif %}"]
        {
            assert_eq!(check(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn what_is_too_large_says_how_large() {
        for (source, why) in [
            ("x".repeat(9000), "it has 9000 bytes, more than 8192"),
            ("{{a}}".repeat(300), "it has 300 {{ … }} and {% … %}, more than 200"),
            (
                format!("{{{{1{}}}}}", "+a".repeat(200)),
                "it has a {{ … }} or {% … %} of 401 bytes, more than 400",
            ),
            (format!("{{{{ {}1", "x(".repeat(17)), "it nests brackets 17 deep, more than 16"),
            (format!("{{{{ '}}}}' ~ {}1", "[".repeat(17)), "it nests brackets 17 deep, more than 16"),
        ] {
            assert_eq!(check(&source), Err(why.to_owned()));
        }
    }
}
