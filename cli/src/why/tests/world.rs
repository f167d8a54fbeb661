//! A small cluster as `vipgate why` sees it: manifests through the planner in the role of the controller, what the
//! nodes report, and the statuses that follow, written into the objects as the controller would.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vipgate_api::k8s::ByteString;
use vipgate_api::vipgate::virtual_ip_name;
use vipgate_api::{Age, Kind, Object, ObjectRef};
use vipgate_controller::claims::spec;
use vipgate_planner::{
    Classless, Foreign, ListenerState, MacAddr, NodeReport, Plan, Planner, Reports, Role, VipState,
};

use crate::why::facts::{Facts, Lease, Place};
use crate::why::of_cluster::Listed;

/// All is well: two nodes, one Gateway with a route, one Service.
pub(super) const BASE: &str = "
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
---
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100-10.0.0.109]}
---
kind: Gateway
metadata: {name: web, namespace: default}
spec:
  gatewayClassName: vipgate
  listeners: [{name: tcp, protocol: TCP, port: 80}]
---
kind: TCPRoute
metadata: {name: web, namespace: default}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
---
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
- {addresses: [10.1.0.1], conditions: {ready: true}}
- {addresses: [10.1.0.2], conditions: {ready: true}}
---
kind: Service
metadata: {name: dns, namespace: default}
spec: {type: LoadBalancer, loadBalancerClass: vipgate.dev/service, ports: [{port: 53, protocol: UDP}]}
---
kind: EndpointSlice
metadata: {name: dns-1, namespace: default, labels: {kubernetes.io/service-name: dns}}
addressType: IPv4
ports: [{port: 53, protocol: UDP}]
endpoints: [{addresses: [10.1.0.3], conditions: {ready: true}}]
";

/// See the module.
pub(super) struct World {
    objects: BTreeMap<ObjectRef, Value>,
    /// What each node reports.
    pub(super) reports: Reports,
    /// Who is not seen by the other.
    pub(super) unseen: BTreeSet<String>,
    pub(super) lease: Lease,
    /// What becomes of Services without a class.
    pub(super) classless: Classless,
    /// Addresses that hosts outside answer for.
    pub(super) foreign: Foreign,
    /// What cannot be listed.
    pub(super) unread: BTreeSet<Kind>,
}

impl World {
    /// The base with these objects in place of, or besides, its own.
    pub(super) fn new(yaml: &str) -> Self {
        let mut objects = BTreeMap::new();
        for text in [BASE, yaml] {
            for document in serde_saphyr::from_multiple::<Value>(text).unwrap() {
                if !document.is_null() {
                    let (reference, object) = read(document);
                    objects.insert(reference, object);
                }
            }
        }
        Self {
            objects,
            reports: Reports::new(),
            unseen: BTreeSet::new(),
            lease: Lease::Held("one".to_owned()),
            classless: Classless::Take,
            foreign: Foreign::new(),
            unread: BTreeSet::new(),
        }
    }

    /// Puts in an object.
    pub(super) fn add(&mut self, object: Value) {
        let (reference, object) = read(object);
        self.objects.insert(reference, object);
    }

    /// Has the Gateway listen so, with this in `spec.tls.frontend`.
    pub(super) fn listen(&mut self, listeners: &[&str], frontend: &str) {
        let listeners: Vec<Value> =
            listeners.iter().map(|text| serde_saphyr::from_str(text).unwrap()).collect();
        let mut spec = json!({"gatewayClassName": "vipgate", "listeners": listeners});
        let frontend: Value = serde_saphyr::from_str(frontend).unwrap();
        if frontend.as_object().is_some_and(|fields| !fields.is_empty()) {
            spec["tls"] = json!({"frontend": frontend});
        }
        let metadata = json!({"name": "web", "namespace": "default"});
        self.add(json!({"kind": "Gateway", "metadata": metadata, "spec": spec}));
    }

    pub(super) fn remove(&mut self, object: &str) {
        let object = crate::why::facts::named(object).unwrap();
        self.objects.remove(&object).expect("it is there");
    }

    /// The cluster, after `nodes` changed what nodes report and `last` what is written.
    pub(super) fn facts(
        mut self,
        nodes: fn(&mut World),
        last: fn(&mut BTreeMap<ObjectRef, Value>),
    ) -> Facts {
        let mut planner = Planner::in_role(Role::Controller);
        planner.set_classless(self.classless.clone());
        for (reference, object) in &self.objects {
            let object = Object::from_json(reference.kind, object.clone()).unwrap();
            planner.apply(object, Age::default());
        }
        planner.set_release(true);
        planner.set_foreign(self.foreign.clone());
        planner.run();
        let addresses: Vec<_> = planner.claims().0.keys().copied().collect();
        for address in addresses {
            planner.publish(address);
        }
        let plan = planner.run().plan;
        self.reports =
            [("a", true), ("b", false)].map(|(name, owns)| well(name, owns, &plan)).into();
        nodes(&mut self);
        planner.set_reports(self.reports.clone());
        let statuses = planner.run().statuses;
        let mut written: BTreeMap<ObjectRef, Value> = self.objects.clone();
        for (reference, object) in &mut written {
            let generation = object["metadata"]["generation"].as_i64();
            if let Some(status) = statuses.json(reference, generation) {
                object["status"] = status;
            }
            for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
                condition["lastTransitionTime"] = "2026-11-30T00:00:00Z".into();
            }
        }
        let claims = planner.claims().0.iter().map(|(address, claim)| {
            let metadata = json!({"name": virtual_ip_name(*address)});
            (Kind::VirtualIp, json!({"metadata": metadata, "spec": spec(*address, claim)}))
        });
        for (kind, object) in claims {
            let object = Object::from_json(kind, object).unwrap();
            let version = kind.versions()[0];
            written.insert(object.reference(), object.to_json(version));
        }
        for (reference, speaker) in self.speakers() {
            written.insert(reference, speaker);
        }
        last(&mut written);
        // Who asks need not be let to read these.
        let is_listed = |kind: Kind| !matches!(kind, Kind::Secret | Kind::ConfigMap);
        let objects = written.into_iter().filter(|(reference, _)| is_listed(reference.kind));
        let objects = objects.map(|(reference, object)| (reference.kind, object));
        let install = "vipgate-system".to_owned();
        let place = Place::Cluster { install, lease: self.lease };
        let is_read = |kind: &Kind| !self.unread.contains(kind);
        let objects = objects.filter(|(kind, _)| is_read(kind)).collect();
        let unread = self.unread.iter().map(|kind| (*kind, "forbidden".to_owned())).collect();
        Facts::of_cluster(Listed { objects, nodes: Vec::new(), unread }, place)
    }

    fn speakers(&self) -> Vec<(ObjectRef, Value)> {
        let seen = self.reports.keys().filter(|name| !self.unseen.contains(*name));
        let members: Vec<String> = seen.cloned().collect();
        let speaker = |(name, report): (&String, &NodeReport)| {
            let status =
                report.to_speaker(Some(format!("{name}:7947")), members.clone(), Vec::new());
            let object = json!({"metadata": {"name": name}, "status": status});
            let object = Object::from_json(Kind::Speaker, object).unwrap();
            (object.reference(), object.to_json("v1alpha1"))
        };
        self.reports.iter().map(speaker).collect()
    }
}

/// An object, with what an API server adds.
fn read(mut object: Value) -> (ObjectRef, Value) {
    let name = object["kind"].as_str().unwrap();
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).unwrap();
    object["metadata"]["generation"] = 1.into();
    object["metadata"]["uid"] = format!("{}-1", object["metadata"]["name"]).into();
    object["apiVersion"] = kind.api_version().into();
    let reference = Object::from_json(kind, object.clone()).unwrap().reference();
    (reference, object)
}

/// A node that has every VIP, or stands by for each.
fn well(name: &str, owns: bool, plan: &Plan) -> (String, NodeReport) {
    let state = || match owns {
        true => VipState::Serving(vec!["eth0".to_owned()]),
        false => VipState::Standby { owner: "a".to_owned(), announced: true },
    };
    let report = NodeReport {
        vips: plan.vips.keys().map(|address| (*address, state())).collect(),
        listeners: plan.listeners.iter().map(|l| (l.id.clone(), ListenerState::Bound)).collect(),
        sources: plan.sources.clone(),
        ..NodeReport::default()
    };
    (name.to_owned(), report)
}

/// That of some other host.
pub(super) fn mac() -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, 9])
}

/// A certificate in a Secret, and in a ConfigMap `ca` as an authority.
pub(super) fn secret(world: &mut World, name: &str) {
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let data = json!({"tls.crt": ByteString(certificate.clone().into_bytes()), "tls.key": ByteString(key.into_bytes())});
    let metadata = json!({"name": name, "namespace": "default"});
    world.add(
        json!({"kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data}),
    );
    let metadata = json!({"name": "ca", "namespace": "default"});
    world.add(json!({"kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": certificate}}));
}
