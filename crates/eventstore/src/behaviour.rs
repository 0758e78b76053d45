//! A decider without its types: JSON commands in, JSON events out.

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Context, Decider, Rejection,
    tagged::{Mismatch, from_tagged, to_tagged},
};

/// A state whose type only its behaviour knows.
pub(crate) type State = Arc<dyn Any + Send + Sync>;

/// Decided events whose types only their behaviour knows.
pub(crate) type Facts = Box<dyn Any + Send>;

/// What was decided: the same events in two forms.
pub(crate) struct Decided {
    /// As type and JSON data.
    pub(crate) encoded: Vec<(String, Bytes)>,
    /// As they are, for the state after them.
    pub(crate) facts: Facts,
}

/// Why nothing was decided.
#[derive(Debug)]
pub(crate) enum Undecided {
    Rejected(Rejection),
    /// The command is not one of the decider.
    Command(Mismatch),
    /// One of its events cannot be written down, for this reason.
    Event(String),
}

/// Why an event could not be folded.
#[derive(Debug)]
pub(crate) struct Unfoldable {
    /// Which of the events, counted from 0.
    pub(crate) at: usize,
    pub(crate) reason: String,
}

/// A decider without its types.
pub(crate) trait Behaviour: Send + Sync {
    fn initial(&self) -> State;

    /// Decides a command, given as type and JSON data.
    fn decide(&self, state: &State, command_type: &str, data: &[u8], context: &Context) -> Result<Decided, Undecided>;

    /// Whether an event, given as type and JSON data, is one that can be folded.
    fn check(&self, event_type: &str, data: &[u8]) -> Result<(), Mismatch>;

    /// Folds events, given as type and JSON data.
    fn fold(&self, state: State, events: &mut dyn Iterator<Item = (&str, &[u8])>) -> Result<State, Unfoldable>;

    /// Folds what was just decided.
    fn evolve(&self, state: State, facts: Facts) -> State;

    fn to_json(&self, state: &State) -> Result<Value, String>;
}

/// The behaviour of a [`Decider`] whose types are serde's.
pub(crate) struct Json<D>(pub(crate) D);

impl<D> Behaviour for Json<D>
where
    D: Decider,
    D::Command: DeserializeOwned,
    D::Event: Serialize + DeserializeOwned + Send + 'static,
    D::State: Serialize + Clone + Send + Sync + 'static,
{
    fn initial(&self) -> State {
        Arc::new(self.0.initial())
    }

    fn decide(&self, state: &State, command_type: &str, data: &[u8], context: &Context) -> Result<Decided, Undecided> {
        let command = from_tagged(command_type, data).map_err(Undecided::Command)?;
        let state = state.downcast_ref::<D::State>().expect(OWN_TYPES);
        let facts = self.0.decide(state, &command, context).map_err(Undecided::Rejected)?;
        let encoded = facts.iter().map(to_tagged).collect::<Result<_, _>>().map_err(Undecided::Event)?;
        Ok(Decided { encoded, facts: Box::new(facts) })
    }

    fn check(&self, event_type: &str, data: &[u8]) -> Result<(), Mismatch> {
        from_tagged::<D::Event>(event_type, data).map(drop)
    }

    fn fold(&self, state: State, events: &mut dyn Iterator<Item = (&str, &[u8])>) -> Result<State, Unfoldable> {
        let mut state = owned::<D::State>(state);
        for (at, (event_type, data)) in events.enumerate() {
            let event = from_tagged(event_type, data).map_err(|error| Unfoldable { at, reason: error.to_string() })?;
            state = self.0.evolve(state, &event);
        }
        Ok(Arc::new(state))
    }

    fn evolve(&self, state: State, facts: Facts) -> State {
        let facts = facts.downcast::<Vec<D::Event>>().expect(OWN_TYPES);
        Arc::new(facts.iter().fold(owned::<D::State>(state), |state, event| self.0.evolve(state, event)))
    }

    fn to_json(&self, state: &State) -> Result<Value, String> {
        serde_json::to_value(state.downcast_ref::<D::State>().expect(OWN_TYPES)).map_err(|error| error.to_string())
    }
}

const OWN_TYPES: &str = "a behaviour is only given what it made";

/// The state itself; copied only when somebody else holds it too.
fn owned<S: Clone + Send + Sync + 'static>(state: State) -> S {
    Arc::unwrap_or_clone(state.downcast::<S>().expect(OWN_TYPES))
}
