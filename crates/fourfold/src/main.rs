//! The entry: parses the command line, runs the command, and turns its error into a message and an exit code.

mod cli;
mod command;
mod demo;
mod door;
mod open_files;
mod server;
mod settings;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            door::report(&error);
            ExitCode::FAILURE
        }
    }
}
