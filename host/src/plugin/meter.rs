//! The metrics of one plugin's calls. Labels are names that the operator chose and words of this host: nothing that a
//! guest says becomes one.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use super::Role;
use super::error::CallError;
use crate::ledger::Usage;

/// Where one plugin's calls are counted. What was not called has no series: of a thousand plugins, few are called often.
pub(super) struct Meter {
    plugin: String,
    role: Role,
    ok: OnceLock<Histogram>,
    error: OnceLock<Histogram>,
    usage: OnceLock<UsageMeter>,
}

/// Where is counted what they use up.
struct UsageMeter {
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
        let (ok, error, usage) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { plugin: plugin.to_owned(), role, ok, error, usage }
    }

    /// Counts one call. `usage` is absent if the plugin was not called after all.
    pub(super) fn record(&self, duration: Duration, usage: Option<&Usage>, error: Option<&CallError>) {
        if let Some(usage) = usage {
            self.usage.get_or_init(|| UsageMeter::new(&self.plugin)).add(usage);
        }
        let Some(error) = error else {
            return self.ok.get_or_init(|| self.durations("ok")).record(duration);
        };
        self.error.get_or_init(|| self.durations("error")).record(duration);
        let (plugin, role) = (self.plugin.clone(), self.role.as_str().to_owned());
        let labels = [("plugin", plugin), ("role", role), ("reason", error.reason.as_str().to_owned())];
        counter!("campanile_plugin_failures_total", &labels).increment(1);
    }

    fn durations(&self, result: &'static str) -> Histogram {
        let (plugin, role) = (self.plugin.clone(), self.role.to_string());
        let labels = [("plugin", plugin), ("role", role), ("result", result.to_owned())];
        histogram!("campanile_plugin_call_duration_seconds", &labels)
    }
}

impl UsageMeter {
    fn new(plugin: &str) -> Self {
        let bytes = |direction: &'static str| {
            let labels = [("plugin", plugin.to_owned()), ("direction", direction.to_owned())];
            counter!("campanile_plugin_http_bytes_total", &labels)
        };
        let label = [("plugin", plugin.to_owned())];
        Self {
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

    fn add(&self, usage: &Usage) {
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
pub(crate) fn describe() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::quarantine::Breaker;
    use crate::telemetry::{self, metric};

    const MEBIBYTE: usize = 1 << 20;

    #[test]
    fn a_page_holds_a_thousand_plugins() {
        let recorder = telemetry::builder().unwrap().build_recorder();
        let pages = metrics::with_local_recorder(&recorder, || {
            describe();
            let names: Vec<_> = (0..1_000).map(|number| format!("team-{number}-notifier")).collect();
            let meters: Vec<_> = names.iter().map(|name| Meter::new(name, Role::Notifier)).collect();
            let _breakers: Vec<_> = names.iter().map(|name| Breaker::new(name, 5, false)).collect();
            let idle = recorder.handle().render();
            let usage =
                Usage { cpu_us: 900, memory: 2 * MEBIBYTE as u64, http_requests: 1, ..Usage::default() };
            for (name, meter) in names.iter().zip(&meters) {
                meter.record(Duration::from_millis(30), Some(&usage), None);
                metric::delivered(name, Duration::from_millis(40));
            }
            metric::received(7);
            [idle, recorder.handle().render()]
        });
        let [idle, busy] = pages;
        assert!(
            idle.len() < MEBIBYTE / 10,
            "a plugin that was not called takes {} bytes",
            idle.len() / 1_000
        );
        let (few, samples) =
            (telemetry::without_many(&busy), |page: &str| page.matches("team-7-notifier").count());
        assert!(samples(&busy) > 30 && samples(&few) == 0, "{few}");
        assert!(few.contains("campanile_alerts_received_total 7"), "{few}");
        assert!(busy.len() < 6 * MEBIBYTE && few.len() < MEBIBYTE, "{} and {} bytes", busy.len(), few.len());
    }
}
