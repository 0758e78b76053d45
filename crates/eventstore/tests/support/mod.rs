//! The aggregate that the tests over a log on disk command: a sum that does not go over a limit.

use eventstore::{Context, Decider, Rejection};
use serde::{Deserialize, Serialize};

/// A sum; its events say what was added.
pub(crate) struct Sum {
    /// The most that it can be.
    pub(crate) most: u32,
    /// The same in words, as rejections say it.
    pub(crate) most_in_words: &'static str,
    /// The rule that rejects what goes over it.
    pub(crate) rule: &'static str,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub(crate) enum Command {
    Add(u32),
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub(crate) enum Event {
    Added(u32),
}

impl Decider for Sum {
    type Command = Command;
    type Event = Event;
    type State = u32;

    fn initial(&self) -> u32 {
        0
    }

    fn decide(&self, state: &u32, command: &Command, _: &Context) -> Result<Vec<Event>, Rejection> {
        let Command::Add(number) = command;
        if state + number > self.most {
            let message = format!("{state} and {number} are more than {}", self.most_in_words);
            return Err(Rejection::new(self.rule, message));
        }
        Ok(vec![Event::Added(*number)])
    }

    fn evolve(&self, state: u32, event: &Event) -> u32 {
        let Event::Added(number) = event;
        state + number
    }
}
