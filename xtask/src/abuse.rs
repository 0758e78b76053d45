//! The abuse harness: attacks on every door and every file of the shipped binary, with users beside who must not notice.
//!
//! The attacks are `tests/abuse/*_attacks.py`; each is a function whose name says what has to hold. After each one the
//! server must be alive, answer `/healthz` within a second and a point read right, and hold less than 1 GiB; at the end
//! SIGTERM must do within ten seconds. This starts them and reports what they tell, line by line.
//!
//! What it is not: a fuzzer. The attacks run in the same order with the same bytes each time.
//!
//! What must hold: a run is bounded in time, and ends what it started.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::paths::Paths;
use crate::process::Running;
use crate::report::Report;
use crate::{clients, script, setup};

const SAMPLE_LIMIT: Duration = Duration::from_secs(900);
const LIMIT: Duration = Duration::from_secs(7200);

/// Which attacks, and on which program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AbuseSettings {
    /// Only the bounded part that every change is tested with.
    pub(crate) sample: bool,
    /// Instead of attacks: what is planted for the harness to find.
    pub(crate) self_check: bool,
    /// Only the attacks whose name contains this.
    pub(crate) only: String,
    /// What 99 of 100 answers to users beside the attacks may take.
    pub(crate) latency_ms: u32,
    /// The build profile: `release` or `dev`.
    pub(crate) profile: String,
    /// A program that is there already, taken in place of a build.
    pub(crate) binary: Option<PathBuf>,
}

impl Default for AbuseSettings {
    fn default() -> Self {
        let (only, profile) = (String::new(), "release".to_owned());
        Self { sample: false, self_check: false, only, latency_ms: 100, profile, binary: None }
    }
}

/// Runs the attacks and reports each.
pub(crate) fn run(report: &mut Report, paths: &Paths, settings: &AbuseSettings) -> Result<()> {
    let binary = clients::binary(paths, settings.binary.as_deref(), &settings.profile)?;
    let folder = clients::fresh(paths, "abuse")?;
    let mut python = Command::new(setup::tools(paths)?.python);
    python.arg(paths.root.join("tests/abuse/run.py")).args(arguments(settings)).current_dir(&folder);
    python.env("PYTHONDONTWRITEBYTECODE", "1").env("FOURFOLD_BINARY", binary);
    let running = Running::start("tests/abuse/run.py", &mut python, &folder.join("abuse.log"))?;
    script::follow(report, running, if settings.sample { SAMPLE_LIMIT } else { LIMIT })
}

fn arguments(settings: &AbuseSettings) -> Vec<String> {
    let mut arguments = vec![format!("--latency-ms={}", settings.latency_ms), format!("--only={}", settings.only)];
    arguments.extend(settings.sample.then(|| "--sample".to_owned()));
    arguments.extend(settings.self_check.then(|| "--self-check".to_owned()));
    arguments
}
