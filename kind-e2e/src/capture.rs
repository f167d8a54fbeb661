//! Frames off the wire of a node.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::{Frame, Node, Process, Program, patience, pcap};

/// tcpdump takes a few milliseconds to begin and to end.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// tcpdump prints a frame within microseconds of its arrival. A frame sent right before
/// [`Capture::stop`] is given this long; then it is no longer in doubt.
const SETTLE: Duration = Duration::from_millis(100);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A running capture. It sees what the interface receives and sends.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Process,
}

impl Capture {
    pub(crate) fn start(node: &Node, interface: &str, filter: &str) -> Result<Self> {
        let tcpdump = node.spawn(
            Program::new("tcpdump")
                // Each frame at once, raw, to stdout; and no change of user, which a user
                // namespace with one user in it does not allow.
                .args(["--immediate-mode", "-U", "-w", "-", "-Z", "root", "-n"])
                .args(["-i", interface, filter]),
        )?;
        // Printed when the socket is bound and the filter set.
        tcpdump
            .wait_for_line("listening on", TURN_TIMEOUT)
            .with_context(|| format!("cannot capture {interface} with filter {filter:?}"))?;
        Ok(Self { tcpdump })
    }

    /// The frames so far.
    ///
    /// # Errors
    /// When there were more than 64 MiB of them.
    pub fn frames(&self) -> Result<Vec<Frame>> {
        let output = self.tcpdump.output();
        ensure!(output.dropped == 0, "the capture is longer than can be kept: use a filter");
        pcap::frames(&output.stdout)
    }

    /// Waits for a frame that `wanted` accepts, captured now or before.
    ///
    /// # Errors
    /// When none comes within `timeout` (times the patience); with the frames that came.
    pub fn wait_for(
        &self,
        timeout: Duration,
        mut wanted: impl FnMut(&Frame) -> bool,
    ) -> Result<Frame> {
        let timeout = patience(timeout);
        let deadline = Instant::now() + timeout;
        loop {
            let frames = self.frames()?;
            if let Some(frame) = frames.iter().find(|frame| wanted(frame)) {
                return Ok(frame.clone());
            }
            if Instant::now() >= deadline {
                bail!("no such frame within {timeout:?}; captured: {frames:#?}");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Ends the capture and returns all frames, with those sent just before.
    ///
    /// # Errors
    /// When the kernel dropped frames, or there were more than 64 MiB of them.
    pub fn stop(mut self) -> Result<Vec<Frame>> {
        std::thread::sleep(SETTLE);
        self.tcpdump.signal(Signal::INT)?;
        self.tcpdump.wait(TURN_TIMEOUT)?;
        let report = self.tcpdump.output().stderr_text();
        ensure!(
            report.lines().any(|line| line == "0 packets dropped by kernel"),
            "the capture has holes: {report}"
        );
        self.frames()
    }
}
