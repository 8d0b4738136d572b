//! The Temporal SDK's own metrics, recorded where ours are: one registry, one page, one set of conventions.
//!
//! The SDK's own exporter would be a second listener, and binds each instrument anew for every activity, which costs
//! more than the activity's other bookkeeping.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Key, Label, Metadata, Unit, with_recorder};
use temporalio_common::telemetry::metrics as sdk;
use temporalio_common::telemetry::metrics::{
    CoreMeter, CounterBase, GaugeBase, GaugeF64Base, HistogramBase, HistogramDurationBase, HistogramF64Base,
    MetricAttributable, MetricAttributes, MetricParameters, NewAttributes, UpDownCounterBase,
};

/// How all of the SDK's metrics begin, also those of its client, to which it gives no prefix.
const PREFIX: &str = "temporal_";
const METADATA: Metadata<'static> = Metadata::new("temporal", metrics::Level::INFO, None);

/// Makes the SDK's instruments.
#[derive(Debug)]
pub(super) struct SdkMeter;

/// What is recorded under one name, whatever the labels.
struct Instrument(String);

/// An instrument with its labels.
struct Bound<T>(T);

impl Instrument {
    fn named(parameters: &MetricParameters, suffix: &str) -> Self {
        let name = parameters.name.strip_prefix(PREFIX).unwrap_or(&parameters.name);
        let name = name.strip_suffix(suffix).unwrap_or(name);
        Self(format!("{PREFIX}{name}{suffix}"))
    }

    fn key(&self, attributes: &MetricAttributes) -> Key {
        let labels = labels(attributes).into_iter().flat_map(|labels| labels.iter());
        let labels: Vec<Label> =
            labels.map(|(name, value)| Label::new(name.clone(), value.clone())).collect();
        Key::from_parts(self.0.clone(), labels)
    }
}

/// The labels of attributes that [`SdkMeter`] made; the SDK hands out no others.
fn labels(attributes: &MetricAttributes) -> Option<&HashMap<String, String>> {
    match attributes {
        MetricAttributes::NoOp(labels) => Some(labels),
        _ => None,
    }
}

impl CoreMeter for SdkMeter {
    fn new_attributes(&self, attributes: NewAttributes) -> MetricAttributes {
        // The name of the variant is about the SDK's own use of it; it carries the labels all the same.
        MetricAttributes::NoOp(Arc::new(attributes.into()))
    }

    fn extend_attributes(&self, existing: MetricAttributes, more: NewAttributes) -> MetricAttributes {
        let mut extended = labels(&existing).cloned().unwrap_or_default();
        extended.extend(HashMap::from(more));
        MetricAttributes::NoOp(Arc::new(extended))
    }

    fn counter(&self, parameters: MetricParameters) -> sdk::Counter {
        let instrument = Instrument::named(&parameters, "_total");
        metrics::describe_counter!(instrument.0.clone(), parameters.description.clone());
        sdk::Counter::new(Arc::new(instrument))
    }

    fn histogram(&self, parameters: MetricParameters) -> sdk::Histogram {
        let instrument = Instrument::named(&parameters, "");
        metrics::describe_histogram!(instrument.0.clone(), parameters.description.clone());
        sdk::Histogram::new(Arc::new(instrument))
    }

    fn histogram_f64(&self, parameters: MetricParameters) -> sdk::HistogramF64 {
        let instrument = Instrument::named(&parameters, "");
        metrics::describe_histogram!(instrument.0.clone(), parameters.description.clone());
        sdk::HistogramF64::new(Arc::new(instrument))
    }

    fn histogram_duration(&self, parameters: MetricParameters) -> sdk::HistogramDuration {
        let instrument = Instrument::named(&parameters, "_seconds");
        metrics::describe_histogram!(instrument.0.clone(), Unit::Seconds, parameters.description.clone());
        sdk::HistogramDuration::new(Arc::new(instrument))
    }

    fn gauge(&self, parameters: MetricParameters) -> sdk::Gauge {
        let instrument = Instrument::named(&parameters, "");
        metrics::describe_gauge!(instrument.0.clone(), parameters.description.clone());
        sdk::Gauge::new(Arc::new(instrument))
    }

    fn gauge_f64(&self, parameters: MetricParameters) -> sdk::GaugeF64 {
        let instrument = Instrument::named(&parameters, "");
        metrics::describe_gauge!(instrument.0.clone(), parameters.description.clone());
        sdk::GaugeF64::new(Arc::new(instrument))
    }

    fn up_down_counter(&self, parameters: MetricParameters) -> sdk::UpDownCounter {
        let instrument = Instrument::named(&parameters, "");
        metrics::describe_gauge!(instrument.0.clone(), parameters.description.clone());
        sdk::UpDownCounter::new(Arc::new(instrument))
    }
}

/// Binding one kind of instrument to labels, and recording with it.
macro_rules! instrument {
    ($($base:ident: $register:ident, $record:ident($value:ident: $kind:ty), |$bound:ident| $recorded:expr;)*) => {$(
        impl MetricAttributable<Box<dyn $base>> for Instrument {
            fn with_attributes(
                &self,
                attributes: &MetricAttributes,
            ) -> Result<Box<dyn $base>, Box<dyn Error>> {
                let key = self.key(attributes);
                Ok(Box::new(Bound(with_recorder(|recorder| recorder.$register(&key, &METADATA)))))
            }
        }

        impl $base for Bound<bound_to!($register)> {
            fn $record(&self, $value: $kind) {
                let $bound = &self.0;
                $recorded
            }
        }
    )*};
}

macro_rules! bound_to {
    (register_counter) => {
        metrics::Counter
    };
    (register_gauge) => {
        metrics::Gauge
    };
    (register_histogram) => {
        metrics::Histogram
    };
}

#[expect(clippy::cast_precision_loss, reason = "counts that large do not occur")]
mod kinds {
    use super::*;

    instrument! {
        CounterBase: register_counter, adds(value: u64), |counter| counter.increment(value);
        UpDownCounterBase: register_gauge, adds(value: i64), |gauge| gauge.increment(value as f64);
        GaugeBase: register_gauge, records(value: u64), |gauge| gauge.set(value as f64);
        GaugeF64Base: register_gauge, records(value: f64), |gauge| gauge.set(value);
        HistogramBase: register_histogram, records(value: u64), |histogram| histogram.record(value as f64);
        HistogramF64Base: register_histogram, records(value: f64), |histogram| histogram.record(value);
        HistogramDurationBase: register_histogram, records(value: Duration), |histogram| histogram.record(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let name = |given: &'static str, suffix| Instrument::named(&given.into(), suffix).0;
        assert_eq!(name("request", "_total"), "temporal_request_total");
        assert_eq!(name("temporal_local_activity_total", "_total"), "temporal_local_activity_total");
        assert_eq!(name("temporal_request_latency", "_seconds"), "temporal_request_latency_seconds");
    }

    #[test]
    fn labels_add_up() {
        let one = SdkMeter.new_attributes([sdk::MetricKeyValue::new("namespace", "default")].into());
        let both = SdkMeter.extend_attributes(one, [sdk::MetricKeyValue::new("attempt", 3_i64)].into());
        let key = Instrument("n".to_owned()).key(&both);
        let mut labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        labels.sort_unstable();
        assert_eq!(labels, [("attempt", "3"), ("namespace", "default")]);
    }
}
