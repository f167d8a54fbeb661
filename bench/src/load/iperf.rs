//! iperf3 as people run it: its own client and server, its control connection through the proxy as well. It looks at
//! how many bytes arrive, not at which.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipgate_lab::Program;

use super::Outcome;

/// The part that may be under way when the time is over, which the server does not wait for.
const UNDER_WAY: f64 = 0.15;

/// The client. Its time is in whole seconds, at least one.
pub(crate) fn client(target: &str, streams: usize, seconds: f64) -> Result<Program> {
    let (host, port) = target.split_once(':').context("no port")?;
    let seconds = (seconds.round() as u64).max(1).to_string();
    let streams = streams.to_string();
    let arguments =
        ["--json", "--client", host, "--port", port, "--time", &seconds, "--parallel", &streams];
    Ok(Program::new("iperf3").args(arguments))
}

/// What it says.
pub(crate) fn outcome(text: &str) -> Result<Outcome> {
    let said: Value = serde_json::from_str(text).context("the output of iperf3")?;
    if let Some(error) = said.get("error") {
        ensure!(false, "iperf3: {error}");
    }
    let number = |path: &str| {
        let value = said.pointer(path).and_then(Value::as_f64);
        value.with_context(|| format!("iperf3 does not say {path}"))
    };
    let (sent, arrived) = (number("/end/sum_sent/bytes")?, number("/end/sum_received/bytes")?);
    ensure!(
        arrived <= sent && arrived >= sent * (1.0 - UNDER_WAY),
        "{sent} bytes were sent, and {arrived} arrived"
    );
    let seconds = number("/end/sum_received/seconds")?;
    Ok(Outcome { done: arrived as u64, seconds, ..Outcome::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(sent: u64, arrived: u64) -> String {
        format!(
            r#"{{"end": {{"sum_sent": {{"bytes": {sent}, "seconds": 1.0}},
                "sum_received": {{"bytes": {arrived}, "seconds": 1.002}}}}}}"#
        )
    }

    #[test]
    fn what_arrived_counts() {
        let outcome = outcome(&said(1_000_000, 990_000)).unwrap();
        assert_eq!((outcome.done, outcome.failed), (990_000, 0));
        assert!((outcome.seconds - 1.002).abs() < 1e-9);
    }

    #[test]
    fn bytes_that_are_missing_or_too_many_are_no_figure() {
        assert!(outcome(&said(1_000_000, 500_000)).is_err());
        assert!(outcome(&said(1_000_000, 1_000_001)).is_err());
        assert!(outcome(r#"{"error": "unable to connect"}"#).is_err());
        assert!(outcome("{}").is_err());
    }
}
