//! A script that tells outcomes while it runs, `ok NAME` or `FAIL NAME` a line.

use std::fs::File;
use std::io::Read as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::Running;
use crate::report::Report;

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Reports each line as it comes; a run that takes half an hour should not be silent until its end.
///
/// # Errors
/// When it fails, tells nothing, or takes longer than `limit`.
pub(crate) fn follow(report: &mut Report, mut running: Running, limit: Duration) -> Result<()> {
    let (deadline, mut told) = (Instant::now() + limit, 0);
    let (name, log) = (running.name().to_owned(), running.log().to_owned());
    let mut file = File::open(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut text = String::new();
    loop {
        // Asked before reading: what a program wrote before its end is read after it.
        let ended = running.ended()?;
        file.read_to_string(&mut text).with_context(|| format!("cannot read {}", log.display()))?;
        while let Some(end) = text.find('\n') {
            told += usize::from(report.told(&text[..end], ""));
            text.drain(..=end);
        }
        match ended {
            Some(status) if status.success() && told > 0 => return Ok(()),
            Some(status) => bail!("{name} told {told} outcomes and ended with {status}"),
            None if Instant::now() >= deadline => {
                bail!("{name} took more than {} s", limit.as_secs());
            }
            None => thread::sleep(POLL_INTERVAL),
        }
    }
}
