//! The metrics of one plugin's calls. Labels are names that the operator chose and words of this host: nothing that a
//! guest says becomes one.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use super::Role;
use super::error::CallError;
use crate::ledger::Usage;

/// Where one plugin's calls are counted.
pub(super) struct Meter {
    plugin: String,
    role: Role,
    ok: Histogram,
    error: Histogram,
    cpu: Histogram,
    memory: Histogram,
    requests: Counter,
    denied: Counter,
    mails: Counter,
    bytes_out: Counter,
    bytes_in: Counter,
    log_bytes_dropped: Counter,
}

impl Meter {
    pub(super) fn new(plugin: &str, role: Role) -> Self {
        let durations = |result: &'static str| {
            let labels =
                [("plugin", plugin.to_owned()), ("role", role.to_string()), ("result", result.to_owned())];
            histogram!("campanile_plugin_call_duration_seconds", &labels)
        };
        let bytes = |direction: &'static str| {
            let labels = [("plugin", plugin.to_owned()), ("direction", direction.to_owned())];
            counter!("campanile_plugin_http_bytes_total", &labels)
        };
        let label = [("plugin", plugin.to_owned())];
        Self {
            plugin: plugin.to_owned(),
            role,
            ok: durations("ok"),
            error: durations("error"),
            cpu: histogram!("campanile_plugin_cpu_seconds", &label),
            memory: histogram!("campanile_plugin_memory_bytes", &label),
            requests: counter!("campanile_plugin_http_requests_total", &label),
            denied: counter!("campanile_plugin_denied_total", &label),
            mails: counter!("campanile_plugin_mails_total", &label),
            bytes_out: bytes("out"),
            bytes_in: bytes("in"),
            log_bytes_dropped: counter!("campanile_plugin_log_bytes_dropped_total", &label),
        }
    }

    /// Counts one call. `usage` is absent if the plugin was not called after all.
    pub(super) fn record(&self, duration: Duration, usage: Option<&Usage>, error: Option<&CallError>) {
        usage.into_iter().for_each(|usage| self.use_up(usage));
        let Some(error) = error else { return self.ok.record(duration) };
        self.error.record(duration);
        let (plugin, role) = (self.plugin.clone(), self.role.as_str().to_owned());
        let labels = [("plugin", plugin), ("role", role), ("reason", error.reason.as_str().to_owned())];
        counter!("campanile_plugin_failures_total", &labels).increment(1);
    }

    fn use_up(&self, usage: &Usage) {
        self.cpu.record(Duration::from_micros(usage.cpu_us));
        self.memory.record(usage.memory as f64);
        self.requests.increment(usage.http_requests);
        self.denied.increment(usage.denied);
        self.mails.increment(usage.mails);
        self.bytes_out.increment(usage.bytes_out);
        self.bytes_in.increment(usage.bytes_in);
        self.log_bytes_dropped.increment(usage.log_bytes_dropped);
    }
}

/// Says what each metric of plugins is.
pub(super) fn describe() {
    use metrics::Unit::{Bytes, Count, Seconds};
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_histogram!("campanile_plugin_call_duration_seconds", Seconds, "Duration of plugin calls.");
    describe_histogram!("campanile_plugin_cpu_seconds", Seconds, "Processor time of plugin calls.");
    describe_histogram!("campanile_plugin_memory_bytes", Bytes, "The most memory that plugin calls had.");
    describe_counter!("campanile_plugin_failures_total", Count, "Plugin calls that failed, by reason.");
    describe_counter!("campanile_plugin_http_requests_total", Count, "HTTP requests of plugins.");
    describe_counter!(
        "campanile_plugin_http_bytes_total",
        Bytes,
        "Bytes of plugins' HTTP requests, by direction."
    );
    describe_counter!(
        "campanile_plugin_denied_total",
        Count,
        "HTTP requests and mails that no grant allowed."
    );
    describe_counter!("campanile_plugin_mails_total", Count, "Mails that plugins sent.");
    describe_counter!(
        "campanile_plugin_log_bytes_dropped_total",
        Bytes,
        "Output of plugins over their limits."
    );
    describe_counter!("campanile_plugin_quarantines_total", Count, "How often plugins were quarantined.");
    describe_gauge!("campanile_plugin_quarantined", Count, "Whether a plugin is in quarantine.");
    describe_gauge!("campanile_plugins_loaded", Count, "Plugins that are loaded, by role.");
    describe_gauge!("campanile_plugins_refused", Count, "Plugin files that could not be loaded.");
}
