//! Builds ahead of time what tests on a cluster need of Go modules: `make prepare`. What is there
//! already takes no time.

use std::process::ExitCode;

use vipgate_lab::Result;
use vipgate_lab::cluster::{conformance_suite, helm, prepare};

fn main() -> ExitCode {
    let builds: [fn() -> Result<()>; 3] =
        [|| helm().map(|_| ()), || conformance_suite().map(|_| ()), prepare];
    for build in builds {
        if let Err(error) = build() {
            eprintln!("prepare: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
