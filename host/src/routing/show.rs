//! Routes as a person reads them.

use std::fmt;

use serde_json::Value;

use super::{Route, Routed, Router, Verdict, Visit, Window};
use crate::condition::Facts;
use crate::time;

impl fmt::Display for Router {
    /// The tree, a line for each route.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.routes.is_empty() {
            writeln!(f, "no routes: every enabled plugin gets every alert that its `when` takes")?;
        }
        self.routes.iter().try_for_each(|route| route.show(f, 0))?;
        match self.catch_all.as_slice() {
            [] if self.routes.is_empty() => {}
            [] => writeln!(f, "else: nobody ([routing] catch-all is empty)")?,
            names => writeln!(f, "else → {}", names.join(", "))?,
        }
        for mute in &self.mutes {
            writeln!(f, "muted until {}: {}", time::text(mute.until), mute.reason)?;
        }
        Ok(())
    }
}

impl Route {
    fn show(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(f, "{:indent$}{}", "", self.name, indent = 2 * depth)?;
        match &self.when {
            Some((text, _)) => write!(f, "  {text}")?,
            None => write!(f, "  every alert")?,
        }
        if !self.receivers.is_empty() {
            write!(f, " → {}", self.receivers.join(", "))?;
        }
        if !self.updaters.is_empty() {
            write!(f, " ⇒ {}", self.updaters.join(", "))?;
        }
        for (word, windows) in [("active", &self.active), ("mute", &self.mute)] {
            if !windows.is_empty() {
                let names: Vec<&str> =
                    windows.iter().map(|(name, _): &(String, Window)| name.as_str()).collect();
                write!(f, "  {word} {}", names.join(", "))?;
            }
        }
        writeln!(f, "{}", if self.goes_on { "  continue" } else { "" })?;
        self.routes.iter().try_for_each(|route| route.show(f, depth + 1))
    }
}

impl fmt::Display for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.muted, self.receivers.as_slice()) {
            (Some(reason), _) => write!(f, "nobody: {reason}")?,
            (None, []) => f.write_str("nobody")?,
            (None, receivers) => f.write_str(&receivers.join(", "))?,
        }
        if self.unrouted {
            f.write_str(" (no route takes it: the catch-all)")?;
        }
        match self.updaters.as_slice() {
            [] => {}
            updaters => write!(f, "; written back by {}", updaters.join(", "))?,
        }
        self.failed_mutes.iter().try_for_each(|mute| write!(f, "; {mute}"))
    }
}

impl fmt::Display for Visit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {}: ", self.route)?;
        match &self.verdict {
            Verdict::Taken => f.write_str("takes it"),
            Verdict::Failed(error) => {
                write!(f, "takes it, although its `when` could not be evaluated: {error}")
            }
            Verdict::Left(when) => write!(f, "leaves it: {when} is false"),
            Verdict::Silent(window) => write!(f, "takes it, and tells nobody now: window {window}"),
        }
    }
}

impl Visit<'_> {
    /// What was decided, and what the route's condition read of the alert.
    pub fn explained(&self, alert: &Value) -> String {
        let values = self.when.map(|when| when.values(&Facts::of(alert))).filter(|values| !values.is_empty());
        values.map_or_else(|| self.to_string(), |values| format!("{self} ({values})"))
    }
}
