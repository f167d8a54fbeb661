//! The addresses that pools may give out, from wherever pools are known.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde_json::Value;
use vipgate_api::manifest::{Mode, Problem, Snapshot, read_directory};
use vipgate_api::vipgate::AddressRange;
use vipgate_api::{Kind, Object};

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) ranges: Vec<AddressRange>,
    exclusions: Vec<AddressRange>,
}

impl Pool {
    /// Of ranges that stand on the command line.
    pub(crate) fn of_ranges(ranges: &[AddressRange]) -> Self {
        let name = "of --addresses".to_owned();
        Self { name, ranges: ranges.to_vec(), exclusions: Vec::new() }
    }

    /// As an IPAddressPool has it, of vipgate or of MetalLB. What cannot be read is left out: the API server
    /// and `vipgate lint` say so.
    pub(crate) fn of_object(object: &Value) -> Self {
        let ranges = |field: &str| {
            let texts = object["spec"][field].as_array().into_iter().flatten();
            texts.filter_map(|text| text.as_str()?.parse().ok()).collect()
        };
        let name = object["metadata"]["name"].as_str().unwrap_or("?").to_owned();
        Self { name, ranges: ranges("addresses"), exclusions: ranges("exclusions") }
    }

    /// Whether it may give this address out.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let is_in = |ranges: &[AddressRange]| ranges.iter().any(|range| range.contains(address));
        is_in(&self.ranges) && !is_in(&self.exclusions)
    }

    /// Its addresses from the lowest of each range on, not more than so many.
    pub(crate) fn addresses(&self, at_most: usize) -> Vec<IpAddr> {
        let all = self.ranges.iter().flat_map(|range| {
            let (first, last) = (number(range.first), number(range.last));
            // What is excluded is not counted, and an exclusion may be as large as the range.
            (first..=last).take(at_most.saturating_mul(16)).map(|n| address(n, range.first))
        });
        all.filter(|address| self.contains(*address)).take(at_most).collect()
    }

    /// Whether all of it is on the loopback interface, and nobody is asked for leave.
    pub(crate) fn is_loopback(&self) -> bool {
        self.ranges.iter().all(|range| range.first.is_loopback() && range.last.is_loopback())
    }

    /// An address that both may give out. Exclusions of both count where ranges meet.
    pub(crate) fn shared_with(&self, other: &Self) -> Option<AddressRange> {
        let meets = |a: &AddressRange, b: &AddressRange| {
            let same = a.first.is_ipv4() == b.first.is_ipv4();
            let both = AddressRange { first: a.first.max(b.first), last: a.last.min(b.last) };
            (same && both.first <= both.last).then_some(both)
        };
        let pairs = self.ranges.iter().flat_map(|a| other.ranges.iter().map(move |b| (a, b)));
        pairs.filter_map(|(a, b)| meets(a, b)).find(|both| {
            let own = Self { ranges: vec![*both], ..self.clone() };
            own.addresses(4096).iter().any(|address| other.contains(*address))
        })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

/// What manifests ask of a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) pools: Vec<Pool>,
    /// Ports of listeners: of UDP or not, each with the Gateway that wants it.
    pub(crate) ports: Vec<Port>,
    /// Addresses that a cluster's VirtualIPs claim; whoever serves one answers for it.
    pub(crate) claimed: BTreeSet<IpAddr>,
    /// Why it is not known which these are.
    pub(crate) claims_unread: Option<String>,
    /// What is wrong with them: errors, and notes.
    pub(crate) problems: Vec<Problem>,
}

/// A listener's port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) port: u16,
    pub(crate) udp: bool,
    pub(crate) gateway: String,
}

impl Port {
    /// Those of a Gateway.
    pub(crate) fn of_gateway(object: &Value) -> Vec<Self> {
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let metadata = &object["metadata"];
        let gateway =
            format!("Gateway {}/{}", text(&metadata["namespace"]), text(&metadata["name"]));
        let listeners = object["spec"]["listeners"].as_array().into_iter().flatten();
        let port = |listener: &Value| {
            let port = u16::try_from(listener["port"].as_u64()?).ok()?;
            Some(Self { port, udp: listener["protocol"] == "UDP", gateway: gateway.clone() })
        };
        listeners.filter_map(port).collect()
    }
}

impl Wanted {
    /// What the manifests of a directory ask.
    pub(crate) fn of_directory(directory: &Path) -> Self {
        let update = Snapshot::new(Mode::Standalone).update(read_directory(directory));
        let mut wanted = Self { problems: update.problems, ..Self::default() };
        for (object, _) in update.applied {
            wanted.take(&object.to_json(object.kind().versions()[0]), object.kind());
        }
        wanted
    }

    /// What objects ask, as an API server or a running process shows them.
    pub(crate) fn take(&mut self, object: &Value, kind: Kind) {
        match kind {
            Kind::IpAddressPool => self.pools.push(Pool::of_object(object)),
            Kind::Gateway => self.ports.extend(Port::of_gateway(object)),
            _ => {}
        }
    }
}

/// Objects of a directory, as an API server would show them.
pub(crate) fn objects_of(directory: &Path) -> (Vec<Value>, Vec<String>) {
    let update = Snapshot::new(Mode::Standalone).update(read_directory(directory));
    let shown = |object: &Object| object.to_json(object.kind().versions()[0]);
    let objects = update.applied.iter().map(|(object, _)| shown(object)).collect();
    (objects, update.problems.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(addresses: &[&str], exclusions: &[&str]) -> Pool {
        let spec = json!({"addresses": addresses, "exclusions": exclusions});
        Pool::of_object(&json!({"metadata": {"name": "lan"}, "spec": spec}))
    }

    #[test]
    fn addresses_come_in_order_without_those_excluded_and_are_bounded() {
        let lan = pool(&["192.0.2.8-192.0.2.12", "2001:db8::/64"], &["192.0.2.9-192.0.2.10"]);
        let shown: Vec<String> = lan.addresses(5).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.0.2.8", "192.0.2.11", "192.0.2.12", "2001:db8::", "2001:db8::1"]);
        assert!(!lan.contains("192.0.2.9".parse().unwrap()) && !lan.is_loopback());
        assert_eq!(pool(&["::/0"], &["::/1"]).addresses(3), Vec::<IpAddr>::new(), "it ends");
        assert!(pool(&["127.0.5.0/28"], &[]).is_loopback());
    }

    #[test]
    fn pools_share_what_both_may_give_out() {
        let lan = pool(&["192.0.2.0/24"], &["192.0.2.128/25"]);
        let shared = lan.shared_with(&pool(&["192.0.2.100-192.0.2.200"], &[]));
        assert_eq!(shared.unwrap().to_string(), "192.0.2.100-192.0.2.200");
        assert_eq!(lan.shared_with(&pool(&["192.0.2.130-192.0.2.140"], &[])), None);
        assert_eq!(lan.shared_with(&pool(&["2001:db8::1"], &[])), None);
    }

    #[test]
    fn ports_are_those_of_the_listeners() {
        let listeners =
            json!([{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 80}]);
        let gateway = json!({"metadata": {"namespace": "default", "name": "web"},
            "spec": {"listeners": listeners}});
        let ports = Port::of_gateway(&gateway);
        assert_eq!((ports[0].port, ports[0].udp, ports[1].udp), (53, true, false));
        assert_eq!(ports[1].gateway, "Gateway default/web");
    }
}
