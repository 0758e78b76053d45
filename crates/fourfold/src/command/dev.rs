//! `fourfold dev`: everything in one process, until Ctrl-C.

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::cli::DevArguments;
use crate::door::say;
use crate::server::Server;
use crate::settings::Settings;

/// Starts a server and keeps it up until it is told to stop.
pub(crate) async fn run(arguments: DevArguments) -> Result<()> {
    log_to_stderr();
    let settings = Settings::load(arguments.config.as_deref(), std::env::vars(), &flags(&arguments))?;
    let server = Server::start(&settings).await?;
    let (kafka, pg, http) = (server.kafka_address(), server.pg_address(), server.http_address());
    if let Some(file) = &arguments.ready_file {
        let addresses = json!({ "kafka": kafka.to_string(), "pg": pg.to_string(), "http": http.to_string() });
        // Renamed into place, so that whoever waits for the file never reads half of it.
        let unfinished = file.with_extension("unfinished");
        std::fs::write(&unfinished, addresses.to_string())
            .and_then(|()| std::fs::rename(&unfinished, file))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    say(format!("data        {}", settings.data.directory.display()));
    say(format!("kafka       kcat -b {kafka} -L"));
    say(format!("postgresql  psql -h {} -p {}", pg.ip(), pg.port()));
    say(format!("http        curl http://{http}/openapi.json"));
    say("ready; Ctrl-C stops it");
    stop_signal().await?;
    say("stopping");
    server.stop().await?;
    Ok(())
}

fn flags(arguments: &DevArguments) -> Vec<(&'static str, String)> {
    let port = |port: Option<u16>| port.map(|port| port.to_string());
    let flags = [
        ("data.directory", arguments.data_dir.as_ref().map(|path| path.display().to_string())),
        ("kafka.port", port(arguments.kafka_port)),
        ("pg.port", port(arguments.pg_port)),
        ("http.port", port(arguments.http_port)),
    ];
    flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// Resolves when the process is asked to stop (SIGINT or SIGTERM).
pub(crate) async fn stop_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for signals"),
        _ = terminate.recv() => Ok(()),
    }
}

/// Sends the server's log to standard error; `RUST_LOG` chooses how much.
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    // Setting it twice is not an error worth stopping for: the first one stays.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
