//! A `fourfold dev` on free ports and an empty folder, killed when dropped.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_fourfold");
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Server {
    process: Child,
    folder: TempDir,
    addresses: serde_json::Value,
}

impl Server {
    /// Starts it, and waits until its doors are open.
    #[expect(clippy::disallowed_methods, reason = "another process can only be looked at, by the machine's clock")]
    pub(crate) fn start() -> Result<Self> {
        let folder = TempDir::new().context("cannot make a folder")?;
        let ready = folder.path().join("ready.json");
        let log = File::create(folder.path().join("log")).context("cannot make the server's log")?;
        let mut process = Command::new(BINARY)
            .args(["dev", "--kafka-port", "0", "--pg-port", "0", "--http-port", "0", "--data-dir"])
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the server's log")?)
            .stderr(log)
            .spawn()
            .context("cannot start fourfold dev")?;
        let started = Instant::now();
        let addresses = loop {
            // The file appears whole or not at all.
            if let Ok(text) = std::fs::read_to_string(&ready) {
                break serde_json::from_str(&text);
            }
            let ended = process.try_wait().context("cannot look after the server")?;
            if ended.is_some() || started.elapsed() > START_LIMIT {
                let _already_ended = process.kill();
                bail!("fourfold dev is not ready (ended: {ended:?}):\n{}", log_of(folder.path()));
            }
            thread::sleep(Duration::from_millis(5));
        };
        let server = Self { process, folder, addresses: addresses.context("the ready file is not JSON")? };
        server.address("pg")?;
        Ok(server)
    }

    /// Where a door is, as `host:port`.
    pub(crate) fn address(&self, door: &str) -> Result<&str> {
        self.addresses[door].as_str().with_context(|| format!("the ready file has no {door:?}"))
    }

    /// Runs a text in a shell in which `fourfold` is the binary and reaches this server; gives its output.
    pub(crate) fn shell(&self, text: &str) -> Result<String> {
        let folder = Path::new(BINARY).parent().context("the binary is in no folder")?;
        let path = std::env::join_paths(
            [folder.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        let output = Command::new("sh")
            .args(["-eu", "-c", text])
            .env("PATH", path.context("the path cannot be written")?)
            .env("FOURFOLD_KAFKA", self.address("kafka")?)
            .env("FOURFOLD_HTTP", self.address("http")?)
            .current_dir(self.folder.path())
            .output()
            .context("cannot start a shell")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
        Ok(said)
    }

    /// Whether it is still up and nothing in it has panicked.
    pub(crate) fn check(&mut self) -> Result<()> {
        let log = log_of(self.folder.path());
        let ended = self.process.try_wait().context("cannot look after the server")?;
        ensure!(ended.is_none() && !log.contains("panicked at"), "the server is not well (ended: {ended:?}):\n{log}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, which is as well.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

fn log_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}
