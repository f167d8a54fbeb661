//! A pool, some nodes, and who has one VIP of it: what each node plans for that.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use vipgate_api::selector::Labels;
use vipgate_api::vipgate::{PortUse, Transport};
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef};
use vipgate_planner::{
    Announce, Claim, Claims, Exclusion, ExclusionReason, Neighbour, Neighbours, Origin, Outcome,
    Planner, Role, Vip, VipUser,
};

const VIP: &str = "10.0.0.100";

pub(crate) const WORLD: &str = "
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100-10.0.0.109]}
---
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
";

/// The nodes of the site, each as its own speaker plans: who could have the VIP, and how much it is
/// preferred; of the others, why not.
pub(crate) struct Site {
    objects: Vec<Value>,
    users: Vec<ObjectRef>,
    /// Names, labels, and whether they give their VIPs away.
    pub(crate) nodes: Vec<(&'static str, Labels, bool)>,
    pub(crate) address: IpAddr,
}

impl Site {
    /// Three nodes in racks `a`, `a` and `b`.
    pub(crate) fn new() -> Self {
        let rack = |rack: &str| Labels::from([("rack".to_owned(), rack.to_owned())]);
        let nodes = [("n1", "a"), ("n2", "a"), ("n3", "b")];
        let nodes = nodes.map(|(name, label)| (name, rack(label), false)).to_vec();
        Self { objects: Vec::new(), users: Vec::new(), nodes, address: vip() }
    }

    /// A Service that has the VIP; the first one is the oldest.
    pub(crate) fn service(&mut self, name: &str, more: &Value) -> &mut Self {
        let mut service = json!({
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        });
        merge(&mut service, more);
        self.user(Kind::Service, name);
        self.add(service)
    }

    pub(crate) fn gateway(&mut self, name: &str, more: &Value) -> &mut Self {
        let mut gateway = json!({
            "kind": "Gateway",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"gatewayClassName": "vipgate",
                "listeners": [{"name": "tcp", "port": 80, "protocol": "TCP"}]},
        });
        merge(&mut gateway, more);
        self.user(Kind::Gateway, name);
        self.add(gateway)
    }

    fn user(&mut self, kind: Kind, name: &str) {
        let object = ObjectRef::new(kind, ObjectKey::new("default", name));
        if !self.users.contains(&object) {
            self.users.push(object);
        }
    }

    /// Endpoints of a Service, on these nodes.
    pub(crate) fn endpoints(&mut self, service: &str, on: &[(&str, bool)]) -> &mut Self {
        let endpoint = |(node, ready): &(&str, bool)| json!({"addresses": ["10.244.0.9"], "nodeName": node, "conditions": {"ready": ready}});
        let endpoints: Vec<Value> = on.iter().map(endpoint).collect();
        self.add(json!({
            "kind": "EndpointSlice",
            "metadata": {"name": service, "namespace": "default",
                "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints,
        }))
    }

    pub(crate) fn advertisement(&mut self, name: &str, spec: &Value) -> &mut Self {
        let metadata = json!({"name": name, "namespace": "vipgate-system"});
        self.add(json!({"kind": "L2Advertisement", "metadata": metadata, "spec": spec}))
    }

    /// In the place of one of the same kind and name, if there is one.
    pub(crate) fn add(&mut self, object: Value) -> &mut Self {
        let same = |one: &Value| {
            one["kind"] == object["kind"] && one["metadata"]["name"] == object["metadata"]["name"]
        };
        match self.objects.iter().position(same) {
            Some(at) => self.objects[at] = object,
            None => self.objects.push(object),
        }
        self
    }

    /// Takes an object away.
    pub(crate) fn remove(&mut self, kind: &str, name: &str) -> &mut Self {
        self.objects.retain(|one| one["kind"] != kind || one["metadata"]["name"] != name);
        self
    }

    /// A BGPPeer of AS 65002 at this address, in the place of one of its name.
    pub(crate) fn peer(&mut self, name: &str, address: &str, more: &Value) -> &mut Self {
        let mut spec = json!({"myASN": 65001, "peerASN": 65002, "peerAddress": address});
        merge_fields(&mut spec, more);
        let metadata = json!({"name": name, "namespace": "vipgate-system"});
        self.add(json!({"kind": "BGPPeer", "metadata": metadata, "spec": spec}))
    }

    pub(crate) fn bgp(&mut self, name: &str, spec: &Value) -> &mut Self {
        let metadata = json!({"name": name, "namespace": "vipgate-system"});
        self.add(json!({"kind": "BGPAdvertisement", "metadata": metadata, "spec": spec}))
    }

    /// The VIP as a node plans it.
    pub(crate) fn vip(&self, name: &str) -> Vip {
        self.outcome(name).plan.vips[&self.address].clone()
    }

    /// All that a node plans and says.
    pub(crate) fn outcome(&self, name: &str) -> Outcome {
        let mut planner = Planner::in_role(Role::Speaker);
        for (object, age) in super::objects("world.yaml", WORLD) {
            planner.apply(object, age);
        }
        for (at, object) in self.objects.iter().enumerate() {
            let age = Age { created: None, place: ("site".to_owned(), at) };
            planner.apply(super::object(object.clone()).expect("an object"), age);
        }
        let ports = vec![PortUse { protocol: Transport::Tcp, port: 80 }];
        let user = |object: &ObjectRef| VipUser {
            object: object.clone(),
            ports: ports.clone(),
            terms: None,
        };
        let mut users: Vec<VipUser> = self.users.iter().map(user).collect();
        users.sort_unstable();
        let claim =
            Claim { pool: "lan".to_owned(), users, origin: Origin::Chosen, published: true };
        planner.set_claims(Claims([(self.address, claim)].into()));
        let (_, labels, gives_way) = self.nodes.iter().find(|node| node.0 == name).expect("a node");
        planner.set_node(vipgate_planner::Node {
            name: name.to_owned(),
            labels: labels.clone(),
            gives_way: gives_way
                .then(|| Exclusion::new(ExclusionReason::Cordoned, "it is cordoned")),
            ..super::node()
        });
        let others = self.nodes.iter().filter(|node| node.0 != name);
        let others = others.map(|(name, labels, gives_way)| {
            ((*name).to_owned(), Neighbour { labels: labels.clone(), gives_way: *gives_way })
        });
        planner.set_neighbours(others.collect::<Neighbours>());
        planner.run()
    }

    /// `n1:tor` for a node that tells the router `tor`, `n1:(tor)` until it knows it from another, `n1:arp+tor` for one that may answer on the LAN
    /// too, `n1:NoPeer` for one that does neither.
    pub(crate) fn tells(&self) -> String {
        let of = |name: &str| {
            let vip = self.vip(name);
            let peers: BTreeSet<&str> = (vip.routes.iter())
                .flat_map(|route| route.peers.iter().map(|peer| peer.name.as_str()))
                .collect();
            let peers: Vec<&str> = peers.into_iter().collect();
            match &vip.announce {
                // Until routers know it from another.
                Announce::Routed if vip.yields.is_some() => format!("{name}:({})", peers.join(",")),
                Announce::Routed => format!("{name}:{}", peers.join(",")),
                Announce::Layer2(_) if peers.is_empty() => format!("{name}:arp"),
                Announce::Layer2(_) => format!("{name}:arp+{}", peers.join(",")),
                Announce::Nowhere(why) => format!("{name}:{}", why.reason),
                other => panic!("{other:?}"),
            }
        };
        self.nodes.iter().map(|node| of(node.0)).collect::<Vec<_>>().join(" ")
    }

    /// `n1:0` for a candidate of weight 0, `n2:NoLocalEndpoint` for what is none.
    pub(crate) fn says(&self) -> String {
        let of = |name: &str| {
            let vip = self.vip(name);
            match &vip.announce {
                Announce::Layer2(_) => format!("{name}:{}", vip.weight),
                Announce::Nowhere(why) => format!("{name}:{}", why.reason),
                other => panic!("{other:?}"),
            }
        };
        self.nodes.iter().map(|node| of(node.0)).collect::<Vec<_>>().join(" ")
    }
}

fn vip() -> IpAddr {
    VIP.parse().expect("an address")
}

fn merge(object: &mut Value, more: &Value) {
    for (part, fields) in more.as_object().into_iter().flatten() {
        merge_fields(&mut object[part], fields);
    }
}

fn merge_fields(object: &mut Value, more: &Value) {
    for (field, value) in more.as_object().into_iter().flatten() {
        object[field] = value.clone();
    }
}

pub(crate) fn rack(rack: &str) -> Value {
    json!({"matchLabels": {"rack": rack}})
}

pub(crate) fn labelled(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}})
}

pub(crate) fn local() -> Value {
    json!({"spec": {"externalTrafficPolicy": "Local"}})
}
