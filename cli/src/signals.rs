//! How a running vipgate is asked to end.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell reports of a process that SIGINT ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// SIGTERM and SIGINT ask for an orderly end; SIGINT a second time for an end at once.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits until somebody asks for the end.
    pub(crate) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits until somebody insists.
    pub(crate) async fn interrupt_again(&mut self) {
        self.interrupt.recv().await;
    }
}
