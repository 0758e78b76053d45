//! The core trait of event sourcing: decide purely, evolve purely.
//!
//! What must hold: neither [`Decider::decide`] nor [`Decider::evolve`] reads a clock, a random number or anything
//! else from outside; what a decision may depend on is in the state, the command and the [`Context`]. So folding the
//! same events gives the same state, for ever.

use std::borrow::Cow;

use model::Principal;

use crate::{CommandId, StreamName};

/// The behaviour of one kind of aggregate.
///
/// To be [registered](crate::Aggregates::register), commands, events and state must be serde types; commands and
/// events are enums with `#[serde(tag = "type", content = "data")]`, so that `{"type": "depart", "data": {"gate": 7}}`
/// is a command and `departed` with the data `{"gate": 7}` is an event. An event that was written and read again must
/// be the same event: the state after a command is folded from what was decided, later ones from what was written.
pub trait Decider: Send + Sync + 'static {
    /// What may be asked of the aggregate.
    type Command;
    /// What may have happened to it.
    type Event;
    /// What decisions need to know about it.
    type State;

    /// The state before the first event.
    fn initial(&self) -> Self::State;

    /// What happens when this command is asked of this state: some events, none, or a rejection.
    ///
    /// # Errors
    /// A [`Rejection`] when a rule forbids the command.
    fn decide(
        &self,
        state: &Self::State,
        command: &Self::Command,
        context: &Context,
    ) -> Result<Vec<Self::Event>, Rejection>;

    /// The state after an event. An event that has been recorded is a fact: there is no refusing it.
    fn evolve(&self, state: Self::State, event: &Self::Event) -> Self::State;
}

/// A business rule said no.
///
/// It is kept under the command's id, with at most 256 bytes of the rule's name and 1024 of the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rejected by rule {rule}: {reason}")]
pub struct Rejection {
    /// The rule's stable name, for example `already_departed`: programs and metrics go by it.
    pub rule: Cow<'static, str>,
    /// Why, in words for whoever sent the command.
    pub reason: String,
}

impl Rejection {
    /// A rejection by a named rule.
    pub fn new(rule: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self { rule: rule.into(), reason: reason.into() }
    }

    /// The rejection as it is kept.
    pub(crate) fn bounded(self) -> Self {
        const RULE_BYTES_MAX: usize = 256;
        const REASON_BYTES_MAX: usize = 1024;
        let Self { rule, reason } = self;
        let rule = if rule.len() > RULE_BYTES_MAX { cut(&rule, RULE_BYTES_MAX).into() } else { rule };
        Self { rule, reason: if reason.len() > REASON_BYTES_MAX { cut(&reason, REASON_BYTES_MAX) } else { reason } }
    }
}

/// The beginning of a text that is too long, in at most so many bytes.
fn cut(text: &str, bytes_max: usize) -> String {
    const MORE: &str = "...";
    format!("{}{MORE}", &text[..text.floor_char_boundary(bytes_max - MORE.len())])
}

/// What a decision may know beside state and command.
#[derive(Clone, Debug)]
pub struct Context {
    /// The stream of the aggregate.
    pub stream: StreamName,
    /// The version of the state; `None` before the first event.
    pub version: Option<u64>,
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
    /// When the command takes effect in the world, in milliseconds since the epoch; `now_ms` unless it said otherwise.
    pub effective_time_ms: i64,
    /// The command's id.
    pub command_id: CommandId,
    /// Who sent it.
    pub principal: Principal,
}
