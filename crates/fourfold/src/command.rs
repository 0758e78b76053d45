//! What each command does; one file a command.

mod backup;
mod command_sending;
pub(crate) mod dev;
mod events;
mod produce;
mod replay;
mod settings;
mod shell;
mod sql;
mod status;
mod tail;
mod topic;

use anyhow::{Context as _, Result};

use crate::cli::{Cli, Command};
use crate::door::Http;

/// Runs one command to its end.
pub(crate) fn run(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let outcome = runtime.block_on(dispatch(cli));
    // A blocked read of standard input must not keep a finished command alive.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(cli: Cli) -> Result<()> {
    let as_json = cli.json;
    match cli.command {
        Command::Demo(arguments) => crate::demo::run(arguments, as_json).await,
        Command::Dev(arguments) => dev::run(arguments, as_json).await,
        Command::Settings(arguments) => settings::run(&arguments, as_json),
        Command::Topic(arguments) => topic::run(arguments, as_json).await,
        Command::Produce(arguments) => produce::run(arguments, as_json).await,
        Command::Tail(arguments) => tail::run(arguments, as_json).await,
        Command::Sql(arguments) => sql::run(arguments, as_json).await,
        Command::Replay(arguments) => replay::run(&arguments, as_json).await,
        Command::Events(arguments) => events::run(arguments, as_json).await,
        Command::Send(arguments) => command_sending::run(arguments, as_json).await,
        Command::Backup(arguments) => backup::run(arguments, as_json).await,
        Command::Status(door) => status::run(&Http::new(&door), as_json).await,
    }
}
