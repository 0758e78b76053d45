//! `fourfold dev`: everything in one process, until Ctrl-C.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cli::DevArguments;
use crate::identity::Identity;
use crate::output::{print, say};
use crate::ports;
use crate::server::Server;
use crate::settings::Settings;
use crate::stop::StopSignals;

/// Starts a server and keeps it up until it is told to stop.
pub(crate) async fn run(arguments: DevArguments, as_json: bool) -> Result<()> {
    log_to_stderr();
    let settings = Settings::load(arguments.config.as_deref(), std::env::vars(), &flags(&arguments))?;
    // Before the server makes its folders: a start that cannot succeed leaves nothing behind.
    if let Some(taken) = ports::taken(&settings).into_iter().next() {
        return Err(model::Error::from(taken).into());
    }
    let mut stop = StopSignals::listen()?;
    let server = Server::start(&settings).await?;
    let told = tell(&server, &settings, arguments.ready_file.as_deref(), as_json);
    if told.is_ok() {
        stop.next().await;
        say("stopping; Ctrl-C again ends it at once");
    }
    tokio::select! {
        stopped = server.stop() => told.and(stopped.map_err(Into::into)),
        // Nothing acknowledged is lost by that: the next start recovers.
        interrupted = stop.next() => Err(interrupted.into()),
    }
}

fn tell(server: &Server, settings: &Settings, ready_file: Option<&Path>, as_json: bool) -> Result<()> {
    let [kafka, pg, http] = [server.kafka_address(), server.pg_address(), server.http_address()].map(reachable);
    let addresses = json!({ "kafka": kafka.to_string(), "pg": pg.to_string(), "http": http.to_string() });
    if let Some(file) = ready_file {
        write_ready_file(file, &addresses)?;
    }
    if as_json {
        return print(addresses.to_string());
    }
    let Identity { id, copy_of } = server.identity();
    let copy = copy_of.map_or_else(String::new, |(of, _)| format!(", a copy of {of}"));
    say(format!("data        {} ({id}{copy})", settings.data.directory.display()));
    say(format!("kafka       kcat -b {kafka} -L"));
    say(format!("postgresql  psql -h {} -p {}", pg.ip(), pg.port()));
    say(format!("http        curl http://{http}/openapi.json"));
    say("ready; Ctrl-C stops it");
    Ok(())
}

/// An address that a client on this machine can connect to, which "every address" is not.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

// Renamed into place, so that whoever waits for the file never reads half of it.
fn write_ready_file(file: &Path, addresses: &Value) -> Result<()> {
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, addresses.to_string())
        .and_then(|()| std::fs::rename(&unfinished, file))
        .with_context(|| format!("cannot write {}", file.display()))
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

/// Sends the server's log to standard error; `RUST_LOG` chooses how much.
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A line that cannot be written (the disk is full, the reader has left) is dropped. By default it would be told to
    // standard error, and that failure is a panic of whoever logs.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .log_internal_errors(false);
    // Setting it twice is not an error worth stopping for: the first one stays.
    let _ = log.try_init();
}
