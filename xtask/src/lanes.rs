//! The lanes: which steps, in which order.

use std::env;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::abuse::AbuseSettings;
use crate::crash::CrashSettings;
use crate::paths::Paths;
use crate::process::{self, Running};
use crate::report::Report;
use crate::same_answer::SameAnswerSettings;
use crate::{
    abuse as abuse_harness, cargo_tests, clients as real_clients, crash as crash_harness,
    same_answer as same_answer_harness, scenarios as documents, settings_page as settings, setup, tidy as rules,
};

/// The crates that build without DataFusion: the quick inner loop.
pub(crate) const LIGHT: &[&str] = &["model", "kafka-wire", "eventlog", "broker", "eventstore"];

const DEMO_LIMIT: Duration = Duration::from_secs(600);
const DEMO_PARTS: usize = 4;

/// Everything.
pub(crate) fn test(report: &mut Report) -> Result<()> {
    let paths = Paths::find()?;
    set_up(report, &paths, &["Debian packages", "Python packages", "npm packages"]);
    report.step("format", |report| format(report, &paths));
    report.step("tidy", |report| rules::run(report, &paths));
    report.step("clippy", |report| clippy(report, &paths, &["--workspace"]));
    report.step("cargo test", |report| {
        cargo_tests::run(report, paths.cargo().args(["test", "--workspace", "--no-fail-fast"]))
    });
    report.step("real clients", |report| real_clients::run(report, &paths, &[]));
    report.step("scenarios", |report| documents::run(report, &paths, &[]));
    // Times are for a command of their own, on a machine that does nothing else.
    let (sample, latency_ms, profile) = (true, 2_000, "dev".to_owned());
    let sample = AbuseSettings { sample, latency_ms, profile, ..AbuseSettings::default() };
    report.step("abuse, the sample", |report| abuse_harness::run(report, &paths, &sample));
    report.step("the README's demo", |report| demo(report, &paths));
    Ok(())
}

/// The fast lane, without DataFusion.
pub(crate) fn check(report: &mut Report) -> Result<()> {
    let paths = Paths::find()?;
    let packages: Vec<&str> = LIGHT.iter().flat_map(|name| ["--package", name]).collect();
    report.step("format", |report| format(report, &paths));
    report.step("tidy", |report| rules::run(report, &paths));
    report.step("clippy", |report| clippy(report, &paths, &packages));
    report.step("cargo test", |report| {
        cargo_tests::run(report, paths.cargo().arg("test").args(&packages).arg("--no-fail-fast"))
    });
    Ok(())
}

/// Only the repository's rules about itself.
pub(crate) fn tidy(report: &mut Report) -> Result<()> {
    let paths = Paths::find()?;
    report.step("tidy", |report| rules::run(report, &paths));
    Ok(())
}

/// Writes the page of settings.
pub(crate) fn settings_page(report: &mut Report) -> Result<()> {
    let root = Paths::find()?.root;
    let write = || {
        let defaults = std::fs::read_to_string(root.join(settings::DEFAULTS))?;
        Ok(std::fs::write(root.join(settings::PAGE), settings::page(&defaults))?)
    };
    report.outcome(settings::PAGE, write());
    Ok(())
}

/// Only the real clients.
pub(crate) fn clients(report: &mut Report, names: &[String]) -> Result<()> {
    let paths = Paths::find()?;
    set_up(report, &paths, &["Debian packages", "Python packages", "npm packages"]);
    report.step("real clients", |report| real_clients::run(report, &paths, names));
    Ok(())
}

/// Only the scenarios.
pub(crate) fn scenarios(report: &mut Report, names: &[String]) -> Result<()> {
    let paths = Paths::find()?;
    set_up(report, &paths, &["Debian packages"]);
    report.step("scenarios", |report| documents::run(report, &paths, names));
    Ok(())
}

/// The crash harness.
pub(crate) fn crash(report: &mut Report, settings: &CrashSettings) -> Result<()> {
    let paths = Paths::find()?;
    set_up(report, &paths, &["Debian packages", "Python packages"]);
    report.step("crash", |report| crash_harness::run(report, &paths, settings));
    Ok(())
}

/// The abuse harness.
pub(crate) fn abuse(report: &mut Report, settings: &AbuseSettings) -> Result<()> {
    let paths = Paths::find()?;
    set_up(report, &paths, &["Debian packages", "Python packages"]);
    report.step("abuse", |report| abuse_harness::run(report, &paths, settings));
    Ok(())
}

/// One SQL text, one answer.
pub(crate) fn same_answer(report: &mut Report, settings: &SameAnswerSettings) -> Result<()> {
    let paths = Paths::find()?;
    set_up(report, &paths, &["Debian packages", "PostgreSQL", "Python packages"]);
    report.step("same answer", |report| same_answer_harness::run(report, &paths, settings));
    Ok(())
}

fn set_up(report: &mut Report, paths: &Paths, wanted: &[&str]) {
    report.step("set-up", |report| {
        for name in wanted {
            let outcome = match *name {
                "Debian packages" => setup::debian(),
                "PostgreSQL" => setup::postgresql(),
                "Python packages" => setup::python(paths),
                _ => setup::node(paths),
            };
            report.outcome(name, outcome);
        }
        Ok(())
    });
}

fn format(report: &mut Report, paths: &Paths) -> Result<()> {
    report.outcome("cargo fmt --check", process::run(paths.cargo().args(["fmt", "--all", "--check"])));
    Ok(())
}

fn clippy(report: &mut Report, paths: &Paths, packages: &[&str]) -> Result<()> {
    if env::var_os("RUSTC_WORKSPACE_WRAPPER").is_some_and(|wrapper| wrapper == "clippy-driver") {
        // Whatever is built from here on is linted on the way, and a warning fails it.
        println!("with the build");
        return Ok(());
    }
    let mut clippy = paths.cargo();
    clippy.arg("clippy").args(packages).args(["--all-targets", "--", "--deny", "warnings"]);
    report.outcome("clippy", process::run(&mut clippy));
    Ok(())
}

// What the README promises: the demo ends well and says, for each pattern, that the answer is the same.
fn demo(report: &mut Report, paths: &Paths) -> Result<()> {
    let binary = real_clients::build(paths, "dev")?;
    let folder = real_clients::fresh(paths, "demo")?;
    let log = folder.join("demo.log");
    let mut command = Command::new(binary);
    command.args(["demo", "--exit"]).current_dir(&folder);
    let outcome = Running::start("fourfold demo", &mut command, &log)?.wait(DEMO_LIMIT);
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    print!("{said}");
    report.outcome("fourfold demo --exit", outcome);
    let same = said.matches("same answer").count();
    let told = if same >= DEMO_PARTS { Ok(()) } else { same_answer_missing(same) };
    report.outcome("the demo says `same answer` for each pattern", told);
    Ok(())
}

fn same_answer_missing(same: usize) -> Result<()> {
    bail!("`same answer` was said {same} times, not {DEMO_PARTS}")
}
