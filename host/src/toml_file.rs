//! Reading a TOML file so that whoever wrote it learns everything that is wrong with it at once: where, what stands
//! there, and what is allowed.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use crate::fault::{Fault, faults};

/// The deepest list or table: reading one goes as deep, and the parser bounds brackets and dots, but not their product.
const DEEPEST: usize = 100;

/// Reads `text` as a `T`, whose schema says what is allowed.
///
/// # Errors
///
/// Every fault, with its path and its place (`line 3, column 9`). A text that is not TOML has one: the parser's.
pub fn read<T: DeserializeOwned + JsonSchema>(text: &str) -> Result<T, Vec<Fault>> {
    check_depth(text)?;
    let document: Value = toml::from_str(text).map_err(|error| vec![parse_fault(text, &error)])?;
    let found = faults(&validator::<T>(), &document);
    if !found.is_empty() {
        return Err(located(text, found));
    }
    toml::from_str(text).map_err(|error| vec![parse_fault(text, &error)])
}

/// Reads as much of `text` as can be used, and all that is wrong with the rest, which is left out: so that who goes on to check
/// it finds what else is wrong, too.
///
/// # Errors
///
/// The text is not TOML, or lacks something that a `T` cannot do without.
pub fn read_partly<T: DeserializeOwned + JsonSchema>(text: &str) -> Result<(T, Vec<Fault>), Vec<Fault>> {
    check_depth(text)?;
    let document: Value = toml::from_str(text).map_err(|error| vec![parse_fault(text, &error)])?;
    let table = DeTable::parse(text).map_err(|error| vec![parse_fault(text, &error)])?;
    let mut faults = located(text, faults(&validator::<T>(), &document));
    let mut pruned = Pruned { table, paths: Vec::new() };
    faults.iter().for_each(|fault| _ = pruned.leave_out(&fault.path));
    loop {
        let error = match T::deserialize(Deserializer::from(pruned.table.clone())) {
            Ok(value) => return Ok((value, faults)),
            Err(error) => error,
        };
        let fault = parse_fault(text, &error);
        let is_left_out = pruned.leave_out(&fault.path);
        faults.push(fault);
        if !is_left_out {
            return Err(faults);
        }
    }
}

/// A document without what is wrong in it.
struct Pruned<'i> {
    table: Spanned<DeTable<'i>>,
    /// What was left out.
    paths: Vec<String>,
}

impl Pruned<'_> {
    /// Leaves out what stands at a path, a list as a whole; where nothing does, the table that lacks it. `false` if there is
    /// nothing to leave out.
    fn leave_out(&mut self, path: &str) -> bool {
        let is_inside =
            |out: &String| path.strip_prefix(out.as_str()).is_some_and(|rest| rest.starts_with(['.', '[']));
        if self.paths.iter().any(|out| out == path || is_inside(out)) {
            return false;
        }
        match remove(self.table.get_mut(), path) {
            Some(removed) => self.paths.push(removed),
            None => return false,
        }
        true
    }
}

/// Removes the value at a path, or the nearest table around it; returns the path of what is gone.
fn remove(table: &mut DeTable<'_>, path: &str) -> Option<String> {
    let (key, rest) = entry(table, path)?;
    if let Some(DeValue::Table(inner)) = table.get_mut(key.as_str()).map(Spanned::get_mut)
        && let Some(removed) = rest.strip_prefix('.').and_then(|rest| remove(inner, rest))
    {
        return Some(format!("{key}.{removed}"));
    }
    table.remove(key.as_str()).map(|_| key)
}

/// The key that a path begins with, and the rest of the path.
fn entry<'p>(table: &DeTable<'_>, path: &'p str) -> Option<(String, &'p str)> {
    let fits =
        |key: &str| path.strip_prefix(key).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let entries = table.iter().filter_map(|(key, _)| Some((key.get_ref().to_string(), fits(key.get_ref())?)));
    entries.min_by_key(|(_, rest)| rest.len())
}

/// Whether brackets and dotted keys nest no deeper than can be read.
fn check_depth(text: &str) -> Result<(), Vec<Fault>> {
    let (mut open, mut around, mut dots) = (Vec::new(), 0, 0);
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                around += dots + 1;
                open.push(std::mem::take(&mut dots));
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                if let Some(before) = open.pop() {
                    around -= before + 1;
                    dots = before;
                }
            }
            TokenKind::Comma => dots = 0,
            TokenKind::Newline if open.is_empty() => dots = 0,
            _ => {}
        }
        if around + dots > DEEPEST {
            let place = position(text, token.span().start());
            return Err(vec![Fault::whole(format!(
                "tables and lists nest more than {DEEPEST} deep ({place})"
            ))]);
        }
    }
    Ok(())
}

/// Adds to each fault the place in `text` that its path leads to; for a key that is missing, the place of the table
/// that lacks it.
pub fn located(text: &str, faults: Vec<Fault>) -> Vec<Fault> {
    let table = DeTable::parse(text).ok();
    let place = |path: &str| Some(offset(table.as_ref()?.get_ref(), path));
    let add = |mut fault: Fault| {
        if let Some(Some(offset)) = place(&fault.path) {
            fault.message = format!("{} ({})", fault.message, position(text, offset));
        }
        fault
    };
    faults.into_iter().map(add).collect()
}

fn validator<T: JsonSchema>() -> jsonschema::Validator {
    let schema = schemars::schema_for!(T);
    jsonschema::validator_for(schema.as_value()).expect("schemars derives valid schemas")
}

/// What the parser, or the type of a value, says against the text.
fn parse_fault(text: &str, error: &Error) -> Fault {
    let message = error.message().trim_end().replace('\n', ", ");
    let Some(span) = error.span() else { return Fault::whole(message) };
    let place = position(text, span.start);
    let table = DeTable::parse(text).ok();
    let found = table.and_then(|table| Some((path_to(table.get_ref(), span.start)?, text.get(span)?)));
    match found {
        Some((path, value)) => {
            Fault { path, value: Some(value.into()), message: format!("{value}: {message} ({place})") }
        }
        None => Fault::whole(format!("{message} ({place})")),
    }
}

/// The path of the value that stands at `offset`.
fn path_to(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let below = match value.get_ref() {
            DeValue::Table(table) => path_to(table, offset).map(|path| format!(".{path}")),
            _ => value.span().contains(&offset).then(String::new),
        };
        below.map(|path| format!("{}{path}", key.get_ref()))
    })
}

fn position(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    format!("line {line}, column {column}")
}

/// Where the value at `path` (such as `grants.http[1]`) stands: its key's offset in bytes, or that of the nearest
/// table around it that exists.
fn offset(table: &DeTable<'_>, path: &str) -> Option<usize> {
    let (key, rest) = entry(table, path)?;
    let (key, value) = table.get_key_value(key.as_str())?;
    Some(inside(value.get_ref(), rest).unwrap_or(key.span().start))
}

fn inside(value: &DeValue<'_>, rest: &str) -> Option<usize> {
    match value {
        DeValue::Table(table) => offset(table, rest.strip_prefix('.')?),
        DeValue::Array(array) => {
            let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
            let item = array.get(index.parse::<usize>().ok()?)?;
            Some(inside(item.get_ref(), rest).unwrap_or(item.span().start))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// What stands where something else should.
    const ODD: [&str; 15] = [
        "",
        "\"",
        "[]",
        "[1, [",
        "{a = 1}",
        "-1",
        "1e999",
        "99999999999999999999",
        "true",
        "\"1MiB\"",
        "\"1y\"",
        "\"\\u0000\"",
        "'${secret:'",
        "\"\"\"",
        "\u{202e}ü",
    ];

    /// A file made of lines of `example`, commented out or not, some of them with something odd for a value.
    pub(crate) fn any_file(
        example: &str,
        choices: &mut arbitrary::Unstructured<'_>,
    ) -> arbitrary::Result<String> {
        let lines: Vec<&str> = example.lines().map(|line| line.trim_start_matches('#')).collect();
        let mut file = String::new();
        while !choices.is_empty() {
            let line = choices.choose(&lines)?;
            match line.split_once('=') {
                Some((key, _)) if choices.ratio(1, 4)? => {
                    file.push_str(key);
                    file.push('=');
                    file.push_str(choices.choose(&ODD)?);
                }
                _ => file.push_str(line),
            }
            file.push('\n');
        }
        Ok(file)
    }

    /// Every fault says what is wrong, and where in the text.
    pub(crate) fn are_placed(faults: &[Fault], text: &str) {
        assert!(!faults.is_empty(), "it is refused without a reason: {text}");
        let lines = text.split('\n').count();
        for fault in faults.iter().map(Fault::to_string) {
            let place = fault.rsplit_once("line ").and_then(|(_, place)| place.split_once(", column "));
            let line = place.and_then(|(line, _)| line.parse::<usize>().ok());
            assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{fault:?} in {text}");
        }
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct File {
        #[expect(dead_code, reason = "only read by serde")]
        first_name: String,
        #[serde(default)]
        tables: BTreeMap<String, Table>,
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Table {
        #[serde(default)]
        list: Vec<u8>,
        #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
        #[schemars(with = "Option<String>")]
        wait: Option<std::time::Duration>,
    }

    fn said(text: &str) -> Vec<String> {
        read::<File>(text).unwrap_err().iter().map(Fault::to_string).collect()
    }

    #[test]
    fn a_good_file_is_read() {
        let file: File = read("first-name = 'a'\n[tables.x]\nlist = [1]\nwait = '1m 30s'").unwrap();
        assert_eq!(file.tables["x"].list, [1]);
        assert_eq!(file.tables["x"].wait, Some(std::time::Duration::from_secs(90)));
    }

    #[test]
    fn all_faults_are_told_at_once_with_their_places() {
        let text =
            "first-name = 1\nsecond = 2\n[tables.'a.b']\nlist = [1,\n  'x']\n[tables.c]\n  lists = []\n";
        let mut said = said(text);
        said.sort();
        assert_eq!(
            said,
            [
                "first-name: 1 is a number, not a string (line 1, column 1)",
                "second: is not a known key (line 2, column 1)",
                "tables.a.b.list[1]: \"x\" is a string, not an integer (line 5, column 3)",
                "tables.c.lists: is not a known key (line 7, column 3)",
            ]
        );
    }

    #[test]
    fn what_is_good_is_read_beside_what_is_not() {
        let text = "first-name = 'a'\nsecond = 2\n[tables.x]\nlist = [1, 'x', 'y']\nwait = '1s'\n\
                    [tables.y]\nlist = [2]\nwait = '2 apples'\n[tables.z]\nwait = 'never'\n";
        let (file, faults) = read_partly::<File>(text).unwrap();
        assert_eq!((file.tables["x"].list.as_slice(), file.tables["y"].list.as_slice()), (&[][..], &[2][..]));
        assert_eq!(
            (file.tables["x"].wait, file.tables["y"].wait),
            (Some(std::time::Duration::from_secs(1)), None)
        );
        let said: Vec<_> = faults.iter().map(Fault::to_string).collect();
        for (path, line) in [
            ("second", 2),
            ("tables.x.list[1]", 4),
            ("tables.x.list[2]", 4),
            ("tables.y.wait", 8),
            ("tables.z.wait", 10),
        ] {
            let is_it = |said: &&String| {
                said.starts_with(&format!("{path}: ")) && said.contains(&format!("line {line},"))
            };
            assert_eq!(said.iter().filter(is_it).count(), 1, "{path}: {said:#?}");
        }
        assert_eq!(faults.len(), 5, "{said:#?}");
        assert!(read_partly::<File>("[tables.x]\nwait = 3").unwrap_err().iter().any(Fault::is_missing));
    }

    #[test]
    fn a_missing_key_and_a_bad_text_have_places_too() {
        assert_eq!(said("[tables.x]\n"), ["first-name: is required"]);
        assert!(said("first-name = 'a'\nx ==").concat().contains("line 2, column 4"));
        let bad = said("first-name = 'a'\n[tables.x]\nwait = '2 apples'").concat();
        assert!(bad.starts_with("tables.x.wait: '2 apples': ") && bad.contains("line 3, column 8"), "{bad}");
    }
}
