//! Running the layers, in the order in which each looks at those before it.
//!
//! A layer that came out as another touches those that look at it; what was not touched does not run. Which
//! inputs touch which layer is said by whoever takes them in (`planner.rs`).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use vipgate_api::{Kind, ObjectRef};

use super::{Outcome, Planner, Role, addresses_of};
use crate::admission::{self, Admission};
use crate::allocation::{self, Pools, Want};
use crate::assembly;
use crate::attachment;
use crate::backend_tls;
use crate::certificates;
use crate::claim::{Claim, Claims, VipUser};
use crate::layer::Stale;
use crate::policies;
use crate::resolution::{self, Place};
use crate::routing;
use crate::services::{Classless, Services};
use crate::status::{self, Layers};
use crate::world::World;

impl Planner {
    /// Brings everything up to date.
    pub fn run(&mut self) -> Outcome {
        self.run_admission();
        self.run_services();
        self.run_certificates();
        self.run_routing();
        self.run_pools();
        self.run_allocation();
        self.run_attachment();
        self.run_policies();
        self.run_backend_tls();
        self.run_resolution();
        self.run_assembly();
        self.run_status();
        let changed = self.claims != self.told;
        if changed {
            self.told.clone_from(&self.claims);
        }
        Outcome {
            plan: Arc::clone(self.assembly.value()),
            statuses: Arc::clone(self.status.value()),
            claims: changed.then(|| self.claims.clone()),
        }
    }

    fn run_admission(&mut self) {
        let Some(stale) = self.admission.begin() else { return };
        let World { classes, gateways, listener_sets, namespaces, .. } = &self.world;
        let ground = admission::Ground { classes, gateways, listener_sets, namespaces };
        let changed = match stale {
            Stale::All => None,
            Stale::Parts(stale) => admission::update(self.admission.value_mut(), ground, &stale),
        };
        match changed {
            Some(changed) if changed.gateways.is_empty() => return,
            Some(changed) => self.touch_gateways(changed),
            None if self.admission.replace(admission::admit(ground)) => {
                self.allocation.touch();
                self.certificates.touch();
                self.attachment.touch();
                self.assembly.touch();
                self.status.touch();
            }
            None => return,
        }
        if !self.world.listener_policies.is_empty() {
            self.policies.touch();
        }
        self.touch_backend_tls();
    }

    /// Of Gateways that changed and are ours as before.
    fn touch_gateways(
        &mut self,
        admission::Changed { gateways, ports, wants }: admission::Changed,
    ) {
        let objects = || gateways.iter().map(|key| ObjectRef::new(Kind::Gateway, key.clone()));
        // A speaker takes the claims as they are.
        match wants {
            _ if self.role == Role::Speaker => {}
            true => self.allocation.touch(),
            false => self.allocation.touch_parts(ports),
        }
        self.certificates.touch_parts(gateways.iter().cloned());
        self.attachment.touch_parts(objects());
        self.touch_policies();
        self.assembly.touch_parts(gateways.iter().cloned());
        self.status.touch_parts(objects());
        self.reworked.extend(gateways);
    }

    fn run_certificates(&mut self) {
        let World { secrets, config_maps, grants, .. } = &self.world;
        let admission = self.admission.value();
        let in_cluster = self.role != Role::Standalone;
        let ground = certificates::Ground { secrets, config_maps, grants, in_cluster };
        match self.certificates.begin() {
            // Whoever made these stale has made stale what looks at them, too.
            Some(Stale::Parts(stale)) => {
                certificates::update(self.certificates.value_mut(), admission, ground, &stale);
            }
            Some(Stale::All)
                if self.certificates.replace(certificates::resolve(admission, ground)) =>
            {
                self.assembly.touch();
                self.status.touch();
            }
            Some(Stale::All) | None => {}
        }
    }

    fn run_routing(&mut self) {
        let node = (self.role != Role::Controller).then_some(&self.node);
        let in_cluster = self.role != Role::Standalone;
        if self.routing.refresh(|| routing::route(&self.world, node, in_cluster)) {
            self.assembly.touch();
            self.status.touch();
        }
    }

    /// Without a cluster nobody forwards for a Service, and a speaker takes the claims as they are.
    fn run_services(&mut self) {
        let refreshed = self.services.refresh(|| match self.role {
            Role::Controller => self.read_services.admit(&self.world.services),
            Role::Standalone | Role::Speaker => Services::default(),
        });
        if refreshed {
            self.allocation.touch();
            self.status.touch();
        }
    }

    fn run_pools(&mut self) {
        let World { pools, namespaces, .. } = &self.world;
        if self.pools.refresh(|| Pools::new(pools, namespaces)) {
            self.allocation.touch();
            self.status.touch();
        }
    }

    fn run_allocation(&mut self) {
        let admission = self.admission.value();
        let Some(stale) = self.allocation.begin() else { return };
        if let Stale::Parts(stale) = stale {
            if self.role == Role::Speaker {
                let objects = stale.iter().map(|key| ObjectRef::new(Kind::Gateway, key.clone()));
                self.status.touch_parts(objects);
                self.reworked.extend(stale.iter().cloned());
                self.assembly.touch_parts(stale);
                self.allocation.replace(allocation::follow(&self.claims));
                return;
            }
            let wants = stale.iter().filter_map(|key| admission.wants.get(key));
            let wants: Vec<&Want> = wants.collect();
            if allocation::serve_ports(self.allocation.value_mut(), &wants) {
                self.claims.clone_from(&self.allocation.value().claims);
                return;
            }
        }
        let allocation = if self.role == Role::Speaker {
            allocation::follow(&self.claims)
        } else {
            let services = self.services.value();
            let claims = match self.release {
                true => still_owned(&self.claims, admission, services, &self.unreadable),
                false => Cow::Borrowed(&self.claims),
            };
            let (pools, _) = self.pools.value().as_ref();
            let node = &addresses_of(&self.node) | &self.reserved;
            // The claims that end are gone already; those of a Gateway that is refused for now
            // are not among the wants, and stay.
            let wants = wants(admission, services, &self.classless, &claims);
            let allocation =
                allocation::allocate(pools, wants, &claims, &self.foreign, &node, false);
            match self.follows {
                true => allocation::confine(allocation, &self.claims),
                false => allocation,
            }
        };
        let changed = self.allocation.replace(allocation);
        self.claims.clone_from(&self.allocation.value().claims);
        if changed {
            self.resolution.touch();
            self.assembly.touch();
            self.status.touch();
        }
    }

    fn run_attachment(&mut self) {
        let World { routes, namespaces, .. } = &self.world;
        let admission = self.admission.value();
        let ground = attachment::Ground { admission, routes, namespaces };
        let Some(stale) = self.attachment.begin() else { return };
        match stale {
            Stale::All => {
                let changed = self.attachment.replace(attachment::attach(ground));
                if changed {
                    self.touch_policies();
                    self.touch_backend_tls();
                    self.resolution.touch();
                    self.assembly.touch();
                    self.status.touch();
                }
            }
            Stale::Parts(stale) => {
                let attachment = Arc::make_mut(self.attachment.value_mut());
                let changed = attachment.update(ground, stale);
                let gateways = changed.gateways.iter();
                let gateways = gateways.map(|key| ObjectRef::new(Kind::Gateway, key.clone()));
                self.status.touch_parts(gateways.chain(changed.routes.iter().cloned()));
                self.resolution.touch_parts(changed.routes);
                self.assembly.touch_parts(changed.gateways);
            }
        }
    }

    fn run_policies(&mut self) {
        let (admission, attachment) = (self.admission.value(), self.attachment.value());
        let work_out = || policies::work_out(&self.world, admission, attachment);
        if self.policies.refresh(work_out) {
            self.resolution.touch();
            self.assembly.touch();
            self.status.touch();
        }
    }

    fn run_backend_tls(&mut self) {
        let (admission, attachment) = (self.admission.value(), self.attachment.value());
        let resolve = || backend_tls::resolve(&self.world, admission, attachment);
        if self.backend_tls.refresh(resolve) {
            self.assembly.touch();
            self.status.touch();
        }
    }

    fn run_resolution(&mut self) {
        let is_node = self.role != Role::Controller;
        let cluster = self.role == Role::Speaker;
        let inputs = resolution::Inputs {
            world: &self.world,
            index: &self.index,
            attachment: self.attachment.value(),
            allocation: self.allocation.value(),
            policies: self.policies.value(),
            place: is_node.then(|| Place::new(&self.node, cluster)),
            names: is_node.then_some(&self.names),
        };
        let Some(stale) = self.resolution.begin() else { return };
        match stale {
            Stale::All => {
                let changed = self.resolution.replace(resolution::resolve(inputs));
                if changed {
                    self.assembly.touch();
                    self.status.touch();
                }
            }
            Stale::Parts(stale) => {
                let resolution = Arc::make_mut(self.resolution.value_mut());
                let changed = resolution.update(inputs, &stale);
                let attached = &self.attachment.value().routes;
                let parents = changed.iter().filter_map(|route| attached.get(route)).flatten();
                self.assembly.touch_parts(parents.map(|parent| parent.gateway.clone()));
                self.status.touch_parts(changed);
            }
        }
    }

    fn run_assembly(&mut self) {
        let layers = assembly::Layers {
            world: &self.world,
            admission: self.admission.value(),
            allocation: self.allocation.value(),
            attachment: self.attachment.value(),
            resolution: self.resolution.value(),
            certificates: self.certificates.value(),
            policies: self.policies.value(),
            backend_tls: self.backend_tls.value(),
            routing: self.routing.value(),
        };
        let is_node = self.role != Role::Controller;
        let node = is_node.then_some((&self.node, &self.neighbours));
        let reworked = std::mem::take(&mut self.reworked);
        let Some(stale) = self.assembly.begin() else { return };
        match stale {
            Stale::All => {
                let plan = assembly::assemble(&layers, node, self.assembly.value());
                let changed = self.assembly.replace(plan);
                if changed {
                    self.status.touch();
                }
            }
            Stale::Parts(stale) => {
                let moved =
                    assembly::update(self.assembly.value_mut(), &layers, node, &stale, &reworked);
                let gateways = moved.into_iter().map(|key| ObjectRef::new(Kind::Gateway, key));
                self.status.touch_parts(gateways);
            }
        }
    }

    fn run_status(&mut self) {
        let Some(stale) = self.status.begin() else { return };
        let plan = Arc::clone(self.assembly.value());
        let layers = Layers {
            routes: &self.world.routes,
            admission: self.admission.value(),
            services: self.services.value(),
            classless: &self.classless,
            environment: &self.environment,
            pool_objects: &self.world.pools,
            pools: &self.pools.value().0,
            pool_problems: &self.pools.value().1,
            allocation: self.allocation.value(),
            attachment: self.attachment.value(),
            resolution: self.resolution.value(),
            certificates: self.certificates.value(),
            policies: self.policies.value(),
            backend_tls: self.backend_tls.value(),
            routing: self.routing.value(),
            sets: &self.world.listener_sets,
            plan: &plan,
            node: &self.node,
            reports: &self.reports,
            lost: &self.lost,
        };
        match stale {
            Stale::All => {
                let statuses = status::derive(&layers, self.status.value());
                self.status.replace(statuses);
            }
            Stale::Parts(stale) => status::update(self.status.value_mut(), &layers, &stale),
        }
    }
}

/// The claims whose Gateway is there. One that is refused for now, has lost its class, or cannot be
/// read keeps its address: a mistake in a manifest must not cost the address that clients know.
fn still_owned<'a>(
    claims: &'a Claims,
    admission: &Admission,
    services: &Services,
    unreadable: &BTreeSet<ObjectRef>,
) -> Cow<'a, Claims> {
    let is_there = |user: &VipUser| {
        let VipUser { object, .. } = user;
        let ObjectRef { kind, key } = object;
        let is_known = match kind {
            Kind::Service => services.wants.contains_key(key),
            _ => admission.gateways.contains_key(key) || admission.classless.contains_key(key),
        };
        is_known || unreadable.contains(object)
    };
    let is_whole = |claim: &Claim| !claim.users.is_empty() && claim.users.iter().all(is_there);
    if claims.0.values().all(is_whole) {
        return Cow::Borrowed(claims);
    }
    let owned = claims.0.iter().map(|(address, claim)| {
        let users = claim.users.iter().filter(|user| is_there(user)).cloned().collect();
        (*address, Claim { users, ..claim.clone() })
    });
    Cow::Owned(Claims(owned.filter(|(_, claim)| !claim.users.is_empty()).collect()))
}

/// Everybody who needs addresses. A Service without a class that is left to another program is among
/// them only if it has an address of ours.
fn wants<'a>(
    admission: &'a Admission,
    services: &'a Services,
    classless: &Classless,
    claims: &Claims,
) -> Vec<&'a Want> {
    let users = claims.0.values().flat_map(|claim| &claim.users);
    let have: BTreeSet<&ObjectRef> = users.map(|user| &user.object).collect();
    let of_services = services.wants.values().filter(|service| {
        !service.classless || *classless == Classless::Take || have.contains(&service.want.user)
    });
    let of_services = of_services.map(|service| &service.want);
    admission.wants.values().chain(of_services).collect()
}
