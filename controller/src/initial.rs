//! Objects that whoever installs vipgate asks for together with it: a GatewayClass, and pools.
//!
//! No template can have them: a chart that brings a kind cannot have an object of it, and the kinds of
//! the Gateway API may come long after vipgate. The controller makes them once they are served.
//!
//! What always holds: an object that people made is theirs, whatever its name; kept, corrected and
//! taken away are only the pools that bear our label. The class is made and then left alone. A pool
//! that goes takes no address away from who has it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vipgate_api::vipgate::{IpAddressPool, IpAddressPoolSpec};
use vipgate_api::{CONTROLLER_NAME, Kind, ObjectKey, ObjectRef, Resource};
use vipgate_planner::World;

use crate::change::Change;

/// Label of what is made here, and kept.
const LABEL: &str = "vipgate.dev/kept-by";
/// Its value.
const KEEPER: &str = "controller";

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Initial {
    /// Name of a GatewayClass.
    pub class: Option<String>,
    /// Pools of the install namespace, by name.
    pub pools: BTreeMap<String, IpAddressPoolSpec>,
}

impl Initial {
    /// What is to be changed so that the class is there.
    pub fn of_class(&self, world: &World) -> Option<Change> {
        let key = ObjectKey::new("", self.class.clone()?);
        if world.classes.contains_key(&key) {
            return None;
        }
        let body = json!({
            "apiVersion": Kind::GatewayClass.api_version(),
            "kind": Kind::GatewayClass.name(),
            "metadata": {"name": key.name},
            "spec": {"controllerName": CONTROLLER_NAME},
        });
        Some(Change::Create(ObjectRef::new(Kind::GatewayClass, key), body))
    }

    /// What is to be changed so that the pools are there, in the namespace `install`.
    pub fn of_pools(&self, world: &World, install: &str) -> Vec<Change> {
        let there = world.pools.values().map(|stored| &*stored.object);
        let there = there.filter(|pool| pool.key().namespace == install);
        let mut names = BTreeSet::new();
        let mut changes = Vec::new();
        for pool in there {
            let key = pool.key();
            names.insert(key.name.clone());
            if !is_kept(pool) {
                continue;
            }
            match self.pools.get(&key.name) {
                None => changes.push(Change::Delete(reference(key))),
                Some(wanted) if *wanted == pool.spec => {}
                Some(wanted) => {
                    let spec = difference(&json!(pool.spec), &json!(wanted));
                    changes.push(Change::Merge(reference(key), json!({ "spec": spec })));
                }
            }
        }
        let missing = self.pools.iter().filter(|(name, _)| !names.contains(*name));
        changes.extend(missing.map(|(name, spec)| {
            let body = json!({
                "apiVersion": Kind::IpAddressPool.api_version(),
                "kind": Kind::IpAddressPool.name(),
                "metadata": {"name": name, "namespace": install, "labels": {LABEL: KEEPER}},
                "spec": spec,
            });
            Change::Create(reference(ObjectKey::new(install, name.as_str())), body)
        }));
        changes
    }

    /// The pools that are asked for and are somebody else's already, so that they stay as they are.
    pub fn taken<'a>(
        &'a self,
        world: &'a World,
        install: &'a str,
    ) -> impl Iterator<Item = ObjectRef> {
        let pools = world.pools.values().map(|stored| &*stored.object);
        pools
            .filter(move |pool| pool.key().namespace == install && !is_kept(pool))
            .filter(|pool| {
                self.pools.get(&pool.key().name).is_some_and(|wanted| *wanted != pool.spec)
            })
            .map(|pool| reference(pool.key()))
    }
}

fn is_kept(pool: &IpAddressPool) -> bool {
    let labels = pool.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(LABEL)).is_some_and(|keeper| keeper == KEEPER)
}

fn reference(key: ObjectKey) -> ObjectRef {
    ObjectRef::new(Kind::IpAddressPool, key)
}

/// The JSON merge patch (RFC 7396) that makes `wanted` of `is`.
fn difference(is: &Value, wanted: &Value) -> Value {
    let (Value::Object(is), Value::Object(wanted)) = (is, wanted) else { return wanted.clone() };
    let gone = is.keys().filter(|key| !wanted.contains_key(*key));
    let gone = gone.map(|key| (key.clone(), Value::Null));
    let changed = wanted.iter().filter(|(key, value)| is.get(*key) != Some(value));
    let changed = changed.map(|(key, value)| {
        (key.clone(), is.get(key).map_or_else(|| value.clone(), |is| difference(is, value)))
    });
    Value::Object(gone.chain(changed).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests;
