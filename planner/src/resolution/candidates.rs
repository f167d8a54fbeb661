//! The endpoints behind a Service or a Backend, before any of them is refused.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use vipgate_api::k8s::{
    EndpointConditions, EndpointPort, EndpointSlice, SERVICE_NAME_LABEL, Service, ServicePort,
};
use vipgate_api::vipgate::Backend;
use vipgate_api::{ObjectKey, Reason};

use super::by_name::ByName;
use super::here::Whereabouts;
use super::nearness::{Nearness, Place};
use crate::index::Index;
use crate::names::Names;
use crate::refusal::Refusal;
use crate::world::Shelf;

/// An endpoint that connections could go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    pub(super) readiness: Readiness,
    pub(super) nearness: Nearness,
    pub(super) whereabouts: Whereabouts,
}

/// Whether an endpoint takes new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Readiness {
    Ready,
    /// On its way out but still serving; used when nothing is ready (KEP-1672).
    Leaving,
}

/// The EndpointSlices, and which of them are of which Service.
#[derive(Clone, Copy)]
pub(super) struct Slices<'a> {
    pub(super) all: &'a Shelf<EndpointSlice>,
    pub(super) index: &'a Index,
}

impl<'a> Slices<'a> {
    fn of(self, service: &ObjectKey) -> impl Iterator<Item = &'a EndpointSlice> {
        let slices = self.index.slices(service).filter_map(|key| self.all.get(key));
        slices.map(|stored| &*stored.object)
    }
}

/// The Service that a slice belongs to.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    Some(ObjectKey::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service))
}

/// Services, each with a node that has a ready endpoint of it.
pub(crate) fn ready_nodes(
    slices: &Shelf<EndpointSlice>,
) -> impl Iterator<Item = (ObjectKey, &str)> {
    let all = slices.values().filter_map(|stored| Some((service_of(&stored.object)?, stored)));
    all.flat_map(|(service, stored)| {
        let endpoints = stored.object.endpoints.iter();
        let ready =
            endpoints.filter(|one| readiness(one.conditions.as_ref()) == Some(Readiness::Ready));
        ready.filter_map(move |one| Some((service.clone(), one.node_name.as_deref()?)))
    })
}

/// The Services that have an endpoint which takes connections.
pub(crate) fn with_endpoints(slices: &Shelf<EndpointSlice>) -> BTreeSet<ObjectKey> {
    let usable = |slice: &EndpointSlice| {
        let mut endpoints = slice.endpoints.iter();
        endpoints.any(|endpoint| readiness(endpoint.conditions.as_ref()).is_some())
    };
    let slices = slices.values().filter(|stored| usable(&stored.object));
    slices.filter_map(|stored| service_of(&stored.object)).collect()
}

/// Endpoints of a port of a Service; `protocol` is TCP or UDP. Slices carry resolved port numbers under the name of the
/// Service's port, so `targetPort` is not looked at.
pub(super) fn of_service(
    key: &ObjectKey,
    port: Option<u16>,
    protocol: &str,
    services: &Shelf<Service>,
    slices: Slices<'_>,
    place: Option<Place<'_>>,
) -> Result<Vec<Candidate>, Refusal> {
    let not_found = |message| Refusal::new(Reason::BackendNotFound, message);
    let Some(service) = services.get(key) else {
        let message = format!("Service {key} does not exist: check name and namespace");
        return Err(not_found(message));
    };
    let spec = service.object.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        return Err(not_found(format!(
            "Service {key} is of type ExternalName and has no endpoints: write a Backend of group \
             vipgate.dev with the addresses instead"
        )));
    }
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let name = service_port(key, port, protocol, ports).map_err(not_found)?;
    let mut found = Vec::new();
    for slice in slices.of(key) {
        of_slice(slice, name, protocol, place, &mut found);
    }
    Ok(found)
}

/// Name of the port of a Service with this number and protocol.
fn service_port<'a>(
    key: &ObjectKey,
    port: Option<u16>,
    protocol: &str,
    ports: &'a [ServicePort],
) -> Result<&'a str, String> {
    let fits = || ports.iter().filter(|p| is_of(protocol, p.protocol.as_deref()));
    let Some(number) = port else {
        return Err(format!(
            "a backendRef to Service {key} needs a port: write one of {}",
            numbers(fits())
        ));
    };
    if let Some(port) = fits().find(|p| p.port == i32::from(number)) {
        return Ok(port.name.as_deref().unwrap_or_default());
    }
    let other = ports.iter().find(|p| p.port == i32::from(number));
    Err(match other {
        Some(other) => {
            let other = other.protocol.as_deref().unwrap_or("TCP");
            format!("port {number} of Service {key} is {other}, not {protocol}")
        }
        None => {
            let numbers = numbers(fits());
            format!("Service {key} has no {protocol} port {number}: write one of {numbers}")
        }
    })
}

fn numbers<'a>(ports: impl Iterator<Item = &'a ServicePort>) -> String {
    let numbers: Vec<String> = ports.map(|port| port.port.to_string()).collect();
    if numbers.is_empty() { "(none)".to_owned() } else { numbers.join(", ") }
}

/// A port without a protocol is one of TCP.
fn is_of(protocol: &str, written: Option<&str>) -> bool {
    written.unwrap_or("TCP") == protocol
}

fn of_slice(
    slice: &EndpointSlice,
    port: &str,
    protocol: &str,
    place: Option<Place<'_>>,
    found: &mut Vec<Candidate>,
) {
    if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
        return;
    }
    let is_meant = |p: &&EndpointPort| {
        p.name.as_deref().unwrap_or_default() == port && is_of(protocol, p.protocol.as_deref())
    };
    let numbers: Vec<u16> = (slice.ports.iter().flatten())
        .filter(is_meant)
        .filter_map(|p| u16::try_from(p.port?).ok())
        .filter(|number| *number != 0)
        .collect();
    for endpoint in &slice.endpoints {
        let Some(readiness) = readiness(endpoint.conditions.as_ref()) else { continue };
        let nearness = Nearness::of(endpoint.hints.as_ref(), place);
        let whereabouts = Whereabouts::of(endpoint.node_name.as_deref(), place);
        for address in endpoint.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok()) {
            found.extend(numbers.iter().map(|number| Candidate {
                address: SocketAddr::new(address.to_canonical(), *number),
                readiness,
                nearness,
                whereabouts,
            }));
        }
    }
}

/// Absent `ready` means true, absent `serving` means what `ready` says, absent `terminating` means
/// false (`discovery.k8s.io/v1` EndpointConditions).
fn readiness(conditions: Option<&EndpointConditions>) -> Option<Readiness> {
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = conditions.and_then(|c| c.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    match (ready, serving && terminating) {
        (true, _) => Some(Readiness::Ready),
        (false, true) => Some(Readiness::Leaving),
        (false, false) => None,
    }
}

/// Endpoints of a Backend; of those on one port when the reference names it. Names are noted in `by_name`.
pub(super) fn of_backend(
    key: &ObjectKey,
    port: Option<u16>,
    backends: &Shelf<Backend>,
    names: Option<&Names>,
    by_name: &mut ByName,
) -> Result<Vec<Candidate>, Refusal> {
    let not_found = |message| Refusal::new(Reason::BackendNotFound, message);
    let Some(backend) = backends.get(key) else {
        let message = format!("Backend {key} does not exist: check name and namespace");
        return Err(not_found(message));
    };
    let endpoints = &backend.object.spec.endpoints;
    let mut found = Vec::with_capacity(endpoints.len());
    let mut fits = false;
    for endpoint in endpoints.iter().filter(|endpoint| port.is_none_or(|p| p == endpoint.port)) {
        fits = true;
        let mut ready = |address: IpAddr| {
            let address = SocketAddr::new(address.to_canonical(), endpoint.port);
            let (readiness, nearness) = (Readiness::Ready, Nearness::default());
            let whereabouts = Whereabouts::default();
            found.push(Candidate { address, readiness, nearness, whereabouts });
        };
        match (&endpoint.address, &endpoint.hostname) {
            (Some(text), None) => match text.parse::<IpAddr>() {
                Ok(address) => ready(address),
                Err(_) => {
                    return Err(not_found(format!(
                        "Backend {key}: {text:?} is not an IP address: write one such as 192.0.2.10, or \
                         a DNS name as hostname"
                    )));
                }
            },
            (None, Some(name)) => by_name.look_up(name, names).for_each(ready),
            _ => {
                return Err(not_found(format!(
                    "Backend {key}: an endpoint has either an address or a hostname: write one of the two"
                )));
            }
        }
    }
    match (port, !fits && !endpoints.is_empty()) {
        (Some(port), true) => {
            let mut ports: Vec<u16> = endpoints.iter().map(|endpoint| endpoint.port).collect();
            ports.sort_unstable();
            ports.dedup();
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            Err(not_found(format!(
                "Backend {key} has no endpoint on port {port}: write one of {} or leave port out",
                ports.join(", ")
            )))
        }
        _ => Ok(found),
    }
}
