//! [`Frontier`]: how far a relation is, for whoever waits until it is further.
//!
//! What must hold: a wait ends as soon as its outcome is known: when everything demanded is there, or when the relation
//! has failed and will not get there. A failure stays. A relation that is being built has nothing of what is demanded.

use std::{collections::BTreeMap, time::Duration};

use model::{Error, Positions, Result, TopicName};
use tokio::sync::watch;

use super::{BuildProgress, Building, require_partitions};

/// The Positions that a relation reflects, and why it goes no further where it has failed.
#[derive(Debug)]
pub struct Frontier {
    name: String,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    positions: Positions,
    failure: Option<String>,
    /// Whether it stays where it is, as it is meant to.
    is_frozen: bool,
    /// How many partitions the topics have, as far as that was told.
    partitions: BTreeMap<TopicName, i32>,
    /// What is left to fold before it is whole; absent once it was.
    building: Option<Building>,
}

impl State {
    fn has(&self, demanded: &Positions) -> bool {
        self.building.is_none() && self.positions.covers(demanded)
    }
}

impl Frontier {
    /// Of the relation `name`, which reflects everything before `positions`.
    pub fn new(name: &str, positions: Positions) -> Self {
        Self { name: name.to_owned(), state: watch::Sender::new(State { positions, ..State::default() }) }
    }

    /// Notes how many partitions a topic has from which it is folded: nobody waits for a position in another one then.
    pub fn note_partitions(&self, topic: TopicName, partitions: i32) {
        self.state.send_modify(|state| {
            state.partitions.insert(topic, partitions);
        });
    }

    /// From now on it is being built: until it [arrives](Self::arrive) where `building` ends.
    pub fn build(&self, building: Building) {
        self.state.send_modify(|state| state.building = Some(building));
    }

    /// How far it is with what it has to fold before it answers; `None` when it is whole.
    pub fn building(&self) -> Option<BuildProgress> {
        let state = self.state.borrow();
        state.building.as_ref().map(|building| building.progress(&state.positions))
    }

    /// Whether it is whole and everything before `demanded` is reflected.
    pub(super) fn has(&self, demanded: &Positions) -> bool {
        self.state.borrow().has(demanded)
    }

    /// Refuses a demand for partitions that the topics do not have.
    pub(super) fn require_partitions(&self, demanded: &Positions) -> Result<()> {
        let state = self.state.borrow();
        require_partitions(&format!("view {}", self.name), demanded, |topic| state.partitions.get(topic).copied())
    }

    /// Everything before this is reflected.
    pub fn positions(&self) -> Positions {
        self.state.borrow().positions.clone()
    }

    /// Why it goes no further, where it does not.
    pub fn failure(&self) -> Option<String> {
        self.state.borrow().failure.clone()
    }

    /// Notes that everything before `positions` is reflected now.
    pub fn arrive(&self, positions: Positions) {
        self.state.send_modify(|state| {
            state.positions = positions;
            state.building = state.building.take().filter(|building| !building.ends_at(&state.positions));
        });
    }

    /// Notes that it goes no further.
    pub fn fail(&self, failure: String) {
        self.state.send_modify(|state| state.failure = Some(failure));
    }

    /// Notes that it is meant to go no further.
    pub fn freeze(&self) {
        self.state.send_modify(|state| state.is_frozen = true);
    }

    /// Waits until it is whole and everything before `demanded` is reflected.
    ///
    /// # Errors
    /// [`Unavailable`](model::ErrorKind::Unavailable) after `timeout`, and at once when the relation fails before.
    pub async fn wait_for(&self, demanded: &Positions, timeout: Duration) -> Result<()> {
        tokio::time::timeout(timeout, self.settled(demanded))
            .await
            .unwrap_or_else(|_| Err(self.late(demanded, timeout)))
    }

    /// As [`Frontier::wait_for`], however long it takes.
    ///
    /// # Errors
    /// [`Unavailable`](model::ErrorKind::Unavailable) at once when the relation fails before.
    pub async fn settled(&self, demanded: &Positions) -> Result<()> {
        let mut state = self.state.subscribe();
        let is_settled = |state: &State| state.has(demanded) || state.is_frozen || state.failure.is_some();
        match state.wait_for(is_settled).await {
            Ok(state) if state.has(demanded) => Ok(()),
            Ok(state) if state.is_frozen => {
                let message = format!(
                    "this version of view {} is kept as it was at {}, and will not reach {demanded}",
                    self.name, state.positions
                );
                Err(Error::unavailable(message).with_hint("read the view itself, or demand no later position"))
            }
            Ok(state) => {
                let reason = state.failure.as_deref().unwrap_or_default();
                let message = match &state.building {
                    Some(_) => format!("view {} has failed before it was built: {reason}", self.name),
                    None => format!("view {} has failed and will not reach {demanded}: {reason}", self.name),
                };
                Err(Error::unavailable(message).with_hint("REFRESH MATERIALIZED VIEW builds it anew"))
            }
            Err(_) => Err(Error::unavailable(format!("view {} is gone", self.name))),
        }
    }

    /// The answer to a demand that was not met in time.
    pub(super) fn late(&self, demanded: &Positions, timeout: Duration) -> Error {
        let positions = self.positions();
        let at = if positions.is_empty() { "the start".to_owned() } else { positions.to_string() };
        let waited_ms = timeout.as_millis();
        Error::unavailable(format!(
            "view {} has not reached {demanded} within {waited_ms} ms, it is at {at}",
            self.name
        ))
        .with_hint("try again, or wait longer; a view that does not move at all is shown by its lag")
    }
}
