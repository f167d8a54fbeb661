//! Certificates of clients: those that a listener is to ask for, and the one that the Gateway is to
//! show to backends (GEP-91, GEP-3155).
//!
//! Neither is done. A listener that would let everybody in where only holders of a certificate may
//! come is not served; the certificate for backends protects nothing, because no connection to a
//! backend is TLS, so it is refused by itself.

use vipgate_api::Reason;
use vipgate_api::gateway::{GatewaySpec, Listener, TlsMode};

use crate::refusal::Refusal;

/// What speaks against serving a listener that ends TLS: its clients would have to be checked.
pub(super) fn objection(gateway: &GatewaySpec, listener: &Listener) -> Option<Refusal> {
    let tls = listener.tls.as_ref().filter(|tls| tls.mode == TlsMode::Terminate)?;
    let field = match tls.frontend_validation {
        Some(_) => "tls.frontendValidation".to_owned(),
        None => validation(gateway, listener.port)?,
    };
    let message = format!(
        "{field} asks clients for a certificate, which vipgate does not check yet, so the listener \
         is not served rather than open to everybody: remove the field, or let the backend check \
         its clients through a TCP listener"
    );
    Some(Refusal::new(Reason::UnsupportedValue, message))
}

/// Where it stands that clients of a port show a certificate: what is said of the port counts, then
/// what is said of all.
fn validation(gateway: &GatewaySpec, port: u16) -> Option<String> {
    let frontend = gateway.tls.as_ref()?.frontend.as_ref()?;
    let of_port = frontend.per_port.iter().position(|one| one.port == port);
    let (tls, field) = match of_port {
        Some(index) => {
            let field = format!("spec.tls.frontend.perPort[{index}].tls.validation of the Gateway");
            (&frontend.per_port[index].tls, field)
        }
        None => {
            let field = "spec.tls.frontend.default.validation of the Gateway";
            (&frontend.default, field.to_owned())
        }
    };
    tls.validation.is_some().then_some(field)
}

/// Why the Gateway shows no certificate to backends, if it is to show one.
pub(super) fn certificate(gateway: &GatewaySpec) -> Option<Refusal> {
    let reference = gateway.tls.as_ref()?.backend.as_ref()?.client_certificate_ref.as_ref()?;
    let message = format!(
        "spec.tls.backend.clientCertificateRef names {} {}, but vipgate speaks no TLS to backends \
         and shows it to none: remove it",
        reference.kind, reference.name
    );
    Some(Refusal::new(Reason::InvalidClientCertificateRef, message))
}
