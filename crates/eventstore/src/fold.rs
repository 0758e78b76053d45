//! Folding a stream into a state, up to any time.

use bytes::Bytes;

use crate::{
    Direction, Error, EventStore, RecordedEvent, Result, StreamName,
    behaviour::{Behaviour, State},
};

// How many events are read at once.
const PAGE_EVENTS: usize = 512;

/// Up to when events count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsOf {
    /// All events.
    Now,
    /// The events up to this version, which counts too.
    Version(u64),
    /// What the store knew at this time, in milliseconds since the epoch: the events recorded by then.
    RecordedTime(i64),
    /// What was true in the world at this time, in milliseconds since the epoch, as far as is known today: the
    /// events effective by then, in the order in which they took effect (by version where that is equal).
    EffectiveTime(i64),
}

/// A state, and what is in it.
#[derive(Clone)]
pub(crate) struct Folded {
    pub(crate) state: State,
    /// The latest version in it.
    pub(crate) version: u64,
    /// The latest recorded time in it.
    pub(crate) recorded_time_ms: i64,
}

/// One stream under one behaviour.
pub(crate) struct Fold<'a> {
    pub(crate) store: &'a EventStore,
    pub(crate) behaviour: &'a dyn Behaviour,
    pub(crate) stream: &'a StreamName,
}

impl Fold<'_> {
    /// The state as of some time, from a cached state where that helps; `None` when no event counts.
    pub(crate) async fn at(&self, as_of: AsOf, cached: Option<Folded>) -> Result<Option<Folded>> {
        let Some(last) = self.store.version(self.stream) else { return Ok(None) };
        match as_of {
            AsOf::Now => self.forward(cached.filter(|folded| folded.version <= last), last, i64::MAX).await,
            AsOf::Version(version) => {
                let last = last.min(version);
                self.forward(cached.filter(|folded| folded.version <= last), last, i64::MAX).await
            }
            AsOf::RecordedTime(time_ms) => {
                self.forward(cached.filter(|folded| folded.recorded_time_ms <= time_ms), last, time_ms).await
            }
            AsOf::EffectiveTime(time_ms) => self.effective_at(last, time_ms).await,
        }
    }

    /// Folds some events, in their order, onto a state.
    pub(crate) fn onto(&self, before: Option<Folded>, events: &[RecordedEvent]) -> Result<Option<Folded>> {
        let Some(last) = events.last() else { return Ok(before) };
        let latest = events.iter().map(|event| event.version).max().unwrap_or(last.version);
        let latest_ms = events.iter().map(|event| event.recorded_time_ms).max().unwrap_or(last.recorded_time_ms);
        let (state, version, recorded_time_ms) = match before {
            Some(Folded { state, version, recorded_time_ms }) => {
                (state, version.max(latest), recorded_time_ms.max(latest_ms))
            }
            None => (self.behaviour.initial(), latest, latest_ms),
        };
        let mut encoded = events.iter().map(|event| (event.event_type.as_str(), Bytes::as_ref(&event.data)));
        let state = self.behaviour.fold(state, &mut encoded).map_err(|unfoldable| {
            let (version, event_type) =
                events.get(unfoldable.at).map_or((0, ""), |event| (event.version, event.event_type.as_str()));
            Error::Corrupt(format!(
                "event {version} ({event_type}) of stream {} is not one of its aggregate: {}",
                self.stream, unfoldable.reason
            ))
        })?;
        Ok(Some(Folded { state, version, recorded_time_ms }))
    }

    /// From a state on, up to version `last` and to a recorded time.
    async fn forward(&self, start: Option<Folded>, last: u64, recorded_time_ms: i64) -> Result<Option<Folded>> {
        let mut folded = start;
        loop {
            let next = folded.as_ref().map_or(0, |folded| folded.version + 1);
            if next > last {
                return Ok(folded);
            }
            let count = usize::try_from(last - next + 1).map_or(PAGE_EVENTS, |left| left.min(PAGE_EVENTS));
            let page = self.store.read_stream(self.stream, next, Direction::Forward, count).await?;
            // Recorded times do not decrease: what counts is the page's beginning.
            let counting = page.partition_point(|event| event.recorded_time_ms <= recorded_time_ms);
            folded = self.onto(folded, &page[..counting])?;
            if counting < page.len() || page.is_empty() {
                return Ok(folded);
            }
        }
    }

    /// The events that took effect by some time, in that order. The first pass remembers sixteen bytes an event, the
    /// second reads the events again in their order.
    async fn effective_at(&self, last: u64, time_ms: i64) -> Result<Option<Folded>> {
        let mut counting: Vec<(i64, u64)> = Vec::new();
        let mut next = 0;
        while next <= last {
            let page = self.store.read_stream(self.stream, next, Direction::Forward, PAGE_EVENTS).await?;
            let Some(newest) = page.last() else { break };
            next = newest.version + 1;
            let effective = page.iter().filter(|event| event.effective_time_ms <= time_ms && event.version <= last);
            counting.extend(effective.map(|event| (event.effective_time_ms, event.version)));
        }
        counting.sort_unstable();
        let mut folded = None;
        for chunk in counting.chunks(PAGE_EVENTS) {
            let versions: Vec<u64> = chunk.iter().map(|(_, version)| *version).collect();
            let mut events = self.store.read_versions(self.stream, &versions).await?;
            events.sort_unstable_by_key(|event| (event.effective_time_ms, event.version));
            folded = self.onto(folded, &events)?;
        }
        Ok(folded)
    }
}
