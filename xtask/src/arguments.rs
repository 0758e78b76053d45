//! The command line, as data.

use anyhow::{Context as _, Result, bail};

use crate::abuse::AbuseSettings;
use crate::crash::CrashSettings;
use crate::same_answer::SameAnswerSettings;

/// What can be said.
pub(crate) const USAGE: &str = "\
usage: cargo xtask COMMAND

  test                     everything: set-up, format, tidy, lints, tests, real clients, the README's demo
  test same-answer [OPTIONS]
                           one SQL text has one answer: views however their input comes and whatever dies, plain DataFusion,
                           and PostgreSQL
      --cases N            random batchings and interleavings of each property (default 100)
      --rounds N           rounds of random statements that PostgreSQL gets too (default 60)
      --seed S             repeat the statements of an earlier run
      --planted NAME       in place of it, plant the bug tests/same_answer/planted/NAME.patch, or `all` one after the other; a
                           bug that no test finds is a failure
      --binary FILE        take this program
  check                    the fast lane: format, tidy, lints and tests of the crates without DataFusion
  tidy                     only the rules that this repository checks about itself
  settings-page            write docs/settings.md from config/default.toml
  clients [NAME ...]       only the real clients (tests/clients), all of them or those whose name contains NAME
  scenarios [NAME ...]     only the scenarios (tests/scenarios), all of them or those whose title contains NAME
  crash [OPTIONS]          kill the server at random while clients write, then compare with their ledgers
      --kills N            how many times (default 50)
      --seed S             repeat the kill times of an earlier run
      --profile dev        take the dev build (default: release)
      --views              chained views, joins and a view that is replaced again and again, each answer compared (default:
                           200 kills)
      --planted NAME       plant the bug tests/crash/planted/NAME.patch first, or `all` one after the other; a bug
                           that is not found is a failure (default: 10 kills each)
      --binary FILE        take this program
  abuse [OPTIONS]          attack every door and every file of the server, with users beside who must not notice
      --sample             the bounded part that `test` runs
      --self-check         in place of attacks, what is planted for the harness to find
      --only TEXT          only the attacks whose name contains TEXT
      --latency-ms N       what 99 of 100 answers to users beside may take (default 100)
      --profile dev        take the dev build, whose users wait for longer (default: release)
      --binary FILE        take this program
  help                     this text";

// A planted bug shows itself soon, or not at all.
const KILLS_PLANTED: usize = 10;
const KILLS_VIEWS: usize = 200;

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The usage text.
    Help,
    /// Everything.
    Test,
    /// The fast lane.
    Check,
    /// Only tidy.
    Tidy,
    /// The page of settings.
    SettingsPage,
    /// Only the real clients whose name contains one of these; all when empty.
    Clients(Vec<String>),
    /// Only the scenarios whose title contains one of these; all when empty.
    Scenarios(Vec<String>),
    /// The crash harness.
    Crash(CrashSettings),
    /// The abuse harness.
    Abuse(AbuseSettings),
    /// One SQL text, one answer.
    SameAnswer(SameAnswerSettings),
}

/// Reads the arguments after `cargo xtask`.
pub(crate) fn parse(arguments: &[String]) -> Result<Command> {
    let Some((name, rest)) = arguments.split_first() else { return Ok(Command::Help) };
    let command = match name.as_str() {
        "help" | "--help" | "-h" => Command::Help,
        "test" if rest.first().is_some_and(|word| word == "same-answer") => {
            return Ok(Command::SameAnswer(same_answer_settings(&rest[1..])?));
        }
        "test" => Command::Test,
        "check" => Command::Check,
        "tidy" => Command::Tidy,
        "settings-page" => Command::SettingsPage,
        "clients" => return Ok(Command::Clients(rest.to_vec())),
        "scenarios" => return Ok(Command::Scenarios(rest.to_vec())),
        "crash" => return Ok(Command::Crash(crash_settings(rest)?)),
        "abuse" => return Ok(Command::Abuse(abuse_settings(rest)?)),
        other => bail!("there is no command {other:?}"),
    };
    if let Some(extra) = rest.first() {
        bail!("{name} takes no argument, but got {extra:?}");
    }
    Ok(command)
}

fn crash_settings(arguments: &[String]) -> Result<CrashSettings> {
    let mut settings = CrashSettings::default();
    let mut kills = None;
    let mut arguments = arguments.iter();
    while let Some(option) = arguments.next() {
        if option == "--views" {
            settings.views = true;
            continue;
        }
        let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--kills" => kills = Some(value.parse().with_context(|| format!("--kills {value}"))?),
            "--seed" => settings.seed = value.parse().with_context(|| format!("--seed {value}"))?,
            "--profile" => settings.profile = profile(value)?,
            "--planted" => settings.planted = Some(value.clone()),
            "--binary" => settings.binary = Some(value.into()),
            other => bail!("crash has no option {other:?}"),
        }
    }
    let kills_default = match (&settings.planted, settings.views) {
        (Some(_), _) => KILLS_PLANTED,
        (None, true) => KILLS_VIEWS,
        (None, false) => settings.kills,
    };
    settings.kills = kills.unwrap_or(kills_default);
    Ok(settings)
}

fn abuse_settings(arguments: &[String]) -> Result<AbuseSettings> {
    let mut settings = AbuseSettings::default();
    let mut arguments = arguments.iter();
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{option} needs a value"));
        match option.as_str() {
            "--sample" => settings.sample = true,
            "--self-check" => settings.self_check = true,
            "--only" => settings.only.clone_from(value()?),
            "--latency-ms" => {
                let value = value()?;
                settings.latency_ms = value.parse().with_context(|| format!("--latency-ms {value}"))?;
            }
            "--profile" => settings.profile = profile(value()?)?,
            "--binary" => settings.binary = Some(value()?.into()),
            other => bail!("abuse has no option {other:?}"),
        }
    }
    Ok(settings)
}

fn same_answer_settings(arguments: &[String]) -> Result<SameAnswerSettings> {
    let mut settings = SameAnswerSettings::default();
    let mut arguments = arguments.iter();
    while let Some(option) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--cases" => settings.cases = value.parse().with_context(|| format!("--cases {value}"))?,
            "--rounds" => settings.rounds = value.parse().with_context(|| format!("--rounds {value}"))?,
            "--seed" => settings.seed = Some(value.parse().with_context(|| format!("--seed {value}"))?),
            "--planted" => settings.planted = Some(value.clone()),
            "--binary" => settings.binary = Some(value.into()),
            other => bail!("test same-answer has no option {other:?}"),
        }
    }
    Ok(settings)
}

fn profile(value: &str) -> Result<String> {
    if !matches!(value, "dev" | "release") {
        bail!("--profile is dev or release, not {value:?}");
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests;
