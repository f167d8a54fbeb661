//! What this node tells routers of a VIP.
//!
//! Every node that can have the VIP announces it: by BGP several are better than one. A node that gives
//! its VIPs away (drained, not ready, without network) leaves it to the others once routers know it from one
//! of them, and goes on where there is no other.

use std::net::IpAddr;

use super::Ground;
use super::advertisement::Routed;
use super::users::{Decisive, User};
use crate::bgp::Route;
use crate::exclusion::{Exclusion, ExclusionReason};

/// The routes of a VIP, never none, and by whom they go if not by all.
pub(super) struct Routes {
    pub(super) routes: Vec<Route>,
    /// Why they are told only until they know it from another node, if so.
    pub(super) yields: Option<Exclusion>,
    pub(super) compromise: Option<Exclusion>,
}

impl<'a> Ground<'a> {
    /// The routes of a VIP from this node, whose pool is selected by BGPAdvertisements; or why there are
    /// none.
    pub(super) fn routes(
        &self,
        address: IpAddr,
        users: &[User<'a, Routed<'a>>],
    ) -> Result<Routes, Exclusion> {
        let decisive = self.decisive(users)?;
        let gives_way = self.node.gives_way.as_ref().filter(|_| self.others_fit(&decisive.users));
        let yields = gives_way.map(|why| {
            let message = format!("node {} leaves it to others: {why}", self.node.name);
            Exclusion::new(why.reason, message)
        });
        let routes = self.routes_by(address, &decisive);
        if routes.is_empty() {
            // Its BGPPeers take the node, and each is another one's router or lacks its password.
            let message = format!(
                "none of the BGPPeers that it is announced to has a session on node {}: what is wrong \
                 stands at the BGPPeer",
                self.node.name
            );
            return Err(Exclusion::new(ExclusionReason::NoPeer, message));
        }
        Ok(Routes { routes, yields, compromise: decisive.compromise })
    }

    fn routes_by(&self, address: IpAddr, decisive: &Decisive<'_, 'a, Routed<'a>>) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        for one in decisive.taking(&self.node.labels) {
            let Ok(terms) = &one.advert.terms else { continue };
            let peers = one.peering.peers.keys().filter(|peer| Routed::is_to(terms, peer));
            let mut route = Route {
                prefix: terms.prefix(address),
                peers: peers.cloned().collect(),
                local_pref: terms.local_pref,
                communities: terms.communities.clone(),
                large_communities: terms.large_communities.clone(),
            };
            if route.peers.is_empty() {
                continue;
            }
            let is_like = |other: &&mut Route| {
                (other.prefix, other.local_pref) == (route.prefix, route.local_pref)
                    && other.communities == route.communities
                    && other.large_communities == route.large_communities
            };
            match routes.iter_mut().find(is_like) {
                Some(like) => like.peers.append(&mut route.peers),
                None => routes.push(route),
            }
        }
        routes
    }
}
