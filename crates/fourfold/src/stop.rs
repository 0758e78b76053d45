//! Signals that ask the program to end, and the error that says that one did.
//!
//! What must hold: from [`StopSignals::listen`] on a signal no longer kills the process, so that whoever listens must
//! look; a signal that came before anybody looked is not lost.

use std::fmt;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks a program to end.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl StopSignals {
    /// Listens for SIGINT and SIGTERM. A server that was started with `nohup` goes on without its terminal.
    pub(crate) fn listen() -> Result<Self> {
        let open = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { interrupt: open(SignalKind::interrupt())?, terminate: open(SignalKind::terminate())?, hangup: None })
    }

    /// Listens for SIGHUP too, for what must tidy up when its terminal goes away.
    pub(crate) fn listen_to_all() -> Result<Self> {
        let hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
        Ok(Self { hangup: Some(hangup), ..Self::listen()? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Interrupted {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        let kind = tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = hangup => SignalKind::hangup(),
        };
        Interrupted(kind)
    }
}

/// A signal ended the work before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interrupted(SignalKind);

impl Interrupted {
    /// What shells expect of a process that a signal ended.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::try_from(128 + self.0.as_raw_value()).unwrap_or(u8::MAX))
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}
