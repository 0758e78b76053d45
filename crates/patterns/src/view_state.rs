//! [`ViewState`]: how a view is, for whoever looks after the server.

/// What a view is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewState {
    /// Its name.
    pub name: String,
    /// What it is doing, for people.
    pub state: String,
    /// Whether it is as ready as it was when the server was stopped: if it had answered before, it answers again. Who waits
    /// for one that has failed waits in vain, so that it counts as ready.
    pub ready: bool,
    /// Whether it has failed.
    pub failed: bool,
}
