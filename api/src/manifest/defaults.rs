//! What an API server fills in, beyond the defaults that the types apply while decoding.

use std::sync::Arc;

use super::problem::Findings;
use crate::Object;
use crate::k8s::{EndpointSlice, IntOrString, NAMESPACE_NAME_LABEL, Namespace, Secret, Service};

/// Where namespaced objects live that name no namespace.
pub(super) const NAMESPACE: &str = "default";

/// Completes an object as an API server would on writing it.
pub(super) fn apply(object: &mut Object, findings: &mut Findings) {
    let namespaced = object.kind().is_namespaced();
    let metadata = object.metadata_mut();
    // Bookkeeping of the server that exported the object; says nothing here.
    metadata.managed_fields = None;
    metadata.self_link = None;
    let named = metadata.namespace.take().filter(|namespace| !namespace.is_empty());
    if namespaced {
        metadata.namespace = Some(named.unwrap_or_else(|| NAMESPACE.to_owned()));
    } else if named.is_some() {
        let message = "has no effect: objects of this kind live in no namespace: remove it";
        findings.warning("metadata.namespace", message);
    }
    match object {
        Object::Gateway(object) => Arc::make_mut(object).status = None,
        Object::Namespace(object) => name_label(Arc::make_mut(object)),
        Object::Service(object) => service(Arc::make_mut(object)),
        Object::EndpointSlice(object) => slice(Arc::make_mut(object)),
        Object::Secret(object) => secret(Arc::make_mut(object)),
        _ => {}
    }
}

fn name_label(namespace: &mut Namespace) {
    let name = namespace.metadata.name.clone().unwrap_or_default();
    let labels = namespace.metadata.labels.get_or_insert_default();
    labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name);
    namespace.status = None;
}

fn service(service: &mut Service) {
    service.status = None;
    let spec = service.spec.get_or_insert_default();
    spec.type_.get_or_insert_with(|| "ClusterIP".to_owned());
    for port in spec.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(tcp);
        port.target_port.get_or_insert(IntOrString::Int(port.port));
    }
}

fn slice(slice: &mut EndpointSlice) {
    for port in slice.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(tcp);
        port.name.get_or_insert_default();
    }
}

fn secret(secret: &mut Secret) {
    secret.type_.get_or_insert_with(|| "Opaque".to_owned());
    let Some(plain) = secret.string_data.take() else { return };
    let data = secret.data.get_or_insert_default();
    data.extend(
        plain.into_iter().map(|(key, text)| (key, k8s_openapi::ByteString(text.into_bytes()))),
    );
}

fn tcp() -> String {
    "TCP".to_owned()
}
