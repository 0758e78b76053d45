//! Other programs: run to the end, run within a time, and never left behind.
//!
//! What must hold: whatever is started here is ended here, by its own process group and by nothing broader.

use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

const POLL_INTERVAL: Duration = Duration::from_millis(10);
const LOG_TAIL_LINES: usize = 40;

/// Runs a program on this tool's own outputs; an error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

/// Runs a program and returns what it wrote to standard output; an error, with what it said, when it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        bail!("{shown} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{shown} did not write text"))
}

/// Whether a program can be found.
pub(crate) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A program that runs beside this one in its own process group, writing to a log file. Dropping it kills it.
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program; both its outputs are appended to `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let both = out.try_clone().context("cannot share the log file")?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(both).process_group(0).spawn();
        let child = child.with_context(|| format!("cannot start {}", show(command)))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where what it says goes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The program's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot ask about {}", self.name))
    }

    /// Waits for its end; kills it, and fails, after `limit`.
    pub(crate) fn wait(mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                if status.success() {
                    return Ok(());
                }
                bail!("{} failed ({status}); its last lines:\n{}", self.name, self.log_tail());
            }
            if Instant::now() >= deadline {
                self.kill()?;
                bail!("{} took more than {} s; its last lines:\n{}", self.name, limit.as_secs(), self.log_tail());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Kills it with SIGKILL and waits until it is gone. An error when it had ended before, by itself.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} had ended by itself ({status}); its last lines:\n{}", self.name, self.log_tail());
        }
        self.signal(Signal::KILL)?;
        let status = self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        if status.signal() != Some(Signal::KILL.as_raw()) {
            bail!("{} ended by itself while it was being killed ({status})", self.name);
        }
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits for a clean end.
    pub(crate) fn stop(mut self, limit: Duration) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} had ended by itself ({status}); its last lines:\n{}", self.name, self.log_tail());
        }
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        let text =
            std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a process id")?;
        kill_process_group(group, signal).with_context(|| format!("cannot signal {}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not yet waited for, so the id is still ours; whatever it started ends with it.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
