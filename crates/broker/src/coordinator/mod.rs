//! The coordinator of consumer groups: one task that owns every group.
//!
//! What it is: a loop over [`Command`]s and the groups' own deadlines; each decision is made by [`group`], without
//! time or I/O of its own. What it is not: the keeper of committed offsets, which live in the log.
//!
//! What must hold: a group without members, and without ids handed out that may still come back, takes no memory.

mod group;
mod member;

use std::collections::BTreeMap;

use kafka_wire::ErrorCode;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

pub(crate) use group::Group;
pub(crate) use member::{Description, Identity, Join, Joined, MemberDescription, Protocol, Reply, Sync};

use crate::server::stopped;
use crate::settings::GroupSettings;

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
    List { answer: oneshot::Sender<Vec<(String, Description)>> },
}

impl Coordinator {
    /// Starts the task; it ends when `stopping` becomes true.
    pub(crate) fn start(settings: GroupSettings, stopping: watch::Receiver<bool>) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS_WAITING_MAX);
        let task = CoordinatorTask { groups: BTreeMap::new(), settings, started: Instant::now() };
        tokio::spawn(task.run(received, stopping));
        Self { commands }
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

    /// The group, if it has members.
    pub(crate) async fn describe(&self, group: &str) -> Result<Option<Description>, ErrorCode> {
        let group = group.to_owned();
        self.ask(|answer| Command::Describe { group, answer }).await.ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// The groups that have members.
    pub(crate) async fn list(&self) -> Result<Vec<(String, Description)>, ErrorCode> {
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
    settings: GroupSettings,
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
        for group in self.groups.values_mut() {
            deliver(group.tick(now_ms));
        }
        self.groups.retain(|_, group| !group.is_forgettable());
    }

    fn handle(&mut self, command: Command) {
        let now_ms = self.now_ms();
        // A receiver that is gone has closed its connection; nobody waits for the answer.
        match command {
            Command::Join { group, join, ticket } => self.join(&group, join, ticket, now_ms),
            Command::Sync { group, sync, ticket } => match self.groups.get_mut(&group) {
                Some(group) => deliver(group.sync(sync, ticket, now_ms)),
                None => deliver(vec![(ticket, Reply::Failed(ErrorCode::UnknownMemberId))]),
            },
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
                let _ = answer.send(self.groups.get(&group).map(Group::describe));
            }
            Command::List { answer } => {
                let groups = self.groups.iter().map(|(name, group)| (name.clone(), group.describe()));
                let _ = answer.send(groups.collect());
            }
        }
    }

    fn join(&mut self, name: &str, join: Join, ticket: Ticket, now_ms: i64) {
        if !self.groups.contains_key(name) && self.groups.len() >= self.settings.groups_max {
            return deliver(vec![(ticket, Reply::Failed(ErrorCode::CoordinatorNotAvailable))]);
        }
        let new_member_id = format!("{}-{}", join.client_id, Uuid::new_v4());
        let settings = self.settings;
        let group = self.groups.entry(name.to_owned()).or_insert_with(|| Group::new(settings));
        deliver(group.join(join, new_member_id, ticket, now_ms));
        if group.is_forgettable() {
            self.groups.remove(name);
        }
    }

    fn leave(&mut self, name: &str, members: Vec<Identity>, now_ms: i64) -> Vec<(Identity, Result<(), ErrorCode>)> {
        let Some(group) = self.groups.get_mut(name) else {
            return members.into_iter().map(|identity| (identity, Err(ErrorCode::UnknownMemberId))).collect();
        };
        let leave = |identity: Identity| {
            let left = group.leave(&identity, now_ms);
            let result = left.map(deliver);
            (identity, result)
        };
        let results = members.into_iter().map(leave).collect();
        if group.is_forgettable() {
            self.groups.remove(name);
        }
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
