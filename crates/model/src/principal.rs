//! Who asks, and whether they may.
//!
//! Every request on every wire carries a [`Principal`], and [`authorise`] is the one place that answers. Today all
//! doors listen on loopback and everyone is [`Principal::anonymous`] with every right; rules will be added here, not
//! in the doors.

use std::{fmt, sync::Arc};

use crate::{Error, ErrorKind, Result};

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// Whoever reaches a loopback door without credentials.
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }

    /// A principal that proved its name.
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// The name, for logs and audit.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Look at metadata.
    Describe,
    /// Read records, events or rows.
    Read,
    /// Append records or events, send commands.
    Write,
    /// Create, change or delete the thing itself.
    Alter,
}

/// What a request wants to do it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The whole server.
    Server,
    /// A topic that is its clients'.
    Topic(&'a str),
    /// A topic that a part of this server writes, and nobody else.
    OwnedTopic {
        /// The topic.
        topic: &'a str,
        /// Who writes it, in words.
        owner: &'a str,
    },
    /// A consumer group.
    Group(&'a str),
    /// A view.
    View(&'a str),
    /// An event stream.
    Stream(&'a str),
    /// An aggregate type that takes commands.
    Aggregate(&'a str),
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("the server"),
            Self::Topic(name) | Self::OwnedTopic { topic: name, .. } => write!(f, "topic {name}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::View(name) => write!(f, "view {name}"),
            Self::Stream(name) => write!(f, "stream {name}"),
            Self::Aggregate(name) => write!(f, "aggregate {name}"),
        }
    }
}

/// May this principal do this to that?
///
/// # Errors
/// [`Denied`](ErrorKind::Denied) when it may not.
pub fn authorise(principal: &Principal, access: Access, resource: Resource<'_>) -> Result<()> {
    if principal.name().is_empty() {
        return Err(Error::new(ErrorKind::Denied, format!("a principal without a name may not {access:?} {resource}")));
    }
    match (resource, access) {
        (Resource::OwnedTopic { topic, owner }, Access::Write | Access::Alter) => {
            let error = Error::new(ErrorKind::Denied, format!("topic {topic} is {owner}'s: nobody else writes it"));
            Err(error.with_hint("read it as you like; to write, ask its owner"))
        }
        _ => Ok(()),
    }
}
