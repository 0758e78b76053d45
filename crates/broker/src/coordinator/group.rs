//! One classic consumer group, as decisions: a request and the time in, replies to whoever waits out.
//!
//! What must hold: every ticket handed in comes back exactly once, with a reply; a generation has one protocol that
//! all its members speak; assignments are given out only for the generation that they were made for. The rules are
//! Kafka's (<https://kafka.apache.org/protocol#The_Messages_JoinGroup>, KIP-345 for static members, KIP-394 for
//! `MEMBER_ID_REQUIRED`).

mod facts;

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_wire::ErrorCode;

use super::member::{Identity, Join, Member, Protocol, Reply, Sync, Synced, metadata_of};
use crate::settings::GroupSettings;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    /// Members are to join; `is_first` while an empty group waits for company.
    PreparingRebalance {
        deadline_ms: i64,
        is_first: bool,
    },
    /// The leader is to assign.
    CompletingRebalance {
        deadline_ms: i64,
    },
    Stable,
}

/// A group; `T` is how a waiting member is reached.
#[derive(Debug)]
pub(crate) struct Group<T> {
    settings: GroupSettings,
    state: State,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member<T>>,
    // Static members' names, and the member ids that they have now.
    instances: BTreeMap<String, String>,
    // Ids handed out that have not come back, and until when they may.
    promised_ids: BTreeMap<String, i64>,
}

type Replies<T> = Vec<(T, Reply)>;

impl<T> Group<T> {
    pub(crate) fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            promised_ids: BTreeMap::new(),
        }
    }

    /// Whether nothing would be lost with this group.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.members.is_empty() && self.promised_ids.is_empty()
    }

    /// A member wants in, or wants to stay in. `new_member_id` is used if it needs an id.
    pub(crate) fn join(&mut self, join: Join, new_member_id: String, ticket: T, now_ms: i64) -> Replies<T> {
        if let Err(code) = self.check_join(&join) {
            return vec![(ticket, Reply::Failed(code))];
        }
        if join.identity.member_id.is_empty() {
            self.join_new(join, new_member_id, ticket, now_ms)
        } else {
            self.join_known(join, ticket, now_ms)
        }
    }

    /// A member wants its assignment.
    pub(crate) fn sync(&mut self, sync: Sync, ticket: T, now_ms: i64) -> Replies<T> {
        if let Err(code) = self.check_sync(&sync) {
            return vec![(ticket, Reply::Failed(code))];
        }
        let is_leader = sync.identity.member_id == self.leader;
        let is_completing = matches!(self.state, State::CompletingRebalance { .. });
        let synced = |group: &Self, assignment: Bytes| {
            let (protocol_type, protocol) = (group.protocol_type.clone(), group.protocol.clone());
            Reply::Synced(Synced { protocol_type, protocol, assignment })
        };
        let Some(member) = self.members.get_mut(&sync.identity.member_id) else { return Vec::new() };
        member.expires_ms = now_ms + i64::from(member.session_timeout_ms);
        member.has_synced = true;
        if !is_completing {
            let assignment = member.assignment.clone();
            return vec![(ticket, synced(self, assignment))];
        }
        // A request sent again replaces the one that waits.
        let replaced = member.waits_to_sync.replace(ticket);
        let mut replies: Replies<T> =
            replaced.into_iter().map(|old| (old, Reply::Failed(ErrorCode::RebalanceInProgress))).collect();
        if is_leader {
            for (member_id, assignment) in sync.assignments {
                if let Some(member) = self.members.get_mut(&member_id) {
                    // Copied, so that an assignment does not keep the whole request in memory.
                    member.assignment = Bytes::copy_from_slice(&assignment);
                }
            }
            self.state = State::Stable;
            let waiting: Vec<(T, Bytes)> = self
                .members
                .values_mut()
                .filter_map(|member| {
                    let ticket = member.waits_to_sync.take()?;
                    member.expires_ms = now_ms + i64::from(member.session_timeout_ms);
                    Some((ticket, member.assignment.clone()))
                })
                .collect();
            replies.extend(waiting.into_iter().map(|(ticket, assignment)| (ticket, synced(self, assignment))));
        }
        replies
    }

    /// A member is alive.
    pub(crate) fn heartbeat(&mut self, identity: &Identity, generation: i32, now_ms: i64) -> Result<(), ErrorCode> {
        self.check_member(identity)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.touch(&identity.member_id, now_ms);
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance { .. } => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance { .. } | State::Stable => Ok(()),
        }
    }

    /// Whether a member may commit offsets now. Without a generation it is a consumer outside of any group, which may
    /// use the name while nobody else does.
    pub(crate) fn check_commit(&mut self, identity: &Identity, generation: i32, now_ms: i64) -> Result<(), ErrorCode> {
        if generation < 0 && identity.member_id.is_empty() && self.members.is_empty() {
            return Ok(());
        }
        self.check_member(identity)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.touch(&identity.member_id, now_ms);
        match self.state {
            // The generation's assignments are not given out yet, so nobody can have worked on them.
            State::CompletingRebalance { .. } => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::PreparingRebalance { .. } | State::Stable => Ok(()),
        }
    }

    /// A member leaves; a static one may be named by its instance id alone.
    pub(crate) fn leave(&mut self, identity: &Identity, now_ms: i64) -> Result<Replies<T>, ErrorCode> {
        if self.promised_ids.remove(&identity.member_id).is_some() {
            return Ok(self.complete_join_if_all_are_here(now_ms));
        }
        let member_id = match &identity.instance_id {
            Some(instance) if identity.member_id.is_empty() => {
                self.instances.get(instance).cloned().ok_or(ErrorCode::UnknownMemberId)?
            }
            _ => {
                self.check_member(identity)?;
                identity.member_id.clone()
            }
        };
        let mut replies = self.remove(&member_id);
        replies.extend(self.rebalance_after_loss(now_ms));
        Ok(replies)
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now_ms: i64) -> Replies<T> {
        let mut replies = Vec::new();
        let promised = self.promised_ids.len();
        self.promised_ids.retain(|_, expires_ms| *expires_ms > now_ms);
        let lost_promises = self.promised_ids.len() < promised;
        let expired: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| !member.is_waiting() && member.expires_ms <= now_ms)
            .map(|(id, _)| id.clone())
            .collect();
        for member_id in &expired {
            replies.extend(self.remove(member_id));
        }
        match self.state {
            State::PreparingRebalance { deadline_ms, .. } if deadline_ms <= now_ms => {
                replies.extend(self.complete_join(now_ms));
            }
            State::CompletingRebalance { deadline_ms } if deadline_ms <= now_ms => {
                let silent = |member: &Member<T>| !member.has_synced;
                let late: Vec<String> =
                    self.members.iter().filter(|(_, m)| silent(m)).map(|(id, _)| id.clone()).collect();
                for member_id in &late {
                    replies.extend(self.remove(member_id));
                }
                replies.extend(self.rebalance_after_loss(now_ms));
            }
            _ if !expired.is_empty() => replies.extend(self.rebalance_after_loss(now_ms)),
            _ if lost_promises => replies.extend(self.complete_join_if_all_are_here(now_ms)),
            _ => {}
        }
        replies
    }

    fn join_new(&mut self, join: Join, new_member_id: String, ticket: T, now_ms: i64) -> Replies<T> {
        match &join.identity.instance_id {
            Some(instance) => match self.instances.get(instance).cloned() {
                Some(old_member_id) => self.replace_static(&old_member_id, join, &new_member_id, ticket, now_ms),
                None => self.add(join, new_member_id, ticket, now_ms),
            },
            None if join.takes_id_first => {
                self.promised_ids.insert(new_member_id.clone(), now_ms + i64::from(join.session_timeout_ms));
                vec![(ticket, Reply::MemberIdRequired(new_member_id))]
            }
            None => self.add(join, new_member_id, ticket, now_ms),
        }
    }

    fn join_known(&mut self, join: Join, ticket: T, now_ms: i64) -> Replies<T> {
        let member_id = join.identity.member_id.clone();
        if self.promised_ids.remove(&member_id).is_some() {
            return self.add(join, member_id, ticket, now_ms);
        }
        if let Err(code) = self.check_member(&join.identity) {
            return vec![(ticket, Reply::Failed(code))];
        }
        let is_unchanged = self.members.get(&member_id).is_some_and(|member| member.protocols == join.protocols);
        let is_leader = member_id == self.leader;
        match self.state {
            // The answer to an earlier join was lost: give it again.
            State::CompletingRebalance { .. } if is_unchanged => {
                self.touch(&member_id, now_ms);
                vec![(ticket, Reply::Joined(self.joined(&member_id, is_leader)))]
            }
            // A leader that joins again wants to assign anew.
            State::Stable if is_unchanged && !is_leader => {
                self.touch(&member_id, now_ms);
                vec![(ticket, Reply::Joined(self.joined(&member_id, false)))]
            }
            _ => {
                let mut replies = self.put(join, member_id, ticket, now_ms);
                replies.extend(self.prepare_rebalance(now_ms));
                replies
            }
        }
    }

    /// A static member came back under its name: it takes the place, and the assignment, of its former self.
    fn replace_static(
        &mut self,
        old_member_id: &str,
        join: Join,
        new_member_id: &str,
        ticket: T,
        now_ms: i64,
    ) -> Replies<T> {
        let Some(mut member) = self.members.remove(old_member_id) else { return Vec::new() };
        let mut replies: Replies<T> = member
            .waits_to_join
            .take()
            .into_iter()
            .chain(member.waits_to_sync.take())
            .map(|ticket| (ticket, Reply::Failed(ErrorCode::FencedInstanceId)))
            .collect();
        let was_leader = self.leader == old_member_id;
        let keeps_protocol = {
            let candidate = join.protocols.iter().any(|protocol| protocol.name == self.protocol);
            candidate && member.metadata(&self.protocol) == metadata_of(&join.protocols, &self.protocol)
        };
        let assignment = member.assignment.clone();
        let may_skip_assignment = join.may_skip_assignment;
        self.members.insert(new_member_id.to_owned(), member);
        if was_leader {
            new_member_id.clone_into(&mut self.leader);
        }
        replies.extend(self.put(join, new_member_id.to_owned(), ticket, now_ms));
        if let Some(member) = self.members.get_mut(new_member_id) {
            member.assignment = assignment;
        }
        if self.state != State::Stable || !keeps_protocol {
            replies.extend(self.prepare_rebalance(now_ms));
            return replies;
        }
        let Some(ticket) = self.members.get_mut(new_member_id).and_then(|member| member.waits_to_join.take()) else {
            return replies;
        };
        let mut joined = self.joined(new_member_id, was_leader && may_skip_assignment);
        if was_leader && may_skip_assignment {
            joined.skip_assignment = true;
        } else if was_leader {
            // An older client assigns whenever it is told that it leads: tell it that its former self does.
            old_member_id.clone_into(&mut joined.leader);
        }
        replies.push((ticket, Reply::Joined(joined)));
        replies
    }

    fn add(&mut self, join: Join, member_id: String, ticket: T, now_ms: i64) -> Replies<T> {
        if let Some(instance) = &join.identity.instance_id {
            self.instances.insert(instance.clone(), member_id.clone());
        }
        let mut replies = self.put(join, member_id, ticket, now_ms);
        replies.extend(self.prepare_rebalance(now_ms));
        replies
    }

    /// Stores a member that waits to join.
    fn put(&mut self, join: Join, member_id: String, ticket: T, now_ms: i64) -> Replies<T> {
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        let instance_id = join.identity.instance_id.clone();
        let previous = self.members.remove(&member_id);
        let mut replies = Vec::new();
        let mut instance = instance_id;
        if let Some(previous) = previous {
            instance = instance.or(previous.instance_id);
            let waiting = previous.waits_to_join.into_iter().chain(previous.waits_to_sync);
            replies.extend(waiting.map(|ticket| (ticket, Reply::Failed(ErrorCode::RebalanceInProgress))));
        }
        if let Some(name) = &instance {
            self.instances.insert(name.clone(), member_id.clone());
        }
        // Copied, so that a member does not keep its whole request in memory.
        let copied = |protocol: Protocol| Protocol { metadata: Bytes::copy_from_slice(&protocol.metadata), ..protocol };
        let member = Member {
            instance_id: instance,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms.max(join.session_timeout_ms.min(1)),
            protocols: join.protocols.into_iter().map(copied).collect(),
            assignment: Bytes::new(),
            waits_to_join: Some(ticket),
            waits_to_sync: None,
            has_synced: false,
            expires_ms: now_ms + i64::from(join.session_timeout_ms),
        };
        self.members.insert(member_id, member);
        replies
    }

    fn remove(&mut self, member_id: &str) -> Replies<T> {
        let Some(member) = self.members.remove(member_id) else { return Vec::new() };
        if let Some(instance) = &member.instance_id
            && self.instances.get(instance).is_some_and(|id| id == member_id)
        {
            self.instances.remove(instance);
        }
        let waiting = member.waits_to_join.into_iter().chain(member.waits_to_sync);
        waiting.map(|ticket| (ticket, Reply::Failed(ErrorCode::UnknownMemberId))).collect()
    }

    /// Everyone is to join again.
    fn prepare_rebalance(&mut self, now_ms: i64) -> Replies<T> {
        let mut replies = Vec::new();
        match self.state {
            State::PreparingRebalance { .. } => {}
            State::Empty => {
                let delay_ms = self.settings.initial_rebalance_delay_ms;
                self.state = State::PreparingRebalance { deadline_ms: now_ms + delay_ms, is_first: delay_ms > 0 };
            }
            State::CompletingRebalance { .. } | State::Stable => {
                for member in self.members.values_mut() {
                    let waiting = member.waits_to_sync.take();
                    replies.extend(waiting.map(|ticket| (ticket, Reply::Failed(ErrorCode::RebalanceInProgress))));
                }
                let deadline_ms = now_ms + self.rebalance_timeout_ms();
                self.state = State::PreparingRebalance { deadline_ms, is_first: false };
            }
        }
        replies.extend(self.complete_join_if_all_are_here(now_ms));
        replies
    }

    fn rebalance_after_loss(&mut self, now_ms: i64) -> Replies<T> {
        match self.state {
            State::Empty => Vec::new(),
            State::PreparingRebalance { .. } => self.complete_join_if_all_are_here(now_ms),
            State::CompletingRebalance { .. } | State::Stable => self.prepare_rebalance(now_ms),
        }
    }

    fn complete_join_if_all_are_here(&mut self, now_ms: i64) -> Replies<T> {
        let is_due = match self.state {
            State::PreparingRebalance { is_first, .. } => !is_first || self.members.is_empty(),
            _ => false,
        };
        let all_here = self.promised_ids.is_empty() && self.members.values().all(|m| m.waits_to_join.is_some());
        if is_due && all_here { self.complete_join(now_ms) } else { Vec::new() }
    }

    /// Who has joined makes up the next generation. Static members may be missing from it until their session ends.
    fn complete_join(&mut self, now_ms: i64) -> Replies<T> {
        let is_missing = |member: &Member<T>| member.waits_to_join.is_none() && member.instance_id.is_none();
        let missing: Vec<String> =
            self.members.iter().filter(|(_, member)| is_missing(member)).map(|(id, _)| id.clone()).collect();
        let mut replies: Replies<T> = missing.iter().flat_map(|id| self.remove(id)).collect();
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let joined_ids: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.waits_to_join.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        let Some(first) = joined_ids.first() else {
            // Only static members that have not come back are left, or nobody.
            if self.members.is_empty() {
                self.state = State::Empty;
                self.protocol.clear();
                self.leader.clear();
            } else {
                let deadline_ms = now_ms + self.rebalance_timeout_ms();
                self.state = State::PreparingRebalance { deadline_ms, is_first: false };
            }
            return replies;
        };
        if !joined_ids.contains(&self.leader) {
            self.leader.clone_from(first);
        }
        self.protocol = self.elect_protocol();
        self.state = State::CompletingRebalance { deadline_ms: now_ms + self.rebalance_timeout_ms() };
        for id in &joined_ids {
            let reply = Reply::Joined(self.joined(id, *id == self.leader));
            if let Some(member) = self.members.get_mut(id) {
                member.has_synced = false;
                member.assignment = Bytes::new();
                member.expires_ms = now_ms + i64::from(member.session_timeout_ms);
                replies.extend(member.waits_to_join.take().map(|ticket| (ticket, reply)));
            }
        }
        replies
    }

    fn touch(&mut self, member_id: &str, now_ms: i64) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires_ms = now_ms + i64::from(member.session_timeout_ms);
        }
    }
}
