//! What a plugin says while it runs (logging calls, stdout, stderr) as lines of the host's log: bounded, escaped, and
//! never a reason to trap.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::error::one_line;
use super::last_words::LastWords;
use super::limits::Bounds;

/// The longest line that is logged, in characters.
const LONGEST_LINE: usize = 8_192;
/// How many bytes a guest may hand over in one write.
const WRITE_SIZE: usize = 64 << 10;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// One call's output. Handles share the budget.
#[derive(Clone)]
pub(super) struct Output(Arc<Mutex<Budget>>);

struct Budget {
    plugin: Arc<str>,
    alert: Arc<str>,
    bytes: u64,
    lines: u32,
    logged_lines: u64,
    dropped_bytes: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// What it wrote to stderr: where a panic says why.
    last_words: LastWords,
}

impl Output {
    /// Output of a call of `plugin` for `alert`.
    pub(super) fn new(plugin: Arc<str>, alert: Arc<str>, bounds: &Bounds) -> Self {
        Self(Arc::new(Mutex::new(Budget {
            plugin,
            alert,
            bytes: bounds.log,
            lines: bounds.log_lines,
            logged_lines: 0,
            dropped_bytes: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            last_words: LastWords::default(),
        })))
    }

    /// Logs one message.
    pub(super) fn log(&self, level: Level, context: &str, message: &str) {
        self.0.lock().log(level, context, message);
    }

    /// What the guest wrote to stderr that names its error.
    pub(super) fn last_words(&self) -> Option<String> {
        let mut budget = self.0.lock();
        budget.flush();
        budget.last_words.text()
    }

    /// How many lines it has logged, and how many bytes were over the limit.
    pub(super) fn tally(&self) -> (u64, u64) {
        let mut budget = self.0.lock();
        budget.flush();
        (budget.logged_lines, budget.dropped_bytes)
    }

    /// The stream that guests know as stdout; its lines are logged as information.
    pub(super) fn stdout(&self) -> LineStream {
        LineStream { output: self.clone(), level: Level::Info }
    }

    /// The stream that guests know as stderr; its lines are logged as warnings.
    pub(super) fn stderr(&self) -> LineStream {
        LineStream { output: self.clone(), level: Level::Warn }
    }
}

impl Budget {
    fn log(&mut self, level: Level, context: &str, message: &str) {
        let size = (context.len() + message.len()) as u64;
        if self.lines == 0 || self.bytes < size {
            self.dropped_bytes += size;
            return;
        }
        self.lines -= 1;
        self.logged_lines += 1;
        self.bytes -= size;
        emit(
            level,
            &self.plugin,
            &self.alert,
            &one_line(context, LONGEST_LINE),
            &one_line(message, LONGEST_LINE),
        );
    }

    /// Takes what was written and logs the lines that are complete.
    fn write(&mut self, level: Level, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE.saturating_sub(self.pending(level).len());
            let kept = &part[..part.len().min(room)];
            self.dropped_bytes += (part.len() - kept.len()) as u64;
            self.pending(level).extend_from_slice(kept);
            if part.ends_with(b"\n") {
                self.end_line(level);
            }
        }
    }

    fn pending(&mut self, level: Level) -> &mut Vec<u8> {
        match level {
            Level::Warn => &mut self.stderr,
            _ => &mut self.stdout,
        }
    }

    fn end_line(&mut self, level: Level) {
        let line = std::mem::take(self.pending(level));
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        if level == Level::Warn {
            self.last_words.push(line);
        }
        self.log(level, "", line);
    }

    fn flush(&mut self) {
        self.end_line(Level::Info);
        self.end_line(Level::Warn);
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.flush();
        if self.dropped_bytes > 0 {
            let message = format!(
                "{} bytes of output dropped: the log limit of one call was reached",
                self.dropped_bytes
            );
            emit(Level::Warn, &self.plugin, &self.alert, "", &message);
        }
    }
}

fn emit(level: Level, plugin: &str, alert: &str, context: &str, message: &str) {
    // An empty field would only be noise in every line.
    let context = (!context.is_empty()).then_some(context);
    match level {
        Level::Trace => tracing::trace!(target: "plugin", plugin, alert, context, "{message}"),
        Level::Debug => tracing::debug!(target: "plugin", plugin, alert, context, "{message}"),
        Level::Info => tracing::info!(target: "plugin", plugin, alert, context, "{message}"),
        Level::Warn => tracing::warn!(target: "plugin", plugin, alert, context, "{message}"),
        Level::Error => tracing::error!(target: "plugin", plugin, alert, context, "{message}"),
    }
}

/// A guest's stdout or stderr, cut into lines.
pub(super) struct LineStream {
    output: Output,
    level: Level,
}

impl LineStream {
    fn handle(&self) -> Self {
        Self { output: self.output.clone(), level: self.level }
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.handle())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.handle())
    }
}

#[async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.output.0.lock().write(self.level, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_SIZE)
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.output.0.lock().write(self.level, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Role;
    use crate::plugin::limits::Limits;

    fn output(log_lines: u32) -> Output {
        let limits = Limits { log_lines: Some(log_lines), ..Limits::default() };
        Output::new("p".into(), "a".into(), &limits.over(&Limits::default(), Role::Notifier))
    }

    fn write(output: &Output, text: &[u8]) {
        output.stderr().write(Bytes::copy_from_slice(text)).unwrap();
    }

    /// What ends a line, colours a terminal or turns the text around.
    fn is_dangerous(c: char) -> bool {
        c.is_control() || "\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}".contains(c)
    }

    /// What the host writes to its log, for people, without colours.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The log of a call that may log so many lines and writes these bytes in pieces.
    fn logged(bytes: &[u8], log_lines: u32) -> String {
        let writer = Log::default();
        let written = writer.0.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let output = output(log_lines);
            for (number, piece) in bytes.chunks(7).enumerate() {
                match number % 3 {
                    0 => write(&output, piece),
                    1 => output.stdout().write(Bytes::copy_from_slice(piece)).unwrap(),
                    _ => output.log(Level::Error, "context", &String::from_utf8_lossy(piece)),
                }
            }
        });
        let written = written.lock().clone();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn whatever_is_written_is_lines_of_the_hosts_own_log() {
        bolero::check!(name = "output").with_iterations(2_000).for_each(|bytes: &[u8]| {
            for log_lines in [0, 3, 500] {
                let log = logged(bytes, log_lines);
                for line in log.lines() {
                    assert!(line.contains(" plugin: ") && line.contains("alert=\"a\""), "{line:?}");
                    assert!(!line.contains(is_dangerous), "{line:?}");
                }
                let notices = usize::from(log.contains("bytes of output dropped"));
                assert!(log.lines().count() <= log_lines as usize + notices, "{log}");
            }
            let text = String::from_utf8_lossy(bytes);
            for longest in [0, 1, 20, 8_192] {
                let line = one_line(&text, longest);
                assert!(line.chars().count() <= longest + 1 && !line.contains(is_dangerous));
                assert_eq!(one_line(&line, longest + 1), line.trim_end(), "harmless is harmless");
            }
        });
    }

    #[test]
    fn a_line_is_complete_at_its_end_or_the_calls() {
        let output = output(10);
        write(&output, b"thread '<unnamed>' panicked at lib.rs:1:\nbo");
        write(&output, b"om\nnote: run with `RUST_BACKTRACE=1` to see more");
        assert_eq!(output.last_words().unwrap(), "panicked at lib.rs:1: boom");
        assert_eq!(output.0.lock().lines, 7);
    }

    #[test]
    fn what_is_over_the_limit_is_counted_and_dropped() {
        let output = output(2);
        write(&output, b"one\ntwo\nthree\n\xff\xfe\x00\x1b[2J\n");
        assert_eq!(output.0.lock().lines, 0);
        assert!(output.0.lock().dropped_bytes > 5);
        write(&output, &vec![b'x'; 1 << 20]);
        assert!(output.0.lock().stderr.len() <= LONGEST_LINE);
    }
}
