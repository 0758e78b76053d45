//! What each command does; one file a command.

mod command_sending;
pub(crate) mod dev;
mod events;
mod produce;
mod replay;
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
    let http = Http::new(&cli.http);
    match cli.command {
        Command::Demo(arguments) => crate::demo::run(arguments, cli.json).await,
        Command::Dev(arguments) => dev::run(arguments).await,
        Command::Topic(command) => topic::run(command, &cli.kafka, cli.json).await,
        Command::Produce(arguments) => produce::run(arguments, &cli.kafka, cli.json).await,
        Command::Tail(arguments) => tail::run(arguments, &cli.kafka, cli.json).await,
        Command::Sql(arguments) => sql::run(arguments, &http, cli.json).await,
        Command::Replay { view } => replay::run(&view, &http, cli.json).await,
        Command::Events(command) => events::run(command, &http, cli.json).await,
        Command::Send(arguments) => command_sending::run(arguments, &http, cli.json).await,
        Command::Status => status::run(&http, cli.json).await,
    }
}
