//! The Temporal SDK's own metrics, recorded where ours are: one registry, one page, one set of conventions.
//!
//! The SDK's own exporter would be a second listener. For every activity the SDK extends the same few sets of labels
//! anew and binds its instruments to them anew: both are done once here, and found again.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Metadata, Unit, with_recorder};
use parking_lot::RwLock;
use temporalio_common::telemetry::metrics as sdk;
use temporalio_common::telemetry::metrics::{
    CoreMeter, CounterBase, GaugeBase, GaugeF64Base, HistogramBase, HistogramDurationBase, HistogramF64Base,
    MetricAttributable, MetricAttributes, MetricKeyValue, MetricParameters, NewAttributes, UpDownCounterBase,
};

/// How all of the SDK's metrics begin, also those of its client, to which it gives no prefix.
const PREFIX: &str = "temporal_";
const METADATA: Metadata<'static> = Metadata::new("temporal", metrics::Level::INFO, None);

/// A set of labels. What [`SdkMeter`] made is never dropped, so that its address tells it from all others.
type Labels = Arc<HashMap<String, String>>;

/// What a set was extended with, and the set that came of it.
type Extension = (Vec<MetricKeyValue>, Labels);

/// Makes the SDK's instruments and sets of labels.
#[derive(Debug, Default)]
pub(super) struct SdkMeter {
    /// By the address of the set that was extended.
    extended: RwLock<HashMap<usize, Vec<Extension>>>,
}

/// What is recorded under one name, whatever the labels.
struct Instrument<T> {
    name: String,
    /// By set of labels.
    bound: RwLock<HashMap<usize, T>>,
}

/// An instrument with its labels.
struct Bound<T>(T);

impl<T: Clone> Instrument<T> {
    fn new(parameters: &MetricParameters, suffix: &str) -> Self {
        Self { name: name(parameters, suffix), bound: RwLock::default() }
    }

    fn bind(&self, attributes: &MetricAttributes, register: impl FnOnce(&Key) -> T) -> Bound<T> {
        let labels = labels(attributes);
        let address = address(labels);
        if let Some(bound) = self.bound.read().get(&address) {
            return Bound(bound.clone());
        }
        let bound = register(&key(&self.name, labels));
        self.bound.write().insert(address, bound.clone());
        Bound(bound)
    }
}

fn name(parameters: &MetricParameters, suffix: &str) -> String {
    let name = parameters.name.strip_prefix(PREFIX).unwrap_or(&parameters.name);
    let name = name.strip_suffix(suffix).unwrap_or(name);
    format!("{PREFIX}{name}{suffix}")
}

fn key(name: &str, labels: Option<&Labels>) -> Key {
    let labels = labels.into_iter().flat_map(|labels| labels.iter());
    let labels: Vec<Label> = labels.map(|(name, value)| Label::new(name.clone(), value.clone())).collect();
    Key::from_parts(name.to_owned(), labels)
}

/// The labels of attributes that [`SdkMeter`] made; the SDK hands out no others.
fn labels(attributes: &MetricAttributes) -> Option<&Labels> {
    match attributes {
        MetricAttributes::NoOp(labels) => Some(labels),
        _ => None,
    }
}

/// What tells a set of labels from all others; 0 for none.
fn address(labels: Option<&Labels>) -> usize {
    labels.map_or(0, |labels| Arc::as_ptr(labels).addr())
}

impl CoreMeter for SdkMeter {
    fn new_attributes(&self, attributes: NewAttributes) -> MetricAttributes {
        self.extend_attributes(MetricAttributes::Empty, attributes)
    }

    fn extend_attributes(&self, existing: MetricAttributes, more: NewAttributes) -> MetricAttributes {
        let (existing, more) = (labels(&existing), more.attributes);
        let address = address(existing);
        let found = |made: &[Extension]| {
            made.iter().find(|(with, _)| *with == more).map(|(_, labels)| labels.clone())
        };
        if let Some(labels) = self.extended.read().get(&address).and_then(|made| found(made)) {
            return MetricAttributes::NoOp(labels);
        }
        let mut extended = self.extended.write();
        let made = extended.entry(address).or_default();
        let labels = found(made).unwrap_or_else(|| {
            let mut labels = existing.map(|labels| HashMap::clone(labels)).unwrap_or_default();
            labels.extend(more.iter().map(|label| (label.key.clone(), label.value.to_string())));
            let labels = Arc::new(labels);
            made.push((more, labels.clone()));
            labels
        });
        // The name of the variant is about the SDK's own use of it; it carries the labels all the same.
        MetricAttributes::NoOp(labels)
    }

    fn counter(&self, parameters: MetricParameters) -> sdk::Counter {
        let instrument = Instrument::<Counter>::new(&parameters, "_total");
        metrics::describe_counter!(instrument.name.clone(), parameters.description.clone());
        sdk::Counter::new(Arc::new(instrument))
    }

    fn histogram(&self, parameters: MetricParameters) -> sdk::Histogram {
        let instrument = Instrument::<Histogram>::new(&parameters, "");
        metrics::describe_histogram!(instrument.name.clone(), parameters.description.clone());
        sdk::Histogram::new(Arc::new(instrument))
    }

    fn histogram_f64(&self, parameters: MetricParameters) -> sdk::HistogramF64 {
        let instrument = Instrument::<Histogram>::new(&parameters, "");
        metrics::describe_histogram!(instrument.name.clone(), parameters.description.clone());
        sdk::HistogramF64::new(Arc::new(instrument))
    }

    fn histogram_duration(&self, parameters: MetricParameters) -> sdk::HistogramDuration {
        let instrument = Instrument::<Histogram>::new(&parameters, "_seconds");
        metrics::describe_histogram!(instrument.name.clone(), Unit::Seconds, parameters.description.clone());
        sdk::HistogramDuration::new(Arc::new(instrument))
    }

    fn gauge(&self, parameters: MetricParameters) -> sdk::Gauge {
        let instrument = Instrument::<Gauge>::new(&parameters, "");
        metrics::describe_gauge!(instrument.name.clone(), parameters.description.clone());
        sdk::Gauge::new(Arc::new(instrument))
    }

    fn gauge_f64(&self, parameters: MetricParameters) -> sdk::GaugeF64 {
        let instrument = Instrument::<Gauge>::new(&parameters, "");
        metrics::describe_gauge!(instrument.name.clone(), parameters.description.clone());
        sdk::GaugeF64::new(Arc::new(instrument))
    }

    fn up_down_counter(&self, parameters: MetricParameters) -> sdk::UpDownCounter {
        let instrument = Instrument::<Gauge>::new(&parameters, "");
        metrics::describe_gauge!(instrument.name.clone(), parameters.description.clone());
        sdk::UpDownCounter::new(Arc::new(instrument))
    }
}

/// Binding one kind of instrument to labels, and recording with it.
macro_rules! instrument {
    ($($base:ident: $handle:ident by $register:ident, $record:ident($value:ident: $kind:ty),
        |$bound:ident| $recorded:expr;)*) => {$(
        impl MetricAttributable<Box<dyn $base>> for Instrument<$handle> {
            fn with_attributes(
                &self,
                attributes: &MetricAttributes,
            ) -> Result<Box<dyn $base>, Box<dyn Error>> {
                let register = |key: &Key| with_recorder(|recorder| recorder.$register(key, &METADATA));
                Ok(Box::new(self.bind(attributes, register)))
            }
        }

        impl $base for Bound<$handle> {
            fn $record(&self, $value: $kind) {
                let $bound = &self.0;
                $recorded
            }
        }
    )*};
}

instrument! {
    CounterBase: Counter by register_counter, adds(value: u64), |counter| counter.increment(value);
    UpDownCounterBase: Gauge by register_gauge, adds(value: i64), |gauge| gauge.increment(value as f64);
    GaugeBase: Gauge by register_gauge, records(value: u64), |gauge| gauge.set(value as f64);
    GaugeF64Base: Gauge by register_gauge, records(value: f64), |gauge| gauge.set(value);
    HistogramBase: Histogram by register_histogram, records(value: u64),
        |histogram| histogram.record(value as f64);
    HistogramF64Base: Histogram by register_histogram, records(value: f64),
        |histogram| histogram.record(value);
    HistogramDurationBase: Histogram by register_histogram, records(value: Duration),
        |histogram| histogram.record(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let named = |given: &'static str, suffix| super::name(&given.into(), suffix);
        assert_eq!(named("request", "_total"), "temporal_request_total");
        assert_eq!(named("temporal_local_activity_total", "_total"), "temporal_local_activity_total");
        assert_eq!(named("temporal_request_latency", "_seconds"), "temporal_request_latency_seconds");
    }

    #[test]
    fn labels_add_up() {
        let meter = SdkMeter::default();
        let one = meter.new_attributes([MetricKeyValue::new("namespace", "default")].into());
        let both = || meter.extend_attributes(one.clone(), [MetricKeyValue::new("attempt", 3_i64)].into());
        let key = key("n", labels(&both()));
        let mut found: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        found.sort_unstable();
        assert_eq!(found, [("attempt", "3"), ("namespace", "default")]);
        assert_eq!(address(labels(&both())), address(labels(&both())), "the same set is made once");
        assert_ne!(address(labels(&both())), address(labels(&one)));
    }
}
