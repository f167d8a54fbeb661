//! The objects: Gateways with TCP listeners, a route on each, Services with endpoints behind them.

use std::net::Ipv4Addr;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::requests;
use crate::site::Site;

/// Endpoints of each Service.
const ENDPOINTS: usize = 5;

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) gateways: usize,
    /// Of each Gateway.
    pub(super) listeners: usize,
    pub(super) services: usize,
}

impl Size {
    /// One for each listener.
    pub(super) fn routes(&self) -> usize {
        self.gateways * self.listeners
    }

    /// The Service of a route.
    pub(super) fn service_of(&self, route: usize) -> usize {
        route % self.services
    }
}

pub(super) fn gateway_name(number: usize) -> String {
    format!("gateway-{number}")
}

pub(super) fn route_name(number: usize) -> String {
    format!("route-{number}")
}

pub(super) fn service_name(number: usize) -> String {
    format!("service-{number}")
}

/// The listeners of each Gateway.
pub(super) fn listeners(size: &Size) -> Vec<Value> {
    let listener = |number| json!({"name": format!("tcp-{number}"), "protocol": "TCP", "port": 10_000 + number});
    (0..size.listeners).map(listener).collect()
}

/// Creates all of them.
pub(super) fn create(site: &Site, size: &Size) {
    let services = (0..size.services).flat_map(|number| [service(number), slice(number)]);
    let gateways = (0..size.gateways).map(|number| gateway(size, number));
    let routes = (0..size.routes()).map(|number| route(size, number));
    let all: Vec<DynamicObject> = (services.chain(gateways).chain(routes))
        .map(|object| serde_json::from_value(object).unwrap())
        .collect();
    requests::create(site, all);
}

fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": service_name(number), "namespace": "default"},
        "spec": {"ports": [{"name": "tcp", "port": 80, "targetPort": 8080}]},
    })
}

fn slice(number: usize) -> Value {
    let name = service_name(number);
    let endpoint = |place: usize| {
        let host = u32::try_from(number * ENDPOINTS + place).unwrap();
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 128, 0, 1).to_bits() + host);
        json!({"addresses": [address], "conditions": {"ready": true}})
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default",
            "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "tcp", "port": 8080, "protocol": "TCP"}],
        "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
    })
}

fn gateway(size: &Size, number: usize) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": gateway_name(number), "namespace": "default"},
        "spec": {"gatewayClassName": "vipgate", "listeners": listeners(size)},
    })
}

fn route(size: &Size, number: usize) -> Value {
    let (gateway, listener) = (number / size.listeners, number % size.listeners);
    let service = service_name(size.service_of(number));
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "TCPRoute",
        "metadata": {"name": route_name(number), "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": gateway_name(gateway), "sectionName": format!("tcp-{listener}")}],
            "rules": [{"backendRefs": [{"name": service, "port": 80}]}],
        },
    })
}
