//! Statuses as the objects would carry them.

use serde::Serialize;
use serde_json::Value;
use vipgate_api::{Kind, ObjectRef};

use super::Statuses;

impl Statuses {
    /// The objects that have a status of ours, in the order in which kinds are listed to people.
    pub fn objects(&self) -> impl Iterator<Item = ObjectRef> {
        let classes = self.classes.keys().map(|key| (Kind::GatewayClass, key));
        let gateways = self.gateways.keys().map(|key| (Kind::Gateway, key));
        let sets = self.sets.keys().map(|key| (Kind::ListenerSet, key));
        let services = self.services.keys().map(|key| (Kind::Service, key));
        let pools = self.pools.keys().map(|key| (Kind::IpAddressPool, key));
        let all = classes.chain(gateways).chain(sets);
        let all = all.map(|(kind, key)| ObjectRef { kind, key: key.clone() });
        let last = services.chain(pools).map(|(kind, key)| ObjectRef::new(kind, key.clone()));
        all.chain(self.routes.keys().cloned())
            .chain(last)
            .chain(self.bgp.keys().cloned())
            .chain(self.policies.keys().cloned())
    }

    /// `status` of an object as JSON, if we write one for it. `generation` is its
    /// `metadata.generation`; without one (there is no API server) conditions carry no
    /// `observedGeneration`.
    pub fn json(&self, object: &ObjectRef, generation: Option<i64>) -> Option<Value> {
        let key = &object.key;
        let mut status = match object.kind {
            Kind::GatewayClass => to_value(self.classes.get(key)?),
            Kind::Gateway => to_value(self.gateways.get(key)?),
            Kind::Service => to_value(self.services.get(key)?),
            Kind::IpAddressPool => to_value(self.pools.get(key)?),
            Kind::ListenerSet => to_value(self.sets.get(key)?),
            kind if kind.is_route() => to_value(self.routes.get(object)?),
            kind if kind.is_about_bgp() => to_value(self.bgp.get(object)?),
            kind if kind.is_policy() => to_value(self.policies.get(object)?),
            _ => return None,
        };
        observe_at(&mut status, generation);
        Some(status)
    }

    /// The last `status` of an object that is not ours, as [`Self::json`] has it.
    pub fn former_json(&self, object: &ObjectRef, generation: Option<i64>) -> Option<Value> {
        let mut status = to_value(self.former.get(object)?);
        observe_at(&mut status, generation);
        Some(status)
    }
}

fn observe_at(status: &mut Value, generation: Option<i64>) {
    if let Some(generation) = generation {
        observe(status, generation);
    }
}

fn to_value(status: &impl Serialize) -> Value {
    serde_json::to_value(status).expect("statuses have string keys and serialise without error")
}

/// Adds `observedGeneration` to every condition, however deep.
fn observe(value: &mut Value, generation: i64) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Array(conditions) if name == "conditions" => {
                        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
                            condition.insert("observedGeneration".to_owned(), generation.into());
                        }
                    }
                    value => observe(value, generation),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| observe(value, generation)),
        _ => {}
    }
}
