//! TLS towards backends: which BackendTLSPolicy counts for a backend, and what it comes to (GEP-1897).
//!
//! Flow: the Services and Backends that attached routes send to → the policies about them → of several
//! about one target, or one port of it, the oldest → what it asks for, as far as that can be done.
//!
//! What always holds: a backend whose policy cannot be followed is not spoken to at all, least of all in
//! the clear. A policy about a port goes before one about the whole Service. A policy about what no route
//! of ours sends to is not judged: it may be another controller's.

mod judge;
mod secured;
mod uses;

use std::collections::{BTreeMap, BTreeSet};

use vipgate_api::gateway::{BackendTlsPolicy, PolicyTargetReference};
use vipgate_api::k8s::Service;
use vipgate_api::{Kind, ObjectKey, ObjectRef, Reason, Stored, VIPGATE_GROUP};

pub use self::judge::Judgement;
pub(crate) use self::secured::secured;
pub use self::uses::Use;
use crate::admission::Admission;
use crate::attachment::Attachment;
use crate::plan::BackendTls;
use crate::refusal::Refusal;
use crate::world::{Shelf, World};

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// Those that concern Gateways of ours.
    pub verdicts: BTreeMap<ObjectKey, Verdict>,
    /// What attached routes send to, and by which listeners.
    pub uses: BTreeMap<ObjectRef, Vec<Use>>,
    /// By target and port, the policy that counts.
    counts: BTreeMap<(ObjectRef, Option<String>), ObjectKey>,
    /// Policies with a target that does not exist, and what to check; for people.
    pub aimless: Vec<(ObjectKey, Refusal)>,
}

/// A policy, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What it asks for.
    pub judgement: Judgement,
    /// Its targets, as far as they are objects that there can be.
    pub aims: Vec<Aim>,
}

/// One of the targets of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Aim {
    /// The Service or Backend.
    pub target: ObjectRef,
    /// The port, by name; all when absent.
    pub section: Option<String>,
    /// Why the policy does not count for it, if it does not.
    pub refused: Option<Refusal>,
}

impl Aim {
    /// Whether what a route sends there concerns it.
    pub fn concerns(&self, one: &Use) -> bool {
        self.section.is_none() || self.section == one.section
    }
}

impl Policies {
    /// The policy that counts for a port of a backend, if there is one.
    pub fn of(&self, target: &ObjectRef, section: Option<&str>) -> Option<(&ObjectKey, &Verdict)> {
        let of =
            |section: Option<&str>| self.counts.get(&(target.clone(), section.map(str::to_owned)));
        let key = section.and_then(|section| of(Some(section))).or_else(|| of(None))?;
        Some((key, self.verdicts.get(key)?))
    }

    /// How a port of a backend is spoken to, if by TLS; the refusal says why not at all.
    pub fn tls(
        &self,
        target: &ObjectRef,
        section: Option<&str>,
    ) -> Option<Result<&BackendTls, Refusal>> {
        let (key, verdict) = self.of(target, section)?;
        Some(verdict.judgement.tls.as_ref().map_err(|refusal| {
            let message = format!("BackendTLSPolicy {key}: {}", refusal.message);
            Refusal::new(Reason::InvalidBackendTls, message)
        }))
    }

    /// What keeps a route from backends where a Gateway sends there by it.
    pub fn obstacles(&self, gateway: &ObjectKey, route: &ObjectRef) -> Vec<Refusal> {
        let mut obstacles = Vec::new();
        for (target, uses) in &self.uses {
            let uses = uses.iter().filter(|one| one.gateway == *gateway && one.route == *route);
            for one in uses.filter(|one| one.exempt.is_none()) {
                if let Some(Err(refusal)) = self.tls(target, one.section.as_deref()) {
                    let backend = described(target, one.section.as_deref());
                    let message = format!("{backend} is not spoken to: {}", refusal.message);
                    let obstacle = Refusal::new(refusal.reason, message);
                    if !obstacles.contains(&obstacle) {
                        obstacles.push(obstacle);
                    }
                }
            }
        }
        obstacles
    }

    /// Whether there is nothing to heed.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The ConfigMaps that policies of ours refer to.
    pub fn bundles_wanted(&self) -> impl Iterator<Item = &ObjectKey> {
        self.verdicts.values().flat_map(|verdict| &verdict.judgement.wanted)
    }

    /// Those of them that are of use.
    pub fn bundles_in_use(&self) -> impl Iterator<Item = &ObjectKey> {
        self.verdicts.values().flat_map(|verdict| &verdict.judgement.used)
    }
}

/// Judges every policy that concerns a Gateway of ours.
pub fn resolve(world: &World, admission: &Admission, attachment: &Attachment) -> Policies {
    let policies = &world.backend_tls_policies;
    if policies.is_empty() {
        return Policies::default();
    }
    let uses = uses::collect(world, admission, attachment);
    let mut out = Policies { uses, ..Policies::default() };
    let mut by_age: Vec<(&ObjectKey, &Stored<BackendTlsPolicy>)> = policies.iter().collect();
    by_age.sort_by_key(|(key, stored)| (&stored.age, *key));
    for (key, stored) in by_age {
        let aims: Vec<Aim> = (stored.object.spec.target_refs.iter())
            .filter_map(|reference| aim(key, reference, world))
            .collect();
        for refusal in aims.iter().filter_map(|aim| aim.refused.as_ref()) {
            out.aimless.push((key.clone(), refusal.clone()));
        }
        if aims.iter().any(|aim| out.uses.contains_key(&aim.target)) {
            let aims = aims.into_iter().map(|aim| out.contend(key, aim)).collect();
            let judgement = judge::judge(key, &stored.object.spec, &world.config_maps);
            out.verdicts.insert(key.clone(), Verdict { judgement, aims });
        }
    }
    out
}

impl Policies {
    /// Gives a target to a policy, unless an older one has it.
    fn contend(&mut self, policy: &ObjectKey, aim: Aim) -> Aim {
        if aim.refused.is_some() {
            return aim;
        }
        let place = (aim.target.clone(), aim.section.clone());
        let holder = self.counts.entry(place).or_insert_with(|| policy.clone());
        if holder == policy {
            return aim;
        }
        let message = format!(
            "the older BackendTLSPolicy {holder} is about {} too and counts for it: take the target out \
             of one of them",
            described(&aim.target, aim.section.as_deref())
        );
        Aim { refused: Some(Refusal::new(Reason::Conflicted, message)), ..aim }
    }
}

/// A target in words: `Service default/db, port tls`.
pub(crate) fn described(target: &ObjectRef, section: Option<&str>) -> String {
    match section {
        Some(section) => format!("{target}, port {section}"),
        None => target.to_string(),
    }
}

/// What a policy is about; nothing where the kind is none of ours.
fn aim(policy: &ObjectKey, reference: &PolicyTargetReference, world: &World) -> Option<Aim> {
    let PolicyTargetReference { group, kind, name, section_name } = reference;
    let kind = match (group.as_str(), kind.as_str()) {
        ("", "Service") => Kind::Service,
        (VIPGATE_GROUP, "Backend") => Kind::Backend,
        _ => return None,
    };
    let target = ObjectRef::new(kind, ObjectKey::new(&policy.namespace, name));
    let section = section_name.clone().filter(|section| !section.is_empty());
    let refused = missing(&target, section.as_deref(), world)
        .map(|message| Refusal::new(Reason::TargetNotFound, message));
    Some(Aim { target, section, refused })
}

fn missing(target: &ObjectRef, section: Option<&str>, world: &World) -> Option<String> {
    let exists = match target.kind {
        Kind::Service => world.services.contains_key(&target.key),
        _ => world.backends.contains_key(&target.key),
    };
    if !exists {
        return Some(format!(
            "{target} does not exist: check the name; it is looked for in the policy's namespace"
        ));
    }
    let section = section?;
    if target.kind != Kind::Service {
        return Some(format!("{target} has no ports with names: leave sectionName out"));
    }
    let names: BTreeSet<&str> = ports(&world.services, &target.key).map(|(name, _)| name).collect();
    (!names.contains(section)).then(|| {
        let named: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
        match named.is_empty() {
            true => format!("{target} has no ports with names: leave sectionName out"),
            false => format!(
                "{target} has no port named {section}: write one of {}, or leave sectionName out",
                named.join(", ")
            ),
        }
    })
}

/// Names and numbers of the ports of a Service that connections go to.
fn ports<'a>(
    services: &'a Shelf<Service>,
    key: &ObjectKey,
) -> impl Iterator<Item = (&'a str, i32)> {
    let spec = services.get(key).and_then(|stored| stored.object.spec.as_ref());
    let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let ports = ports.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    ports.map(|port| (port.name.as_deref().unwrap_or_default(), port.port))
}

/// Name of the port of a backend that a route sends to, where ports have names.
pub(crate) fn section(
    target: &ObjectRef,
    port: Option<u16>,
    services: &Shelf<Service>,
) -> Option<String> {
    let number = i32::from(port.filter(|_| target.kind == Kind::Service)?);
    let mut ports = ports(services, &target.key);
    let (name, _) = ports.find(|(_, one)| *one == number)?;
    (!name.is_empty()).then(|| name.to_owned())
}
