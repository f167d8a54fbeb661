//! Which certificates a listener asks its clients for, as the Gateway says it (GEP-91).
//!
//! What is said of a port counts, then what is said of all. It is the Gateway that says it, for the
//! listeners of its ListenerSets too, and so the Gateway whose references these are. Whether there is
//! anything at their ends is another layer's question ([`crate::certificates`]).

use vipgate_api::gateway::{
    FrontendValidation, FrontendValidationMode, GatewaySpec, Listener, TlsMode,
};
use vipgate_api::{Kind, ObjectKey, ObjectRef};

use super::protocol::Protocol;

/// What a listener asks of the certificates of its clients.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCheck {
    /// Who says so: what it may refer to counts.
    pub owner: ObjectRef,
    /// Where it stands.
    pub field: String,
    /// What stands there.
    pub validation: FrontendValidation,
}

/// What a listener of a Gateway or of one of its ListenerSets asks of its clients, if TLS ends there.
pub(super) fn check(
    gateway: (&ObjectKey, &GatewaySpec),
    set: Option<&ObjectKey>,
    listener: &Listener,
) -> Option<ClientCheck> {
    Protocol::named(&listener.protocol).filter(|protocol| protocol.is_tls())?;
    let tls = listener.tls.as_ref();
    if tls.is_some_and(|tls| tls.mode != TlsMode::Terminate) {
        return None;
    }
    let (key, spec) = gateway;
    if let Some(validation) = tls.and_then(|tls| tls.frontend_validation.as_ref()) {
        let owner = match set {
            Some(set) => ObjectRef::new(Kind::ListenerSet, set.clone()),
            None => ObjectRef::new(Kind::Gateway, key.clone()),
        };
        let field = "tls.frontendValidation".to_owned();
        return Some(ClientCheck { owner, field, validation: validation.clone() });
    }
    let (field, validation) = of_port(spec, listener.port)?;
    let owner = ObjectRef::new(Kind::Gateway, key.clone());
    Some(ClientCheck { owner, field, validation: validation.clone() })
}

/// Where it stands that everybody is let in, whatever they show.
pub(super) fn insecure(gateway: &GatewaySpec) -> Vec<String> {
    let Some(frontend) = gateway.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else {
        return Vec::new();
    };
    let of_ports = frontend.per_port.iter().enumerate();
    let of_ports = of_ports.map(|(index, one)| (format!("perPort[{index}].tls"), &one.tls));
    let all = [("default".to_owned(), &frontend.default)].into_iter().chain(of_ports);
    let insecure = all.filter(|(_, tls)| {
        let mode = tls.validation.as_ref().map(|validation| validation.mode);
        mode == Some(FrontendValidationMode::AllowInsecureFallback)
    });
    insecure.map(|(place, _)| format!("spec.tls.frontend.{place}.validation.mode")).collect()
}

fn of_port(gateway: &GatewaySpec, port: u16) -> Option<(String, &FrontendValidation)> {
    let frontend = gateway.tls.as_ref()?.frontend.as_ref()?;
    let named = frontend.per_port.iter().position(|one| one.port == port);
    let (tls, place) = match named {
        Some(index) => (&frontend.per_port[index].tls, format!("perPort[{index}].tls")),
        None => (&frontend.default, "default".to_owned()),
    };
    let field = format!("the Gateway's spec.tls.frontend.{place}.validation");
    Some((field, tls.validation.as_ref()?))
}
