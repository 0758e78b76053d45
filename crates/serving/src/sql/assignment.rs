//! [`Assignment`]: what a `SET` says of one variable.

/// One `name = value` of a `SET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: String,
    /// `None` for `DEFAULT`.
    pub(super) value: Option<String>,
    /// Only until the transaction ends.
    pub(super) local: bool,
}
