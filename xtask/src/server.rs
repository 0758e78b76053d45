//! A `fourfold dev` of our own: started on free ports, on a folder of its own, ended when dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::Running;

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const READY_FILE: &str = "ready.json";
const DATA_FOLDER: &str = "data";

/// Where a server's doors are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Kafka, `host:port`.
    pub(crate) kafka: String,
    /// PostgreSQL wire, `host:port`.
    pub(crate) pg: String,
    /// HTTP, `host:port`.
    pub(crate) http: String,
}

impl Addresses {
    fn read(text: &str) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_str(text).context("the ready file is not JSON")?;
        let door = |name: &str| {
            let address = value[name].as_str().with_context(|| format!("the ready file has no {name:?}: {text}"))?;
            Ok::<_, anyhow::Error>(address.to_owned())
        };
        Ok(Self { kafka: door("kafka")?, pg: door("pg")?, http: door("http")? })
    }

    /// Tells a client where the doors are, by environment.
    pub(crate) fn tell(&self, command: &mut Command, data: &Path) {
        command.env("FOURFOLD_KAFKA", &self.kafka).env("FOURFOLD_PG", &self.pg).env("FOURFOLD_HTTP", &self.http);
        command.env("FOURFOLD_DATA", data);
    }
}

fn spawn(binary: &Path, folder: &Path, again: Option<&Addresses>) -> Result<Running> {
    let ready = folder.join(READY_FILE);
    if ready.exists() {
        std::fs::remove_file(&ready).context("cannot remove the old ready file")?;
    }
    let mut command = Command::new(binary);
    command.arg("dev").arg("--data-dir").arg(folder.join(DATA_FOLDER)).arg("--ready-file").arg(&ready);
    let port = |door: fn(&Addresses) -> &String| again.and_then(|again| door(again).rsplit(':').next()).unwrap_or("0");
    command.args(["--kafka-port", port(|again| &again.kafka)]);
    command.args(["--pg-port", port(|again| &again.pg)]);
    command.args(["--http-port", port(|again| &again.http)]);
    Running::start("fourfold dev", command.current_dir(folder), &folder.join("server.log"))
}

/// A running server.
pub(crate) struct Server {
    process: Running,
    /// Where its doors are.
    pub(crate) addresses: Addresses,
    /// Where its data is.
    pub(crate) data: PathBuf,
    /// How long it took from the start of the process to the ready file.
    pub(crate) start_time: Duration,
}

impl Server {
    /// Starts `binary` on `folder/data` and waits until it is ready; on the ports of `again` if given, else on free ones.
    pub(crate) fn start(binary: &Path, folder: &Path, again: Option<&Addresses>) -> Result<Self> {
        let ready = folder.join(READY_FILE);
        let started = Instant::now();
        let mut process = spawn(binary, folder, again)?;
        while !ready.exists() {
            if let Some(status) = process.ended()? {
                bail!("fourfold dev ended before it was ready ({status}); its last lines:\n{}", process.log_tail());
            }
            if started.elapsed() > START_LIMIT {
                bail!(
                    "fourfold dev was not ready in {} s; its last lines:\n{}",
                    START_LIMIT.as_secs(),
                    process.log_tail()
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
        let start_time = started.elapsed();
        let text = std::fs::read_to_string(&ready).context("cannot read the ready file")?;
        Ok(Self { process, addresses: Addresses::read(&text)?, data: folder.join(DATA_FOLDER), start_time })
    }

    /// Starts `binary` where a server was, and kills it `after` that, ready or not.
    pub(crate) fn start_and_kill(binary: &Path, folder: &Path, again: &Addresses, after: Duration) -> Result<()> {
        let mut process = spawn(binary, folder, Some(again))?;
        thread::sleep(after);
        process.kill()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it is still up; an error says how it ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.process.ended()? {
            None => Ok(()),
            Some(status) => {
                bail!("fourfold dev ended by itself ({status}); its last lines:\n{}", self.process.log_tail())
            }
        }
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops it as a user would, and checks that it ends well.
    pub(crate) fn stop(self) -> Result<()> {
        self.process.stop(STOP_LIMIT)
    }
}
