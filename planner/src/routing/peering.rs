//! The sessions of a node: BGPPeers that select it, with their defaults and all that they name.

use std::collections::BTreeMap;
use std::time::Duration;

use vipgate_api::k8s::LabelSelector;
use vipgate_api::selector::{Labels, matches};
use vipgate_api::vipgate::{BfdProfileSpec, BgpPeer, BgpPeerSpec, DynamicAsn, seconds};
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef, Reason, Stored};

use super::{named, password};
use crate::bgp::{Bfd, Peer, PeerAs, Peers, Place};
use crate::node::Node;
use crate::refusal::Refusal;
use crate::world::World;

/// Who speaks with whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Peering {
    /// The sessions of this node.
    pub(crate) peers: Peers,
    /// BGPPeers of this node (of any, when there is none in particular) without a session, and why.
    pub(crate) held_back: BTreeMap<ObjectKey, Refusal>,
    /// Those of this node with a session that has not all that they ask for, and why.
    pub(crate) lacking: BTreeMap<ObjectKey, Refusal>,
    /// The same as `held_back` of other nodes, as far as it is in the objects.
    pub(crate) elsewhere: BTreeMap<ObjectKey, Refusal>,
    /// BGPPeers in which nothing is wrong, and the nodes that they are for.
    sound: BTreeMap<ObjectKey, Vec<LabelSelector>>,
}

impl Peering {
    /// The BGPPeers that a node of these labels speaks with, as far as that can be told from elsewhere.
    pub(crate) fn of_node(&self, labels: &Labels) -> impl Iterator<Item = &ObjectKey> {
        self.sound.iter().filter(|(_, nodes)| takes(nodes, labels)).map(|(key, _)| key)
    }
}

fn takes(nodes: &[LabelSelector], labels: &Labels) -> bool {
    nodes.is_empty() || nodes.iter().any(|selector| matches(selector, labels))
}

/// Finds the sessions of a node.
pub(super) fn peering(world: &World, node: Option<&Node>) -> Peering {
    let mut peering = Peering::default();
    let mut of_node: Vec<(&Age, &ObjectKey, Peer)> = Vec::new();
    for (key, Stored { object, age }) in &world.bgp_peers {
        let is_here = node.is_none_or(|node| takes(&object.spec.node_selectors, &node.labels));
        match session(world, key, object, node.is_some()) {
            Ok(peer) => {
                peering.sound.insert(key.clone(), object.spec.node_selectors.clone());
                if let Some(lack) = no_echo(&peer).filter(|_| is_here) {
                    peering.lacking.insert(key.clone(), lack);
                }
                if is_here && node.is_some() {
                    of_node.push((age, key, peer));
                }
            }
            Err(refusal) => {
                let told = if is_here { &mut peering.held_back } else { &mut peering.elsewhere };
                told.insert(key.clone(), refusal);
            }
        }
    }
    of_node.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    for (_, key, peer) in of_node {
        let same = |(_, other): &(&ObjectKey, &Peer)| {
            // Whoever calls has an address, and no port of its own.
            let ports = other.port == peer.port || other.passive || peer.passive;
            ports && (&other.place, &other.vrf) == (&peer.place, &peer.vrf)
        };
        match peering.peers.iter().find(same) {
            None => drop(peering.peers.insert(key.clone(), peer)),
            Some((older, _)) => {
                let message = format!(
                    "BGPPeer {older}, which is older, is {} on node {} too: remove one, or give them \
                     nodeSelectors that no node meets both of",
                    place(&peer),
                    node.map_or("", |node| &node.name)
                );
                peering.held_back.insert(key.clone(), Refusal::new(Reason::DuplicatePeer, message));
            }
        }
    }
    peering
}

fn place(peer: &Peer) -> String {
    match (&peer.place, &peer.vrf) {
        (Place::At(address, None), Some(vrf)) => {
            format!("{address} in VRF {vrf} port {}", peer.port)
        }
        (Place::At(address, None), None) => format!("{address} port {}", peer.port),
        (Place::At(address, Some(link)), _) => format!("{address} on {link} port {}", peer.port),
        (Place::On(link), _) => format!("the router on {link}"),
    }
}

/// The session that a BGPPeer asks for. Secrets are known to nodes only.
fn session(world: &World, key: &ObjectKey, peer: &BgpPeer, secrets: bool) -> Result<Peer, Refusal> {
    let spec = &peer.spec;
    let fault = spec.faults().into_iter().next();
    let fault = fault.map(|fault| format!("{}: {}", fault.path, fault.message));
    let (None, Some(mut peer)) = (&fault, read(spec)) else {
        let message = fault.unwrap_or_else(|| "its fields contradict each other".to_owned());
        return Err(Refusal::new(Reason::Invalid, message));
    };
    peer.bfd = bfd(world, key, spec)?;
    if let Some(reference) = spec.password_secret.as_ref().filter(|_| secrets) {
        peer.password = Some(password::password(world, key, reference)?);
    }
    Ok(peer)
}

/// What a spec without faults says by itself.
fn read(spec: &BgpPeerSpec) -> Option<Peer> {
    let peer_as = match (spec.peer_asn, spec.dynamic_asn) {
        (Some(asn), None) => PeerAs::Exactly(asn),
        (None, Some(DynamicAsn::Internal)) => PeerAs::Internal,
        (None, Some(DynamicAsn::External)) => PeerAs::External,
        _ => return None,
    };
    let place = match (spec.address(), &spec.interface) {
        (Some(address), interface) => Place::At(address, interface.clone()),
        (None, Some(interface)) => Place::On(interface.clone()),
        (None, None) => return None,
    };
    Some(Peer {
        asn: spec.asn(),
        peer_as,
        place,
        vrf: spec.vrf.clone(),
        port: spec.peer_port,
        source: spec.source_address.as_ref().and_then(|text| text.parse().ok()),
        router_id: spec.router_id.as_ref().and_then(|text| text.parse().ok()),
        hold_time: spec.hold_time()?,
        keepalive_time: spec.keepalive_time.as_deref().and_then(seconds),
        connect_time: spec.connect_time()?,
        passive: spec.passive,
        multihop: spec.ebgp_multi_hop,
        ttl_security: spec.ttl_security,
        graceful_restart: spec.enable_graceful_restart,
        password: None,
        bfd: None,
    })
}

fn bfd(world: &World, key: &ObjectKey, spec: &BgpPeerSpec) -> Result<Option<Bfd>, Refusal> {
    let Some(name) = &spec.bfd_profile else { return Ok(None) };
    let Some((found, stored)) = named(&world.bfd_profiles, key, name) else {
        let message = format!(
            "spec.bfdProfile: there is no BFDProfile {name}: create it, write the name of another, or leave \
             the field out. Until then there is no session"
        );
        return Err(Refusal::new(Reason::BfdProfileNotFound, message));
    };
    let profile = &stored.object.spec;
    let fault = profile.faults().into_iter().next();
    let fault = fault.map(|fault| {
        format!("spec.bfdProfile: BFDProfile {found}: {}: {}", fault.path, fault.message)
    });
    match (fault, timers(profile)) {
        (None, Some(bfd)) => Ok(Some(bfd)),
        (fault, _) => Err(Refusal::new(Reason::InvalidBfdProfile, fault.unwrap_or_default())),
    }
}

/// Why BFD with a router runs without the echo that is asked for, where the BGPPeer tells.
fn no_echo(peer: &Peer) -> Option<Refusal> {
    peer.bfd?.echo?;
    let why = match (peer.multihop, &peer.place) {
        (true, _) => "this router may be behind others (ebgpMultiHop)",
        (_, Place::On(_)) => "this router is found by its IPv6 link-local address",
        (_, Place::At(address, _)) if address.is_ipv6() => "this router has an IPv6 address",
        _ => return None,
    };
    let message = format!(
        "spec.bfdProfile: echoMode is IPv4 single-hop only (RFC 5881 section 4, RFC 5883 section 3), and {why}: \
         BFD runs without echo. Name a BFDProfile without it"
    );
    Some(Refusal::new(Reason::EchoNotPossible, message))
}

/// BFDProfiles that contradict themselves.
pub(super) fn faulty_profiles(world: &World) -> Vec<(ObjectRef, Refusal)> {
    let profiles = world.bfd_profiles.iter();
    let faults = profiles.flat_map(|(key, stored)| {
        let faults = stored.object.spec.faults().into_iter();
        faults.map(|fault| {
            let why = format!("{}: {}", fault.path, fault.message);
            (ObjectRef::new(Kind::BfdProfile, key.clone()), Refusal::new(Reason::Invalid, why))
        })
    });
    faults.collect()
}

/// What a profile without faults says.
fn timers(profile: &BfdProfileSpec) -> Option<Bfd> {
    Some(Bfd {
        transmit_interval: Duration::from_millis(profile.transmit_interval.into()),
        receive_interval: Duration::from_millis(profile.receive_interval.into()),
        multiplier: profile.detect_multiplier.try_into().ok()?,
        passive: profile.passive_mode,
        minimum_ttl: profile.minimum_ttl.try_into().ok()?,
        echo: profile.echo_mode.then(|| Duration::from_millis(profile.echo_interval.into())),
    })
}
