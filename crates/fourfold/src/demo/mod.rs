//! `fourfold demo`: the four patterns on one log, on real flights, each checked against plain DataFusion.
//!
//! What must hold: every event goes through the Kafka door; every part ends with `same answer` or the demo fails; what
//! is printed was measured in this run.

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

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use self::stage::Stage;
use crate::cli::{DemoArguments, Part};
use crate::command::dev::{log_to_stderr, stop_signal};
use crate::door::{print, say};
use crate::server::Server;
use crate::settings::Settings;

const ALL: [Part; 4] = [Part::Kappa, Part::Lambda, Part::EventSourcing, Part::Cqrs];

/// What one part found out.
pub(crate) struct Finding {
    /// The part's name.
    pub(crate) part: &'static str,
    /// Rows that were the same as the oracle's.
    pub(crate) same_rows: usize,
    /// What was measured, by name.
    pub(crate) figures: Value,
}

/// Runs the parts that were asked for.
pub(crate) async fn run(arguments: DemoArguments, as_json: bool) -> Result<()> {
    log_to_stderr();
    let started = Instant::now();
    let flights = flights::load(arguments.data.as_deref())?;
    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    let server = Server::start(&settings(directory.path())?).await?;
    say(format!("Fourfold runs in {} (removed at the end)\n", directory.path().display()));
    let outcome = show(&server, flights, arguments.part, as_json).await;
    if outcome.is_ok() {
        say(format!("done in {:.1} s", started.elapsed().as_secs_f64()));
        if !arguments.exit {
            look_around(&server);
            stop_signal().await?;
        }
    }
    server.stop().await?;
    outcome
}

async fn show(server: &Server, flights: Vec<flights::Flight>, part: Option<Part>, as_json: bool) -> Result<()> {
    let mut stage = Stage::open(server, flights).await?;
    let parts = part.map_or(ALL.to_vec(), |part| vec![part]);
    for part in parts {
        let finding = match part {
            Part::Kappa => kappa::show(&mut stage).await.context("kappa")?,
            Part::Lambda => lambda::show(&mut stage).await.context("lambda")?,
            Part::EventSourcing => event_sourcing::show(&mut stage).await.context("event sourcing")?,
            Part::Cqrs => cqrs::show(&mut stage).await.context("cqrs")?,
        };
        if as_json {
            let rows = finding.same_rows;
            print(json!({ "part": finding.part, "same_answer_rows": rows, "figures": finding.figures }).to_string())?;
        } else {
            print(format!("  same answer: {} rows\n", finding.same_rows))?;
        }
    }
    Ok(())
}

// The ports that the documentation names when they are free, so that its commands work here; else any.
fn settings(directory: &std::path::Path) -> Result<Settings> {
    let mut settings = Settings::load(None, [], &[])?;
    settings.data.directory = directory.to_owned();
    for (host, port) in [
        (&settings.kafka.host, &mut settings.kafka.port),
        (&settings.pg.host, &mut settings.pg.port),
        (&settings.http.host, &mut settings.http.port),
    ] {
        if std::net::TcpListener::bind((host.as_str(), *port)).is_err() {
            *port = 0;
        }
    }
    Ok(settings)
}

fn look_around(server: &Server) {
    let (kafka, pg, http) = (server.kafka_address(), server.pg_address(), server.http_address());
    say("\nLook for yourself, from another terminal:");
    say(format!("  kcat -b {kafka} -t flights -C -c 3"));
    say(format!(
        "  psql -h {} -p {} -c 'SELECT * FROM carrier_hours ORDER BY hour, carrier LIMIT 5'",
        pg.ip(),
        pg.port()
    ));
    say(format!("  psql -h {} -p {} -c '\\d'", pg.ip(), pg.port()));
    say(format!("  curl http://{http}/v1/views"));
    say(format!("  curl http://{http}/metrics"));
    say("Ctrl-C ends it.");
}
