//! Numbers and the table they are printed in.

use std::time::Duration;

/// What was measured, line by line.
#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

struct Figure {
    what: String,
    value: String,
    bound: Option<Bound>,
}

struct Bound {
    text: String,
    holds: bool,
}

impl Figures {
    /// A number without a promise.
    pub(crate) fn add(&mut self, what: &str, value: String) {
        self.0.push(Figure { what: what.to_owned(), value, bound: None });
    }

    /// A number that has to be at least `least`.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, least: f64) {
        let bound = Bound { text: format!("at least {least}"), holds: value >= least };
        self.0.push(Figure { what: what.to_owned(), value: format!("{value:.2}"), bound: Some(bound) });
    }

    /// A number that has to be at most `most`.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, most: f64) {
        let bound = Bound { text: format!("at most {most}"), holds: value <= most };
        self.0.push(Figure { what: what.to_owned(), value: format!("{value:.2}"), bound: Some(bound) });
    }

    /// Whether every promise holds.
    pub(crate) fn hold(&self) -> bool {
        self.0.iter().filter_map(|figure| figure.bound.as_ref()).all(|bound| bound.holds)
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!();
        for Figure { what, value, bound } in &self.0 {
            let bound = bound.as_ref().map(|bound| {
                format!("({}: {})", bound.text, if bound.holds { "holds" } else { "DOES NOT HOLD" })
            });
            println!("{what:<66} {value:>12}  {}", bound.unwrap_or_default());
        }
    }
}

/// The value below which `share` (0 to 1) of the samples lie.
pub(crate) fn quantile(samples: &mut [Duration], share: f64) -> Duration {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of a small list")]
    let index = (last as f64 * share).round() as usize;
    samples.get(index).copied().unwrap_or_default()
}

/// `1.23 ms`.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}

/// `123 µs`.
pub(crate) fn microseconds(duration: Duration) -> String {
    format!("{:.0} µs", duration.as_secs_f64() * 1_000_000.0)
}
