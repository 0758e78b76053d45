//! A decider without its types: JSON commands in, JSON events out.

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{CommandError, Context, Decider};

/// A state whose type only its behaviour knows.
pub(crate) type State = Arc<dyn Any + Send + Sync>;

/// An event that was decided, encoded.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) event_type: String,
    pub(crate) data: Bytes,
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

    fn decide(
        &self,
        state: &State,
        command_type: &str,
        data: &Value,
        context: &Context,
    ) -> Result<Vec<Decided>, CommandError>;

    /// Whether an event, given as type and JSON data, is one that can be folded; if not, why.
    fn check(&self, event_type: &str, data: &[u8]) -> Result<(), String>;

    /// Folds events, given as type and JSON data.
    fn fold(&self, state: State, events: &mut dyn Iterator<Item = (&str, &[u8])>) -> Result<State, Unfoldable>;

    fn to_json(&self, state: &State) -> Result<Value, String>;
}

/// The behaviour of a [`Decider`] whose types are serde's.
pub(crate) struct Json<D>(pub(crate) D);

impl<D> Behaviour for Json<D>
where
    D: Decider,
    D::Command: DeserializeOwned,
    D::Event: Serialize + DeserializeOwned,
    D::State: Serialize + Clone + Send + Sync + 'static,
{
    fn initial(&self) -> State {
        Arc::new(self.0.initial())
    }

    fn decide(
        &self,
        state: &State,
        command_type: &str,
        data: &Value,
        context: &Context,
    ) -> Result<Vec<Decided>, CommandError> {
        let invalid = |error| CommandError::InvalidCommand { command_type: command_type.to_owned(), reason: error };
        let data = serde_json::to_vec(data).map_err(|error| invalid(error.to_string()))?;
        let command = from_tagged(command_type, &data).map_err(|error| invalid(error.to_string()))?;
        let events = self.0.decide(state_of::<D>(state), &command, context)?;
        let encode = |event| to_tagged(&event).map_err(CommandError::InvalidEvent);
        events.into_iter().map(encode).collect()
    }

    fn check(&self, event_type: &str, data: &[u8]) -> Result<(), String> {
        from_tagged::<D::Event>(event_type, data).map(drop).map_err(|error| error.to_string())
    }

    fn fold(&self, state: State, events: &mut dyn Iterator<Item = (&str, &[u8])>) -> Result<State, Unfoldable> {
        let Ok(state) = state.downcast::<D::State>() else { unreachable!("{STATE_TYPE}") };
        let mut state = Arc::unwrap_or_clone(state);
        for (at, (event_type, data)) in events.enumerate() {
            let event = from_tagged(event_type, data).map_err(|error| Unfoldable { at, reason: error.to_string() })?;
            state = self.0.evolve(state, &event);
        }
        Ok(Arc::new(state))
    }

    fn to_json(&self, state: &State) -> Result<Value, String> {
        serde_json::to_value(state_of::<D>(state)).map_err(|error| error.to_string())
    }
}

const STATE_TYPE: &str = "a behaviour is only given states that it made";

fn state_of<D: Decider>(state: &State) -> &D::State
where
    D::State: 'static,
{
    state.downcast_ref::<D::State>().expect(STATE_TYPE)
}

/// A value of an adjacently tagged enum from its tag and its JSON content.
///
/// Content that says nothing (`null` or `{}`) may also be left out, as serde wants it for variants without content.
fn from_tagged<T: DeserializeOwned>(tag: &str, data: &[u8]) -> Result<T, serde_json::Error> {
    // As text, with the tag first: so serde reads the content straight into the variant.
    let mut text = Vec::with_capacity(tag.len() + data.len() + 24);
    text.extend_from_slice(b"{\"type\":");
    serde_json::to_writer(&mut text, tag)?;
    let without_content = text.len();
    text.extend_from_slice(b",\"data\":");
    text.extend_from_slice(data);
    text.push(b'}');
    let error = match serde_json::from_slice(&text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if !matches!(data.trim_ascii(), b"null" | b"{}") {
        return Err(error);
    }
    text.truncate(without_content);
    text.push(b'}');
    serde_json::from_slice(&text).map_err(|_| error)
}

/// The tag of a value of an adjacently tagged enum, and its content as JSON; `{}` when it has none.
fn to_tagged<T: Serialize>(value: &T) -> Result<Decided, String> {
    let value = serde_json::to_value(value).map_err(|error| error.to_string())?;
    let Value::Object(mut object) = value else {
        return Err(format!("an event must be an object with type and data, not {value}"));
    };
    let (tag, data) = (object.remove("type"), object.remove("data"));
    let Some(Value::String(event_type)) = tag else {
        return Err("an event's enum needs #[serde(tag = \"type\", content = \"data\")]".to_owned());
    };
    if let Some((field, _)) = object.into_iter().next() {
        return Err(format!("the event {event_type} has the field {field} beside type and data"));
    }
    let data = data.map_or_else(|| "{}".to_owned(), |data| data.to_string());
    Ok(Decided { event_type, data: data.into() })
}

#[cfg(test)]
mod tests;
