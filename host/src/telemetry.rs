//! What is seen from outside: logs, and metrics in Prometheus' form, the Temporal SDK's own included.

mod process;
mod sdk;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temporalio_common::telemetry::metrics::{CoreMeter, NewAttributes, TemporalMeter};
use temporalio_common::telemetry::{TaskQueueLabelStrategy, TelemetryOptions};
use temporalio_sdk::Runtime;
use temporalio_sdk::runtime::RuntimeOptions;
use tracing_subscriber::EnvFilter;

use self::sdk::SdkMeter;
use crate::shown;

/// The filter when nothing is set: ours, and of libraries what an operator has to act on.
const DEFAULT_FILTER: &str = "info,temporalio_sdk_core=warn,temporalio_client=warn,temporalio_sdk=warn";
/// How often the histograms' samples are folded, so that they do not pile up between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// Upper bounds of the buckets of histograms in seconds: a plugin call takes a fraction of a millisecond, a
/// delivery that is retried takes minutes.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// The same of those in bytes: a small guest has little more than one mebibyte.
const BYTE_BUCKETS: [f64; 8] = [
    65_536.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// The same of what is there for every route, method and status, and of the Temporal SDK's, which has many names and labels.
const REQUEST_BUCKETS: [f64; 7] = [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];
const SDK_BUCKETS: [f64; 5] = [0.005, 0.05, 0.5, 5.0, 60.0];

/// The same of what is counted for every single plugin: a page has room for few of them.
const CALL_BUCKETS: [f64; 7] = [0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 30.0];
const CPU_BUCKETS: [f64; 5] = [0.0005, 0.005, 0.05, 0.5, 5.0];
const MEMORY_BUCKETS: [f64; 4] = [2_097_152.0, 16_777_216.0, 67_108_864.0, 268_435_456.0];
/// The labels that a large installation has thousands of values of.
const MANY: [&str; 4] = ["{plugin=\"", ",plugin=\"", "{receiver=\"", ",receiver=\""];

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why there is no telemetry.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("log filter {filter:?} cannot be read; an example: info,campanile=debug")]
    Filter {
        /// What was given.
        filter: String,
        /// Why.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The metrics recorder cannot be made.
    #[error("the metrics recorder cannot be made")]
    Recorder(#[from] BuildError),
    /// Two of them in one process.
    #[error("metrics or logs are already set up in this process")]
    Twice,
    /// The SDK's runtime cannot be made.
    #[error("the temporal SDK's runtime cannot be made: {0}")]
    Runtime(String),
}

/// Sends log lines to standard error.
pub fn init_logs(format: LogFormat, filter: Option<&str>) -> Result<(), TelemetryError> {
    let text = filter.unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(text);
    let filter = filter.map_err(|source| TelemetryError::Filter { filter: text.to_owned(), source })?;
    // A line that nobody reads any more is lost; to report that on the same closed pipe would be a panic.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter).with_writer(|| OneLine(io::stderr()));
    let result = match format {
        LogFormat::Text => builder.with_target(false).with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    result.map_err(|_| TelemetryError::Twice)
}

/// Where events are written, each by one write: whatever is in one, it stays a line.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = shown::line(text.trim_end_matches('\n'));
        self.0.write_all(format!("{line}\n").as_bytes()).map(|()| event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Where all metrics are read.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Sets up the recorder, and the Temporal SDK's runtime and the meter of its client, which report to it. Needs a tokio runtime.
    pub fn init() -> Result<(Self, Runtime, TemporalMeter), TelemetryError> {
        let recorder = builder()?.build_recorder();
        let ours = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Twice)?;
        metric::describe();
        let upkeep = ours.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                upkeep.run_upkeep();
            }
        });
        let failed = |error: &dyn std::fmt::Display| TelemetryError::Runtime(error.to_string());
        let meter: Arc<dyn CoreMeter> = Arc::new(SdkMeter::default());
        let attributes = NewAttributes::default();
        let temporal = TemporalMeter::new(meter.clone(), attributes, TaskQueueLabelStrategy::UseNormal);
        let telemetry = TelemetryOptions::builder().metrics(meter).build();
        let options = RuntimeOptions::builder().telemetry_options(telemetry).build();
        let runtime = Runtime::from_current_tokio(options.map_err(|error| failed(&error))?);
        Ok((Self(ours), runtime.map_err(|error| failed(&error))?, temporal))
    }

    /// All metrics in Prometheus' text form, or without those of single `plugins` and receivers.
    pub fn render(&self, plugins: bool) -> String {
        let mut page = self.0.render();
        if !plugins {
            page = without_many(&page);
        }
        page + &process::page()
    }
}

pub(crate) fn builder() -> Result<PrometheusBuilder, BuildError> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTE_BUCKETS)?
        .set_buckets_for_metric(Matcher::Prefix("temporal_".to_owned()), &SDK_BUCKETS)?
        .set_buckets_for_metric(full("campanile_http_request_duration_seconds"), &REQUEST_BUCKETS)?
        .set_buckets_for_metric(full("campanile_plugin_call_duration_seconds"), &CALL_BUCKETS)?
        .set_buckets_for_metric(full("campanile_plugin_cpu_seconds"), &CPU_BUCKETS)?
        .set_buckets_for_metric(full("campanile_plugin_memory_bytes"), &MEMORY_BUCKETS)
}

/// A page without the samples of single plugins and receivers.
pub(crate) fn without_many(page: &str) -> String {
    let is_one_of_many = |line: &str| MANY.iter().any(|label| line.contains(label));
    let kept = page.lines().filter(|line| line.starts_with('#') || !is_one_of_many(line));
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// The metrics that are counted outside the plugin wall, which counts its own.
pub mod metric {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

    use crate::ledger::{Activity, StepResult};

    const RECEIVED: &str = "campanile_alerts_received_total";
    const ACCEPTED: &str = "campanile_alerts_accepted_total";
    const REFUSED: &str = "campanile_requests_refused_total";
    const ALERTS_REFUSED: &str = "campanile_alerts_refused_total";
    const SPOOL_REQUESTS: &str = "campanile_spool_requests";
    const SPOOL_BYTES: &str = "campanile_spool_bytes";
    const SPOOLED: &str = "campanile_requests_spooled_total";
    const SPOOL_SET_ASIDE: &str = "campanile_spool_set_aside";
    const GIVEN_UP: &str = "campanile_deliveries_given_up_total";
    const PARKED: &str = "campanile_deliveries_parked_total";
    const PARKED_NOW: &str = "campanile_deliveries_parked";
    const PENDING: &str = "campanile_alerts_pending";
    const SUSPENDED: &str = "campanile_alerts_suspended";
    const CONFIGURATION_REFUSED: &str = "campanile_configuration_refused";
    const RESTART_NEEDED: &str = "campanile_restart_needed";
    static GIVEN_UP_SO_FAR: AtomicU64 = AtomicU64::new(0);
    const REPEATED: &str = "campanile_workflows_repeated_total";
    const UNROUTED: &str = "campanile_alerts_unrouted_total";
    const FLAPPED: &str = "campanile_alerts_flapped_total";
    const READY: &str = "campanile_ready";
    const REQUEST: &str = "campanile_http_request_duration_seconds";
    const DISK_WRITABLE: &str = "campanile_disk_writable";
    const DISK_FREE: &str = "campanile_disk_free_bytes";
    const QUEUE_BACKLOG: &str = "campanile_task_queue_backlog";
    const QUEUE_POLLERS: &str = "campanile_task_queue_pollers";
    const TEMPORAL_RESTARTS: &str = "campanile_temporal_restarts_total";
    const ACTIVITY: &str = "campanile_activity_duration_seconds";
    const DELIVERY: &str = "campanile_delivery_latency_seconds";
    /// The codes of refusals that concern alerts.
    const CODES: [&str; 23] = [
        "invalid-request",
        "undecodable",
        "unauthenticated",
        "forbidden",
        "foreign-origin",
        "unknown-source",
        "too-many-alerts",
        "rate-limited",
        "source-unavailable",
        "plugin-loading",
        "starting",
        "overloaded",
        "disk-not-writable",
        "batch-id-reused",
        "body-too-large",
        "body-too-complex",
        "source-failed",
        "failing-input",
        "unsupported-media-type",
        "temporal-unavailable",
        "store-unavailable",
        "store-full",
        "internal",
    ];

    pub(super) fn describe() {
        describe_counter!(RECEIVED, "Alerts in valid requests, accepted or not.");
        describe_counter!(ACCEPTED, "Alerts that the store holds, repeats included.");
        describe_counter!(REFUSED, "Requests that were refused, by error code.");
        describe_counter!(
            ALERTS_REFUSED,
            "Alerts in requests that were refused, by error code; none where the body could not be read."
        );
        describe_gauge!(SPOOL_REQUESTS, "Requests that wait in the spool.");
        describe_gauge!(SPOOL_BYTES, Unit::Bytes, "Size of the requests that wait in the spool.");
        describe_counter!(SPOOLED, "Requests that were answered with 202, since the spool holds them.");
        describe_gauge!(SPOOL_SET_ASIDE, "Spooled requests that failed by their content.");
        describe_counter!(PARKED, "Deliveries that exhausted their retries, by receiver.");
        describe_gauge!(PARKED_NOW, "Dead letters that were neither delivered nor discarded.");
        describe_gauge!(PENDING, "Alerts in the store that are not at their end.");
        describe_gauge!(SUSPENDED, "Of those, how many wait for an operator.");
        describe_gauge!(
            CONFIGURATION_REFUSED,
            "1 if what the configuration files say is refused, and what was before is in force."
        );
        describe_gauge!(
            RESTART_NEEDED,
            "Keys of the configuration that were changed and take effect with the next start."
        );
        describe_counter!(GIVEN_UP, "Receivers and updaters that were given up, after their last attempt.");
        describe_counter!(
            REPEATED,
            "Alerts and batches that were there already, posted alone or in company."
        );
        describe_counter!(UNROUTED, "Alerts that no receiver wanted.");
        describe_counter!(FLAPPED, "Alerts that fired again before their end was told.");
        describe_histogram!(
            ACTIVITY,
            Unit::Seconds,
            "Duration of activity attempts, by activity and result."
        );
        describe_histogram!(DELIVERY, Unit::Seconds, "Time from acceptance to delivery, by receiver.");
        describe_gauge!(READY, "1 if the host is ready, as `/readyz` says.");
        describe_histogram!(
            REQUEST,
            Unit::Seconds,
            "Time from the head of a request to that of its answer, by method, route and status."
        );
        describe_gauge!(DISK_WRITABLE, "1 if the directory can be written and has free space.");
        describe_gauge!(DISK_FREE, Unit::Bytes, "Free space where the directory is.");
        describe_gauge!(
            QUEUE_BACKLOG,
            "Workflow tasks that wait in the host's task queue, as Temporal estimates."
        );
        describe_gauge!(
            QUEUE_POLLERS,
            "Pollers of the host's task queue that Temporal has seen in the last two minutes."
        );
        describe_counter!(TEMPORAL_RESTARTS, "Restarts of the embedded Temporal server.");
        // A counter that is there before its first event can be alerted on.
        for name in [RECEIVED, ACCEPTED, REPEATED, UNROUTED, FLAPPED, SPOOLED, GIVEN_UP, TEMPORAL_RESTARTS] {
            counter!(name).increment(0);
        }
        for code in CODES {
            refuse(code, 0, 0);
        }
        restart_needed(0);
    }

    /// Alerts that came in a well-formed request.
    pub fn received(alerts: usize) {
        counter!(RECEIVED).increment(alerts as u64);
    }

    /// Alerts that Temporal holds now.
    pub fn accepted(alerts: usize) {
        counter!(ACCEPTED).increment(alerts as u64);
    }

    /// A request with so many alerts was refused.
    pub fn refused(code: &'static str, alerts: usize) {
        refuse(code, 1, alerts);
    }

    fn refuse(code: &'static str, requests: u64, alerts: usize) {
        counter!(REFUSED, "code" => code).increment(requests);
        counter!(ALERTS_REFUSED, "code" => code).increment(alerts as u64);
    }

    /// Whether the host is ready.
    pub fn ready(is_ready: bool) {
        gauge!(READY).set(if is_ready { 1.0 } else { 0.0 });
    }

    /// A request was answered. The route is a template.
    pub fn request(route: &str, method: &'static str, status: u16, duration: Duration) {
        let labels =
            [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
        histogram!(REQUEST, &labels).record(duration);
    }

    /// How a directory is that the host writes to.
    pub fn disk(directory: &str, free: Option<u64>, is_writable: bool) {
        gauge!(DISK_WRITABLE, "directory" => directory.to_owned()).set(if is_writable { 1.0 } else { 0.0 });
        if let Some(free) = free {
            gauge!(DISK_FREE, "directory" => directory.to_owned()).set(free as f64);
        }
    }

    /// What waits in the host's task queue, and how many poll it.
    pub fn task_queue(backlog: i64, pollers: usize) {
        gauge!(QUEUE_BACKLOG).set(backlog as f64);
        gauge!(QUEUE_POLLERS).set(pollers as f64);
    }

    /// So many changed keys of the configuration wait for a restart.
    pub fn restart_needed(keys: usize) {
        gauge!(RESTART_NEEDED).set(keys as f64);
    }

    /// The embedded Temporal server is started again.
    pub fn temporal_restarted() {
        counter!(TEMPORAL_RESTARTS).increment(1);
    }

    /// How full the spool is.
    pub fn spool(requests: u64, bytes: u64, set_aside: u64) {
        gauge!(SPOOL_REQUESTS).set(requests as f64);
        gauge!(SPOOL_BYTES).set(bytes as f64);
        gauge!(SPOOL_SET_ASIDE).set(set_aside as f64);
    }

    /// A request went into the spool.
    pub fn spooled() {
        counter!(SPOOLED).increment(1);
    }

    /// A receiver or updater was given up.
    pub fn given_up() {
        counter!(GIVEN_UP).increment(1);
        GIVEN_UP_SO_FAR.fetch_add(1, Ordering::Relaxed);
    }

    /// A delivery exhausted its retries.
    pub fn dead_letter(receiver: &str) {
        counter!(PARKED, "receiver" => receiver.to_owned()).increment(1);
    }

    /// How many alerts in the store are not at their end, and how many of them are suspended.
    pub fn alerts_now(pending: u64, suspended: u64) {
        gauge!(PENDING).set(pending as f64);
        gauge!(SUSPENDED).set(suspended as f64);
    }

    /// How many dead letters there are now.
    pub fn dead_letters_now(count: u64) {
        gauge!(PARKED_NOW).set(count as f64);
    }

    /// Whether what the configuration files say was refused.
    pub fn configuration_refused(refused: bool) {
        gauge!(CONFIGURATION_REFUSED).set(if refused { 1.0 } else { 0.0 });
    }

    /// How many were given up since the process started.
    pub fn given_up_so_far() -> u64 {
        GIVEN_UP_SO_FAR.load(Ordering::Relaxed)
    }

    /// Workflows that were there already.
    pub fn repeated(workflows: usize) {
        counter!(REPEATED).increment(workflows as u64);
    }

    /// An alert that fired again before its end was told.
    pub fn flapped() {
        counter!(FLAPPED).increment(1);
    }

    /// An alert that no receiver wanted.
    pub fn unrouted() {
        counter!(UNROUTED).increment(1);
    }

    /// One attempt of an activity.
    pub fn activity(activity: Activity, duration: Duration, result: StepResult) {
        let result = match result {
            StepResult::Ok => "ok",
            StepResult::Failed => "error",
        };
        histogram!(ACTIVITY, "activity" => activity.as_str(), "result" => result).record(duration);
    }

    /// An alert reached a receiver this long after it was accepted.
    pub fn delivered(receiver: &str, latency: Duration) {
        histogram!(DELIVERY, "receiver" => receiver.to_owned()).record(latency);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;

    struct Log(Arc<parking_lot::Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Listens to what is described, and records nothing.
    #[derive(Default)]
    struct Described(parking_lot::Mutex<BTreeSet<String>>);

    impl Recorder for Described {
        fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.0.lock().insert(name.as_str().to_owned());
        }

        fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.0.lock().insert(name.as_str().to_owned());
        }

        fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.0.lock().insert(name.as_str().to_owned());
        }

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    /// The names in the tables of the documentation.
    fn documented(document: &str) -> BTreeSet<String> {
        let cells = document.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        let names = cells.flat_map(|cell| cell.split(['`', ',', ' ']));
        let ours = names.filter(|name| name.starts_with("campanile_") || name.starts_with("process_"));
        ours.map(str::to_owned).collect()
    }

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        let described = Described::default();
        metrics::with_local_recorder(&described, || {
            metric::describe();
            crate::plugin::describe_metrics();
        });
        let mut names = described.0.into_inner();
        let process = process::page();
        names.extend(
            process
                .lines()
                .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned())),
        );
        assert_eq!(documented(include_str!("../../docs/metrics.md")), names);
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        for json in [false, true] {
            let written = Arc::new(parking_lot::Mutex::new(Vec::new()));
            let log = written.clone();
            let builder = tracing_subscriber::fmt().with_ansi(false);
            let builder = builder.with_writer(move || OneLine(Log(written.clone())));
            let event = || {
                let nasty = "a\n2026-11-29T20:00:00Z  INFO all is well\u{1b}[2K\u{202e}\u{85}\u{2028}b";
                tracing::warn!(title = nasty, shown = %nasty, "{nasty}");
            };
            match json {
                true => tracing::subscriber::with_default(builder.json().finish(), event),
                false => tracing::subscriber::with_default(builder.finish(), event),
            }
            let text = String::from_utf8(log.lock().clone()).unwrap();
            let line = text.strip_suffix('\n').unwrap();
            assert!(line.contains("all is well") && !line.contains(shown::is_unprintable), "{line:?}");
        }
    }
}
