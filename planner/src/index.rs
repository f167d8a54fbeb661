//! From an object that changes to the routes that it concerns.
//!
//! State: the EndpointSlices of each Service, and the routes that name each backend. It follows the world
//! object by object: an object leaves before it changes, and enters when it has.

use std::collections::{BTreeMap, BTreeSet};

use vipgate_api::{Kind, ObjectKey, ObjectRef};

use crate::resolution::{backends, service_of};
use crate::world::World;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    slices: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// By Service or Backend; the served rules of routes alone name any.
    routes: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
}

impl Index {
    /// Takes in an object as it is now.
    pub(crate) fn enter(&mut self, object: &ObjectRef, world: &World) {
        if let Some(service) = service(object, world) {
            self.slices.entry(service).or_default().insert(object.key.clone());
        }
        for backend in named_by(object, world) {
            self.routes.entry(backend).or_default().insert(object.clone());
        }
    }

    /// Forgets an object as it still is.
    pub(crate) fn leave(&mut self, object: &ObjectRef, world: &World) {
        if let Some(service) = service(object, world) {
            take(&mut self.slices, &service, &object.key);
        }
        for backend in named_by(object, world) {
            take(&mut self.routes, &backend, object);
        }
    }

    /// The slices of a Service.
    pub(crate) fn slices(&self, service: &ObjectKey) -> impl Iterator<Item = &ObjectKey> {
        self.slices.get(service).into_iter().flatten()
    }

    /// The routes that forward to a backend.
    pub(crate) fn routes(&self, backend: &ObjectRef) -> impl Iterator<Item = &ObjectRef> {
        self.routes.get(backend).into_iter().flatten()
    }
}

/// The Service or Backend that an object is, or is about.
pub(crate) fn backend(object: &ObjectRef, world: &World) -> Option<ObjectRef> {
    match object.kind {
        Kind::Service | Kind::Backend => Some(object.clone()),
        _ => service(object, world).map(|key| ObjectRef::new(Kind::Service, key)),
    }
}

/// The Service of an EndpointSlice.
fn service(object: &ObjectRef, world: &World) -> Option<ObjectKey> {
    if object.kind != Kind::EndpointSlice {
        return None;
    }
    service_of(&world.endpoint_slices.get(&object.key)?.object)
}

/// The backends of a route.
fn named_by<'a>(object: &'a ObjectRef, world: &'a World) -> impl Iterator<Item = ObjectRef> + 'a {
    let route = object.kind.is_route().then(|| world.routes.get(object)).flatten();
    route.into_iter().flat_map(|stored| backends(object, &stored.object))
}

fn take<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(values) = map.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}
