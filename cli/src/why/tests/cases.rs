//! The table of causes: the world in which each is the first broken link, and a piece of the command that mends it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vipgate_api::ObjectRef;
use vipgate_api::vipgate::ExclusionReason;
use vipgate_planner::bgp::PeerReport;
use vipgate_planner::{Classless, Exclusion, ListenerState, VipState};

use super::world::{World, mac, secret};
use crate::why::cause::Cause;
use crate::why::facts::{Lease, named};

type Written = BTreeMap<ObjectRef, Value>;

/// One row.
pub(super) struct Case {
    pub(super) cause: Cause,
    /// What is asked about.
    pub(super) of: &'static str,
    /// A piece of the command.
    pub(super) command: &'static str,
    /// What is other than in the base.
    pub(super) yaml: &'static str,
    pub(super) before: fn(&mut World),
    /// What nodes report.
    pub(super) nodes: fn(&mut World),
    /// What stands in the API server.
    pub(super) last: fn(&mut Written),
}

const fn case(cause: Cause, of: &'static str, command: &'static str, yaml: &'static str) -> Case {
    Case { cause, of, command, yaml, before: |_| {}, nodes: |_| {}, last: |_| {} }
}

impl Case {
    const fn before(mut self, before: fn(&mut World)) -> Self {
        self.before = before;
        self
    }

    const fn nodes(mut self, nodes: fn(&mut World)) -> Self {
        self.nodes = nodes;
        self
    }

    const fn last(mut self, last: fn(&mut Written)) -> Self {
        self.last = last;
        self
    }
}

fn object<'a>(written: &'a mut Written, name: &str) -> &'a mut Value {
    written.get_mut(&named(name).unwrap()).unwrap()
}

/// Every node says this of every VIP.
fn all(world: &mut World, state: &VipState) {
    for report in world.reports.values_mut() {
        report.vips.values_mut().for_each(|one| *one = state.clone());
    }
}

fn excluded(world: &mut World, reason: ExclusionReason, message: &str) {
    let why = Exclusion::new(reason, message);
    all(world, &VipState::Excluded { why, owner: None, announced: false });
}

fn listeners(world: &mut World, state: &ListenerState) {
    for report in world.reports.values_mut() {
        report.listeners.values_mut().for_each(|one| *one = state.clone());
    }
}

/// A Gateway with these listeners, and nothing else changed.
macro_rules! gateway {
    ($listeners:literal $(, $more:literal)?) => {
        concat!(
            "kind: Gateway\nmetadata: {name: web, namespace: default}\nspec:\n  gatewayClassName: vipgate\n  listeners: [",
            $listeners, "]\n" $(, "  ", $more, "\n")?
        )
    };
}

macro_rules! route {
    ($spec:literal) => {
        concat!("kind: TCPRoute\nmetadata: {name: web, namespace: default}\nspec: ", $spec, "\n")
    };
}

const HTTPS: &str =
    "{name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: web}]}}";
const TCP: &str = "{name: tcp, protocol: TCP, port: 80}";

pub(super) const CASES: &[Case] = &[
    case(Cause::BeingDeleted, "gateway/web", "kubectl -n default get -o yaml gateway web", "")
        .last(|written| {
            let gateway = object(written, "Gateway default/web");
            gateway["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z".into();
        }),
    case(Cause::NoParentRef, "tcproute/web", "edit tcproute web", route!("{rules: [{backendRefs: [{name: web, port: 80}]}]}")),
    case(Cause::ParentNotFound, "tcproute/web", "edit tcproute web", route!("{parentRefs: [{name: gone}], rules: [{backendRefs: [{name: web, port: 80}]}]}")),
    case(Cause::ClassNotFound, "gateway/web", "edit gateway web", "
kind: Gateway
metadata: {name: web, namespace: default}
spec: {gatewayClassName: gone, listeners: [{name: tcp, protocol: TCP, port: 80}]}"),
    case(Cause::ClassNotOurs, "tcproute/web", "edit gateway web", "
kind: GatewayClass
metadata: {name: other}
spec: {controllerName: example.com/other}
---
kind: Gateway
metadata: {name: web, namespace: default}
spec: {gatewayClassName: other, listeners: [{name: tcp, protocol: TCP, port: 80}]}"),
    case(Cause::ClassRefused, "gateway/web", "kubectl edit gatewayclass vipgate", "
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller, parametersRef: {group: '', kind: ConfigMap, name: x}}"),
    case(Cause::ServiceNotLoadBalancer, "service/web", "patch service web", ""),
    case(Cause::ServiceIsCompanion, "service/dns", "kubectl vipgate why gateway/default/dns", "
kind: Service
metadata: {name: dns, namespace: default}
spec: {type: LoadBalancer, loadBalancerClass: vipgate.dev/gateway, ports: [{port: 53}]}"),
    case(Cause::ServiceOtherClass, "service/dns", "get service dns -o yaml", "
kind: Service
metadata: {name: dns, namespace: default}
spec: {type: LoadBalancer, loadBalancerClass: example.com/lb, ports: [{port: 53}]}"),
    case(Cause::ServiceLeftToOther, "service/dns", "-n vipgate-system edit deployment", "
kind: Service
metadata: {name: dns, namespace: default}
spec: {type: LoadBalancer, ports: [{port: 53}]}")
        .before(|world| world.classless = Classless::Leave("MetalLB serves it".to_owned())),
    case(Cause::NoController, "gateway/web", "describe deployment vipgate-controller", "")
        .before(|world| world.lease = Lease::Free),
    case(Cause::ControllerSilent, "service/dns", "logs deployment/vipgate-controller", "").before(|world| {
        world.lease = Lease::Late("one".to_owned(), std::time::Duration::from_secs(60));
    }),
    case(Cause::StatusBehind, "gateway/web", "logs deployment/vipgate-controller", "").last(|written| {
        object(written, "Gateway default/web")["metadata"]["generation"] = 2.into();
    }),
    case(Cause::StatusOverwritten, "gateway/web", "get -o yaml gateway web", "").last(|written| {
        let gateway = object(written, "Gateway default/web");
        let contested = json!({"type": "vipgate.dev/Contested", "status": "True", "reason": "OtherWriter",
            "message": "example.com/other keeps overwriting it", "observedGeneration": 1});
        gateway["status"]["conditions"].as_array_mut().unwrap().push(contested);
    }),
    case(Cause::GatewayParameters, "gateway/web", "edit gateway web", gateway!("{name: tcp, protocol: TCP, port: 80}", "infrastructure: {parametersRef: {group: '', kind: ConfigMap, name: x}}")),
    case(Cause::AddressType, "gateway/web", "edit gateway web", gateway!("{name: tcp, protocol: TCP, port: 80}", "addresses: [{type: Hostname, value: a.example}]")),
    case(Cause::OtherRefusal, "gateway/web", "get -o yaml gateway web", "").last(|written| {
        let gateway = object(written, "Gateway default/web");
        let accepted = &mut gateway["status"]["conditions"][0];
        (accepted["status"], accepted["reason"]) = ("False".into(), "FromTheFuture".into());
    }),
    case(Cause::SetNotAllowed, "gateway/web", "edit gateway web", "
kind: ListenerSet
metadata: {name: more, namespace: apps}
spec: {parentRef: {name: web, namespace: default}, listeners: [{name: tcp, protocol: TCP, port: 81}]}"),
    case(Cause::ProtocolUnsupported, "gateway/web", "edit gateway web", gateway!("{name: tcp, protocol: SCTP, port: 80}")),
    case(Cause::ListenerValue, "gateway/web", "edit gateway web", gateway!("{name: tcp, protocol: HTTPS, port: 443, tls: {mode: Passthrough}}")),
    case(Cause::ProtocolConflict, "gateway/web", "edit gateway web", gateway!("{name: one, protocol: TCP, port: 80}, {name: two, protocol: HTTP, port: 80}")),
    case(Cause::HostnameConflict, "gateway/web", "edit gateway web", gateway!("{name: one, protocol: HTTP, port: 80, hostname: a.example}, {name: two, protocol: HTTP, port: 80, hostname: a.example}")),
    case(Cause::TooManyListeners, "gateway/web", "edit listenerset set4", gateway!("{name: tcp, protocol: TCP, port: 80}", "allowedListeners: {namespaces: {from: All}}"))
        .before(|world| {
            for set in 1..=4 {
                let listener = |n: u16| json!({"name": format!("l{n}"), "protocol": "TCP", "port": 1000 * set + n});
                let listeners: Vec<Value> = (0..64).map(listener).collect();
                world.add(json!({"kind": "ListenerSet",
                    "metadata": {"name": format!("set{set}"), "namespace": "default"},
                    "spec": {"parentRef": {"name": "web"}, "listeners": listeners}}));
            }
        }),
    case(Cause::RouteKinds, "gateway/web", "edit gateway web", gateway!("{name: tcp, protocol: TCP, port: 80, allowedRoutes: {kinds: [{kind: UDPRoute}]}}")),
    case(Cause::Certificate, "gateway/web", "create secret tls", "").before(|world| world.listen(&[HTTPS], "{}")),
    case(Cause::ListenerRefNotPermitted, "gateway/web", "kubectl create -f", gateway!("{name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: web, namespace: other}]}}")),
    case(Cause::ClientAuthorityRef, "gateway/web", "create configmap", "").before(|world| {
        let both = "{default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}, {group: '', kind: ConfigMap, name: gone}]}}}";
        world.listen(&[HTTPS], both);
        secret(world, "web");
    }),
    case(Cause::ClientAuthorities, "gateway/web", "create configmap", "").before(|world| {
        let one = "{default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}]}}}";
        world.listen(&[HTTPS, TCP], one);
        secret(world, "web");
    }),
    case(Cause::PoolInvalid, "gateway/web", "edit ipaddresspools.vipgate.dev lan", "
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.9-10.0.0.1]}"),
    case(Cause::NoPool, "gateway/web", "kubectl create -f POOL.yaml", "").before(|world| world.remove("IPAddressPool vipgate-system/lan")),
    case(Cause::PoolExhausted, "gateway/web", "-n vipgate-system edit ipaddresspools", "
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100/32]}
---
kind: Gateway
metadata: {name: api, namespace: default}
spec: {gatewayClassName: vipgate, listeners: [{name: tcp, protocol: TCP, port: 80}]}"),
    case(Cause::PoolNotFound, "gateway/web", "edit gateway web", "
kind: Gateway
metadata: {name: web, namespace: default, annotations: {vipgate.dev/address-pool: gone}}
spec: {gatewayClassName: vipgate, listeners: [{name: tcp, protocol: TCP, port: 80}]}"),
    case(Cause::PoolNotAllowed, "gateway/web", "-n vipgate-system edit ipaddresspools", "
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100-10.0.0.109], serviceAllocation: {namespaces: [other]}}
---
kind: Gateway
metadata: {name: web, namespace: default, annotations: {vipgate.dev/address-pool: lan}}
spec: {gatewayClassName: vipgate, listeners: [{name: tcp, protocol: TCP, port: 80}]}"),
    case(Cause::NoAddressOfFamily, "service/dns", "edit ipaddresspools", "
kind: Service
metadata: {name: dns, namespace: default}
spec: {type: LoadBalancer, loadBalancerClass: vipgate.dev/service, ipFamilies: [IPv6], ports: [{port: 53}]}"),
    case(Cause::FamilyMismatch, "service/dns", "edit service dns", "
kind: Service
metadata: {name: dns, namespace: default}
spec: {type: LoadBalancer, loadBalancerClass: vipgate.dev/service, loadBalancerIP: '2001:db8::1', ipFamilies: [IPv4], ports: [{port: 53}]}"),
    case(Cause::AddressMalformed, "gateway/web", "edit gateway web", gateway!("{name: tcp, protocol: TCP, port: 80}", "addresses: [{value: nonsense}]")),
    case(Cause::AddressNotInPool, "gateway/web", "edit gateway web", gateway!("{name: tcp, protocol: TCP, port: 80}", "addresses: [{value: 192.0.2.9}]")),
    case(Cause::AddressReserved, "gateway/web", "edit gateway web", "
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100-10.0.0.109], exclusions: [10.0.0.105]}
---
kind: Gateway
metadata: {name: web, namespace: default}
spec: {gatewayClassName: vipgate, addresses: [{value: 10.0.0.105}], listeners: [{name: tcp, protocol: TCP, port: 80}]}"),
    case(Cause::AddressInUse, "service/dns", "edit service dns", "
kind: Gateway
metadata: {name: web, namespace: default}
spec: {gatewayClassName: vipgate, addresses: [{value: 10.0.0.105}], listeners: [{name: tcp, protocol: TCP, port: 80}]}
---
kind: Service
metadata: {name: dns, namespace: default}
spec: {type: LoadBalancer, loadBalancerClass: vipgate.dev/service, loadBalancerIP: 10.0.0.105, ports: [{port: 53}]}"),
    case(Cause::AddressForeign, "service/dns", "edit service dns", "
kind: Service
metadata: {name: dns, namespace: default}
spec: {type: LoadBalancer, loadBalancerClass: vipgate.dev/service, loadBalancerIP: 10.0.0.105, ports: [{port: 53}]}")
        .before(|world| world.foreign = [("10.0.0.105".parse().unwrap(), mac())].into()),
    // The reason is coarser where only the controller knows of the other host.
    case(Cause::AddressMissing, "gateway/web", "edit gateway web", gateway!("{name: tcp, protocol: TCP, port: 80}", "addresses: [{value: 10.0.0.105}]"))
        .before(|world| world.foreign = [("10.0.0.105".parse().unwrap(), mac())].into()),
    case(Cause::NotClaimed, "gateway/web", "logs deployment/vipgate-controller", "").last(|written| {
        written.retain(|object, _| object.key.name != "10.0.0.100");
    }),
    case(Cause::NoSpeaker, "10.0.0.100", "get daemonset vipgate-speaker", "").nodes(|world| world.reports.clear()),
    case(Cause::SpeakersLost, "gateway/web", "get pods -o wide", "").nodes(|world| {
        world.unseen = ["a".to_owned(), "b".to_owned()].into();
    }),
    case(Cause::NoAdvertisement, "gateway/web", "get l2advertisements", "")
        .nodes(|world| excluded(world, ExclusionReason::NoAdvertisement, "none takes it")),
    case(Cause::NodeNotSelected, "gateway/web", "kubectl label node a", "")
        .nodes(|world| excluded(world, ExclusionReason::NodeNotSelected, "give it labels")),
    case(Cause::NoPeer, "gateway/web", "get bgppeers", "")
        .nodes(|world| excluded(world, ExclusionReason::NoPeer, "no BGPPeer takes it")),
    case(Cause::NoSubnet, "10.0.0.100", "edit ipaddresspools", "").nodes(|world| {
        let message = "no interface is in the subnet of 10.0.0.100: eth0 has 192.0.2.1/24";
        excluded(world, ExclusionReason::NoSubnet, message);
    }),
    case(Cause::NoInterface, "gateway/web", "edit l2advertisements", "")
        .nodes(|world| excluded(world, ExclusionReason::NoInterface, "no interface eth9")),
    case(Cause::LinkDown, "gateway/web", "node/a", "")
        .nodes(|world| excluded(world, ExclusionReason::LinkDown, "eth0 has no carrier")),
    case(Cause::NoLocalEndpoint, "service/dns", "service-name=dns", "")
        .nodes(|world| excluded(world, ExclusionReason::NoLocalEndpoint, "none on this node")),
    case(Cause::NoBackend, "gateway/web", "-n default get endpointslices", "")
        .nodes(|world| excluded(world, ExclusionReason::NoBackend, "nobody has a backend")),
    case(Cause::NothingBound, "gateway/web", "node/a", "")
        .nodes(|world| excluded(world, ExclusionReason::NotBound, "port 80 is sshd's")),
    case(Cause::HostFailed, "gateway/web", "logs daemonset/vipgate-speaker", "")
        .nodes(|world| all(world, &VipState::Failed("CAP_NET_ADMIN is missing".to_owned()))),
    case(Cause::NotTaken, "gateway/web", "get speakers a", "").nodes(|world| all(world, &VipState::Probing)),
    case(Cause::SeveralOwners, "gateway/web", "get speakers", "")
        .nodes(|world| all(world, &VipState::Serving(vec!["eth0".to_owned()]))),
    case(Cause::HeldElsewhere, "gateway/web", "ip neighbour show to 10.0.0.100", "")
        .nodes(|world| all(world, &VipState::Conflict(mac()))),
    case(Cause::Defended, "gateway/web", "ip neighbour show to 10.0.0.100", "").nodes(|world| {
        let report = world.reports.get_mut("a").unwrap();
        report.contested = [("10.0.0.100".parse().unwrap(), mac())].into();
    }),
    case(Cause::NoRouter, "gateway/web", "kubectl vipgate bgp", "").nodes(|world| {
        all(world, &VipState::Waiting("held, but no router knows it".to_owned()));
        for report in world.reports.values_mut() {
            report.routed = report.vips.keys().map(|address| (*address, 0)).collect();
            let peer = PeerReport {
                state: "Connect".to_owned(),
                last_error: Some("no answer within 10 s".to_owned()),
                ..PeerReport::default()
            };
            report.peers = [("vipgate-system/tor".to_owned(), peer)].into();
        }
    }),
    case(Cause::PortTaken, "gateway/web", "node/a", "")
        .nodes(|world| listeners(world, &ListenerState::Failed("port 80 is sshd's".to_owned()))),
    case(Cause::CertificateNotThere, "gateway/web", "get secrets", "")
        .before(|world| {
            world.listen(&[HTTPS], "{}");
            secret(world, "web");
        })
        .nodes(|world| listeners(world, &ListenerState::NoCertificate)),
    case(Cause::NotServedYet, "gateway/web", "logs daemonset/vipgate-speaker", "").nodes(|world| {
        world.reports.values_mut().for_each(|report| report.sources.clear());
    }),
    case(Cause::NoRoute, "gateway/web", "create -f ROUTE.yaml", "").before(|world| world.remove("TCPRoute default/web")),
    case(Cause::NoMatchingListener, "gateway/web", "edit tcproute web", route!("{parentRefs: [{name: web, sectionName: gone}], rules: [{backendRefs: [{name: web, port: 80}]}]}")),
    case(Cause::RouteNotAllowed, "gateway/web", "kubectl -n default edit gateway web", "
kind: TCPRoute
metadata: {name: web, namespace: apps}
spec: {parentRefs: [{name: web, namespace: default}], rules: [{backendRefs: [{name: web, port: 80}]}]}")
        .before(|world| world.remove("TCPRoute default/web")),
    case(Cause::NoHostname, "tlsroute/web", "edit tlsroute web", "
kind: Gateway
metadata: {name: web, namespace: default}
spec: {gatewayClassName: vipgate, listeners: [{name: tls, protocol: TLS, port: 443, hostname: a.example, tls: {mode: Passthrough}}]}
---
kind: TLSRoute
metadata: {name: web, namespace: default}
spec: {parentRefs: [{name: web}], hostnames: [b.example], rules: [{backendRefs: [{name: web, port: 80}]}]}"),
    case(Cause::RouteValue, "httproute/web", "edit httproute web", "
kind: Gateway
metadata: {name: web, namespace: default}
spec: {gatewayClassName: vipgate, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
kind: HTTPRoute
metadata: {name: web, namespace: default}
spec: {parentRefs: [{name: web}], rules: [{matches: [{path: {type: Exact, value: /x}}], backendRefs: [{name: web, port: 80}]}]}"),
    case(Cause::Superseded, "tcproute/younger", "edit tcproute younger", "
kind: TCPRoute
metadata: {name: younger, namespace: default}
spec: {parentRefs: [{name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
kind: TCPRoute
metadata: {name: elder, namespace: default}
spec: {parentRefs: [{name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}"),
    case(Cause::RulesDropped, "tcproute/web", "edit tcproute web", route!("{parentRefs: [{name: web}], rules: [{backendRefs: [{name: web, port: 80}]}, {backendRefs: [{name: web, port: 80}]}]}")),
    case(Cause::ClientCertificate, "gateway/web", "create secret tls", gateway!("{name: tcp, protocol: TCP, port: 80}", "tls: {backend: {clientCertificateRef: {name: gone}}}")),
    case(Cause::NoBackendRef, "tcproute/web", "edit tcproute web", route!("{parentRefs: [{name: web}], rules: [{backendRefs: []}]}")),
    case(Cause::NoWeight, "tcproute/web", "edit tcproute web", route!("{parentRefs: [{name: web}], rules: [{backendRefs: [{name: web, port: 80, weight: 0}]}]}")),
    case(Cause::BackendNotFound, "gateway/web:80", "edit tcproute web", route!("{parentRefs: [{name: web}], rules: [{backendRefs: [{name: gone, port: 80}]}]}")),
    case(Cause::BackendNotPermitted, "tcproute/web", "create -f GRANT.yaml", route!("{parentRefs: [{name: web}], rules: [{backendRefs: [{name: web, namespace: other, port: 80}]}]}")),
    case(Cause::BackendKind, "tcproute/web", "edit tcproute web", route!("{parentRefs: [{name: web}], rules: [{backendRefs: [{kind: Pod, name: web, port: 80}]}]}")),
    case(Cause::BackendTls, "httproute/web", "get backendtlspolicies", "
kind: HTTPRoute
metadata: {name: web, namespace: default}
spec: {parentRefs: [{name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
kind: BackendTLSPolicy
metadata: {name: web, namespace: default}
spec: {targetRefs: [{group: '', kind: Service, name: web}], validation: {hostname: a.example, caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}]}}")
        .before(|world| {
            world.listen(&[HTTPS], "{}");
            secret(world, "web");
        }),
    case(Cause::BackendRefused, "tcproute/web", "edit tcproute web", "
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [127.0.0.1], conditions: {ready: true}}]"),
    case(Cause::NoEndpoints, "gateway/web", "-n default get endpointslices", "
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.1.0.1], conditions: {ready: false, serving: false}}]"),
    case(Cause::ServiceNoEndpoints, "10.0.0.101:53", "service-name=dns", "").before(|world| world.remove("EndpointSlice default/dns-1")),
    case(Cause::PolicyNotFollowed, "gateway/web", "edit listenerpolicies.vipgate.dev two", "
kind: ListenerPolicy
metadata: {name: one, namespace: default}
spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}], idleTimeout: 60s}
---
kind: ListenerPolicy
metadata: {name: two, namespace: default}
spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}], idleTimeout: 90s}"),
];
