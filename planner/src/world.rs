//! Every object that is known, by kind, namespace and name.

use std::collections::BTreeMap;
use std::sync::Arc;

use vipgate_api::gateway::{
    BackendTlsPolicy, Gateway, GatewayClass, ListenerSet, ReferenceGrant, Route,
};
use vipgate_api::k8s::{ConfigMap, EndpointSlice, Namespace, Secret, Service};
use vipgate_api::vipgate::{
    Backend, BackendPolicy, BfdProfile, BgpAdvertisement, BgpPeer, Community, IpAddressPool,
    L2Advertisement, ListenerPolicy,
};
use vipgate_api::{Age, Kind, Object, ObjectKey, ObjectRef, Stored};

/// Objects of one kind.
pub type Shelf<T> = BTreeMap<ObjectKey, Stored<T>>;

/// Routes of every kind: they have one shape, and the reference says which kind it is.
pub type Routes = BTreeMap<ObjectRef, Stored<Route>>;

/// Every object that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// GatewayClasses.
    pub classes: Shelf<GatewayClass>,
    /// Gateways.
    pub gateways: Shelf<Gateway>,
    /// ListenerSets.
    pub listener_sets: Shelf<ListenerSet>,
    /// Routes of every kind.
    pub routes: Routes,
    /// ReferenceGrants.
    pub grants: Shelf<ReferenceGrant>,
    /// Namespaces. One that is not here still exists, with no labels but its name.
    pub namespaces: Shelf<Namespace>,
    /// Services.
    pub services: Shelf<Service>,
    /// EndpointSlices.
    pub endpoint_slices: Shelf<EndpointSlice>,
    /// Secrets.
    pub secrets: Shelf<Secret>,
    /// IPAddressPools.
    pub pools: Shelf<IpAddressPool>,
    /// L2Advertisements.
    pub l2_advertisements: Shelf<L2Advertisement>,
    /// BGPPeers.
    pub bgp_peers: Shelf<BgpPeer>,
    /// BGPAdvertisements.
    pub bgp_advertisements: Shelf<BgpAdvertisement>,
    /// BFDProfiles.
    pub bfd_profiles: Shelf<BfdProfile>,
    /// Communities.
    pub communities: Shelf<Community>,
    /// Backends.
    pub backends: Shelf<Backend>,
    /// ListenerPolicies.
    pub listener_policies: Shelf<ListenerPolicy>,
    /// BackendPolicies.
    pub backend_policies: Shelf<BackendPolicy>,
    /// BackendTLSPolicies.
    pub backend_tls_policies: Shelf<BackendTlsPolicy>,
    /// ConfigMaps.
    pub config_maps: Shelf<ConfigMap>,
}

impl World {
    /// Adds or replaces an object; says whether anything changed.
    pub fn apply(&mut self, object: Object, age: Age) -> bool {
        match object {
            Object::GatewayClass(object) => put(&mut self.classes, object, age),
            Object::Gateway(object) => put(&mut self.gateways, object, age),
            Object::ListenerSet(object) => put(&mut self.listener_sets, object, age),
            Object::TcpRoute(object) => put_route(&mut self.routes, Kind::TcpRoute, object, age),
            Object::TlsRoute(object) => put_route(&mut self.routes, Kind::TlsRoute, object, age),
            Object::UdpRoute(object) => put_route(&mut self.routes, Kind::UdpRoute, object, age),
            Object::HttpRoute(object) => put_route(&mut self.routes, Kind::HttpRoute, object, age),
            Object::ReferenceGrant(object) => put(&mut self.grants, object, age),
            Object::Namespace(object) => put(&mut self.namespaces, object, age),
            Object::Service(object) => put(&mut self.services, object, age),
            Object::EndpointSlice(object) => put(&mut self.endpoint_slices, object, age),
            Object::Secret(object) => put(&mut self.secrets, object, age),
            Object::IpAddressPool(object) => put(&mut self.pools, object, age),
            Object::L2Advertisement(object) => put(&mut self.l2_advertisements, object, age),
            Object::BgpPeer(object) => put(&mut self.bgp_peers, object, age),
            Object::BgpAdvertisement(object) => put(&mut self.bgp_advertisements, object, age),
            Object::BfdProfile(object) => put(&mut self.bfd_profiles, object, age),
            Object::Community(object) => put(&mut self.communities, object, age),
            Object::Backend(object) => put(&mut self.backends, object, age),
            Object::ListenerPolicy(object) => put(&mut self.listener_policies, object, age),
            Object::BackendPolicy(object) => put(&mut self.backend_policies, object, age),
            Object::BackendTlsPolicy(object) => put(&mut self.backend_tls_policies, object, age),
            Object::ConfigMap(object) => put(&mut self.config_maps, object, age),
            // Claims, reports and nodes reach the planner as such.
            Object::VirtualIp(_)
            | Object::Speaker(_)
            | Object::Node(_)
            | Object::ServiceAccount(_) => false,
        }
    }

    /// Forgets an object; says whether it was there.
    pub fn delete(&mut self, object: &ObjectRef) -> bool {
        let key = &object.key;
        match object.kind {
            Kind::GatewayClass => self.classes.remove(key).is_some(),
            Kind::Gateway => self.gateways.remove(key).is_some(),
            Kind::ListenerSet => self.listener_sets.remove(key).is_some(),
            Kind::TcpRoute | Kind::TlsRoute | Kind::UdpRoute | Kind::HttpRoute => {
                self.routes.remove(object).is_some()
            }
            Kind::ReferenceGrant => self.grants.remove(key).is_some(),
            Kind::Namespace => self.namespaces.remove(key).is_some(),
            Kind::Service => self.services.remove(key).is_some(),
            Kind::EndpointSlice => self.endpoint_slices.remove(key).is_some(),
            Kind::Secret => self.secrets.remove(key).is_some(),
            Kind::IpAddressPool => self.pools.remove(key).is_some(),
            Kind::L2Advertisement => self.l2_advertisements.remove(key).is_some(),
            Kind::BgpPeer => self.bgp_peers.remove(key).is_some(),
            Kind::BgpAdvertisement => self.bgp_advertisements.remove(key).is_some(),
            Kind::BfdProfile => self.bfd_profiles.remove(key).is_some(),
            Kind::Community => self.communities.remove(key).is_some(),
            Kind::Backend => self.backends.remove(key).is_some(),
            Kind::ListenerPolicy => self.listener_policies.remove(key).is_some(),
            Kind::BackendPolicy => self.backend_policies.remove(key).is_some(),
            Kind::BackendTlsPolicy => self.backend_tls_policies.remove(key).is_some(),
            Kind::ConfigMap => self.config_maps.remove(key).is_some(),
            Kind::VirtualIp | Kind::Speaker | Kind::Node | Kind::ServiceAccount => false,
        }
    }
}

fn put<T: vipgate_api::Resource + PartialEq>(
    shelf: &mut Shelf<T>,
    object: Arc<T>,
    age: Age,
) -> bool {
    let key = object.key();
    let new = Stored { object, age };
    if shelf.get(&key) == Some(&new) {
        return false;
    }
    shelf.insert(key, new);
    true
}

fn put_route(routes: &mut Routes, kind: Kind, object: Arc<Route>, age: Age) -> bool {
    let reference = ObjectRef { kind, key: ObjectKey::of(&object.metadata) };
    let new = Stored { object, age };
    if routes.get(&reference) == Some(&new) {
        return false;
    }
    routes.insert(reference, new);
    true
}
