//! `cargo xtask ...`: everything that is done to the product rather than by it.
//!
//! What it is not: part of the product. It starts the built binary and looks at it from outside, with clients that
//! others wrote; it links none of the product's crates, so that it builds in seconds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks on its two outputs")]
#![expect(clippy::disallowed_methods, reason = "it looks at running programs by the machine's clock")]

mod abuse;
mod arguments;
mod cargo_tests;
mod clients;
mod crash;
mod lanes;
mod paths;
mod planted;
mod process;
mod report;
mod same_answer;
mod scenarios;
mod script;
mod server;
mod settings_page;
mod setup;
mod tidy;

use std::process::ExitCode;

use arguments::Command;
use report::Report;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = match arguments::parse(&arguments) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("{error}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new();
    let outcome = match command {
        Command::Help => {
            println!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Command::Test => lanes::test(&mut report),
        Command::Check => lanes::check(&mut report),
        Command::Tidy => lanes::tidy(&mut report),
        Command::SettingsPage => lanes::settings_page(&mut report),
        Command::Clients(names) => lanes::clients(&mut report, &names),
        Command::Scenarios(names) => lanes::scenarios(&mut report, &names),
        Command::Crash(settings) => lanes::crash(&mut report, &settings),
        Command::Abuse(settings) => lanes::abuse(&mut report, &settings),
        Command::SameAnswer(settings) => lanes::same_answer(&mut report, &settings),
    };
    if let Err(error) = outcome {
        report.fail("xtask", &format!("{error:#}"));
    }
    report.close()
}
