//! Aggregates: commands in, events out, and states as of any time.
//!
//! A command is handled in five steps: look whether it was handled before; bring the state up to date (from the
//! cache and the events since, or from all events); let the decider decide; append with the version that it decided
//! on, or keep that there is nothing to append; fold what was appended into the cached state. Commands to one instance
//! wait for each other, so that they do not collide; appends from elsewhere may still come between, and then the
//! command is decided again.
//!
//! What must hold: cached states are only ever an abbreviation of a replay.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use model::Positions;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{
    Appended, CommandError, CommandOutcome, CommandRequest, Context, Decider, Error, EventStore, ExpectedVersion,
    NewEvent, RecordedEvent, Rejection, Result, StreamName,
    behaviour::{Behaviour, Decided, Facts, Json, Undecided},
    cache::BoundedCache,
    digest::ContentDigest,
    draft::{Append, Command, Proposal},
    fold::{AsOf, Fold, Folded},
    index::CommandResult,
    outcome::{CommandEnd, Outcome},
    record,
    stream_locks::StreamLocks,
    tagged::Mismatch,
    writer::Done,
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
    /// How many commands are handled at once, those that wait for another one of their instance included; more of them
    /// are refused.
    pub commands_max: usize,
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
    pub(crate) stream_locks: StreamLocks,
    /// A permit for each command that may be handled.
    commands: Semaphore,
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
        for (name, value) in
            [("command_attempts_max", settings.command_attempts_max), ("commands_max", settings.commands_max)]
        {
            if value == 0 {
                return Err(model::Error::invalid(format!("the setting {name} must be at least 1")));
            }
        }
        let commands = Semaphore::new(settings.commands_max.min(Semaphore::MAX_PERMITS));
        Ok(Self { store, settings, aggregates: RwLock::default(), stream_locks: StreamLocks::default(), commands })
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
        D::Event: Serialize + DeserializeOwned + Send + 'static,
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
    /// The same command sent again gives the stored result, a rejection too, as long as it is among the latest
    /// [`idempotence_window_commands`](crate::EventStoreSettings::idempotence_window_commands) commands. Whatever else
    /// fails leaves nothing behind, and is decided anew.
    ///
    /// # Errors
    /// [`CommandError::Rejected`] when a business rule said no, [`Error::CommandIdReused`] when another command was
    /// handled under the id; otherwise nothing was decided.
    pub async fn handle(
        &self,
        aggregate: &str,
        id: &str,
        request: CommandRequest,
    ) -> Result<CommandOutcome, CommandError> {
        let started = self.store.clock().instant();
        let result = self.handle_unmeasured(aggregate, id, &request).await;
        let metrics = self.store.metrics();
        let took = self.store.clock().instant().saturating_duration_since(started);
        metrics.command.observe(took.as_secs_f64());
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
                aggregate.behaviour.check(event_type, data).map_err(|mismatch| {
                    let name = &aggregate.name;
                    Error::Invalid(match mismatch {
                        Mismatch::UnknownTag(known) => format!(
                            "the event {event_type} cannot go into stream {stream}: the events of aggregate {name} are {}",
                            known.join(", ")
                        ),
                        Mismatch::Content(reason) => format!(
                            "the event {event_type} cannot go into stream {stream}, aggregate {name} does not \
                             understand it: {reason}"
                        ),
                    })
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
        self.store.check_readable(&stream)?;
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
        let _permit = self.commands.try_acquire().map_err(|_| CommandError::Overloaded(self.settings.commands_max))?;
        let aggregate = self.aggregate(aggregate)?;
        let stream = aggregate.stream(id)?;
        self.check(request)?;
        let command = Command { id: request.command_id.clone(), digest: ContentDigest::of(&stream, request)? };
        let _lock = self.stream_locks.lock(&stream).await;
        if let Some(handled) = self.store.handled(&stream, &command.id) {
            if !handled.says(&command.digest) {
                return Err(Error::CommandIdReused { stream, command_id: command.id }.into());
            }
            return self.outcome_before(stream, handled.result).await;
        }
        self.store.check_sound(&stream)?;
        for _ in 0..self.settings.command_attempts_max {
            if let Some(outcome) = self.attempt(&aggregate, &stream, &command, request).await? {
                return Ok(outcome);
            }
        }
        Err(CommandError::Contended { stream, attempts: self.settings.command_attempts_max })
    }

    /// Checks what a command says beside its content, and how much it says.
    fn check(&self, request: &CommandRequest) -> Result<()> {
        record::check_name("command type", &request.command_type)?;
        record::check_ids(request.correlation_id.as_deref(), request.causation_id.as_deref())?;
        record::check_time(request.effective_time_ms)?;
        let actual = request.data.get().len() + request.metadata.as_ref().map_or(0, |metadata| metadata.get().len());
        let max = self.store.settings().event_bytes_max;
        if actual > max {
            let what = format!("command {} of type {}", request.command_id, request.command_type);
            return Err(Error::TooLarge { what, actual, max, unit: "bytes" });
        }
        Ok(())
    }

    /// Decides once; `None` when another append came between and the command may be decided again.
    async fn attempt(
        &self,
        aggregate: &Aggregate,
        stream: &StreamName,
        command: &Command,
        request: &CommandRequest,
    ) -> Result<Option<CommandOutcome>, CommandError> {
        let before = aggregate.folded(&self.store, stream, AsOf::Now).await?;
        let version = before.as_ref().map(|folded| folded.version);
        if let Some(expected) = request.expected.filter(|expected| !expected.allows(version)) {
            let stream = stream.clone();
            return Err(Error::WrongVersion { stream, expected, actual: version }.into());
        }
        let context = self.context(stream, version, request);
        let Decided { encoded, facts } = match aggregate.decide(before.as_ref(), request, &context) {
            Ok(decided) if decided.encoded.is_empty() => {
                return self.keep(stream, command, request, version, None).await.map(Some);
            }
            Ok(decided) => decided,
            Err(Undecided::Rejected(rejection)) => {
                return self.keep(stream, command, request, version, Some(rejection)).await.map(Some);
            }
            Err(undecided) => return Err(aggregate.refusal(undecided, request)),
        };
        let append = Append {
            stream: stream.clone(),
            expected: version.map_or(ExpectedVersion::NoStream, ExpectedVersion::Exact),
            events: events(encoded, stream, request),
            command: Some(command.clone()),
        };
        match self.store.propose(Proposal::Append(append)).await {
            Ok(Done::Events { recorded: Some(events), .. }) => {
                aggregate.remember(stream, before, &events, facts);
                Ok(Some(self.outcome(stream.clone(), events, false)))
            }
            Ok(done) => self.outcome_before(stream.clone(), result_of(&done)).await.map(Some),
            Err(Error::WrongVersion { .. }) if !is_exact(request.expected) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps that a command led to no events, and answers so.
    async fn keep(
        &self,
        stream: &StreamName,
        command: &Command,
        request: &CommandRequest,
        version: Option<u64>,
        rejection: Option<Rejection>,
    ) -> Result<CommandOutcome, CommandError> {
        let next_offset = self.store.next_offset();
        let end = CommandEnd { rejection: rejection.map(Rejection::bounded), version, next_offset };
        let outcome = Outcome {
            stream: stream.clone(),
            command_id: command.id.clone(),
            command_type: request.command_type.clone(),
            digest: command.digest,
            end: end.clone(),
        };
        match self.store.propose(Proposal::Keep(outcome)).await? {
            Done::Nothing { before: false, .. } => self.ended(stream.clone(), end, false),
            done => self.outcome_before(stream.clone(), result_of(&done)).await,
        }
    }

    /// What came of a command that was handled before.
    async fn outcome_before(&self, stream: StreamName, result: CommandResult) -> Result<CommandOutcome, CommandError> {
        match result {
            CommandResult::Events(versions) => {
                let events = self.store.events(&stream, versions).await?;
                Ok(self.outcome(stream, events, true))
            }
            CommandResult::Nothing(offset) => {
                let end = self.store.command_end(offset).await?;
                self.ended(stream, end, true)
            }
        }
    }

    /// The answer to a command that led to no events.
    fn ended(&self, stream: StreamName, end: CommandEnd, duplicate: bool) -> Result<CommandOutcome, CommandError> {
        match end.rejection {
            Some(rejection) => Err(rejection.into()),
            None => {
                let positions = self.store.positions_at(end.next_offset);
                Ok(CommandOutcome { stream, version: end.version, events: Vec::new(), positions, duplicate })
            }
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
        aggregates.get(name).map(Arc::clone).ok_or_else(|| {
            let known = aggregates.keys().cloned().collect();
            CommandError::UnknownAggregate { name: name.to_owned(), known }
        })
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
    ) -> Result<Decided, Undecided> {
        let initial;
        let state = match before {
            Some(folded) => &folded.state,
            None => {
                initial = self.behaviour.initial();
                &initial
            }
        };
        self.behaviour.decide(state, &request.command_type, request.data.get().as_bytes(), context)
    }

    /// The error of a command that could not be decided.
    fn refusal(&self, undecided: Undecided, request: &CommandRequest) -> CommandError {
        let command_type = request.command_type.clone();
        match undecided {
            Undecided::Rejected(rejection) => rejection.into(),
            Undecided::Command(Mismatch::UnknownTag(known)) => {
                CommandError::UnknownCommand { aggregate: self.name.clone(), command_type, known }
            }
            Undecided::Command(Mismatch::Content(reason)) => CommandError::InvalidCommand { command_type, reason },
            Undecided::Event(reason) => CommandError::InvalidEvent(reason),
        }
    }

    /// Folds what a command appended into the cached state.
    fn remember(&self, stream: &StreamName, before: Option<Folded>, events: &[RecordedEvent], facts: Facts) {
        let Some(last) = events.last() else { return };
        // A state that nobody else holds is changed in place, not copied: so it leaves the cache first.
        self.states.lock().remove(stream);
        let state = before.map_or_else(|| self.behaviour.initial(), |folded| folded.state);
        let state = self.behaviour.evolve(state, facts);
        let after = Folded { state, version: last.version, recorded_time_ms: last.recorded_time_ms };
        self.states.lock().insert(stream.clone(), after, 1);
    }
}

// A command that named the very version must not be decided on another one.
fn is_exact(expected: Option<ExpectedVersion>) -> bool {
    matches!(expected, Some(ExpectedVersion::Exact(_) | ExpectedVersion::NoStream))
}

/// What came of a command, where it was there before.
fn result_of(done: &Done) -> CommandResult {
    match done {
        Done::Events { versions, .. } => CommandResult::Events(*versions),
        Done::Nothing { offset, .. } => CommandResult::Nothing(*offset),
    }
}

/// The decided events with everything that the command gives them.
fn events(encoded: Vec<(String, Bytes)>, stream: &StreamName, request: &CommandRequest) -> Vec<NewEvent> {
    let metadata = request.metadata.as_ref().map(|metadata| Bytes::copy_from_slice(metadata.get().as_bytes()));
    let causation_id = request.causation_id.clone().unwrap_or_else(|| request.command_id.to_string());
    let event = |(ordinal, (event_type, data)): (usize, (String, Bytes))| NewEvent {
        event_id: request.command_id.event_id(stream, ordinal),
        event_type,
        data,
        metadata: metadata.clone(),
        effective_time_ms: request.effective_time_ms,
        correlation_id: request.correlation_id.clone(),
        causation_id: Some(causation_id.clone()),
    };
    encoded.into_iter().enumerate().map(event).collect()
}
