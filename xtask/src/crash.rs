//! The crash harness: kill the server at random while clients write, then compare everything with what was acked.
//!
//! Two producers and one sender of commands run as processes of their own (`tests/crash/`). Each writes to its own
//! ledger, fsynced, only after the server's answer. The server is killed with SIGKILL again and again, sometimes
//! while it is still recovering, and started on the same folder and ports. At the end, and again after one more kill,
//! `verify.py` reads everything back: log, views, lake table, streams. With `views` the clients are others: two slower
//! producers, one that changes a table, one that replaces a view again and again, and a reader whose every answer
//! `verify_views.py` compares with plain DataFusion over the log up to its Positions.
//!
//! What it is not: a test of the disk. The page cache outlives a killed process, so a missing fsync is not seen here.
//!
//! What must hold: a run is bounded in time and repeatable in its kill times by its seed, and ends what it started.

mod kill_times;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::paths::Paths;
use crate::process::Running;
use crate::report::Report;
use crate::server::Server;
use crate::setup::{self, Tools};
use crate::{clients, planted};
use kill_times::KillTimes;

/// Its folder below `tests`.
const HARNESS: &str = "crash";
const PREPARE_LIMIT: Duration = Duration::from_secs(60);
const CLIENT_END_LIMIT: Duration = Duration::from_secs(180);
const VERIFY_LIMIT: Duration = Duration::from_secs(300);

/// How hard, how often, and on which program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CrashSettings {
    /// How many times the server is killed while clients write.
    pub(crate) kills: usize,
    /// Decides the kill times.
    pub(crate) seed: u64,
    /// The build profile: `release` or `dev`.
    pub(crate) profile: String,
    /// A bug to plant first, or `all` of them; the run must then find it.
    pub(crate) planted: Option<String>,
    /// Chained views, joins and a view that is replaced, in place of everything that is stored.
    pub(crate) views: bool,
    /// A program that is there already, taken in place of a build.
    pub(crate) binary: Option<PathBuf>,
}

/// Who works while the server is killed, and who compares.
struct Workload {
    prepare: &'static str,
    clients: &'static [&'static [&'static str]],
    verify: &'static str,
}

const EVERYTHING: Workload = Workload {
    prepare: "prepare",
    clients: &[&["ledger_client", "a"], &["ledger_client", "b"], &["command_client", "c"]],
    verify: "verify",
};

const VIEWS: Workload = Workload {
    prepare: "prepare_views",
    clients: &[
        &["ledger_client", "a", "20"],
        &["ledger_client", "b", "20"],
        &["table_client"],
        &["definer_client"],
        &["reader_client"],
    ],
    verify: "verify_views",
};

impl Default for CrashSettings {
    fn default() -> Self {
        let (seed, profile) = (kill_times::random_seed(), "release".to_owned());
        Self { kills: 50, seed, profile, planted: None, views: false, binary: None }
    }
}

/// Runs the harness: on the product, or on the product with each of the bugs that are to be planted.
pub(crate) fn run(report: &mut Report, paths: &Paths, settings: &CrashSettings) -> Result<()> {
    let Some(planted) = &settings.planted else {
        let binary = clients::binary(paths, settings.binary.as_deref(), &settings.profile)?;
        return compare(report, paths, binary, settings);
    };
    for name in planted::names(paths, HARNESS, planted)? {
        println!("\n-- planting {name}");
        // A bug that does not build was not found, so building comes before.
        let binary = planted::build(paths, HARNESS, &name, &settings.profile)?;
        let mut found = Report::new();
        if let Err(error) = compare(&mut found, paths, binary, settings) {
            found.fail("the run did not come to its end", &format!("{error:#}"));
        }
        let outcome = if found.has_failures() { Ok(()) } else { missed(settings) };
        report.outcome(&format!("the planted bug {name} is found"), outcome);
    }
    Ok(())
}

fn missed(settings: &CrashSettings) -> Result<()> {
    anyhow::bail!("everything was as it should be after {} kills with seed {}", settings.kills, settings.seed)
}

/// Kills the server while clients write, and reports each comparison.
fn compare(report: &mut Report, paths: &Paths, binary: PathBuf, settings: &CrashSettings) -> Result<()> {
    println!("{} kills, seed {} (repeat the kill times with --seed {})", settings.kills, settings.seed, settings.seed);
    let harness = Harness {
        binary,
        folder: clients::fresh(paths, "crash")?,
        scripts: paths.root.join("tests/crash"),
        tools: setup::tools(paths)?,
        workload: if settings.views { VIEWS } else { EVERYTHING },
    };
    let server = Server::start(&harness.binary, &harness.folder, None)?;
    harness.script(harness.workload.prepare, &server, &[])?.wait(PREPARE_LIMIT)?;
    let mut writers = Vec::new();
    for client in harness.workload.clients {
        writers.push(harness.script(client[0], &server, &client[1..])?);
    }
    let server = harness.kill_again_and_again(server, &mut writers, settings)?;
    std::fs::write(harness.folder.join("stop"), "").context("cannot tell the clients to stop")?;
    for writer in writers {
        writer.wait(CLIENT_END_LIMIT)?;
    }
    report.pass("every client got an answer to all that it sent");
    harness.verify(report, &server, "after the last restart")?;
    let server = harness.restart(server)?;
    harness.verify(report, &server, "after one more kill, at rest")?;
    report.outcome("fourfold dev stops cleanly when asked", server.stop());
    Ok(())
}

struct Harness {
    binary: PathBuf,
    folder: PathBuf,
    scripts: PathBuf,
    tools: Tools,
    workload: Workload,
}

impl Harness {
    fn script(&self, script: &str, server: &Server, arguments: &[&str]) -> Result<Running> {
        let mut python = Command::new(&self.tools.python);
        python.arg(self.scripts.join(script).with_extension("py")).args(arguments);
        python.env("PYTHONUNBUFFERED", "1").env("PYTHONDONTWRITEBYTECODE", "1").current_dir(&self.folder);
        server.addresses.tell(&mut python, &server.data);
        let name = [&[script], arguments].concat().join("-");
        Running::start(&name, &mut python, &self.folder.join(&name).with_extension("log"))
    }

    fn kill_again_and_again(
        &self,
        mut server: Server,
        writers: &mut [Running],
        settings: &CrashSettings,
    ) -> Result<Server> {
        let mut times = KillTimes::new(settings.seed);
        let (mut start_times, mut in_recovery, began) = (Vec::new(), 0, Instant::now());
        for kill in 1..=settings.kills {
            thread::sleep(times.after_ready());
            server = self.restart_with(server, times.in_recovery(), &mut in_recovery)?;
            start_times.push(server.start_time);
            for writer in &mut *writers {
                if let Some(status) = writer.ended()? {
                    anyhow::bail!("after kill {kill} a client gave up ({status}):\n{}", writer.log_tail());
                }
            }
            if kill % 10 == 0 {
                println!("killed {kill} times");
            }
        }
        start_times.sort_unstable();
        let at = |part: usize| start_times.get((start_times.len() * part / 100).min(start_times.len() - 1));
        if let (Some(median), Some(worst)) = (at(50), at(100)) {
            println!(
                "{} kills while running and {in_recovery} while recovering, in {:.0} s; ready again after {} ms (median), {} ms (worst)",
                settings.kills,
                began.elapsed().as_secs_f64(),
                median.as_millis(),
                worst.as_millis(),
            );
        }
        Ok(server)
    }

    // Kills and starts again; with `in_recovery`, once more in between, so long after the start.
    fn restart_with(&self, server: Server, in_recovery: Option<Duration>, count: &mut usize) -> Result<Server> {
        let addresses = server.addresses.clone();
        server.kill()?;
        if let Some(after) = in_recovery {
            Server::start_and_kill(&self.binary, &self.folder, &addresses, after)?;
            *count += 1;
        }
        Server::start(&self.binary, &self.folder, Some(&addresses))
    }

    fn restart(&self, server: Server) -> Result<Server> {
        self.restart_with(server, None, &mut 0)
    }

    fn verify(&self, report: &mut Report, server: &Server, when: &str) -> Result<()> {
        let verify = self.workload.verify;
        let log = self.folder.join(verify).with_extension("log");
        remove(&log)?;
        let outcome = self.script(verify, server, &[])?.wait(VERIFY_LIMIT);
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let when = format!(", {when}");
        let compared = said.lines().filter(|line| report.told(line, &when)).count();
        outcome?;
        anyhow::ensure!(compared > 0, "{verify}.py compared nothing");
        print_memory(server);
        Ok(())
    }
}

fn remove(file: &Path) -> Result<()> {
    if file.exists() {
        std::fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

// Linux says how much memory a process holds; elsewhere the figure is left out.
fn print_memory(server: &Server) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap_or_default();
    for line in status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")) {
        println!("     server {}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}
