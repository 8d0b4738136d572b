//! Rendering within bounds: of work, by fuel; of length, by shortening the longest values.

use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior, Value};

use super::{bounds, filters};
use crate::text::{self, Escape, escaped, one_line, width};

/// The most work of one rendering: about as many steps, or 6 MB of text that is read and written. Some milliseconds.
const FUEL: u64 = 100_000;

/// How deep loops and conditions may nest.
const NESTING: usize = 30;

/// What a template gives.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// Text, in which values are escaped like this.
    Text(Escape),
    /// Text as it is, whole: a value that is absent is a failure, unless the template asks whether it is there.
    Whole,
    /// JSON: values are escaped for between its quotes, unless the filter `json` writes them whole.
    Json,
}

impl Form {
    fn escape(self) -> Escape {
        match self {
            Self::Text(escape) => escape,
            Self::Whole => text::plain,
            Self::Json => text::json,
        }
    }

    /// What becomes of a value that is absent.
    fn undefined(self) -> UndefinedBehavior {
        match self {
            Self::Text(_) | Self::Json => UndefinedBehavior::Chainable,
            Self::Whole => UndefinedBehavior::SemiStrict,
        }
    }
}

/// The text, at most `limit` long. Where it would be longer, the longest values are cut until it fits.
pub(super) fn fitted(source: &str, context: &Value, form: Form, limit: usize) -> Result<String, String> {
    let (text, values) = pass(source, context, form, limit)?;
    if width(&text) <= limit {
        return Ok(text);
    }
    let own = width(&text).saturating_sub(values.iter().sum());
    let room = limit.checked_sub(own).ok_or_else(|| too_long(limit))?;
    let (text, _) = pass(source, context, form, share(values, room))?;
    if width(&text) <= limit { Ok(text) } else { Err(too_long(limit)) }
}

fn too_long(limit: usize) -> String {
    format!("its own text is longer than the {limit} characters that there is room for")
}

/// To how much each value must be cut so that all together take the room: the shorter ones stay whole.
fn share(mut widths: Vec<usize>, mut room: usize) -> usize {
    widths.sort_unstable();
    let mut left = widths.len();
    for width in widths {
        if width > room / left {
            return room / left;
        }
        room -= width;
        left -= 1;
    }
    usize::MAX
}

/// Renders once, with every value escaped and cut to `longest`; tells how long each was.
fn pass(source: &str, context: &Value, form: Form, longest: usize) -> Result<(String, Vec<usize>), String> {
    bounds::check(source)?;
    let widths = Arc::new(Mutex::new(Vec::new()));
    let environment = environment(form, longest, Arc::clone(&widths)).map_err(|error| said(&error))?;
    let text = environment.render_str(source, context.clone()).map_err(|error| said(&error))?;
    let widths = widths.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((text.trim().to_owned(), widths))
}

fn environment<'a>(
    form: Form,
    longest: usize,
    widths: Arc<Mutex<Vec<usize>>>,
) -> Result<Environment<'a>, Error> {
    let mut environment = Environment::empty();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(NESTING);
    environment.set_undefined_behavior(form.undefined());
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("service".into()));
    filters::add(&mut environment);
    if matches!(form, Form::Json) {
        filters::add_json(&mut environment);
    }
    environment.set_formatter(move |out, state, value| {
        let written = write(out, state, value, form.escape(), longest)?;
        widths.lock().unwrap_or_else(PoisonError::into_inner).extend(written);
        Ok(())
    });
    Ok(environment)
}

/// Writes a value, and tells how long it is. What is safe was written before, into a block that the template kept.
fn write(
    out: &mut Output,
    state: &State,
    value: &Value,
    escape: Escape,
    longest: usize,
) -> Result<Option<usize>, Error> {
    if value.is_undefined() || value.is_none() {
        return Ok(None);
    }
    let text = filters::shown(state, value)?;
    if value.is_safe() {
        out.write_str(&text)?;
        return Ok(None);
    }
    let text = escaped(&text, longest, escape);
    out.write_str(&text)?;
    Ok(Some(width(&text)))
}

/// What is wrong and where, without the name that the engine gives to a template without one.
fn said(error: &Error) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    one_line(&format!("{line}{}{detail}", error.kind()))
}
