//! Logs: for people on a terminal, JSON otherwise. `VIPGATE_LOG` filters, in the syntax of
//! tracing's `EnvFilter` (`debug`, `vipgate_speaker::arp=trace`).

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Our own news, and only the trouble of the libraries.
const DEFAULT: &str =
    "warn,vipgate=info,vipgate_controller=info,vipgate_speaker=info,vipgate_planner=info";

/// Starts logging to standard error.
pub(crate) fn start() {
    let filter = match env::var("VIPGATE_LOG") {
        Ok(directives) => EnvFilter::new(directives),
        Err(_) => EnvFilter::new(DEFAULT),
    };
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
