//! The entry: parses the command line, runs the command, and turns its error into a message and an exit code.

mod backup;
mod cli;
mod command;
mod demo;
mod door;
#[cfg(test)]
mod hints;
mod identity;
mod machine_memory;
mod open_files;
mod output;
mod ports;
mod readiness;
mod server;
mod settings;
mod stop;
mod table;

use std::process::ExitCode;

use clap::Parser as _;

/// Gives memory back to the system soon after it was freed, whichever thread freed it: what one query took is there for
/// the next, and a budget of memory is one for the process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let as_json = cli.json;
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has had enough, as `head` has: that is no failure.
        Err(error) if error.is::<output::ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => {
            output::report(&error, as_json);
            error.downcast_ref::<stop::Interrupted>().map_or(ExitCode::FAILURE, stop::Interrupted::exit_code)
        }
    }
}
