//! What members ask, what they are told, and what a group remembers of each.

use bytes::Bytes;
use kafka_wire::ErrorCode;

/// A protocol that a member speaks, most preferred first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: String,
    pub(crate) metadata: Bytes,
}

/// Who a member says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) member_id: String,
    /// The name of a static member.
    pub(crate) instance_id: Option<String>,
}

/// A wish to be in the next generation.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) identity: Identity,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<Protocol>,
    /// Whether the client understands being given an id first, and asked to come back with it.
    pub(crate) takes_id_first: bool,
    /// Whether the client understands that a leader need not assign.
    pub(crate) may_skip_assignment: bool,
}

/// What a member takes in memory besides its texts.
const MEMBER_BYTES: usize = 512;
/// What a protocol of a member takes besides its name and metadata.
const PROTOCOL_BYTES: usize = 96;

impl Join {
    /// About how much a member takes that joins so.
    pub(super) fn bytes(&self) -> usize {
        let Identity { member_id, instance_id } = &self.identity;
        // A member's id begins with its client's.
        let texts = member_id.len().max(self.client_id.len()) + self.client_id.len() + self.client_host.len();
        let texts = texts + 2 * instance_id.as_ref().map_or(0, String::len) + self.protocol_type.len();
        MEMBER_BYTES + texts + protocol_bytes(&self.protocols)
    }
}

impl Sync {
    /// How much the assignments take.
    pub(super) fn bytes(&self) -> usize {
        self.assignments.iter().map(|(_, assignment)| assignment.len()).sum()
    }
}

fn protocol_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| PROTOCOL_BYTES + protocol.name.len() + protocol.metadata.len()).sum()
}

/// A wish for one's assignment; from the leader, everybody's.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) identity: Identity,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// What a waiting member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Joined(Joined),
    Synced(Synced),
    /// Come back with this id.
    MemberIdRequired(String),
    Failed(ErrorCode),
}

/// The generation that a member is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    pub(crate) skip_assignment: bool,
    /// For the leader: every member's identity and metadata.
    pub(crate) members: Vec<(Identity, Bytes)>,
}

/// What a member is to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

/// A group as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) state: &'static str,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<MemberDescription>,
}

impl Description {
    /// A group whose members have all left.
    pub(super) fn empty(protocol_type: String) -> Self {
        Self { state: "Empty", protocol_type, protocol: String::new(), members: Vec::new() }
    }
}

/// A group as it stands in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) protocol_type: String,
    pub(crate) state: &'static str,
    pub(crate) has_members: bool,
}

/// A member as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberDescription {
    pub(crate) identity: Identity,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

/// A member as its group knows it; `T` is how it is reached while it waits.
#[derive(Debug)]
pub(super) struct Member<T> {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    pub(super) waits_to_join: Option<T>,
    pub(super) waits_to_sync: Option<T>,
    pub(super) has_synced: bool,
    pub(super) expires_ms: i64,
}

impl<T> Member<T> {
    // A member that waits for an answer cannot send heartbeats.
    pub(super) fn is_waiting(&self) -> bool {
        self.waits_to_join.is_some() || self.waits_to_sync.is_some()
    }

    /// About how much it takes in memory, with its id.
    pub(super) fn bytes(&self, member_id: &str) -> usize {
        let texts = member_id.len() + self.client_id.len() + self.client_host.len();
        let texts = texts + 2 * self.instance_id.as_ref().map_or(0, String::len);
        MEMBER_BYTES + texts + protocol_bytes(&self.protocols) + self.assignment.len()
    }

    pub(super) fn speaks(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|spoken| spoken.name == protocol)
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        metadata_of(&self.protocols, protocol)
    }
}

/// What a member says with a protocol; empty when it does not speak it.
pub(super) fn metadata_of(protocols: &[Protocol], name: &str) -> Bytes {
    protocols
        .iter()
        .find(|protocol| protocol.name == name)
        .map(|protocol| protocol.metadata.clone())
        .unwrap_or_default()
}
