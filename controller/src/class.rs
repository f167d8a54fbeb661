//! The finalizer of our GatewayClasses: one that Gateways use is not deleted under their feet.

use serde_json::json;
use vipgate_api::{Kind, ObjectRef, Resource};
use vipgate_planner::{Statuses, World};

use crate::change::Change;

/// The name that Gateway API has for it.
pub const FINALIZER: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

/// What is to be changed: the finalizer stands in a class of ours while a Gateway names it.
pub fn changes(world: &World, statuses: &Statuses) -> Vec<Change> {
    let ours = statuses.classes.keys().filter_map(|key| world.classes.get(key));
    ours.filter_map(|stored| {
        let class = &stored.object;
        let key = class.key();
        let used = world
            .gateways
            .values()
            .any(|gateway| gateway.object.spec.gateway_class_name == key.name);
        let mut finalizers = class.metadata.finalizers.clone().unwrap_or_default();
        let is_there = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        // What is being deleted takes no new ones.
        if used == is_there || (used && class.metadata.deletion_timestamp.is_some()) {
            return None;
        }
        match used {
            true => finalizers.push(FINALIZER.to_owned()),
            false => finalizers.retain(|finalizer| finalizer != FINALIZER),
        }
        let object = ObjectRef { kind: Kind::GatewayClass, key };
        Some(Change::Merge(object, json!({"metadata": {"finalizers": finalizers}})))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use vipgate_api::{Age, Object};
    use vipgate_planner::{Planner, Role};

    use super::*;

    fn planned(finalizers: Value, gateway: bool) -> Vec<Change> {
        let mut planner = Planner::in_role(Role::Controller);
        let class = json!({"metadata": {"name": "vipgate", "finalizers": finalizers},
            "spec": {"controllerName": vipgate_api::CONTROLLER_NAME}});
        let class = Object::from_json(Kind::GatewayClass, class).unwrap();
        planner.apply(class, Age::default());
        if gateway {
            let gateway = json!({"metadata": {"name": "web", "namespace": "default"},
                "spec": {"gatewayClassName": "vipgate",
                    "listeners": [{"name": "a", "port": 80, "protocol": "TCP"}]}});
            let gateway = Object::from_json(Kind::Gateway, gateway).unwrap();
            planner.apply(gateway, Age::default());
        }
        let outcome = planner.run();
        changes(planner.world(), &outcome.statuses)
    }

    #[test]
    fn it_stands_there_while_a_gateway_does() {
        let becomes = |changes: Vec<Change>| changes.first().map(|c| c.content().clone());
        let list = |list: Value| Some(json!({"metadata": {"finalizers": list}}));
        assert_eq!(becomes(planned(json!(["a/b"]), true)), list(json!(["a/b", FINALIZER])));
        assert_eq!(becomes(planned(json!([FINALIZER]), true)), None);
        assert_eq!(becomes(planned(json!([FINALIZER, "a/b"]), false)), list(json!(["a/b"])));
        assert_eq!(becomes(planned(json!([]), false)), None);
    }
}
