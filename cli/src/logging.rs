//! Logs: for people on a terminal, JSON otherwise. `VIPGATE_LOG` filters, in the syntax of
//! tracing's `EnvFilter` (`debug`, `vipgate_speaker::arp=trace`).

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging to standard error.
pub(crate) fn start() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .with_env_var("VIPGATE_LOG")
        .from_env_lossy();
    // A line that cannot be written is lost. Saying so, on the same standard error, would panic: the
    // restart of whoever reads the log must not end the forwarding.
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .log_internal_errors(false);
    if io::stderr().is_terminal() {
        format.compact().with_target(false).init();
    } else {
        format.json().flatten_event(true).init();
    }
}
