//! Services of type LoadBalancer without a class: ours, or another program's?
//!
//! By default they are ours, unless another LoadBalancer controller shows itself:
//!
//! * The API server serves the API group of one ([`RIVALS`]), so it is installed, or was.
//! * A Service without a class carries the mark of one (`MARKS`): kube-vip, Cilium and cloud
//!   controllers (k3s has one: ServiceLB) have no API group of their own that would tell.
//! * A Service without a class has an address that none of our pools has, and another field manager
//!   wrote it there.
//!
//! (A Service with an address that a pool of ours has is no evidence: address and marks may be left
//! from a controller that vipgate replaces; the address is taken over.)
//!
//! All this is what the API says; whether such a controller runs is not looked for. Once a Service gave
//! evidence, that stays the evidence for as long as this process runs: what it stood on may be ours by
//! now. Who knows better says so: `--classless take` or `leave`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use vipgate_api::k8s::Service;
use vipgate_api::vipgate::AddressRange;
use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::World;
use vipgate_planner::services::{Classless, status_addresses};

use crate::writer::MANAGER;

/// API groups of programs that serve Services without a class, and nothing else.
pub const RIVALS: [(&str, &str); 3] =
    [("metallb.io", "MetalLB"), ("purelb.io", "PureLB"), ("network.openelb.io", "OpenELB")];

/// What a program leaves on a Service that it serves.
enum Mark {
    /// An annotation.
    Annotation(&'static str),
    /// A finalizer.
    Finalizer(&'static str),
    /// A condition in its status.
    Condition(&'static str),
}

/// Marks, and who leaves them.
const MARKS: [(Mark, &str); 3] = [
    (Mark::Annotation("kube-vip.io/vipHost"), "kube-vip"),
    (Mark::Condition("cilium.io/IPAMRequestSatisfied"), "Cilium (LB IPAM)"),
    (
        Mark::Finalizer("service.kubernetes.io/load-balancer-cleanup"),
        "a cloud controller (on k3s: ServiceLB)",
    ),
];

impl Mark {
    fn is_on(&self, service: &Service) -> bool {
        let metadata = &service.metadata;
        match self {
            Self::Annotation(name) => {
                metadata.annotations.as_ref().is_some_and(|all| all.contains_key(*name))
            }
            Self::Finalizer(name) => metadata.finalizers.iter().flatten().any(|f| f == name),
            Self::Condition(name) => {
                let status = service.status.iter();
                let mut all = status.flat_map(|status| status.conditions.iter().flatten());
                all.any(|condition| condition.type_ == *name)
            }
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation(name) => write!(f, "the annotation {name}"),
            Self::Finalizer(name) => write!(f, "the finalizer {name}"),
            Self::Condition(name) => write!(f, "the condition {name}"),
        }
    }
}

/// What is wanted of Services without a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Setting {
    /// They are ours unless another controller shows itself.
    #[default]
    Auto,
    /// They are ours.
    Take,
    /// They are not ours.
    Leave,
}

/// What becomes of Services without a class. `groups` are the API groups that are served;
/// `at_work` is what [`at_work`] found, now or before.
pub fn decide(setting: Setting, groups: &BTreeSet<String>, at_work: Option<&str>) -> Classless {
    let evidence = match setting {
        Setting::Take => return Classless::Take,
        Setting::Leave => {
            return Classless::Leave(
                "the controller runs with --classless leave: write spec.loadBalancerClass: \
                 vipgate.dev/service to have an address of vipgate"
                    .to_owned(),
            );
        }
        Setting::Auto => installed(groups).or_else(|| at_work.map(str::to_owned)),
    };
    match evidence {
        None => Classless::Take,
        Some(evidence) => Classless::Leave(format!(
            "left to another LoadBalancer controller: {evidence}. Write spec.loadBalancerClass: \
             vipgate.dev/service to have an address of vipgate, or start its controller with \
             --classless take to have one for every Service without a class"
        )),
    }
}

fn installed(groups: &BTreeSet<String>) -> Option<String> {
    let (group, name) = RIVALS.iter().find(|(group, _)| groups.contains(*group))?;
    Some(format!("{name} is installed (the API group {group} is served)"))
}

/// Evidence that another controller gives addresses to Services without a class. `writer` says which
/// other field manager wrote the addresses of a Service, if one did.
pub fn at_work<'a>(
    world: &World,
    writer: impl Fn(&ObjectRef) -> Option<&'a str>,
) -> Option<String> {
    let ranges = world.pools.values().flat_map(|pool| &pool.object.spec.addresses);
    let ranges: Vec<AddressRange> = ranges.filter_map(|text| text.parse().ok()).collect();
    world.services.iter().find_map(|(key, stored)| {
        let spec = stored.object.spec.as_ref()?;
        let is_classless =
            spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none();
        let addresses = status_addresses(&stored.object);
        let is_ours = |address: &IpAddr| ranges.iter().any(|range| range.contains(*address));
        if !is_classless || addresses.iter().any(is_ours) {
            return None;
        }
        let object = ObjectRef { kind: Kind::Service, key: ObjectKey::clone(key) };
        if let Some((mark, program)) = MARKS.iter().find(|(mark, _)| mark.is_on(&stored.object)) {
            return Some(format!("{program} serves {object}, which has {mark}"));
        }
        let address = addresses.first()?;
        let manager = writer(&object)?;
        Some(format!("field manager {manager:?} gave {object} the address {address}, of no pool"))
    })
}

/// Which other field manager wrote `status.loadBalancer` of a Service.
pub fn writer_of_addresses(managers: &[ManagedFieldsEntry]) -> Option<&str> {
    let others = managers.iter().filter(|entry| entry.manager.as_deref() != Some(MANAGER));
    let wrote = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0["f:status"]["f:loadBalancer"]);
        fields.is_some_and(|fields| !fields.is_null())
    };
    others.filter(wrote).find_map(|entry| entry.manager.as_deref())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use vipgate_api::{Age, Object};

    use super::*;

    fn world(address: &str, class: Option<&str>) -> World {
        let mut world = World::default();
        let service = json!({"metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "loadBalancerClass": class},
            "status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
        let pool = json!({"metadata": {"name": "pool", "namespace": "vipgate-system"},
            "spec": {"addresses": ["192.0.2.0/24"]}});
        world.apply(Object::from_json(Kind::Service, service).unwrap(), Age::default());
        world.apply(Object::from_json(Kind::IpAddressPool, pool).unwrap(), Age::default());
        world
    }

    fn decided(setting: Setting, groups: &[&str], world: &World) -> Classless {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        decide(setting, &groups, at_work(world, |_| Some("kube-vip")).as_deref())
    }

    fn text(classless: Classless) -> String {
        match classless {
            Classless::Leave(text) => text,
            Classless::Take => "taken".to_owned(),
        }
    }

    #[test]
    fn without_evidence_they_are_ours() {
        let auto = |world: &World| decided(Setting::Auto, &["apps"], world);
        assert_eq!(auto(&World::default()), Classless::Take);
        // Left behind by whom we replace.
        assert_eq!(auto(&world("192.0.2.7", None)), Classless::Take);
        assert_eq!(auto(&world("198.51.100.7", Some("example.com/lb"))), Classless::Take);
        // Written by ourselves.
        assert_eq!(at_work(&world("198.51.100.7", None), |_| None), None);
    }

    #[test]
    fn evidence_is_named_with_what_to_write() {
        let installed = text(decided(Setting::Auto, &["metallb.io"], &World::default()));
        assert!(installed.contains("MetalLB is installed"), "{installed}");
        let at_work = text(decided(Setting::Auto, &[], &world("198.51.100.7", None)));
        assert!(at_work.contains("\"kube-vip\" gave Service default/web"), "{at_work}");
        for text in [installed, at_work] {
            assert!(text.contains("vipgate.dev/service") && text.contains("--classless take"));
        }
    }

    /// A Service without a class as each of these programs leaves it, and how they are called.
    fn marked() -> [(Value, &'static str); 3] {
        let service = |metadata: Value, status: Value| {
            let mut service = json!({"metadata": {"name": "web", "namespace": "default"},
                "spec": {"type": "LoadBalancer"}, "status": status});
            for (name, value) in metadata.as_object().unwrap() {
                service["metadata"][name] = value.clone();
            }
            service
        };
        let elsewhere = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}});
        [
            (
                service(
                    json!({"annotations": {"kube-vip.io/loadbalancerIPs": "198.51.100.7",
                        "kube-vip.io/vipHost": "node-1"},
                        "labels": {"implementation": "kube-vip"}}),
                    elsewhere.clone(),
                ),
                "kube-vip serves Service default/web, which has the annotation kube-vip.io/vipHost",
            ),
            (
                service(
                    json!({}),
                    json!({"loadBalancer": {}, "conditions": [{
                        "type": "cilium.io/IPAMRequestSatisfied", "status": "False",
                        "reason": "no_pool", "message": "There are no enabled pools",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
                ),
                "Cilium (LB IPAM) serves Service default/web, which has the condition \
                 cilium.io/IPAMRequestSatisfied",
            ),
            (
                service(
                    json!({"finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}),
                    elsewhere,
                ),
                "a cloud controller (on k3s: ServiceLB) serves Service default/web, which has the \
                 finalizer service.kubernetes.io/load-balancer-cleanup",
            ),
        ]
    }

    fn holding(service: Value) -> World {
        let mut world = world("192.0.2.7", Some("example.com/lb"));
        world.apply(Object::from_json(Kind::Service, service).unwrap(), Age::default());
        world
    }

    #[test]
    fn the_marks_of_other_programs_are_evidence() {
        for (service, expected) in marked() {
            let evidence = at_work(&holding(service.clone()), |_| None);
            assert_eq!(evidence.as_deref(), Some(expected));
            let left = text(decide(Setting::Auto, &BTreeSet::new(), evidence.as_deref()));
            assert!(left.contains(expected) && left.contains("--classless take"), "{left}");
            let taken = decide(Setting::Take, &BTreeSet::new(), evidence.as_deref());
            assert_eq!(taken, Classless::Take);
            // Of a class, or with an address of a pool of ours: somebody else's, or left behind.
            let mut of_a_class = service.clone();
            of_a_class["spec"]["loadBalancerClass"] = "example.com/lb".into();
            assert_eq!(at_work(&holding(of_a_class), |_| None), None);
            let mut left_behind = service;
            left_behind["status"]["loadBalancer"] = json!({"ingress": [{"ip": "192.0.2.7"}]});
            assert_eq!(at_work(&holding(left_behind), |_| None), None);
        }
    }

    #[test]
    fn installed_programs_are_evidence() {
        for (group, name) in RIVALS {
            let left = text(decided(Setting::Auto, &[group], &World::default()));
            assert!(
                left.contains(&format!("{name} is installed (the API group {group}")),
                "{left}"
            );
        }
        // Cilium and k3s serve these whether they give addresses to Services or not.
        let silent = ["cilium.io", "k3s.cattle.io", "helm.cattle.io"];
        assert_eq!(decided(Setting::Auto, &silent, &World::default()), Classless::Take);
    }

    #[test]
    fn a_setting_decides() {
        let world = world("198.51.100.7", None);
        assert_eq!(decided(Setting::Take, &["metallb.io"], &world), Classless::Take);
        let left = text(decided(Setting::Leave, &[], &World::default()));
        assert!(left.contains("vipgate.dev/service"), "{left}");
    }

    #[test]
    fn the_writer_of_addresses_is_who_has_that_field() {
        let entry = |manager: &str, fields: serde_json::Value| -> ManagedFieldsEntry {
            serde_json::from_value(json!({"manager": manager, "fieldsV1": fields})).unwrap()
        };
        let addresses = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
        let conditions = json!({"f:status": {"f:conditions": {}}});
        let managers = [entry(MANAGER, addresses.clone()), entry("other", conditions)];
        assert_eq!(writer_of_addresses(&managers), None);
        assert_eq!(writer_of_addresses(&[entry("controller", addresses)]), Some("controller"));
    }
}
