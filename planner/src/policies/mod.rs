//! What policies say of listeners and of backends, and what is to be said of the policies (GEP-713).
//!
//! Flow, for each kind: policies that cannot be followed are out, of those with one target the oldest has
//! it (`contest`); what is nearer goes before what is farther, field by field (`listeners`, `backends`);
//! what means nothing to a protocol is taken out and named (`fit`); what is left becomes settings
//! (`settings`), and what became of each target is told by ancestor (`verdict`).
//!
//! What always holds: every policy of ours has a status; nothing that is written in one is passed over
//! without a word; a policy that is out changes nothing. Addresses and endpoints have no influence here, and
//! policies none on them.

mod backends;
mod contest;
mod fit;
mod listeners;
mod settings;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use vipgate_api::gateway::PolicyStatus;
use vipgate_api::vipgate::BackendPolicySpec;
use vipgate_api::{Kind, ObjectKey, ObjectRef};

use crate::admission::{Admission, AdmittedListener};
use crate::attachment::Attachment;
use crate::plan::{BackendSettings, ListenerSettings};
use crate::world::World;

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// By Gateway and place of the listener; those that no policy is about are not here.
    listeners: BTreeMap<(ObjectKey, usize), Arc<ListenerSettings>>,
    /// What is said of routes, Services and Backends.
    backends: BTreeMap<ObjectRef, Arc<BackendPolicySpec>>,
    unsaid: Unsaid,
    /// The status of every policy of ours.
    pub statuses: BTreeMap<ObjectRef, PolicyStatus>,
}

/// What holds where no policy says anything: nearly everywhere, so there is one of each.
#[derive(Clone, Debug, PartialEq)]
struct Unsaid {
    streams: Arc<ListenerSettings>,
    datagrams: Arc<ListenerSettings>,
    backends: Arc<BackendSettings>,
}

impl Default for Unsaid {
    fn default() -> Self {
        Self {
            streams: Arc::default(),
            datagrams: Arc::new(ListenerSettings::of_datagrams()),
            backends: Arc::default(),
        }
    }
}

impl Policies {
    /// How a listener of a Gateway, known by its place, treats its clients.
    pub fn listener(
        &self,
        gateway: &ObjectKey,
        place: usize,
        listener: &AdmittedListener,
    ) -> Arc<ListenerSettings> {
        let find = || self.listeners.get(&(gateway.clone(), place));
        let said = (!self.listeners.is_empty()).then(find).flatten();
        Arc::clone(said.unwrap_or(match listener.protocol.as_str() {
            "UDP" => &self.unsaid.datagrams,
            _ => &self.unsaid.streams,
        }))
    }

    /// How connections of a route get to one of its backends: what is said of the backend goes before what
    /// is said of the route.
    pub fn backend(&self, route: &ObjectRef, backend: &ObjectRef) -> Arc<BackendSettings> {
        if self.backends.is_empty() {
            return Arc::clone(&self.unsaid.backends);
        }
        let said = match (self.backends.get(backend), self.backends.get(route)) {
            (None, None) => return Arc::clone(&self.unsaid.backends),
            (Some(near), None) => BackendPolicySpec::clone(near),
            (None, Some(far)) => BackendPolicySpec::clone(far),
            (Some(near), Some(far)) => backends::over(near, far),
        };
        let (said, _) = fit::backend(said, route.kind == Kind::UdpRoute);
        Arc::new(settings::of_backend(&said))
    }
}

/// Works it out.
pub fn work_out(world: &World, admission: &Admission, attachment: &Attachment) -> Policies {
    let mut policies = Policies::default();
    if !world.listener_policies.is_empty() {
        listeners::work_out(world, admission, &mut policies);
    }
    if !world.backend_policies.is_empty() {
        backends::work_out(world, attachment, &mut policies);
    }
    policies
}
