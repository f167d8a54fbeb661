//! What advertisements of both kinds have in common: for which pools, for whom, and on which nodes.

use vipgate_api::k8s::LabelSelector;
use vipgate_api::selector::{Labels, matches};
use vipgate_api::vipgate::{BgpAdvertisementSpec, IpAddressPool, L2AdvertisementSpec};
use vipgate_api::{Kind, ObjectKey, Stored};

use crate::exclusion::{Exclusion, ExclusionReason};
use crate::routing::{Advert, Peering, Terms};
use crate::world::Shelf;

/// The selectors of pools that an advertisement has.
pub trait SelectsPools {
    /// Names, and selectors by label.
    fn pools(&self) -> (&[String], &[LabelSelector]);
}

impl SelectsPools for L2AdvertisementSpec {
    fn pools(&self) -> (&[String], &[LabelSelector]) {
        (&self.ip_address_pools, &self.ip_address_pool_selectors)
    }
}

impl SelectsPools for BgpAdvertisementSpec {
    fn pools(&self) -> (&[String], &[LabelSelector]) {
        (&self.ip_address_pools, &self.ip_address_pool_selectors)
    }
}

/// Whether an advertisement is about a pool of this name with these labels.
pub fn selects_pool(spec: &impl SelectsPools, pool: &str, labels: &Labels) -> bool {
    let (names, selectors) = spec.pools();
    let every = names.is_empty() && selectors.is_empty();
    every || names.iter().any(|name| name == pool) || any(selectors, labels)
}

/// Labels of a pool. Of several with one name the first by namespace counts, as in allocation.
pub(super) fn labels_of(pool: &str, pools: &Shelf<IpAddressPool>) -> Labels {
    let found: Option<&Stored<IpAddressPool>> =
        pools.iter().find_map(|(key, stored)| (key.name == pool).then_some(stored));
    found.and_then(|stored| stored.object.metadata.labels.clone()).unwrap_or_default()
}

/// An advertisement that selects the pool of a VIP, as far as it decides about users and nodes.
pub(super) trait Advertisement: Copy {
    const KIND: Kind;
    /// The fields by which it takes users, for people.
    const SELECTORS: &'static str;

    fn key(&self) -> &ObjectKey;

    /// Whether it is about a user of this kind with these labels.
    fn takes_user(self, kind: Kind, labels: &Labels) -> bool;

    /// Whether nodes of these labels may announce.
    fn takes_node(self, labels: &Labels) -> bool;

    /// What else keeps nodes of these labels from announcing by it, if anything does; `node` is for people.
    fn obstacle(self, node: &str, labels: &Labels) -> Option<Exclusion>;
}

/// An L2Advertisement.
#[derive(Clone, Copy)]
pub(super) struct Lan<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) spec: &'a L2AdvertisementSpec,
}

impl Advertisement for Lan<'_> {
    const KIND: Kind = Kind::L2Advertisement;
    const SELECTORS: &'static str = "serviceSelectors";

    fn key(&self) -> &ObjectKey {
        self.key
    }

    fn takes_user(self, _: Kind, labels: &Labels) -> bool {
        all_or_any(&self.spec.service_selectors, labels)
    }

    fn takes_node(self, labels: &Labels) -> bool {
        all_or_any(&self.spec.node_selectors, labels)
    }

    fn obstacle(self, _: &str, _: &Labels) -> Option<Exclusion> {
        None
    }
}

/// A BGPAdvertisement.
#[derive(Clone, Copy)]
pub(super) struct Routed<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) advert: &'a Advert,
    pub(super) peering: &'a Peering,
}

impl<'a> Routed<'a> {
    fn spec(self) -> &'a BgpAdvertisementSpec {
        &self.advert.object.spec
    }

    /// Whether it is about a peer.
    pub(super) fn is_to(terms: &Terms, peer: &ObjectKey) -> bool {
        terms.peers.as_ref().is_none_or(|peers| peers.contains(peer))
    }
}

impl Advertisement for Routed<'_> {
    const KIND: Kind = Kind::BgpAdvertisement;
    const SELECTORS: &'static str = "serviceSelectors or gatewaySelectors";

    fn key(&self) -> &ObjectKey {
        self.key
    }

    /// Where one kind is selected, the other is taken only if it is selected too.
    fn takes_user(self, kind: Kind, labels: &Labels) -> bool {
        let spec = self.spec();
        let everybody = spec.service_selectors.is_empty() && spec.gateway_selectors.is_empty();
        let selectors = match kind {
            Kind::Service => &spec.service_selectors,
            _ => &spec.gateway_selectors,
        };
        everybody || any(selectors, labels)
    }

    fn takes_node(self, labels: &Labels) -> bool {
        all_or_any(&self.spec().node_selectors, labels)
    }

    fn obstacle(self, node: &str, labels: &Labels) -> Option<Exclusion> {
        let terms = match &self.advert.terms {
            Ok(terms) => terms,
            Err(refusal) => {
                let message = format!("BGPAdvertisement {}: {}", self.key, refusal.message);
                return Some(Exclusion::new(ExclusionReason::NoAdvertisement, message));
            }
        };
        if self.peering.of_node(labels).any(|peer| Self::is_to(terms, peer)) {
            return None;
        }
        let whom = match &self.spec().peers[..] {
            [] => "no BGPPeer takes".to_owned(),
            names => format!("none of the BGPPeers {} takes", names.join(", ")),
        };
        let message = format!(
            "{whom} node {node}, or what is wrong with it stands at the BGPPeer: create one, or have its \
             nodeSelectors match the node"
        );
        Some(Exclusion::new(ExclusionReason::NoPeer, message))
    }
}

fn any(selectors: &[LabelSelector], labels: &Labels) -> bool {
    selectors.iter().any(|selector| matches(selector, labels))
}

fn all_or_any(selectors: &[LabelSelector], labels: &Labels) -> bool {
    selectors.is_empty() || any(selectors, labels)
}
