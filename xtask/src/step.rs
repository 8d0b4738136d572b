//! Progress for the person who waits: one line per step, with the time it took.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Counts the steps of one command.
pub(crate) struct Steps {
    done: usize,
    of: usize,
}

impl Steps {
    /// A command with this many steps.
    pub(crate) fn new(of: usize) -> Self {
        Self { done: 0, of }
    }

    /// A step that shows nothing by itself. `work` returns what its line says in the end, such as `found`.
    pub(crate) fn quiet<T: Into<String>>(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<()> {
        let head = self.head(name);
        say(&format!("{head} … "));
        let (took, said) = timed(work);
        if said.is_err() {
            say("failed\n");
        }
        say(&format!("{} {}\n", said.with_context(|| format!("{head} failed"))?.into(), seconds(took)));
        Ok(())
    }

    /// A step that runs cargo, whose own progress is seen in between.
    pub(crate) fn loud<T: Into<String>>(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<()> {
        let head = self.head(name);
        say(&format!("{head} …\n"));
        let (took, said) = timed(work);
        let said = said.with_context(|| format!("{head} failed"))?.into();
        say(&format!("{head}: {said} {}\n", seconds(took)));
        Ok(())
    }

    fn head(&mut self, name: &str) -> String {
        self.done += 1;
        format!("[{}/{}] {name}", self.done, self.of)
    }
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> (Duration, Result<T>) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn seconds(took: Duration) -> String {
    format!("({:.1} s)", took.as_secs_f32())
}

/// Writes at once, so that it stays in order with what children write.
pub(crate) fn say(text: &str) {
    // Progress that nobody can read is no reason to stop.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
