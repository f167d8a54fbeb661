//! What is looked at on a host. Each file has plain functions from what was read to findings, tested without
//! a host; this one reads. Nothing is changed, and nothing is sent unless `--probe` is given.

mod clock;
mod conflicts;
mod kernel;
mod links;
mod others;
mod process;
mod sysctl;

use std::path::PathBuf;

use vipgate_api::Kind;
use vipgate_api::vipgate::AddressRange;
use vipgate_speaker::host::{self, Seen};

use super::catalogue::Check;
use super::finding::Finding;
use super::pools::{Pool, Wanted};
use crate::ask;
use crate::run::paths;
use crate::status::report::StatusReport;
use sysctl::Sysctls;

/// What is asked of this host.
pub(super) struct Asked {
    /// Admin socket of a running vipgate.
    pub(super) socket: Option<PathBuf>,
    /// Directory of manifests.
    pub(super) manifests: Option<PathBuf>,
    /// Ranges of the command line.
    pub(super) ranges: Vec<AddressRange>,
    /// What the cluster asks, if one was looked at.
    pub(super) of_cluster: Option<Wanted>,
    /// How many addresses may be asked for on the wire.
    pub(super) probes: Option<usize>,
}

/// Looks at everything.
pub(super) async fn look(asked: Asked) -> Vec<Finding> {
    let running = ask::process::<StatusReport>(asked.socket.as_deref(), "status");
    let wanted = wanted(&asked, running.as_ref().ok());
    let socket = paths::admin_socket(asked.socket.as_deref());
    let mut findings = process::running(&running, &socket);
    let loopback_only = !wanted.pools.is_empty() && wanted.pools.iter().all(Pool::is_loopback);

    findings.push(process::manifests(asked.manifests.as_deref(), &wanted.problems));
    findings.push(process::capabilities(process::read_status(), loopback_only, running.is_ok()));
    findings.push(process::open_files(host::open_files_at_most()));
    let seen = host::look().await.map_err(|error| error.to_string());
    findings.extend(kernel::look(seen.as_ref().ok()));
    findings.extend(of_links(&seen, &wanted));
    let rewritten = host::destinations_are_rewritten().unwrap_or(false);
    if let Ok(seen) = &seen {
        let sysctls = Sysctls::read(&seen.links);
        findings.extend(sysctl::look(&sysctls, seen, &wanted, rewritten));
    } else {
        let reason = "the interfaces of this host cannot be read";
        findings.extend(sysctl::CHECKS.map(|check| Finding::unseen(check, reason)));
    }
    findings.push(others::announcers(&others::processes(), others::sees_the_host()));
    findings.extend(others::ports(&wanted));
    findings.push(clock::look());
    findings.push(match (&seen, asked.probes) {
        (_, None) => Finding::unseen(
            Check::ADDRESS_CONFLICTS,
            "it sends packets: say `--probe` to have each address of the pools asked for three times",
        ),
        (Err(error), _) => Finding::unseen(Check::ADDRESS_CONFLICTS, error),
        (Ok(seen), Some(at_most)) => match &wanted.claims_unread {
            // Whoever serves a VIP answers for it, and is no conflict.
            Some(error) => Finding::unseen(
                Check::ADDRESS_CONFLICTS,
                format!("which addresses vipgate has given out is not known: {error}"),
            ),
            None => {
                let ours = running.iter().flat_map(|report| &report.vips).map(|vip| vip.address);
                let ours = ours.chain(wanted.claimed.iter().copied()).collect();
                conflicts::probe(&wanted.pools, seen, &ours, at_most).await
            }
        },
    });
    findings
}

/// Pools and ports, from the command line, manifests, a cluster, and else from the process that runs.
fn wanted(asked: &Asked, running: Option<&StatusReport>) -> Wanted {
    let mut wanted = asked.of_cluster.clone().unwrap_or_default();
    if let Some(directory) = &asked.manifests {
        let of_manifests = Wanted::of_directory(directory);
        wanted.pools.extend(of_manifests.pools);
        wanted.ports.extend(of_manifests.ports);
        wanted.problems = of_manifests.problems;
    }
    if !asked.ranges.is_empty() {
        wanted.pools.push(Pool::of_ranges(&asked.ranges));
    }
    if wanted.pools.is_empty() {
        for object in running.iter().flat_map(|report| &report.objects) {
            for kind in [Kind::IpAddressPool, Kind::Gateway] {
                if object["kind"] == kind.name() {
                    wanted.take(object, kind);
                }
            }
        }
    }
    wanted
}

fn of_links(seen: &Result<Seen, String>, wanted: &Wanted) -> Vec<Finding> {
    match seen {
        Ok(seen) => vec![
            links::interfaces(&seen.links, &wanted.pools),
            links::mtu(&links::mtus(seen)),
            links::pool_addresses(&seen.links, &links::read_gateways(), &wanted.pools),
        ],
        Err(error) => [Check::INTERFACES, Check::MTU, Check::POOL_ADDRESSES]
            .map(|check| Finding::unseen(check, error))
            .into(),
    }
}

/// What of /proc/sys is looked at, for who looks from afar.
pub(crate) fn sysctls(seen: &Seen) -> std::collections::BTreeMap<String, String> {
    Sysctls::read(&seen.links).all().clone()
}

/// What is said where pools are not known.
const NO_POOLS: &str = "no pool is known: name them by --manifests DIR, --addresses RANGE or \
 --kubeconfig FILE, or \
                        start vipgate first";

/// A link as tests need one.
#[cfg(test)]
fn link(name: &str, up: bool, addresses: &[&str]) -> vipgate_planner::Link {
    vipgate_planner::Link {
        index: 1,
        name: name.to_owned(),
        up,
        loopback: name == "lo",
        mac: None,
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    }
}
