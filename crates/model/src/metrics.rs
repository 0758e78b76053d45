//! The catalogue of metrics: one list with name, unit, help, and the name that the architecture guide gives it.
//!
//! What must hold: nothing is measured that is not in the list (a metric is a field of [`Metrics`], and only the list
//! makes fields), and every listed metric is served at `/metrics`.

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};

/// A label and its value, for example `[("view", "carrier_hours".to_owned())]`.
pub type Label = [(&'static str, String); 1];
/// A counter per label value.
pub type LabelledCounter = Family<Label, Counter>;
/// A counter per topic, who rejects, and class of reason.
pub type RejectionCounter = Family<[(&'static str, String); 3], Counter>;
/// A gauge per label value.
pub type LabelledGauge = Family<Label, Gauge>;

/// One line of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct MetricDescription {
    /// The name on the wire, without prefix and unit.
    pub name: &'static str,
    /// The unit: `seconds`, `bytes`, or empty for a plain count.
    pub unit: &'static str,
    /// What it says.
    pub help: &'static str,
    /// The guide's own name for it; empty where the guide has none.
    pub guide_name: &'static str,
}

// Buckets in seconds, from a tenth of a millisecond to ten seconds.
fn latency() -> Histogram {
    Histogram::new([0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0])
}

fn unit(name: &str) -> Option<Unit> {
    match name {
        "seconds" => Some(Unit::Seconds),
        "bytes" => Some(Unit::Bytes),
        _ => None,
    }
}

macro_rules! catalogue {
    ($($field:ident: $kind:ty = $new:expr, $unit:literal, $help:literal, $guide_name:literal;)*) => {
        /// Every metric of the product, ready to be counted.
        #[derive(Clone, Debug)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind,)*
        }

        /// The catalogue as data, in the order of [`Metrics`].
        pub const CATALOGUE: &[MetricDescription] = &[
            $(MetricDescription { name: stringify!($field), unit: $unit, help: $help, guide_name: $guide_name },)*
        ];

        impl Default for Metrics {
            fn default() -> Self {
                Self { $($field: $new,)* }
            }
        }

        impl Metrics {
            /// A registry that serves all of them under the prefix `fourfold`.
            pub fn registry(&self) -> Registry {
                let mut registry = Registry::with_prefix("fourfold");
                $(match unit($unit) {
                    Some(unit) => registry.register_with_unit(stringify!($field), $help, unit, self.$field.clone()),
                    None => registry.register(stringify!($field), $help, self.$field.clone()),
                })*
                registry
            }
        }
    };
}

impl Metrics {
    /// Ends the series of a view that is no more.
    pub fn forget_view(&self, name: &str) {
        let view = [("view", name.to_owned())];
        for gauge in [&self.view_lag_records, &self.view_rows, &self.view_state] {
            gauge.remove(&view);
        }
        for counter in [&self.view_folded_records, &self.batch_failures, &self.merge_conflicts] {
            counter.remove(&view);
        }
    }
}

catalogue! {
    log_appended_records: Counter = Counter::default(), "", "Records appended to the log", "events_per_second";
    log_appended: Counter = Counter::default(), "bytes", "Bytes of record batches appended to the log", "storage_growth_rate";
    log_commit: Histogram = latency(), "seconds", "Time of one write-ahead-log sync", "";
    log_quarantined_frames: Counter = Counter::default(), "", "Damaged write-ahead-log frames set aside at recovery", "";
    broker_connections: Gauge = Gauge::default(), "", "Open Kafka connections", "";
    broker_requests: LabelledCounter = Family::default(), "", "Kafka requests by API", "";
    broker_request: Histogram = latency(), "seconds", "Time from a Kafka request to its answer, without waiting fetches", "processing_latency_ms";
    view_lag_records: LabelledGauge = Family::default(), "", "Records in the log that a view has not folded yet", "replay_lag";
    view_folded_records: LabelledCounter = Family::default(), "", "Records folded into a view", "events_per_second";
    view_rows: LabelledGauge = Family::default(), "", "Rows of a view", "";
    view_checkpoint: Histogram = latency(), "seconds", "Time of one view checkpoint", "checkpoint_interval";
    view_state: LabelledGauge = Family::default(), "bytes", "Memory held by a view's state", "state_size_bytes";
    view_rebuild: Histogram = Histogram::new([0.1, 1.0, 10.0, 60.0, 600.0, 3600.0]), "seconds", "Time to build a view's new version by replay", "rebuild_duration";
    dead_letter_records: RejectionCounter = Family::default(), "", "Records that a source or a view rejected, by topic, rejecter and class of reason", "";
    lake_committed_records: LabelledCounter = Family::default(), "", "Records committed to a lake table", "";
    lake_commits: LabelledCounter = Family::default(), "", "Commits to a lake table", "";
    batch_run: Histogram = Histogram::new([0.1, 1.0, 10.0, 60.0, 600.0, 3600.0]), "seconds", "Time of one batch run", "batch_job_duration";
    batch_failures: LabelledCounter = Family::default(), "", "Batch runs that failed", "batch_job_success_rate";
    merge_conflicts: LabelledCounter = Family::default(), "", "Groups in which batch and speed layer disagreed", "merge_conflicts";
    event_appends: Counter = Counter::default(), "", "Events appended to the event store", "event_write_rate";
    command: Histogram = latency(), "seconds", "Time from a command to its answer", "command_processing_time";
    command_rejections: LabelledCounter = Family::default(), "", "Commands rejected, by rule", "validation_failures";
    http_connections: Gauge = Gauge::default(), "", "Open HTTP connections", "";
    http_requests: LabelledCounter = Family::default(), "", "HTTP requests by the status of the answer", "";
    http_request: Histogram = latency(), "seconds", "Time from an HTTP request to the head of its answer", "";
    query: Histogram = latency(), "seconds", "Time of one SQL query", "query_latency_ms";
    query_failures: Counter = Counter::default(), "", "SQL queries that failed", "";
}
