//! `POST /v1/backup`: a copy of all data, in a folder of the machine that the server runs on.
//!
//! What it is not: the making of the copy; whoever starts the server hands that over as [`Backups`].
//!
//! What must hold: one copy at a time; a copy that was begun goes on when its client goes away.

use std::{fmt, future::Future, path::PathBuf, pin::Pin, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use model::{Access, Error, Positions, Resource, principal::authorise};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{
    Server, answer,
    parameters::{Caller, JsonBody, Parameters},
    problem::{Problem, Result},
};

type Making = Pin<Box<dyn Future<Output = model::Result<BackupReport>> + Send>>;

/// What makes backups.
#[derive(Clone)]
pub struct Backups {
    make: Arc<dyn Fn(PathBuf) -> Making + Send + Sync>,
    one_at_a_time: Arc<Mutex<()>>,
}

/// A backup that was made.
#[derive(Clone, Debug, Serialize)]
pub struct BackupReport {
    /// The copy's own id.
    pub id: String,
    /// The id of what it was copied from.
    pub copy_of: String,
    /// How many files were copied.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// What of the lake is damaged, and what became of it in the copy, a sentence each.
    pub damage: Vec<String>,
    /// Where the log of the copy ends.
    #[serde(skip)]
    pub positions: Positions,
}

impl Backups {
    /// Backups that are made by `make`, which gets the folder for it.
    pub fn new<F: Future<Output = model::Result<BackupReport>> + Send + 'static>(
        make: impl Fn(PathBuf) -> F + Send + Sync + 'static,
    ) -> Self {
        Self { make: Arc::new(move |target| Box::pin(make(target))), one_at_a_time: Arc::default() }
    }

    async fn make(&self, target: PathBuf) -> model::Result<BackupReport> {
        let Ok(alone) = Arc::clone(&self.one_at_a_time).try_lock_owned() else {
            return Err(Error::conflict("another backup is being made").with_hint("wait until it is done"));
        };
        let making = (self.make)(target);
        let made = tokio::spawn(async move {
            let made = making.await;
            drop(alone);
            made
        });
        made.await.map_err(|error| Error::internal("the backup ended abnormally").with_source(error))?
    }
}

impl fmt::Debug for Backups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backups").finish_non_exhaustive()
    }
}

/// Where to make one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    directory: PathBuf,
}

/// `POST /v1/backup`.
pub(super) async fn make(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    parameters: Parameters,
    JsonBody(wanted): JsonBody<Wanted>,
) -> Result<Response> {
    parameters.finish()?;
    // It reads everything, and writes to the machine's disk.
    authorise(&caller, Access::Alter, Resource::Server)?;
    let Some(backups) = &server.services.backups else {
        return Err(Error::unsupported("this server makes no backups").into());
    };
    if !wanted.directory.is_absolute() {
        return Err(Problem::invalid("directory must be an absolute path on the server's machine"));
    }
    let report = backups.make(wanted.directory).await?;
    Ok(answer::json(StatusCode::CREATED, &report, &report.positions))
}
