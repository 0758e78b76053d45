//! `fourfold demo`: the four patterns on one log, on real flights, each checked against plain DataFusion.
//!
//! What must hold: every event goes through the Kafka door; every part ends with `same answer` or the demo fails; what
//! is printed was measured in this run; however it ends, its folder is removed.

mod airports;
mod cqrs;
mod event_sourcing;
mod feed;
mod fleet;
mod flights;
mod kappa;
mod lambda;
mod latency;
mod oracle;
mod stage;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;
use model::{Clock as _, SystemClock};
use serde_json::{Value, json};

use self::flights::Flight;
use self::stage::Stage;
use crate::cli::{DemoArguments, Part};
use crate::command::dev::log_to_stderr;
use crate::output::{print, say};
use crate::ports;
use crate::server::Server;
use crate::settings::Settings;
use crate::stop::StopSignals;

const ALL: [Part; 4] = [Part::Kappa, Part::Lambda, Part::EventSourcing, Part::Cqrs];
// Each part has to have some: those that come at full speed, those that are paced, those that are late.
const FLIGHTS_MIN: usize = 10;

/// What one part found out.
pub(crate) struct Finding {
    /// Rows that were the same as the oracle's.
    pub(crate) same_rows: usize,
    /// What was measured, by name.
    pub(crate) figures: Value,
    /// Commands that show what this part left behind.
    pub(crate) look: Vec<String>,
}

/// Runs the parts that were asked for.
pub(crate) async fn run(arguments: DemoArguments, as_json: bool) -> Result<()> {
    log_to_stderr();
    let started = SystemClock.instant();
    let flights = flights::load(arguments.data.as_deref())?;
    let enough = || format!("the demo needs at least {FLIGHTS_MIN} flights, and there are {}", flights.len());
    ensure!(flights.len() >= FLIGHTS_MIN, enough());
    // From here on a signal ends the demo in order, so that its folder does not stay behind.
    let mut stop = StopSignals::listen_to_all()?;
    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    let server = start(directory.path()).await?;
    say(format!("Fourfold runs in {} (removed at the end)\n", directory.path().display()));
    let outcome = tokio::select! {
        shown = show(&server, flights, arguments.part, as_json) => shown,
        interrupted = stop.next() => Err(interrupted.into()),
    };
    if let Ok(look) = &outcome {
        say(format!("done in {:.1} s", started.elapsed().as_secs_f64()));
        if !arguments.exit {
            look_around(&server, look);
            stop.next().await;
        }
    }
    tokio::select! {
        stopped = server.stop() => outcome.and(stopped.map_err(Into::into)),
        interrupted = stop.next() => Err(interrupted.into()),
    }
}

// On the ports that the documentation names when they are free, so that its commands work here; else on any.
async fn start(directory: &Path) -> Result<Server> {
    let mut settings = Settings::load(None, [], &[])?;
    settings.data.directory = directory.to_owned();
    let taken = ports::taken(&settings);
    for taken in &taken {
        match taken.door {
            ports::KAFKA => settings.kafka.port = 0,
            ports::PG => settings.pg.port = 0,
            _ => settings.http.port = 0,
        }
    }
    let server = Server::start(&settings).await?;
    for taken in &taken {
        let (name, address) = match taken.door {
            ports::KAFKA => ("Kafka", server.kafka_address()),
            ports::PG => ("PostgreSQL", server.pg_address()),
            _ => ("HTTP", server.http_address()),
        };
        say(format!("port {} is taken: {name} clients connect to {address}", taken.port()));
    }
    Ok(server)
}

async fn show(server: &Server, flights: Vec<Flight>, part: Option<Part>, as_json: bool) -> Result<Vec<String>> {
    let mut stage = Stage::open(server, flights, as_json).await?;
    let mut look = Vec::new();
    for part in part.map_or(ALL.to_vec(), |part| vec![part]) {
        let name = part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let finding = match part {
            Part::Kappa => kappa::show(&mut stage).await,
            Part::Lambda => lambda::show(&mut stage).await,
            Part::EventSourcing => event_sourcing::show(&mut stage).await,
            Part::Cqrs => cqrs::show(&mut stage).await,
        };
        let Finding { same_rows, figures, look: commands } = finding.with_context(|| name.clone())?;
        stage.tell(format!("  same answer: {same_rows} rows, as plain DataFusion finds over the same flights\n"))?;
        if as_json {
            print(json!({ "part": name, "same_answer_rows": same_rows, "figures": figures }).to_string())?;
        }
        look.extend(commands.into_iter().filter(|command| !look.contains(command)).collect::<Vec<_>>());
    }
    Ok(look)
}

fn look_around(server: &Server, commands: &[String]) {
    say("\nLook for yourself, from another terminal:");
    for command in commands {
        say(format!("  {command}"));
    }
    say(format!("  curl http://{}/metrics", server.http_address()));
    say("Ctrl-C ends it.");
}

/// A figure as a program should get it: without digits that were not measured.
pub(crate) fn rounded(figure: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (figure * scale).round() / scale
}
