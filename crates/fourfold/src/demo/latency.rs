//! Event-to-visible latency: from the moment an event is handed to the producer to the moment a reader could see it.
//!
//! Sending notes when each offset was sent; watching notes when the view's Positions passed it. Neither slows the other.

use std::time::{Duration, Instant};

use model::{Offset, Positions, TopicPartition};

use super::rounded;

/// Latencies of a number of events, sorted.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// From latencies measured one by one.
    pub(crate) fn new(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }

    /// From what was sent when, and which Positions were visible when (in order of time).
    pub(crate) fn between(sent: &[(TopicPartition, Offset, Instant)], visible: &[(Instant, Positions)]) -> Self {
        let latency = |(partition, offset, at): &(TopicPartition, Offset, Instant)| {
            let seen = visible.partition_point(|(_, positions)| positions.next_offset(partition) <= *offset);
            visible.get(seen).map(|(when, _)| when.saturating_duration_since(*at))
        };
        Self::new(sent.iter().filter_map(latency).collect())
    }

    /// The latency that `percent` of the events did not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).copied().unwrap_or_default()
    }

    /// p50 and p99, for people.
    pub(crate) fn summary(&self) -> String {
        format!("p50 {}, p99 {}", milliseconds(self.percentile(50)), milliseconds(self.percentile(99)))
    }

    /// p50 and p99 in milliseconds, for programs.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let ms = |percent| rounded(self.percentile(percent).as_secs_f64() * 1e3, 3);
        serde_json::json!({ "p50": ms(50), "p99": ms(99), "events": self.0.len() })
    }
}

/// A duration in milliseconds, with as many digits as matter.
pub(crate) fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests {
    //! The arithmetic, on hand-made times.

    use std::time::Duration;

    use model::{Clock as _, SystemClock};

    use super::Latencies;

    #[test]
    fn an_event_is_visible_when_the_position_has_passed_it() {
        let start = SystemClock.instant();
        let at = |ms| start + Duration::from_millis(ms);
        let partition: model::TopicPartition = "t/0".parse().unwrap();
        let sent = [(partition.clone(), 0, at(0)), (partition.clone(), 1, at(5)), (partition, 2, at(6))];
        let visible =
            [(at(1), "".parse().unwrap()), (at(10), "t/0:1".parse().unwrap()), (at(20), "t/0:3".parse().unwrap())];
        let latencies = Latencies::between(&sent, &visible);
        assert_eq!(latencies.0, [10, 14, 15].map(Duration::from_millis));
        assert_eq!(latencies.percentile(50), Duration::from_millis(14));
        assert_eq!(latencies.percentile(99), Duration::from_millis(15));
    }
}
