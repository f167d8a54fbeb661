//! Which clients a listener takes, by ranges of addresses, and whom a client counts with.
//!
//! Addresses of IPv4 in IPv6 are those of IPv4.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use vipgate_planner::ListenerSettings;

/// Who may come in.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// Everybody when absent.
    allowed: Option<Ranges>,
    denied: Ranges,
}

impl Clients {
    pub(crate) fn of(settings: &ListenerSettings) -> Self {
        let allowed = (!settings.allowed.is_empty()).then(|| Ranges::new(&settings.allowed));
        Self { allowed, denied: Ranges::new(&settings.denied) }
    }

    /// Whether an address may come in.
    pub(crate) fn may(&self, client: IpAddr) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.has(client)) && !self.denied.has(client)
    }
}

/// First and last addresses, sorted, none of which overlap. (Every address of IPv4 sorts before those of
/// IPv6.)
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Box<[(IpAddr, IpAddr)]>);

impl Ranges {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn new(nets: &[IpNet]) -> Self {
        let mut all: Vec<_> = nets.iter().map(|net| (net.network(), net.broadcast())).collect();
        all.sort_unstable();
        let mut merged: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some((_, before)) if *before >= first => *before = last.max(*before),
                _ => merged.push((first, last)),
            }
        }
        Self(merged.into())
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after > 0 && self.0[after - 1].1 >= address
    }
}

/// Whom a client counts with: its address; by IPv6 its /64, of which one host has every address.
pub(crate) fn source_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(allowed: &[&str], denied: &[&str]) -> Clients {
        let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
        Clients::of(&ListenerSettings {
            allowed: nets(allowed),
            denied: nets(denied),
            ..ListenerSettings::default()
        })
    }

    #[test]
    fn denied_goes_before_allowed_and_nothing_said_is_everybody() {
        for (allowed, denied, client, may) in [
            (&[][..], &[][..], "192.0.2.1", true),
            (&["192.0.2.0/24"], &[], "192.0.2.255", true),
            (&["192.0.2.0/24"], &[], "192.0.3.0", false),
            (&["192.0.2.0/24"], &[], "2001:db8::1", false),
            (&["192.0.2.0/24"], &["192.0.2.128/25"], "192.0.2.127", true),
            (&["192.0.2.0/24"], &["192.0.2.128/25"], "192.0.2.128", false),
            (&[], &["2001:db8::/32"], "2001:db8:ffff::1", false),
            (&[], &["2001:db8::/32"], "2001:db9::", true),
            (&["0.0.0.0/0"], &[], "::1", false),
            (&["0.0.0.0/0"], &[], "255.255.255.255", true),
            (&["::/0"], &[], "255.255.255.255", false),
            // What lies inside of another range does not cut it short.
            (&["10.0.0.0/8", "10.1.0.0/16", "172.16.0.0/12"], &[], "10.200.0.1", true),
            (&["10.1.2.3/32", "10.0.0.0/8"], &[], "10.1.2.4", true),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "::ffff:10.2.0.1", true),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "::ffff:10.1.0.1", false),
            // The bits of a host do not count.
            (&["192.0.2.77/24"], &[], "192.0.2.1", true),
        ] {
            let clients = clients(allowed, denied);
            assert_eq!(
                clients.may(client.parse().unwrap()),
                may,
                "{client}: {allowed:?} {denied:?}"
            );
        }
    }
}
