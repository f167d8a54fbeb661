//! The companion as a Service.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use vipgate_api::gateway::Gateway;
use vipgate_api::k8s::Service;
use vipgate_api::{Kind, ObjectKey, ObjectRef};

use vipgate_planner::services::COMPANION_CLASS;

use super::{Infrastructure, Ports, names, owner_reference, reference};
use crate::change::Change;

/// A new one; `None` when somebody else has all names that it may have.
pub(super) fn create(
    key: &ObjectKey,
    gateway: &Gateway,
    ports: &Ports,
    is_taken: impl Fn(&ObjectKey) -> bool,
) -> Option<Change> {
    let uid = gateway.metadata.uid.as_deref().unwrap_or_default();
    let key = names(&key.name, uid)
        .into_iter()
        .flatten()
        .map(|name| ObjectKey::new(&key.namespace, name))
        .find(|key| !is_taken(key))?;
    let Infrastructure { labels, annotations } = Infrastructure::of(gateway);
    let body = json!({
        "apiVersion": Kind::Service.api_version(),
        "kind": Kind::Service.name(),
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(gateway)],
        },
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerClass": COMPANION_CLASS,
            "allocateLoadBalancerNodePorts": false,
            "ports": port_list(ports),
        },
    });
    Some(Change::Create(ObjectRef { kind: Kind::Service, key }, body))
}

/// Sets the first one right; there is only one for each Gateway.
pub(super) fn corrections(there: &[&Service], gateway: &Gateway, ports: &Ports) -> Vec<Change> {
    let Some((service, surplus)) = there.split_first() else { return Vec::new() };
    let right = correction(service, gateway, ports);
    let right = right.map(|change| Change::Merge(reference(*service), change));
    let surplus = surplus.iter().map(|service| Change::Delete(reference(*service)));
    right.into_iter().chain(surplus).collect()
}

/// The fields of a companion that are not as they are to be.
fn correction(service: &Service, gateway: &Gateway, ports: &Ports) -> Option<Value> {
    let mut change = Map::new();
    let has = service.spec.clone().unwrap_or_default();
    let mut spec = Map::new();
    let kind = has.type_.as_deref();
    if kind != Some("LoadBalancer") {
        spec.insert("type".to_owned(), "LoadBalancer".into());
    }
    if has.allocate_load_balancer_node_ports != Some(false) {
        spec.insert("allocateLoadBalancerNodePorts".to_owned(), false.into());
    }
    let has_ports: BTreeSet<(&str, i32)> = (has.ports.iter().flatten())
        .map(|port| (port.protocol.as_deref().unwrap_or("TCP"), port.port))
        .collect();
    if !ports.iter().map(|(protocol, port)| (*protocol, i32::from(*port))).eq(has_ports) {
        spec.insert("ports".to_owned(), port_list(ports));
    }
    if !spec.is_empty() {
        change.insert("spec".to_owned(), spec.into());
    }
    let metadata = super::metadata(&service.metadata, &Infrastructure::of(gateway));
    if !metadata.is_empty() {
        change.insert("metadata".to_owned(), metadata.into());
    }
    (!change.is_empty()).then(|| change.into())
}

fn port_list(ports: &Ports) -> Value {
    let name = |protocol: &str, port: u16| format!("{}-{port}", protocol.to_ascii_lowercase());
    let list = ports.iter().map(|(protocol, port)| {
        json!({"name": name(protocol, *port), "protocol": protocol, "port": port})
    });
    Value::Array(list.collect())
}
