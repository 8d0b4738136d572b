//! Jira's wiki markup, in which version 2 takes text.
//!
//! Source: jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all. A backslash before a character takes its
//! meaning; a backslash itself is written as an entity, since two of them break a line.

use crate::description::Description;

/// For text that shows as it is.
pub(crate) fn escape(character: char, out: &mut String) {
    match character {
        '\\' => out.push_str("&#92;"),
        '*' | '_' | '-' | '+' | '^' | '~' | '?' | '!' | '#' | '|' | '{' | '}' | '[' | ']' | '@' => {
            out.push('\\');
            out.push(character);
        }
        other if other.is_control() && other != '\n' => {}
        other => out.push(other),
    }
}

/// The description of an issue.
pub(crate) fn description(description: &Description) -> String {
    let facts = description.facts.iter().map(|(name, value)| format!("*{name}*: {value}"));
    let links = description.links.iter().map(|(href, text)| format!("[{text}|{}]", address(href)));
    let links = links.chain(description.more.clone());
    let parts = [description.text.clone(), lines(facts), lines(links)];
    let filled: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    filled.join("\n\n")
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

/// An address that cannot end its link.
fn address(href: &str) -> String {
    [("|", "%7C"), ("[", "%5B"), ("]", "%5D"), ("{", "%7B"), ("}", "%7D")]
        .iter()
        .fold(href.to_owned(), |href, (character, code)| href.replace(character, code))
}

#[cfg(test)]
mod tests {
    use campanile_guest::text::escaped;

    use super::*;

    #[test]
    fn markup_shows_as_it_is() {
        assert_eq!(
            escaped("[~admin] {code} *b* a\\b !x! \u{1b}&", 100, escape),
            "\\[\\~admin\\] \\{code\\} \\*b\\* a&#92;b \\!x\\! &"
        );
    }

    #[test]
    fn an_address_cannot_end_its_link() {
        let links = vec![("https://a.example/?x=|y]".to_owned(), "Run".to_owned())];
        let description =
            description(&Description { text: String::new(), facts: Vec::new(), links, more: None });
        assert_eq!(description, "[Run|https://a.example/?x=%7Cy%5D]");
    }
}
