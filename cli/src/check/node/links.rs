//! Interfaces: which carry pools, how large their packets are, and what of their addresses lies in a pool.

use std::net::{IpAddr, Ipv4Addr};

use vipgate_planner::Link;
use vipgate_speaker::host::Seen;

use super::NO_POOLS;
use crate::check::catalogue::Check;
use crate::check::finding::Finding;
use crate::check::pools::Pool;

/// Interfaces whose packets stay on the host or are wrapped: their MTU is smaller on purpose. By how their
/// names begin.
const INNER: [&str; 18] = [
    "lo",
    "cni",
    "flannel",
    "vxlan",
    "cali",
    "tunl",
    "cilium",
    "lxc",
    "docker",
    "br-",
    "veth",
    "kube-",
    "nodelocaldns",
    "wg",
    "tun",
    "tailscale",
    "antrea",
    "weave",
];

/// Those that lead out of the host: with an address, and none of [`INNER`].
pub(super) fn outer(links: &[Link]) -> impl Iterator<Item = &Link> {
    let inner = |name: &str| INNER.iter().any(|prefix| name.starts_with(prefix));
    links
        .iter()
        .filter(move |link| !link.loopback && !link.addresses.is_empty() && !inner(&link.name))
}

/// Whether an address is in a subnet of a link.
pub(super) fn carries(link: &Link, address: IpAddr) -> bool {
    !link.loopback && link.addresses.iter().any(|net| net.contains(&address))
}

/// Which interfaces are in the subnets of the pools.
pub(super) fn interfaces(links: &[Link], pools: &[Pool]) -> Finding {
    let check = Check::INTERFACES;
    if pools.is_empty() {
        return Finding::unseen(check, NO_POOLS);
    }
    let (mut carried, mut missing) = (Vec::new(), Vec::new());
    for pool in pools {
        for range in pool.ranges.iter().filter(|range| !range.first.is_loopback()) {
            let on: Vec<&Link> = links
                .iter()
                .filter(|link| carries(link, range.first) && carries(link, range.last))
                .collect();
            let up: Vec<&str> =
                on.iter().filter(|link| link.up).map(|link| link.name.as_str()).collect();
            let what = format!("{range} (pool {})", pool.name);
            match (&on[..], &up[..]) {
                ([], _) => missing.push(format!("no interface is in the subnet of {what}")),
                ([down, ..], []) => {
                    missing.push(format!("{} is down, and carries {what}", down.name));
                }
                (_, up) => carried.push(format!("{} carries {what}", up.join(" and "))),
            }
        }
    }
    match (&missing[..], &carried[..]) {
        ([], []) => Finding::ok(check, "pools of 127.0.0.0/8 need none"),
        ([], carried) => Finding::ok(check, carried.join("; ")),
        (missing, _) => Finding::warning(check, missing.join("; ")),
    }
}

/// The MTU of each interface that leads out.
pub(super) fn mtus(seen: &Seen) -> Vec<(String, u32)> {
    let mtu = |link: &Link| Some((link.name.clone(), *seen.mtus.get(&link.name)?));
    outer(&seen.links).filter_map(mtu).collect()
}

/// Whether they fit each other.
pub(super) fn mtu(mtus: &[(String, u32)]) -> Finding {
    let check = Check::MTU;
    let Some((_, first)) = mtus.first() else {
        return Finding::unseen(check, "no interface with an address of its own tells its MTU");
    };
    let all: Vec<String> = mtus.iter().map(|(name, mtu)| format!("{name} {mtu}")).collect();
    let small = mtus.iter().find(|(_, mtu)| *mtu < 1280);
    match small {
        Some((name, mtu)) => Finding::warning(check, format!("{name} has {mtu}, below 1280")),
        None if mtus.iter().any(|(_, mtu)| mtu != first) => {
            Finding::warning(check, format!("they differ: {}", all.join(", ")))
        }
        None => Finding::ok(check, all.join(", ")),
    }
}

/// The routers of this host, IPv4, as /proc/net/route has them.
pub(super) fn read_gateways() -> Vec<IpAddr> {
    gateways(&std::fs::read_to_string("/proc/net/route").unwrap_or_default())
}

fn gateways(routes: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let number = u32::from_str_radix(line.split_ascii_whitespace().nth(2)?, 16).ok()?;
        let address = Ipv4Addr::from(number.to_ne_bytes());
        (!address.is_unspecified()).then_some(IpAddr::V4(address))
    };
    routes.lines().skip(1).filter_map(gateway).collect()
}

/// Addresses that others need to be where they are, in a pool.
pub(super) fn pool_addresses(links: &[Link], gateways: &[IpAddr], pools: &[Pool]) -> Finding {
    let check = Check::POOL_ADDRESSES;
    if pools.is_empty() {
        return Finding::unseen(check, NO_POOLS);
    }
    let on_links = links.iter().flat_map(|link| {
        let addresses = link.addresses.iter().map(|net| net.addr());
        let addresses = addresses.filter(|address| !address.is_loopback());
        addresses.map(|address| (address, format!("{address} is an address of {}", link.name)))
    });
    let routers = gateways.iter().map(|ip| (*ip, format!("{ip} is a router of this host")));
    let mut bad = Vec::new();
    for (address, what) in on_links.chain(routers) {
        let pool = pools.iter().find(|pool| pool.contains(address));
        bad.extend(pool.map(|pool| format!("{what}, and in pool {}", pool.name)));
    }
    bad.dedup();
    match &bad[..] {
        [] => Finding::ok(check, "no address of this host or its routers is in a pool"),
        bad => Finding::error(check, bad.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::link;
    use super::*;
    use crate::check::finding::Verdict;

    fn pools(ranges: &[&str]) -> Vec<Pool> {
        vec![Pool::of_object(&json!({"metadata": {"name": "lan"}, "spec": {"addresses": ranges}}))]
    }

    #[test]
    fn a_pool_needs_an_interface_that_is_up_in_its_subnet() {
        let host =
            [link("eth0", true, &["192.0.2.5/24"]), link("eth1", false, &["198.51.100.5/24"])];
        let found = |ranges: &[&str]| interfaces(&host, &pools(ranges));
        assert_eq!(
            found(&["192.0.2.240-192.0.2.250"]).found,
            "eth0 carries 192.0.2.240-192.0.2.250 (pool lan)"
        );
        let down = found(&["198.51.100.240-198.51.100.250"]);
        assert_eq!(down.verdict, Verdict::Warning);
        assert!(down.found.starts_with("eth1 is down"), "{}", down.found);
        let elsewhere = found(&["192.0.2.240", "203.0.113.1"]);
        assert_eq!(elsewhere.found, "no interface is in the subnet of 203.0.113.1 (pool lan)");
        assert_eq!(found(&["127.0.5.1"]).verdict, Verdict::Ok);
        assert_eq!(interfaces(&host, &[]).verdict, Verdict::NotLookedAt);
    }

    #[test]
    fn interfaces_that_differ_in_mtu_are_named_without_those_inside() {
        let list = |list: &[(&str, u32)]| -> Vec<(String, u32)> {
            list.iter().map(|(name, mtu)| ((*name).to_owned(), *mtu)).collect()
        };
        let differing = mtu(&list(&[("eth0", 1500), ("eth1", 9000)]));
        assert_eq!(differing.verdict, Verdict::Warning);
        assert_eq!(differing.found, "they differ: eth0 1500, eth1 9000");
        assert_eq!(mtu(&list(&[("eth0", 1500), ("eth1", 1500)])).verdict, Verdict::Ok);
        assert_eq!(mtu(&list(&[("eth0", 1000)])).verdict, Verdict::Warning);
        assert_eq!(mtu(&[]).verdict, Verdict::NotLookedAt);
        let host = [
            link("eth0", true, &["192.0.2.5/24"]),
            link("cni0", true, &["10.42.0.1/24"]),
            link("eth1", true, &[]),
        ];
        assert_eq!(outer(&host).map(|link| &link.name).collect::<Vec<_>>(), ["eth0"]);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_of_the_host_and_of_its_router_are_not_for_a_pool() {
        let routes = "Iface\tDestination\tGateway\tFlags\neth0\t00000000\t010200C0\t0003\neth0\t000200C0\t00000000\t1\n";
        let routers = gateways(routes);
        assert_eq!(routers, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        let host = [link("lo", true, &["127.0.0.1/8"]), link("eth0", true, &["192.0.2.5/24"])];
        let found = pool_addresses(&host, &routers, &pools(&["192.0.2.0/24"]));
        assert_eq!(found.verdict, Verdict::Error);
        assert_eq!(
            found.found,
            "192.0.2.5 is an address of eth0, and in pool lan; 192.0.2.1 is a router of this \
             host, and in pool lan"
        );
        let fine =
            pool_addresses(&host, &routers, &pools(&["192.0.2.240-192.0.2.250", "127.0.0.0/8"]));
        assert_eq!(fine.verdict, Verdict::Ok);
        assert_eq!(pool_addresses(&host, &routers, &[]).verdict, Verdict::NotLookedAt);
    }
}
