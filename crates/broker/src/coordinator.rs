//! The coordinator of consumer groups: one task that owns every group.
//!
//! What it is: a loop over [`Command`]s and the groups' own deadlines; each decision is made by [`group`], without
//! time or I/O of its own. What it is not: the keeper of committed offsets, which live in the log.
//!
//! What must hold: of a group without members, and without ids handed out that may still come back, no more is kept than
//! what kind it was; what all groups keep of their members is bounded.

mod group;
mod member;

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_wire::ErrorCode;
use model::Entropy;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub(crate) use group::Group;
pub(crate) use member::{Description, Identity, Join, Joined, Listed, MemberDescription, Protocol, Reply, Sync};

use crate::settings::GroupSettings;
use crate::stop::stopped;

const COMMANDS_WAITING_MAX: usize = 1024;

/// How the requests reach the task.
#[derive(Clone, Debug)]
pub(crate) struct Coordinator {
    commands: mpsc::Sender<Command>,
}

type Ticket = oneshot::Sender<Reply>;

/// What the task does.
#[derive(Debug)]
enum Command {
    Join { group: String, join: Join, ticket: Ticket },
    Sync { group: String, sync: Sync, ticket: Ticket },
    Heartbeat { group: String, identity: Identity, generation: i32, answer: oneshot::Sender<Result<(), ErrorCode>> },
    Leave { group: String, members: Vec<Identity>, answer: oneshot::Sender<Vec<(Identity, Result<(), ErrorCode>)>> },
    CheckCommit { group: String, identity: Identity, generation: i32, answer: oneshot::Sender<Result<(), ErrorCode>> },
    Describe { group: String, answer: oneshot::Sender<Option<Description>> },
    List { answer: oneshot::Sender<Vec<Listed>> },
}

impl Coordinator {
    /// Starts the task; it ends when `stopping` becomes true, which whoever starts it waits for.
    pub(crate) fn start(
        settings: GroupSettings,
        entropy: Arc<dyn Entropy>,
        stopping: watch::Receiver<bool>,
    ) -> (Self, JoinHandle<()>) {
        let (commands, received) = mpsc::channel(COMMANDS_WAITING_MAX);
        let task = CoordinatorTask {
            groups: BTreeMap::new(),
            former: BTreeMap::new(),
            bytes: 0,
            settings,
            entropy,
            started: Instant::now(),
        };
        let task = tokio::spawn(task.run(received, stopping));
        (Self { commands }, task)
    }

    pub(crate) async fn join(&self, group: &str, join: Join) -> Reply {
        let group = group.to_owned();
        let reply = self.ask(|ticket| Command::Join { group, join, ticket }).await;
        reply.unwrap_or(Reply::Failed(ErrorCode::CoordinatorNotAvailable))
    }

    pub(crate) async fn sync(&self, group: &str, sync: Sync) -> Reply {
        let group = group.to_owned();
        let reply = self.ask(|ticket| Command::Sync { group, sync, ticket }).await;
        reply.unwrap_or(Reply::Failed(ErrorCode::CoordinatorNotAvailable))
    }

    pub(crate) async fn heartbeat(&self, group: &str, identity: Identity, generation: i32) -> Result<(), ErrorCode> {
        let group = group.to_owned();
        self.ask(|answer| Command::Heartbeat { group, identity, generation, answer })
            .await
            .unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }

    pub(crate) async fn leave(
        &self,
        group: &str,
        members: Vec<Identity>,
    ) -> Result<Vec<(Identity, Result<(), ErrorCode>)>, ErrorCode> {
        let group = group.to_owned();
        self.ask(|answer| Command::Leave { group, members, answer }).await.ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// Whether this member may commit offsets for the group now.
    pub(crate) async fn check_commit(&self, group: &str, identity: Identity, generation: i32) -> Result<(), ErrorCode> {
        let group = group.to_owned();
        self.ask(|answer| Command::CheckCommit { group, identity, generation, answer })
            .await
            .unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }

    /// The group, if it has members, or had some.
    pub(crate) async fn describe(&self, group: &str) -> Result<Option<Description>, ErrorCode> {
        let group = group.to_owned();
        self.ask(|answer| Command::Describe { group, answer }).await.ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// The groups that have members, and those that had some and may have offsets.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, ErrorCode> {
        self.ask(|answer| Command::List { answer }).await.ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.ok()?;
        answered.await.ok()
    }
}

struct CoordinatorTask {
    groups: BTreeMap<String, Group<Ticket>>,
    /// The protocol types of groups that have no members any more; of as many as may have members.
    former: BTreeMap<String, String>,
    /// What all groups take in memory.
    bytes: usize,
    settings: GroupSettings,
    entropy: Arc<dyn Entropy>,
    started: Instant,
}

impl CoordinatorTask {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut stopping: watch::Receiver<bool>) {
        loop {
            let deadline = self.groups.values().filter_map(Group::next_deadline_ms).min();
            let wake = deadline.map_or_else(far_future, |ms| {
                self.started + std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0))
            });
            tokio::select! {
                () = stopped(&mut stopping) => return,
                command = commands.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return,
                },
                () = sleep_until(wake) => self.tick(),
            }
        }
    }

    // Milliseconds since the task started: deadlines must not follow a clock that is set.
    fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn tick(&mut self) {
        // The timer rounds down to milliseconds, a deadline is the first moment at which it has passed.
        let now_ms = self.now_ms();
        self.bytes = 0;
        for group in self.groups.values_mut() {
            deliver(group.tick(now_ms));
            self.bytes += group.bytes();
        }
        let forgotten: Vec<String> =
            self.groups.iter().filter(|(_, group)| group.is_forgettable()).map(|(name, _)| name.clone()).collect();
        forgotten.iter().for_each(|name| self.forget_if_empty(name));
    }

    /// Gives up a group without members, but for what kind of group it was.
    fn forget_if_empty(&mut self, name: &str) {
        if !self.groups.get(name).is_some_and(Group::is_forgettable) {
            return;
        }
        let Some(group) = self.groups.remove(name) else { return };
        self.bytes = self.bytes.saturating_sub(group.bytes());
        let protocol_type = group.into_protocol_type();
        if protocol_type.is_empty() {
            return;
        }
        self.former.insert(name.to_owned(), protocol_type);
        while self.former.len() > self.settings.groups_max {
            self.former.pop_first();
        }
    }

    fn describe(&self, name: &str) -> Option<Description> {
        let former = || self.former.get(name).map(|protocol_type| Description::empty(protocol_type.clone()));
        self.groups.get(name).map(Group::describe).or_else(former)
    }

    fn list(&self) -> Vec<Listed> {
        let current = self.groups.iter().map(|(name, group)| Listed {
            name: name.clone(),
            protocol_type: group.protocol_type().to_owned(),
            state: group.state_name(),
            has_members: true,
        });
        let former = self.former.iter().filter(|(name, _)| !self.groups.contains_key(*name));
        let former = former.map(|(name, protocol_type)| Listed {
            name: name.clone(),
            protocol_type: protocol_type.clone(),
            state: "Empty",
            has_members: false,
        });
        current.chain(former).collect()
    }

    fn handle(&mut self, command: Command) {
        let now_ms = self.now_ms();
        // A receiver that is gone has closed its connection; nobody waits for the answer.
        match command {
            Command::Join { group, join, ticket } => self.join(&group, join, ticket, now_ms),
            Command::Sync { group, sync, ticket } => self.sync(&group, sync, ticket, now_ms),
            Command::Heartbeat { group, identity, generation, answer } => {
                let _ = answer.send(match self.groups.get_mut(&group) {
                    Some(group) => group.heartbeat(&identity, generation, now_ms),
                    None => Err(ErrorCode::UnknownMemberId),
                });
            }
            Command::Leave { group, members, answer } => {
                let _ = answer.send(self.leave(&group, members, now_ms));
            }
            Command::CheckCommit { group, identity, generation, answer } => {
                let _ = answer.send(match self.groups.get_mut(&group) {
                    Some(group) => group.check_commit(&identity, generation, now_ms),
                    None if generation < 0 => Ok(()),
                    None => Err(ErrorCode::UnknownMemberId),
                });
            }
            Command::Describe { group, answer } => {
                let _ = answer.send(self.describe(&group));
            }
            Command::List { answer } => {
                let _ = answer.send(self.list());
            }
        }
    }

    fn join(&mut self, name: &str, join: Join, ticket: Ticket, now_ms: i64) {
        let is_new = !self.groups.contains_key(name);
        if is_new && self.groups.len() >= self.settings.groups_max || !self.has_room(join.bytes()) {
            // Members try again, and find room when others have left.
            return deliver(vec![(ticket, Reply::Failed(ErrorCode::CoordinatorNotAvailable))]);
        }
        let new_member_id = format!("{}-{}", join.client_id, self.entropy.uuid());
        let settings = self.settings;
        let group = self.groups.entry(name.to_owned()).or_insert_with(|| Group::new(settings));
        let before = if is_new { 0 } else { group.bytes() };
        deliver(group.join(join, new_member_id, ticket, now_ms));
        self.bytes = self.bytes.saturating_sub(before) + group.bytes();
        self.forget_if_empty(name);
    }

    fn sync(&mut self, name: &str, sync: Sync, ticket: Ticket, now_ms: i64) {
        let has_room = self.has_room(sync.bytes());
        let reply = match self.groups.get_mut(name) {
            None => Reply::Failed(ErrorCode::UnknownMemberId),
            Some(_) if !has_room => Reply::Failed(ErrorCode::CoordinatorNotAvailable),
            Some(group) => {
                let before = group.bytes();
                deliver(group.sync(sync, ticket, now_ms));
                self.bytes = self.bytes.saturating_sub(before) + group.bytes();
                return;
            }
        };
        deliver(vec![(ticket, reply)]);
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.settings.groups_bytes_max
    }

    fn leave(&mut self, name: &str, members: Vec<Identity>, now_ms: i64) -> Vec<(Identity, Result<(), ErrorCode>)> {
        let before = self.groups.get(name).map_or(0, Group::bytes);
        let Some(group) = self.groups.get_mut(name) else {
            return members.into_iter().map(|identity| (identity, Err(ErrorCode::UnknownMemberId))).collect();
        };
        let leave = |identity: Identity| {
            let left = group.leave(&identity, now_ms);
            let result = left.map(deliver);
            (identity, result)
        };
        let results = members.into_iter().map(leave).collect();
        self.bytes = self.bytes.saturating_sub(before) + group.bytes();
        self.forget_if_empty(name);
        results
    }
}

fn deliver(replies: Vec<(Ticket, Reply)>) {
    for (ticket, reply) in replies {
        // A member that closed its connection is removed by its session timeout.
        let _ = ticket.send(reply);
    }
}

fn far_future() -> Instant {
    Instant::now() + std::time::Duration::from_secs(3600)
}

#[cfg(test)]
mod tests;
