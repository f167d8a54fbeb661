//! Targets whose backends are spoken to by TLS.

use std::sync::Arc;

use vipgate_api::gateway::Route;
use vipgate_api::k8s::Service;

use super::{Policies, section, uses};
use crate::plan::{BackendSettings, BackendShare, BackendTls, Certificate, Target};
use crate::world::Shelf;

/// A route's target with what policies say of its backends; the same one where they say nothing.
/// `certificate` is shown to backends that ask for one. The share of a backend whose policy cannot be
/// followed has no endpoints.
pub(crate) fn secured(
    target: &Arc<Target>,
    route: &Route,
    policies: &Policies,
    services: &Shelf<Service>,
    certificate: Option<&Arc<Certificate>>,
) -> Arc<Target> {
    let references = route.spec.rules.first().map(|rule| rule.backend_refs.as_slice());
    let mut secured = Arc::clone(target);
    for (index, reference) in references.unwrap_or_default().iter().enumerate() {
        let Some(backend) = uses::target(&target.route.key, reference) else { continue };
        let port = section(&backend, reference.port, services);
        let Some(tls) = policies.tls(&backend, port.as_deref()) else { continue };
        let Some(share) = Arc::make_mut(&mut secured).shares.get_mut(index) else { continue };
        // What cannot be spoken to anyway has said why.
        if share.unusable.is_some() {
            continue;
        }
        match tls {
            Ok(tls) => {
                let tls = BackendTls { certificate: certificate.cloned(), ..tls.clone() };
                speak(share, tls);
            }
            Err(refusal) => {
                share.endpoints.clear();
                share.unusable = Some(refusal.message);
            }
        }
    }
    secured
}

fn speak(share: &mut BackendShare, tls: BackendTls) {
    let settings = BackendSettings { tls: Some(Arc::new(tls)), ..(*share.settings).clone() };
    share.settings = Arc::new(settings);
}
