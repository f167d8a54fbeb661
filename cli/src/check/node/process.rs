//! This process, and the vipgate that runs on the host.

use std::path::Path;

use anyhow::Result;
use vipgate_api::manifest::{Problem, Severity};

use crate::check::catalogue::Check;
use crate::check::finding::Finding;
use crate::status::report::StatusReport;

/// Capabilities by their bit in /proc/PID/status, and how they are written.
const ADMIN: (u32, &str) = (12, "CAP_NET_ADMIN");
const RAW: (u32, &str) = (13, "CAP_NET_RAW");
const BIND_SERVICE: (u32, &str) = (10, "CAP_NET_BIND_SERVICE");
/// Problems of the running process that are shown each; the rest is counted.
const SHOWN: usize = 20;

/// What is wrong with the manifests of a directory.
pub(super) fn manifests(directory: Option<&Path>, problems: &[Problem]) -> Finding {
    let check = Check::MANIFESTS;
    let Some(directory) = directory else {
        return Finding::unseen(check, "no directory is named: `--manifests DIR`");
    };
    let shown: Vec<String> = problems.iter().take(SHOWN).map(ToString::to_string).collect();
    let rest = problems.len() - shown.len();
    let rest = if rest > 0 { format!("; {rest} more") } else { String::new() };
    let found = shown.join("; ") + &rest;
    let mend =
        format!("`vipgate lint {}` names each place, and what to write there", directory.display());
    match problems.iter().any(|problem| problem.severity == Severity::Error) {
        true => Finding::error(check, found).mend(mend),
        false if found.is_empty() => Finding::ok(check, "all of them can be read"),
        false => Finding::warning(check, found).mend(mend),
    }
}

/// What the kernel says of this process, and the lowest port that needs no capability.
pub(super) fn read_status() -> (Option<String>, u16) {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    let lowest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    let lowest = lowest.and_then(|text| text.trim().parse().ok());
    (status, lowest.unwrap_or(1024))
}

/// `loopback_only`: all pools are in 127.0.0.0/8, and no privilege is needed. `runs`: a vipgate answers, which may
/// have what this process has not.
pub(super) fn capabilities(
    (status, lowest): (Option<String>, u16),
    loopback_only: bool,
    runs: bool,
) -> Finding {
    let check = Check::CAPABILITIES;
    let line = status.iter().flat_map(|status| status.lines());
    let bits = line.filter_map(|line| line.strip_prefix("CapEff:")).next();
    let Some(bits) = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()) else {
        return Finding::unseen(check, "/proc/self/status does not say what this process may do");
    };
    let missing = |(bit, name): (u32, &'static str)| (bits & (1 << bit) == 0).then_some(name);
    let needed: Vec<&str> = [ADMIN, RAW].into_iter().filter_map(missing).collect();
    let ports = missing(BIND_SERVICE).filter(|_| lowest > 0);
    match (&needed[..], ports) {
        ([], None) => Finding::ok(check, "this process has all three"),
        ([], Some(name)) => Finding::warning(
            check,
            format!("{name} is missing: listeners on ports below {lowest} cannot be bound"),
        ),
        (needed, _) if loopback_only => {
            let names = needed.join(" and ");
            Finding::ok(check, format!("{names}: not there, nor needed for pools of 127.0.0.0/8"))
        }
        (needed, _) if runs => {
            let names = needed.join(" and ");
            let why = "this process has no {names}; the vipgate that runs has rights of its own";
            Finding::unseen(check, why.replace("{names}", &names))
        }
        (needed, _) => {
            Finding::error(check, format!("this process has no {}", needed.join(" and no ")))
        }
    }
}

/// `most`: the hard limit.
pub(super) fn open_files(most: u64) -> Finding {
    let check = Check::OPEN_FILES;
    let reserved = u64::try_from(vipgate_speaker::proxy::Config::default().reserved_files);
    let room = most.saturating_sub(reserved.unwrap_or(0)) / 2;
    let found = match most {
        u64::MAX => "unlimited".to_owned(),
        most => format!("{most}: room for about {room} connections at once"),
    };
    match most {
        ..1024 => Finding::error(check, found),
        1024..65_536 => Finding::warning(check, found),
        _ => Finding::ok(check, found),
    }
}

/// The process behind the admin socket.
pub(super) fn running(report: &Result<StatusReport>, socket: &Path) -> Vec<Finding> {
    let check = Check::RUNNING;
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            let socket = socket.display();
            let reason = format!("no vipgate answers on {socket} ({})", error.root_cause());
            return vec![Finding::unseen(check, reason)];
        }
    };
    let own = env!("CARGO_PKG_VERSION");
    let mut findings = Vec::new();
    if report.version != own {
        let found = format!("version {} runs, and this is {own}", report.version);
        let mend = "restart vipgate, or ask with the binary that runs";
        findings.push(Finding::warning(check, found).mend(mend));
    }
    let problems = report.problems.iter().take(SHOWN);
    findings.extend(problems.map(|problem| Finding::warning(check, problem.to_string())));
    if let Some(more @ 1..) = report.problems.len().checked_sub(SHOWN) {
        findings.push(Finding::warning(check, format!("{more} more problems")));
    }
    if findings.is_empty() {
        let (version, vips) = (&report.version, report.vips.len());
        findings.push(Finding::ok(
            check,
            format!("version {version} on {}, {vips} VIPs, no problems", report.node),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Verdict;
    use crate::status::report::Problem;

    fn with(bits: u64) -> (Option<String>, u16) {
        (Some(format!("Name:\tvipgate\nCapPrm:\t0\nCapEff:\t{bits:016x}\n")), 1024)
    }

    #[test]
    fn what_is_missing_is_named_and_loopback_pools_need_nothing() {
        let all = 1 << 12 | 1 << 13 | 1 << 10;
        assert_eq!(capabilities(with(all), false, false).verdict, Verdict::Ok);
        let none = capabilities(with(0), false, false);
        assert_eq!(none.verdict, Verdict::Error);
        assert_eq!(none.found, "this process has no CAP_NET_ADMIN and no CAP_NET_RAW");
        assert_eq!(capabilities(with(0), false, true).verdict, Verdict::NotLookedAt);
        assert_eq!(capabilities(with(all & !(1 << 13)), false, false).verdict, Verdict::Error);
        let ports = capabilities(with(1 << 12 | 1 << 13), false, false);
        assert_eq!(ports.verdict, Verdict::Warning);
        assert!(ports.found.contains("below 1024"), "{}", ports.found);
        assert_eq!(capabilities((with(1 << 12 | 1 << 13).0, 0), false, false).verdict, Verdict::Ok);
        assert_eq!(capabilities(with(1 << 10), true, false).verdict, Verdict::Ok);
        assert_eq!(capabilities((None, 1024), false, false).verdict, Verdict::NotLookedAt);
        assert_eq!(
            capabilities((Some("CapEff:\tx".into()), 0), false, false).verdict,
            Verdict::NotLookedAt
        );
    }

    #[test]
    fn manifests_that_cannot_be_read_are_an_error() {
        let of = |text: Option<&str>| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("manifests");
            if let Some(text) = text {
                std::fs::create_dir(&path).unwrap();
                std::fs::write(path.join("a.yaml"), text).unwrap();
            }
            let wanted = crate::check::pools::Wanted::of_directory(&path);
            manifests(Some(&path), &wanted.problems)
        };
        let class = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: a}, \
                     spec: {controllerName: vipgate.dev/gateway-controller}}";
        assert_eq!(of(Some(class)).verdict, Verdict::Ok);
        for broken in [None, Some("kind: a: b")] {
            let found = of(broken);
            assert_eq!(found.verdict, Verdict::Error, "{found:?}");
            assert!(found.mend.unwrap().starts_with("`vipgate lint /"));
        }
        assert_eq!(manifests(None, &[]).verdict, Verdict::NotLookedAt);
    }

    #[test]
    fn few_files_are_a_warning_and_very_few_an_error() {
        let verdicts = [1000, 20_000, 65_536, u64::MAX].map(|most| open_files(most).verdict);
        assert_eq!(verdicts, [Verdict::Error, Verdict::Warning, Verdict::Ok, Verdict::Ok]);
        assert_eq!(open_files(20_128).found, "20128: room for about 10000 connections at once");
    }

    #[test]
    fn the_problems_of_the_running_process_are_shown_and_bounded() {
        let socket = Path::new("/run/vipgate/admin.sock");
        let mut report =
            StatusReport { version: env!("CARGO_PKG_VERSION").into(), ..<_>::default() };
        let well = running(&Ok(report.clone()), socket);
        assert_eq!((well.len(), well[0].verdict), (1, Verdict::Ok));
        report.problems = vec![Problem::plain("x is wrong"); 25];
        report.version = "0.0.9".into();
        let bad = running(&Ok(report), socket);
        assert_eq!(bad.len(), 22);
        assert!(bad[0].found.contains("0.0.9") && bad[21].found == "5 more problems");
        let none = running(&Err(anyhow::anyhow!("no such file")), socket);
        assert_eq!(none[0].verdict, Verdict::NotLookedAt);
        assert!(none[0].found.contains("/run/vipgate/admin.sock (no such file)"), "{none:?}");
    }
}
