//! What /proc/sys says, as far as it matters for VIPs. vipgate writes none of it.

use std::collections::BTreeMap;
use std::fs;

use vipgate_planner::Link;
use vipgate_speaker::host::Seen;

use super::links::{carries, outer};
use crate::check::catalogue::Check;
use crate::check::finding::Finding;
use crate::check::pools::{Pool, Wanted};
use crate::run::group::PORT;

/// All checks of this file.
pub(super) const CHECKS: [Check; 8] = [
    Check::RP_FILTER,
    Check::ARP,
    Check::FORWARDING,
    Check::NONLOCAL_BIND,
    Check::LOCAL_PORTS,
    Check::BACKLOG,
    Check::IPV6,
    Check::CONNTRACK,
];

/// Read once for the host.
const GLOBAL: [&str; 14] = [
    "net.core.somaxconn",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_syncookies",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.lo.disable_ipv6",
    "net.ipv6.ip_nonlocal_bind",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
    "net.ipv4.tcp_migrate_req",
];
/// Read of each interface, and of `all`.
const OF_LINK: [(&str, &str); 6] = [
    ("ipv4", "rp_filter"),
    ("ipv4", "arp_ignore"),
    ("ipv4", "arp_announce"),
    ("ipv4", "proxy_arp"),
    ("ipv4", "proxy_arp_pvlan"),
    ("ipv4", "send_redirects"),
];

/// Values by name; a name is missing where the kernel has no such thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sysctls(BTreeMap<String, String>);

impl Sysctls {
    /// Those of this network namespace.
    pub(crate) fn read(links: &[Link]) -> Self {
        let links = links.iter().map(|link| link.name.as_str()).chain(["all"]);
        let mut paths: Vec<Vec<&str>> =
            GLOBAL.iter().map(|name| name.split('.').collect()).collect();
        for link in links {
            paths.extend(
                OF_LINK.iter().map(|(family, name)| vec!["net", family, "conf", link, name]),
            );
            paths.push(vec!["net", "ipv6", "conf", link, "disable_ipv6"]);
        }
        let value = |path: &Vec<&str>| {
            let text = fs::read_to_string(format!("/proc/sys/{}", path.join("/"))).ok()?;
            // The name of an interface may have dots.
            Some((path.join("."), text.trim().replace('\t', " ")))
        };
        Self(paths.iter().filter_map(value).collect())
    }

    /// All of them, for who looks from afar.
    pub(crate) fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// What holds on a link: the greater of its own and that of `all`.
    fn strongest(&self, link: &str, name: &str) -> Option<u64> {
        let own = self.number(&format!("net.ipv4.conf.{link}.{name}"))?;
        Some(own.max(self.number(&format!("net.ipv4.conf.all.{name}")).unwrap_or(0)))
    }

    fn unknown(check: Check, name: &str) -> Finding {
        Finding::unseen(check, format!("{name} is not to be read"))
    }
}

/// Every check of this file. `rewritten`: something leads connections elsewhere on this host.
pub(super) fn look(
    sysctls: &Sysctls,
    seen: &Seen,
    wanted: &Wanted,
    rewritten: bool,
) -> Vec<Finding> {
    vec![
        rp_filter(sysctls, &seen.links, &wanted.pools),
        arp(sysctls, &seen.links),
        forwarding(sysctls, &seen.links, &wanted.pools, rewritten),
        nonlocal_bind(sysctls),
        local_ports(sysctls, wanted),
        backlog(sysctls),
        ipv6(sysctls, &seen.links, &wanted.pools),
        conntrack(sysctls),
    ]
}

fn rp_filter(sysctls: &Sysctls, links: &[Link], pools: &[Pool]) -> Finding {
    let check = Check::RP_FILTER;
    let values: Vec<(&str, u64)> = outer(links)
        .filter_map(|link| Some((link.name.as_str(), sysctls.strongest(&link.name, "rp_filter")?)))
        .collect();
    if values.is_empty() {
        return Finding::unseen(check, "no interface with an address of its own tells it");
    }
    let strict: Vec<&str> =
        values.iter().filter(|(_, value)| *value == 1).map(|(name, _)| *name).collect();
    let ranges = || pools.iter().flat_map(|pool| &pool.ranges);
    let outside = ranges().find(|range| {
        !range.first.is_loopback() && !links.iter().any(|link| carries(link, range.first))
    });
    let shown: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let reason = match (&strict[..], outside) {
        ([], _) => return Finding::ok(check, shown.join(", ")),
        (_, Some(range)) => format!("{range} is in no subnet of this host"),
        _ if values.len() > 1 => "there are several ways back".to_owned(),
        _ => {
            return Finding::ok(
                check,
                format!("{}: strict, and there is one interface", shown.join(", ")),
            );
        }
    };
    let sysctls = strict.iter().map(|name| format!("net.ipv4.conf.{name}.rp_filter=2"));
    // The greater of both counts, so 2 on the interface is enough whatever `all` has.
    let mend = format!(
        "`sysctl -w {}`, and the same in /etc/sysctl.d",
        sysctls.collect::<Vec<_>>().join(" ")
    );
    Finding::warning(check, format!("strict (1) on {}, and {reason}", strict.join(", "))).mend(mend)
}

fn arp(sysctls: &Sysctls, links: &[Link]) -> Finding {
    let check = Check::ARP;
    let names: Vec<&str> = outer(links).map(|link| link.name.as_str()).collect();
    let with = |name: &str, is: &dyn Fn(u64) -> bool| -> Vec<&str> {
        let has = |link: &&str| sysctls.strongest(link, name).is_some_and(is);
        names.iter().copied().filter(has).collect()
    };
    if with("arp_ignore", &|_| true).is_empty() {
        return Finding::unseen(check, "no interface with an address of its own tells it");
    }
    let private = with("proxy_arp_pvlan", &|value| value > 0);
    if let [link, ..] = private[..] {
        let mend = format!("`sysctl -w net.ipv4.conf.{link}.proxy_arp_pvlan=0`");
        let found =
            format!("proxy_arp_pvlan is on ({link}): the kernel answers ARP for its whole subnet");
        return Finding::error(check, found).mend(mend);
    }
    let ipvs = links.iter().any(|link| link.name == "kube-ipvs0");
    let loud: Vec<&str> = names
        .iter()
        .copied()
        .filter(|link| {
            sysctls.strongest(link, "arp_ignore").unwrap_or(0) < 1
                || sysctls.strongest(link, "arp_announce").unwrap_or(0) < 2
        })
        .collect();
    if let (true, [_, ..]) = (ipvs, &loud[..]) {
        let found = format!(
            "kube-ipvs0 has the VIPs of Services, and {} answers ARP for them, from every node",
            loud.join(", ")
        );
        let mend = "`ipvs: {strictARP: true}` in the ConfigMap kube-system/kube-proxy, and \
         restart its pods";
        return Finding::error(check, found).mend(mend);
    }
    match with("proxy_arp", &|value| value > 0)[..] {
        [link, ..] => Finding::warning(
            check,
            format!(
                "proxy_arp is on ({link}): the kernel answers ARP for what it would route elsewhere"
            ),
        )
        .mend(format!("`sysctl -w net.ipv4.conf.{link}.proxy_arp=0`")),
        [] => Finding::ok(
            check,
            "the kernel answers for nobody else; about VIPs vipgate keeps it silent",
        ),
    }
}

fn forwarding(sysctls: &Sysctls, links: &[Link], pools: &[Pool], rewritten: bool) -> Finding {
    let check = Check::FORWARDING;
    let Some(forward) = sysctls.number("net.ipv4.ip_forward") else {
        return Sysctls::unknown(check, "net.ipv4.ip_forward");
    };
    if forward == 0 && rewritten {
        return Finding::warning(
            check,
            "off, though something here leads connections elsewhere (kube-proxy, Docker)",
        );
    }
    if forward == 0 {
        return Finding::ok(check, "off; forwarding for Gateways does not need it");
    }
    let pooled = |link: &&Link| {
        pools.iter().flat_map(|pool| &pool.ranges).any(|range| carries(link, range.first))
    };
    let redirecting = outer(links).filter(pooled).find(|link| {
        // Either of the two sends them.
        sysctls.strongest(&link.name, "send_redirects").is_some_and(|value| value > 0)
    });
    match redirecting {
        Some(link) => {
            let name = &link.name;
            let found = format!("on, and send_redirects of {name}, which carries a pool, too");
            let mend = format!(
                "`sysctl -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.{name}.send_redirects=0`"
            );
            Finding::warning(check, found).mend(mend)
        }
        None => Finding::ok(check, "on"),
    }
}

fn nonlocal_bind(sysctls: &Sysctls) -> Finding {
    let check = Check::NONLOCAL_BIND;
    let names = ["net.ipv4.ip_nonlocal_bind", "net.ipv6.ip_nonlocal_bind"];
    if sysctls.get(names[0]).is_none() {
        return Sysctls::unknown(check, names[0]);
    }
    let on: Vec<&str> = names
        .into_iter()
        .filter(|name| sysctls.number(name).is_some_and(|value| value > 0))
        .collect();
    match &on[..] {
        [] => Finding::ok(check, "off"),
        on => Finding::warning(check, format!("on: {}", on.join(", "))),
    }
}

fn local_ports(sysctls: &Sysctls, wanted: &Wanted) -> Finding {
    let check = Check::LOCAL_PORTS;
    let range = sysctls.get("net.ipv4.ip_local_port_range").and_then(|text| {
        let mut ends = text.split_ascii_whitespace().map(str::parse::<u16>);
        Some((ends.next()?.ok()?, ends.next()?.ok()?))
    });
    let Some((first, last)) = range else {
        return Sysctls::unknown(check, "net.ipv4.ip_local_port_range");
    };
    let reserved = sysctls.get("net.ipv4.ip_local_reserved_ports").unwrap_or_default();
    let is_reserved = |port: u16| {
        reserved.split(',').any(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let ends = (from.trim().parse::<u16>(), to.trim().parse::<u16>());
            matches!(ends, (Ok(from), Ok(to)) if (from..=to).contains(&port))
        })
    };
    let own = [("the group", PORT), ("metrics", 7473)];
    let listeners = wanted.ports.iter().map(|one| (one.gateway.as_str(), one.port));
    let inside = own.into_iter().chain(listeners);
    let mut inside: Vec<(&str, u16)> =
        inside.filter(|(_, port)| (first..=last).contains(port) && !is_reserved(*port)).collect();
    inside.dedup();
    let count = u32::from(last.saturating_sub(first)) + 1;
    let shown = format!("{first}-{last}: {count} ports for connections to each backend");
    match &inside[..] {
        _ if count < 16_384 => Finding::warning(check, shown),
        [] => Finding::ok(check, shown),
        inside => {
            let ports: Vec<String> = inside.iter().map(|(_, port)| port.to_string()).collect();
            let (who, port) = inside[0];
            // What is reserved already stays so.
            let all: Vec<&str> =
                [reserved.trim()].into_iter().chain(ports.iter().map(String::as_str)).collect();
            let all = all.join(",");
            let all = all.trim_start_matches(',');
            let mend = format!("`sysctl -w net.ipv4.ip_local_reserved_ports={all}`");
            let found =
                format!("{first}-{last} has port {port} of {who}, and {} in all", ports.len());
            Finding::warning(check, found).mend(mend)
        }
    }
}

fn backlog(sysctls: &Sysctls) -> Finding {
    let check = Check::BACKLOG;
    let Some(most) = sysctls.number("net.core.somaxconn") else {
        return Sysctls::unknown(check, "net.core.somaxconn");
    };
    let wanted = u64::try_from(vipgate_speaker::proxy::Config::default().backlog).unwrap_or(0);
    let syn = sysctls.number("net.ipv4.tcp_max_syn_backlog");
    let cookies = sysctls.number("net.ipv4.tcp_syncookies");
    let mut bad = Vec::new();
    if most < wanted {
        bad.push(format!("somaxconn is {most}, listeners ask for {wanted}"));
    }
    if let Some(syn) = syn.filter(|syn| *syn < 1024) {
        bad.push(format!("tcp_max_syn_backlog is {syn}"));
    }
    if cookies == Some(0) {
        bad.push("tcp_syncookies is off".to_owned());
    }
    match &bad[..] {
        [] => Finding::ok(check, format!("somaxconn {most}")),
        bad => Finding::warning(check, bad.join("; ")),
    }
}

fn ipv6(sysctls: &Sysctls, links: &[Link], pools: &[Pool]) -> Finding {
    let check = Check::IPV6;
    let ranges =
        || pools.iter().flat_map(|pool| &pool.ranges).filter(|range| range.first.is_ipv6());
    let wanted = ranges().next().map(|range| format!("{range} is to be given out"));
    let off = |name: &str| sysctls.number(&format!("net.ipv6.conf.{name}.disable_ipv6"));
    let lo = off("lo");
    match (lo, wanted) {
        (None, Some(range)) => {
            Finding::error(check, format!("this kernel has no IPv6, and {range}"))
                .mend("boot without ipv6.disable=1, or take the range out of the pool")
        }
        (None, None) => Finding::ok(check, "this kernel has no IPv6, and no pool needs it"),
        (Some(1..), Some(range)) => Finding::error(check, format!("off on lo, and {range}")),
        (Some(1..), None) => Finding::ok(check, "off on lo; no pool that is known needs it"),
        (Some(0), _) => {
            let of_pool = |link: &&Link| ranges().any(|range| carries(link, range.first));
            let dark = links
                .iter()
                .filter(of_pool)
                .find(|link| off(&link.name).is_some_and(|off| off > 0));
            match dark {
                Some(link) => {
                    Finding::warning(check, format!("off on {}, which carries a pool", link.name))
                        .mend(format!("`sysctl -w net.ipv6.conf.{}.disable_ipv6=0`", link.name))
                }
                None => Finding::ok(check, "on"),
            }
        }
    }
}

fn conntrack(sysctls: &Sysctls) -> Finding {
    let check = Check::CONNTRACK;
    let (count, most) = ("net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max");
    match (sysctls.number(count), sysctls.number(most)) {
        (Some(count), Some(most)) if most > 0 => {
            let found = format!("{count} of {most} entries are in use");
            match count.saturating_mul(100) / most {
                96.. => Finding::error(check, found),
                81.. => Finding::warning(check, found),
                _ => Finding::ok(check, found),
            }
        }
        (None, None) => Finding::ok(check, "connections are not tracked here"),
        _ => Sysctls::unknown(check, most),
    }
}

#[cfg(test)]
mod tests;
