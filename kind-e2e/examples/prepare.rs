//! Builds and fetches ahead of time what tests on a cluster need of Go modules: `make prepare`. What
//! is there already takes no time.

use std::process::ExitCode;

use vipgate_lab::Result;
use vipgate_lab::cluster::{
    Images, conformance_suite, fetch_gateway_api, fetch_prometheus_operator, helm, prepare,
    wireguard,
};

/// The releases of Gateway API that tests install. One that is missing here is fetched by its test,
/// which fails where tests have no network, as for ordinary users.
const GATEWAY_API: [&str; 6] = ["1.2.1", "1.3.0", "1.4.1", "1.5.1", "1.6.1", "1.6.3"];

fn main() -> ExitCode {
    match all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("prepare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<()> {
    GATEWAY_API.into_iter().try_for_each(fetch_gateway_api)?;
    fetch_prometheus_operator()?;
    helm()?;
    wireguard()?;
    conformance_suite()?;
    Images::of_conformance()?;
    prepare()
}
