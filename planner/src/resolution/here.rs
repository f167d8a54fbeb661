//! Which endpoints are on this node, so that connections to them can come from the client's own address
//! (`clientAddress: Preserve`).
//!
//! That takes more than a socket that is bound to a foreign address: what the endpoint answers goes to the
//! client, and has to come by this node, or it never reaches the socket. It does for what runs on the node
//! and sends by it: a pod, a container, a network namespace. It does not for another host, which answers
//! the client by its own router.
//!
//! In a cluster the EndpointSlice says on which node an endpoint runs. Without one nobody says so of most; then
//! an endpoint is on this host that is in the network of a link of the host, unless that network is where
//! VIPs are announced: what is there are other hosts.
//!
//! An address of the node itself is never "on the node" in this sense: its answers are made here and leave by the
//! host's routes, without coming in first. (Tried; the connection times out.)

use std::net::IpAddr;

use ipnet::IpNet;

use super::Endpoints;
use super::nearness::Place;
use crate::claim::Claims;
use crate::node::Link;
use crate::plan::{BackendSettings, ClientAddress, Preserved};

/// Where an endpoint runs, as far as its slice says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whereabouts {
    /// Nobody says so.
    #[default]
    Unknown,
    Here,
    Elsewhere,
}

impl Whereabouts {
    /// By the name of the node that a slice has for it.
    pub(super) fn of(node: Option<&str>, place: Option<Place<'_>>) -> Self {
        match (node, place) {
            (Some(node), Some(place)) if node == place.node => Self::Here,
            (Some(_), _) => Self::Elsewhere,
            (None, _) => Self::Unknown,
        }
    }
}

impl super::Ground<'_> {
    /// Those of the endpoints to which connections come from the client's address, where that is wanted.
    pub(super) fn preserved(&self, settings: &BackendSettings, endpoints: &Endpoints) -> Preserved {
        let (ClientAddress::Preserve, Some(place)) = (settings.client_address, self.place) else {
            return Preserved::new();
        };
        let here = |(endpoint, whereabouts): (&crate::plan::Endpoint, &Whereabouts)| {
            let network = self.network(place, endpoint.0.ip(), *whereabouts)?;
            Some((*endpoint, network))
        };
        endpoints.iter().filter_map(here).collect()
    }

    /// The network of an endpoint that is on the node; `None`: it is not.
    fn network(
        &self,
        place: Place<'_>,
        endpoint: IpAddr,
        whereabouts: Whereabouts,
    ) -> Option<Option<IpNet>> {
        let links = place.links.iter().filter(|link| !link.loopback);
        if place.links.iter().flat_map(|link| &link.addresses).any(|net| net.addr() == endpoint) {
            return None;
        }
        let around = |link: &&Link| link.addresses.iter().any(|net| net.contains(&endpoint));
        let link = links.clone().find(around);
        let network = link.and_then(|link| {
            let nets = link.addresses.iter().filter(|net| net.contains(&endpoint));
            nets.max_by_key(|net| net.prefix_len()).map(IpNet::trunc)
        });
        match whereabouts {
            Whereabouts::Here => Some(network),
            Whereabouts::Unknown if !place.cluster => {
                link.filter(|link| link.up && !announces(link, self.vips)).map(|_| network)
            }
            Whereabouts::Unknown | Whereabouts::Elsewhere => None,
        }
    }
}

/// Whether a VIP is in a network of the link.
fn announces(link: &Link, vips: &Claims) -> bool {
    vips.0.keys().any(|vip| link.addresses.iter().any(|net| net.contains(vip)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Ground, Slices};
    use super::*;
    use crate::claim::{Claim, Origin};
    use crate::index::Index;
    use crate::node::Node;
    use crate::plan::Endpoint;
    use crate::policies::Policies;

    fn link(name: &str, loopback: bool, nets: &[&str]) -> Link {
        let addresses = nets.iter().map(|net| net.parse().unwrap()).collect();
        Link { index: 1, name: name.to_owned(), up: true, loopback, mac: None, addresses }
    }

    /// Which of these endpoints are on a node with a LAN, a bridge for pods and a VIP in the LAN, and in which
    /// network.
    fn here(cluster: bool, endpoints: &[(&str, Whereabouts)]) -> Vec<(String, Option<String>)> {
        let node = Node {
            name: "n1".to_owned(),
            links: vec![
                link("lo", true, &["127.0.0.1/8", "::1/128"]),
                link("eth0", false, &["192.0.2.1/24", "2001:db8::1/64"]),
                link("cni0", false, &["10.244.1.1/24", "10.244.0.0/16", "fd00::1/64"]),
            ],
            ..Node::default()
        };
        let claim = Claim {
            pool: "p".to_owned(),
            users: Vec::new(),
            origin: Origin::Chosen,
            published: true,
        };
        let vips = Claims([("192.0.2.200".parse().unwrap(), claim)].into());
        let (services, slices, backends, grants) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let ground = Ground {
            services: &services,
            slices: Slices { all: &slices, index: &Index::default() },
            backends: &backends,
            grants: &grants,
            vips: &vips,
            policies: &Policies::default(),
            names: None,
            place: Some(Place::new(&node, cluster)),
        };
        let all = endpoints.iter().map(|(text, at)| (Endpoint(text.parse().unwrap()), *at));
        let all: Endpoints = all.collect();
        let settings = BackendSettings {
            client_address: ClientAddress::Preserve,
            ..BackendSettings::default()
        };
        assert_eq!(ground.preserved(&BackendSettings::default(), &all), Preserved::new());
        let found = ground.preserved(&settings, &all).into_iter();
        found.map(|(one, net)| (one.0.to_string(), net.map(|net| net.to_string()))).collect()
    }

    fn at(endpoint: &str, net: Option<&str>) -> (String, Option<String>) {
        (endpoint.to_owned(), net.map(str::to_owned))
    }

    #[test]
    fn in_a_cluster_the_slice_says_so() {
        use Whereabouts::{Elsewhere, Here, Unknown};
        let endpoints = [
            ("10.244.1.7:80", Here),
            // Of a network of the node's, and yet somebody says that it is not there.
            ("10.244.1.8:80", Elsewhere),
            ("10.244.1.9:80", Unknown),
            // A link of its own, without a network around it.
            ("10.88.0.1:80", Here),
            ("[fd00::7]:80", Here),
            // The node itself.
            ("192.0.2.1:80", Here),
            ("127.0.0.1:80", Here),
        ];
        let expected = [
            at("10.88.0.1:80", None),
            at("10.244.1.7:80", Some("10.244.1.0/24")),
            at("[fd00::7]:80", Some("fd00::/64")),
        ];
        assert_eq!(here(true, &endpoints), expected);
    }

    #[test]
    fn without_a_cluster_it_is_whoever_is_behind_the_host_and_not_on_the_lan() {
        use Whereabouts::{Elsewhere, Here, Unknown};
        let endpoints = [
            ("10.244.1.7:80", Unknown),
            ("10.244.1.8:80", Elsewhere),
            ("10.244.9.1:80", Unknown),
            ("192.0.2.7:80", Unknown),
            ("192.0.2.8:80", Here),
            ("198.51.100.1:80", Unknown),
            ("10.244.1.1:80", Unknown),
        ];
        let expected = [
            at("10.244.1.7:80", Some("10.244.1.0/24")),
            at("10.244.9.1:80", Some("10.244.0.0/16")),
            at("192.0.2.8:80", Some("192.0.2.0/24")),
        ];
        assert_eq!(here(false, &endpoints), expected);
    }

    #[test]
    fn what_is_elsewhere_is_said() {
        let share = |wanted, preserved: &[&str]| {
            let endpoints = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
            let endpoint = |text: &&str| Endpoint(text.parse().unwrap());
            let settings = BackendSettings { client_address: wanted, ..BackendSettings::default() };
            let share = crate::plan::BackendShare {
                backend: String::new(),
                weight: 1,
                endpoints: endpoints.iter().map(endpoint).collect(),
                unusable: None,
                settings: settings.into(),
                preserved: preserved.iter().map(|text| (endpoint(text), None)).collect(),
            };
            share.not_preserved()
        };
        assert_eq!(share(ClientAddress::Node, &[]), None);
        let all = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
        assert_eq!(share(ClientAddress::Preserve, &all), None);
        let said = share(ClientAddress::Preserve, &all[..1]).unwrap();
        assert!(said.ends_with("only: 2 of 3 endpoints are elsewhere"), "{said}");
    }
}
