//! Aggregates: commands in, events out, and states as of any time.
//!
//! A command is handled in five steps: look whether it was handled before; bring the state up to date (from the
//! cache and the events since, or from all events); let the decider decide; append with the version that it decided
//! on; fold what was appended into the cached state. Commands to one instance wait for each other, so that they do
//! not collide; appends from elsewhere may still come between, and then the command is decided again.
//!
//! What must hold: cached states are only ever an abbreviation of a replay.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use model::Positions;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Appended, CommandError, CommandOutcome, CommandRequest, Context, Decider, Error, EventStore, ExpectedVersion,
    NewEvent, RecordedEvent, Result, StreamName,
    behaviour::{Behaviour, Decided, Json},
    cache::BoundedCache,
    fold::{AsOf, Fold, Folded},
    turnstiles::Turnstiles,
};

const AGGREGATE_NAME_BYTES_MAX: usize = 64;

/// How aggregates behave.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AggregatesSettings {
    /// How many states of each aggregate are kept, so that a command does not fold from the first event.
    #[serde(rename = "cached_states_max")]
    pub cached_states: usize,
    /// How often a command is decided, when other appends come between.
    pub command_attempts_max: usize,
}

impl AggregatesSettings {
    /// As shipped: the section `aggregates` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("aggregates")
    }
}

/// The aggregates that take commands, by name.
pub struct Aggregates {
    store: Arc<EventStore>,
    settings: AggregatesSettings,
    aggregates: RwLock<BTreeMap<String, Arc<Aggregate>>>,
    pub(crate) turnstiles: Turnstiles,
}

/// The state of an aggregate instance at some time.
#[derive(Clone, Debug, PartialEq)]
pub struct StateAt {
    /// Its stream.
    pub stream: StreamName,
    /// The state, as the decider's state type is serialised.
    pub state: Value,
    /// The version of the latest event that is part of it.
    pub version: u64,
    /// When the latest event that is part of it was recorded, in milliseconds since the epoch.
    pub recorded_time_ms: i64,
    /// How far the store reached when it was read.
    pub positions: Positions,
}

struct Aggregate {
    name: String,
    behaviour: Box<dyn Behaviour>,
    /// The states that commands left, by stream.
    states: Mutex<BoundedCache<StreamName, Folded>>,
}

impl Aggregates {
    /// No aggregates yet, over a store.
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) when a setting cannot be.
    pub fn new(store: Arc<EventStore>, settings: AggregatesSettings) -> model::Result<Self> {
        if settings.command_attempts_max == 0 {
            return Err(model::Error::invalid("the setting command_attempts_max must be at least 1"));
        }
        Ok(Self { store, settings, aggregates: RwLock::default(), turnstiles: Turnstiles::default() })
    }

    /// Registers a decider under a name: 1 to 64 ASCII letters, digits or `_`. The stream of its instance `id` is
    /// `<name>-<id>`. Commands and events are adjacently tagged enums, see [`Decider`].
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) for an illegal name, [`Conflict`](model::ErrorKind::Conflict) for one
    /// that is in use.
    pub fn register<D>(&self, name: &str, decider: D) -> model::Result<()>
    where
        D: Decider,
        D::Command: DeserializeOwned,
        D::Event: Serialize + DeserializeOwned,
        D::State: Serialize + Clone + Send + Sync + 'static,
    {
        let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if name.is_empty() || name.len() > AGGREGATE_NAME_BYTES_MAX || !legal {
            return Err(model::Error::invalid(format!("{name:?} is not an aggregate's name"))
                .with_hint("use 1 to 64 ASCII letters, digits or '_'"));
        }
        let mut aggregates = self.aggregates.write();
        if aggregates.contains_key(name) {
            return Err(model::Error::conflict(format!("an aggregate {name} is registered already")));
        }
        let states = Mutex::new(BoundedCache::new(self.settings.cached_states));
        let aggregate = Aggregate { name: name.to_owned(), behaviour: Box::new(Json(decider)), states };
        aggregates.insert(name.to_owned(), Arc::new(aggregate));
        Ok(())
    }

    /// The names of the registered aggregates.
    pub fn names(&self) -> Vec<String> {
        self.aggregates.read().keys().cloned().collect()
    }

    /// The store underneath.
    pub fn store(&self) -> &Arc<EventStore> {
        &self.store
    }

    /// Handles a command, and returns when its events are on disk.
    ///
    /// The same command sent again gives the stored result, as long as it is among the latest
    /// [`idempotence_window_commands`](crate::EventStoreSettings::idempotence_window_commands) commands that led to
    /// events. A command that was rejected, or led to no events, leaves nothing behind and is decided anew.
    ///
    /// # Errors
    /// [`CommandError::Rejected`] when a business rule said no; otherwise nothing was decided.
    pub async fn handle(
        &self,
        aggregate: &str,
        id: &str,
        request: CommandRequest,
    ) -> Result<CommandOutcome, CommandError> {
        let started = Instant::now();
        let result = self.handle_unmeasured(aggregate, id, &request).await;
        let metrics = self.store.metrics();
        metrics.command.observe(started.elapsed().as_secs_f64());
        if let Err(CommandError::Rejected(rejection)) = &result {
            metrics.command_rejections.get_or_create(&[("rule", rejection.rule.to_string())]).inc();
        }
        result
    }

    /// Appends events as they are, without a decision, as [`EventStore::append`]. To the stream of an aggregate only
    /// events that it can fold: one that it cannot would leave no state to decide on, for good.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an event that its aggregate does not understand; then none is appended. Those of
    /// [`EventStore::append`].
    pub async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Result<Appended> {
        if let Some(aggregate) = self.aggregate_of(stream) {
            for NewEvent { event_type, data, .. } in &events {
                aggregate.behaviour.check(event_type, data).map_err(|reason| {
                    let name = &aggregate.name;
                    Error::Invalid(format!(
                        "the event {event_type} cannot go into stream {stream}, aggregate {name} does not understand it: \
                         {reason}"
                    ))
                })?;
            }
        }
        self.store.append(stream, expected, events).await
    }

    /// The state of an instance at some time; `None` when no event had happened by then.
    ///
    /// # Errors
    /// [`CommandError::UnknownAggregate`], or [`CommandError::Store`] when the events cannot be read or folded.
    pub async fn state(&self, aggregate: &str, id: &str, as_of: AsOf) -> Result<Option<StateAt>, CommandError> {
        let aggregate = self.aggregate(aggregate)?;
        let stream = aggregate.stream(id)?;
        let positions = self.store.positions();
        let Some(folded) = aggregate.folded(&self.store, &stream, as_of).await? else { return Ok(None) };
        let state = aggregate
            .behaviour
            .to_json(&folded.state)
            .map_err(|error| Error::Corrupt(format!("the state of stream {stream} cannot be shown: {error}")))?;
        let Folded { version, recorded_time_ms, .. } = folded;
        Ok(Some(StateAt { stream, state, version, recorded_time_ms, positions }))
    }

    async fn handle_unmeasured(
        &self,
        aggregate: &str,
        id: &str,
        request: &CommandRequest,
    ) -> Result<CommandOutcome, CommandError> {
        let aggregate = self.aggregate(aggregate)?;
        let stream = aggregate.stream(id)?;
        let _turn = self.turnstiles.enter(&stream).await;
        if let Some(events) = self.store.command_events(&stream, &request.command_id).await? {
            return Ok(self.outcome(stream, events, true));
        }
        for _ in 0..self.settings.command_attempts_max {
            if let Some(outcome) = self.attempt(&aggregate, &stream, request).await? {
                return Ok(outcome);
            }
        }
        Err(CommandError::Contended { stream, attempts: self.settings.command_attempts_max })
    }

    /// Decides once; `None` when another append came between and the command may be decided again.
    async fn attempt(
        &self,
        aggregate: &Aggregate,
        stream: &StreamName,
        request: &CommandRequest,
    ) -> Result<Option<CommandOutcome>, CommandError> {
        let before = aggregate.folded(&self.store, stream, AsOf::Now).await?;
        let version = before.as_ref().map(|folded| folded.version);
        if let Some(expected) = request.expected.filter(|expected| !expected.allows(version)) {
            let stream = stream.clone();
            return Err(Error::WrongVersion { stream, expected, actual: version }.into());
        }
        let context = self.context(stream, version, request);
        let decided = aggregate.decide(before.as_ref(), request, &context)?;
        if decided.is_empty() {
            return Ok(Some(self.outcome(stream.clone(), Vec::new(), false)));
        }
        let events = events(decided, stream, request);
        let expected = version.map_or(ExpectedVersion::NoStream, ExpectedVersion::Exact);
        match self.store.append_command(stream, expected, events, &request.command_id).await {
            Ok((events, duplicate)) => {
                if !duplicate {
                    aggregate.remember(&self.store, stream, before, &events);
                }
                Ok(Some(self.outcome(stream.clone(), events, duplicate)))
            }
            Err(Error::WrongVersion { .. }) if !is_exact(request.expected) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn context(&self, stream: &StreamName, version: Option<u64>, request: &CommandRequest) -> Context {
        let now_ms = self.store.clock().now_ms();
        Context {
            stream: stream.clone(),
            version,
            now_ms,
            effective_time_ms: request.effective_time_ms.unwrap_or(now_ms),
            command_id: request.command_id.clone(),
            principal: request.principal.clone(),
        }
    }

    fn outcome(&self, stream: StreamName, events: Vec<RecordedEvent>, duplicate: bool) -> CommandOutcome {
        let (version, positions) = match events.last() {
            Some(last) => (Some(last.version), self.store.positions_at(last.offset + 1)),
            None => (self.store.version(&stream), self.store.positions()),
        };
        CommandOutcome { stream, version, events, positions, duplicate }
    }

    /// The aggregate whose instance a stream is, where it is one's.
    fn aggregate_of(&self, stream: &StreamName) -> Option<Arc<Aggregate>> {
        let (name, _) = stream.as_str().split_once('-')?;
        self.aggregates.read().get(name).map(Arc::clone)
    }

    fn aggregate(&self, name: &str) -> Result<Arc<Aggregate>, CommandError> {
        let aggregates = self.aggregates.read();
        aggregates.get(name).map(Arc::clone).ok_or_else(|| CommandError::UnknownAggregate(name.to_owned()))
    }
}

impl Aggregate {
    fn stream(&self, id: &str) -> Result<StreamName> {
        if id.is_empty() {
            return Err(Error::Invalid(format!("the id of aggregate {} is empty", self.name)));
        }
        StreamName::new(&format!("{}-{id}", self.name))
    }

    /// The state as of some time, by way of the cache.
    async fn folded(&self, store: &EventStore, stream: &StreamName, as_of: AsOf) -> Result<Option<Folded>> {
        let cached = self.states.lock().get(stream);
        let fold = Fold { store, behaviour: &*self.behaviour, stream };
        let cached_version = cached.as_ref().map(|folded| folded.version);
        let folded = fold.at(as_of, cached).await?;
        if let (AsOf::Now, Some(newer)) = (as_of, &folded)
            && cached_version.is_none_or(|version| version < newer.version)
        {
            self.states.lock().insert(stream.clone(), newer.clone(), 1);
        }
        Ok(folded)
    }

    fn decide(
        &self,
        before: Option<&Folded>,
        request: &CommandRequest,
        context: &Context,
    ) -> Result<Vec<Decided>, CommandError> {
        let initial;
        let state = match before {
            Some(folded) => &folded.state,
            None => {
                initial = self.behaviour.initial();
                &initial
            }
        };
        self.behaviour.decide(state, &request.command_type, &request.data, context)
    }

    /// Folds what a command appended into the cached state.
    fn remember(&self, store: &EventStore, stream: &StreamName, before: Option<Folded>, events: &[RecordedEvent]) {
        // A state that nobody else holds is changed in place, not copied: so it leaves the cache first.
        self.states.lock().remove(stream);
        let fold = Fold { store, behaviour: &*self.behaviour, stream };
        match fold.onto(before, events) {
            Ok(Some(after)) => self.states.lock().insert(stream.clone(), after, 1),
            Ok(None) => {}
            // The events are facts by now: the next one who needs the state is told what is wrong with them.
            Err(error) => tracing::error!(%error, %stream, "an event that was just decided cannot be folded"),
        }
    }
}

// A command that named the very version must not be decided on another one.
fn is_exact(expected: Option<ExpectedVersion>) -> bool {
    matches!(expected, Some(ExpectedVersion::Exact(_) | ExpectedVersion::NoStream))
}

/// The decided events with everything that the command gives them.
fn events(decided: Vec<Decided>, stream: &StreamName, request: &CommandRequest) -> Vec<NewEvent> {
    let metadata = request.metadata.as_ref().map(|metadata| Bytes::from(metadata.to_string()));
    let causation_id = request.causation_id.clone().unwrap_or_else(|| request.command_id.to_string());
    let event = |(ordinal, Decided { event_type, data }): (usize, Decided)| NewEvent {
        event_id: request.command_id.event_id(stream, ordinal),
        event_type,
        data,
        metadata: metadata.clone(),
        effective_time_ms: request.effective_time_ms,
        correlation_id: request.correlation_id.clone(),
        causation_id: Some(causation_id.clone()),
    };
    decided.into_iter().enumerate().map(event).collect()
}
