//! Questions about a group that change nothing: who may, who is in, what is shown, when to look again.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_wire::ErrorCode;

use super::super::member::{Description, Identity, Join, Joined, Member, MemberDescription, Protocol, Sync};
use super::{Group, State};
use crate::settings::GroupSettings;

impl<T> Group<T> {
    /// When [`tick`](Self::tick) has something to do next.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        let state = match self.state {
            State::PreparingRebalance { deadline_ms, .. } | State::CompletingRebalance { deadline_ms } => {
                Some(deadline_ms)
            }
            State::Empty | State::Stable => None,
        };
        let members = self.members.values().filter(|member| !member.is_waiting()).map(|member| member.expires_ms);
        members.chain(self.promised_ids.values().copied()).chain(state).min()
    }

    /// About how much its members take in memory.
    pub(crate) fn bytes(&self) -> usize {
        const PROMISE_BYTES: usize = 64;
        let promised = self.promised_ids.keys().map(|id| PROMISE_BYTES + id.len()).sum::<usize>();
        promised + self.members.iter().map(|(id, member)| member.bytes(id)).sum::<usize>()
    }

    /// What kind of group it is.
    pub(crate) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// What is left of a group without members.
    pub(crate) fn into_protocol_type(self) -> String {
        self.protocol_type
    }

    /// Kafka's word for what the group does.
    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::PreparingRebalance { .. } => "PreparingRebalance",
            State::CompletingRebalance { .. } => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }

    /// The group as it is shown.
    pub(crate) fn describe(&self) -> Description {
        let state = self.state_name();
        let is_stable = self.state == State::Stable;
        let member = |(id, member): (&String, &Member<T>)| MemberDescription {
            identity: Identity { member_id: id.clone(), instance_id: member.instance_id.clone() },
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if is_stable { member.metadata(&self.protocol) } else { Bytes::new() },
            assignment: if is_stable { member.assignment.clone() } else { Bytes::new() },
        };
        Description {
            state,
            protocol_type: self.protocol_type.clone(),
            protocol: if is_stable { self.protocol.clone() } else { String::new() },
            members: self.members.iter().map(member).collect(),
        }
    }

    pub(super) fn check_join(&self, join: &Join) -> Result<(), ErrorCode> {
        let GroupSettings { session_timeout_ms_min, session_timeout_ms_max, members_max, .. } = self.settings;
        if !(session_timeout_ms_min..=session_timeout_ms_max).contains(&join.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let id = &join.identity.member_id;
        let others = || self.members.iter().filter(|(other, _)| *other != id);
        if others().next().is_some() {
            let is_shared = |protocol: &Protocol| others().all(|(_, member)| member.speaks(&protocol.name));
            if join.protocol_type != self.protocol_type || !join.protocols.iter().any(is_shared) {
                return Err(ErrorCode::InconsistentGroupProtocol);
            }
        }
        // Ids handed out count too, or a client could be given any number of them.
        let is_new = !self.members.contains_key(id) && !self.promised_ids.contains_key(id);
        let is_replacement = join.identity.instance_id.as_ref().is_some_and(|name| self.instances.contains_key(name));
        if is_new && !is_replacement && self.members.len() + self.promised_ids.len() >= members_max {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        // What it takes now is given back. It is the leader that is told of all, in one answer.
        let now = self.members.get(id).map_or(0, |member| member.bytes(id));
        if self.bytes() - now + join.bytes() > self.settings.group_bytes_max {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        Ok(())
    }

    pub(super) fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        self.check_member(&sync.identity)?;
        if sync.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: &Option<String>, is: &str| said.as_ref().is_some_and(|said| said != is);
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.bytes() + sync.bytes() > self.settings.group_bytes_max {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance { .. } => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance { .. } | State::Stable => Ok(()),
        }
    }

    pub(super) fn check_member(&self, identity: &Identity) -> Result<(), ErrorCode> {
        if let Some(instance) = &identity.instance_id {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if *current != identity.member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(&identity.member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// The protocol that all speak and most prefer; the first by name among equals.
    pub(super) fn elect_protocol(&self) -> String {
        let is_shared = |name: &str| self.members.values().all(|member| member.speaks(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.protocols.iter().find(|protocol| is_shared(&protocol.name)) {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        let best = votes.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        best.map(|(name, _)| (*name).to_owned()).unwrap_or_default()
    }

    pub(super) fn joined(&self, member_id: &str, with_members: bool) -> Joined {
        let listed = |(id, member): (&String, &Member<T>)| {
            let identity = Identity { member_id: id.clone(), instance_id: member.instance_id.clone() };
            (identity, member.metadata(&self.protocol))
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: member_id.to_owned(),
            skip_assignment: false,
            members: if with_members { self.members.iter().map(listed).collect() } else { Vec::new() },
        }
    }

    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }
}
