//! Metric families and their text, in the format of OpenMetrics and in the older one of Prometheus.

use std::{borrow::Cow, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, prometheus_text, text},
    metrics::{MetricType, histogram::Histogram},
    registry::Registry,
};

/// What every name begins with.
const PREFIX: &str = "anycast";

/// Names and values of labels.
pub(in crate::shell) type Labels = Vec<(&'static str, String)>;

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shell) enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus, which more tools read.
    Prometheus,
}

#[derive(Debug)]
enum Values {
    Counters(Vec<(Labels, u64)>),
    Gauges(Vec<(Labels, f64)>),
    Histogram(Histogram),
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: Cow<'static, str>,
    values: Values,
}

/// Everything that is shown at one time.
#[derive(Debug, Default)]
pub(in crate::shell) struct Families(Vec<Family>);

impl Families {
    /// Adds a counter. `help` may have line breaks.
    pub(in crate::shell) fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters(name, help, vec![(Labels::new(), value)]);
    }

    /// Adds counters that differ in their labels.
    pub(in crate::shell) fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: Vec<(Labels, u64)>,
    ) {
        self.add(name, help, Values::Counters(values));
    }

    /// Adds a gauge.
    pub(in crate::shell) fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.gauges(name, help, vec![(Labels::new(), value)]);
    }

    /// Adds gauges that differ in their labels. Nothing is shown where there are none.
    pub(in crate::shell) fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: Vec<(Labels, f64)>,
    ) {
        if !values.is_empty() {
            self.add(name, help, Values::Gauges(values));
        }
    }

    /// Adds a histogram.
    pub(in crate::shell) fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        histogram: &Histogram,
    ) {
        self.add(name, help, Values::Histogram(histogram.clone()));
    }

    fn add(&mut self, name: &'static str, help: &'static str, values: Values) {
        // The words stand in the source as comments, which have line breaks.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.push(Family {
            name,
            help: help.into(),
            values,
        });
    }

    /// The text of all families.
    pub(in crate::shell) fn text(self, form: Form) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self));
        let mut written = String::new();
        match form {
            Form::OpenMetrics => text::encode(&mut written, &registry)?,
            Form::Prometheus => prometheus_text::encode(&mut written, &registry)?,
        }
        Ok(written)
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            family.encode(&mut encoder)?;
        }
        Ok(())
    }
}

impl Family {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match &self.values {
            Values::Counters(_) => MetricType::Counter,
            Values::Gauges(_) => MetricType::Gauge,
            Values::Histogram(_) => MetricType::Histogram,
        };
        let mut metric = encoder.encode_descriptor(self.name, &self.help, None, kind)?;
        match &self.values {
            Values::Counters(values) => {
                for (labels, value) in values {
                    match labels.as_slice() {
                        [] => metric.encode_counter::<NoLabelSet, u64, u64>(value, None)?,
                        labels => metric
                            .encode_family(&labels)?
                            .encode_counter::<NoLabelSet, u64, u64>(value, None)?,
                    }
                }
                Ok(())
            }
            Values::Gauges(values) => {
                for (labels, value) in values {
                    match labels.as_slice() {
                        [] => metric.encode_gauge(value)?,
                        labels => metric.encode_family(&labels)?.encode_gauge(value)?,
                    }
                }
                Ok(())
            }
            Values::Histogram(histogram) => histogram.encode(metric),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> Families {
        let mut families = Families::default();
        families.counter("flow_pinned", " Flows pinned\n to a binding.", 7);
        let labels = vec![("interface", "a\"b\\".to_owned())];
        families.gauges("interface_up", "Whether it is up.", vec![(labels, 1.0)]);
        families.gauges("no_such", "Nothing.", Vec::new());
        let histogram = Histogram::new([0.1, 1.0]);
        histogram.observe(0.5);
        families.histogram("handshake_seconds", "Time.", &histogram);
        families
    }

    #[test]
    fn both_formats_have_help_labels_and_values() {
        let text = families().text(Form::OpenMetrics).expect("text");
        for line in [
            "# HELP anycast_flow_pinned Flows pinned to a binding.",
            "# TYPE anycast_flow_pinned counter",
            "anycast_flow_pinned_total 7",
            r#"anycast_interface_up{interface="a\"b\\"} 1.0"#,
            r#"anycast_handshake_seconds_bucket{le="1.0"} 1"#,
            "anycast_handshake_seconds_count 1",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
        assert!(
            text.ends_with("# EOF\n") && !text.contains("no_such"),
            "{text}"
        );

        let text = families().text(Form::Prometheus).expect("text");
        for line in [
            "# HELP anycast_flow_pinned_total Flows pinned to a binding.",
            "# TYPE anycast_flow_pinned_total counter",
            "anycast_flow_pinned_total 7",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
    }
}
