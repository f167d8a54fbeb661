//! What the API server takes and vipgate cannot serve: it is said where it is wrong, and harms
//! nothing beside it.

use anyhow::ensure;
use serde_json::{Value, json};
use vipgate_lab::eventually;

use crate::site::{CLASS, SOON, Site, VIP, backend, gateway, pool, route, said};

/// Waits until the first parent of a route says this.
fn route_says(site: &Site, name: &str, condition: &str, is: &str) {
    eventually(SOON, || {
        let route = site.get("tcproute", name)?;
        let conditions = &route["status"]["parents"][0]["conditions"];
        ensure!(said(conditions, condition).as_deref() == Some(is), "{}", route["status"]);
        Ok(())
    })
    .unwrap();
}

fn listeners(site: &Site, expected: &[&str]) {
    eventually(SOON, || {
        let web = site.get("gateway", "mixed")?;
        let list = web["status"]["listeners"].as_array().cloned().unwrap_or_default();
        let said: Vec<_> = list
            .iter()
            .map(|listener| said(&listener["conditions"], "ResolvedRefs").unwrap_or_default())
            .collect();
        ensure!(said == expected, "{}", web["status"]);
        Ok(())
    })
    .unwrap();
}

/// Each of these passes the rules in the CRDs: these see one object, and no ranges of addresses.
#[test]
fn invalid_objects_that_no_rule_catches_are_named_and_the_others_served() {
    let site = Site::new("invalid");
    site.apply(CLASS);
    site.apply(&pool("10.77.0.200-10.77.0.207"));
    let _controller = site.controller("one");
    site.apply(&gateway("good", &[("tcp", 80)]));
    site.apply(&backend("good", 7000));
    site.apply(&route("v1", "good", "good", "good"));
    eventually(SOON, || site.get("vip", VIP)).unwrap();
    site.says("worker", json!([{"address": VIP, "state": "Serving", "interfaces": ["eth0"]}]));
    site.condition("gateway", "good", "Programmed", "True/Programmed");
    route_says(&site, "good", "ResolvedRefs", "True/ResolvedRefs");
    let statuses = || -> [Value; 2] {
        [("gateway", "good"), ("tcproute", "good")].map(|(kind, name)| {
            let object = site.get(kind, name).unwrap();
            json!([object["metadata"]["resourceVersion"], object["status"]])
        })
    };
    let before = statuses();

    // A range of which nothing is left.
    let emptied = pool("10.78.0.0/30], exclusions: [10.78.0.0/30");
    site.apply(&emptied.replace("name: pool", "name: emptied"));
    let pool_says = |name: &str, is: &str| {
        eventually(SOON, || {
            let pool = site.cluster.get(["ipaddresspool", name, "--namespace=vipgate-system"])?;
            let found = said(&pool["status"]["conditions"], "Accepted");
            ensure!(found.as_deref() == Some(is), "{}", pool["status"]);
            Ok(pool["status"]["conditions"].to_string())
        })
        .unwrap()
    };
    let text = pool_says("emptied", "False/Invalid");
    assert!(text.contains("no address is left"), "{text}");
    // Addresses that another pool has, too.
    site.apply(&pool("10.77.0.207-10.77.0.209").replace("name: pool", "name: twice"));
    pool_says("twice", "True/Overlapping");
    // A certificate that is none, beside a listener without one.
    site.apply(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: garbage}\ntype: kubernetes.io/tls\n\
         stringData: {tls.crt: none, tls.key: none}\n",
    );
    site.apply(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: mixed}\nspec:\n  \
         gatewayClassName: vipgate\n  listeners:\n  - {name: tcp, protocol: TCP, port: 80}\n  \
         - {name: tls, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: garbage}]}}\n",
    );
    listeners(&site, &["True/ResolvedRefs", "False/InvalidCertificateRef"]);
    site.condition("gateway", "mixed", "Accepted", "True/Accepted");
    // An address that no pool has, in a field and in an annotation that no schema knows.
    site.apply(&gateway("outside", &[("tcp", 80)]).replace(
        "gatewayClassName",
        "addresses: [{type: IPAddress, value: 10.99.0.1}], gatewayClassName",
    ));
    site.condition("gateway", "outside", "Programmed", "False/AddressNotUsable");
    site.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: typo, annotations: \
         {metallb.io/loadBalancerIPs: 10.77.0.x}}\nspec: {type: LoadBalancer, loadBalancerClass: \
         vipgate.dev/service, ports: [{port: 80}]}\n",
    );
    site.condition("service", "typo", "vipgate.dev/AddressAssigned", "False/InvalidAddress");

    assert_eq!(statuses(), before, "what is right is as it was, and was not written again");
}

#[test]
fn references_to_what_is_missing_or_not_granted_are_named_and_heal() {
    let site = Site::new("references");
    site.apply_pool();
    let _controller = site.controller("one");
    site.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    site.apply(&gateway("web", &[("tcp", 80)]));
    let to = |name: &str, namespace: &str, port: u16| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {{name: web}}\n\
             spec: {{parentRefs: [{{name: web}}], rules: [{{backendRefs: [{{name: {name}, \
             namespace: {namespace}, port: {port}}}]}}]}}\n"
        )
    };
    let resolved = |is: &str| route_says(&site, "web", "ResolvedRefs", is);
    // A port, a Service, a grant: each missing in turn.
    site.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: till, namespace: shop}\n\
         spec: {ports: [{port: 80}]}\n",
    );
    site.apply(&to("missing", "default", 80));
    resolved("False/BackendNotFound");
    site.apply(&to("till", "shop", 80));
    resolved("False/RefNotPermitted");
    let grant = "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\n\
         metadata: {name: web, namespace: shop}\nspec:\n  from: [{group: gateway.networking.k8s.io, \
         kind: TCPRoute, namespace: default}]\n  to: [{group: '', kind: Service}]\n";
    site.apply(grant);
    resolved("True/ResolvedRefs");
    site.apply(&to("till", "shop", 81));
    resolved("False/BackendNotFound");
    site.apply(&to("till", "shop", 80));
    resolved("True/ResolvedRefs");
    site.cluster.kubectl(["delete", "referencegrant", "web", "--namespace=shop"]).unwrap();
    resolved("False/RefNotPermitted");

    // A listener that is not there, and a Gateway that is not: of that we say nothing.
    site.apply(&to("till", "shop", 80).replace("{name: web}]", "{name: web, sectionName: none}]"));
    route_says(&site, "web", "Accepted", "False/NoMatchingParent");
    site.apply(&to("till", "shop", 80).replace("[{name: web}]", "[{name: missing}]"));
    eventually(SOON, || {
        let route = site.get("tcproute", "web")?;
        ensure!(route["status"]["parents"] == json!([]), "{}", route["status"]);
        Ok(())
    })
    .unwrap();
    // It comes.
    site.apply(&gateway("missing", &[("tcp", 80)]));
    route_says(&site, "web", "Accepted", "True/Accepted");
}

/// Each protocol of routes that are no TCPRoutes, one that nobody knows beside them, and one alone.
const UNSERVED: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: mixed}
spec:
  gatewayClassName: vipgate
  listeners:
  - {name: tls, protocol: TLS, port: 443, hostname: '*.example.com', tls: {mode: Passthrough}}
  - {name: udp, protocol: UDP, port: 53}
  - {name: tcp, protocol: TCP, port: 53}
  - {name: other, protocol: example.com/quic, port: 444}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: none}
spec:
  gatewayClassName: vipgate
  listeners: [{name: other, protocol: example.com/quic, port: 444}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: tls, port: 443}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: web}
spec:
  parentRefs: [{name: mixed, sectionName: tls}, {name: mixed, sectionName: missing}]
  hostnames: [a.example.com]
  rules: [{backendRefs: [{name: web, port: 443}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: mixed, sectionName: udp}, {name: none}]
  rules: [{backendRefs: [{name: missing, port: 53}]}]
";

/// `Accepted=False/Reason` of each condition of ours, in the order of their types.
fn all_said(conditions: &Value) -> Vec<String> {
    let kinds = ["Accepted", "Conflicted", "Programmed", "ResolvedRefs"];
    let one = |kind: &str| Some(format!("{kind}={}", said(conditions, kind)?));
    kinds.iter().filter_map(|kind| one(kind)).collect()
}

/// For each parent of a route its name and section, and what is said.
fn parents_say(route: &Value) -> Vec<Value> {
    let parents = route["status"]["parents"].as_array().into_iter().flatten();
    let shown = |parent: &Value| {
        assert_eq!(parent["controllerName"], "vipgate.dev/gateway-controller");
        for condition in parent["conditions"].as_array().into_iter().flatten() {
            assert_eq!(condition["observedGeneration"], route["metadata"]["generation"]);
        }
        let of = &parent["parentRef"];
        json!([of["name"], of["sectionName"], all_said(&parent["conditions"])])
    };
    parents.map(shown).collect()
}

#[test]
fn listeners_and_routes_of_tls_and_udp_are_served_and_an_unknown_protocol_is_not() {
    let site = Site::new("unserved");
    site.apply_pool();
    let _controller = site.controller("one");
    site.apply(UNSERVED);
    eventually(SOON, || site.get("vip", VIP)).unwrap();
    site.says("worker", json!([{"address": VIP, "state": "Serving", "interfaces": ["eth0"]}]));
    let mixed = site.condition("gateway", "mixed", "Programmed", "True/Programmed");
    assert_eq!(said(&mixed["status"]["conditions"], "Accepted").unwrap(), "True/ListenersNotValid");
    let unserved = json!([
        "Accepted=False/UnsupportedProtocol",
        "Conflicted=False/NoConflicts",
        "Programmed=False/Invalid",
        "ResolvedRefs=True/ResolvedRefs"
    ]);
    let served = json!([
        "Accepted=True/Accepted",
        "Conflicted=False/NoConflicts",
        "Programmed=True/Programmed",
        "ResolvedRefs=True/ResolvedRefs"
    ]);
    let kind = |kind: &str| json!([{"group": "gateway.networking.k8s.io", "kind": kind}]);
    eventually(SOON, || {
        let mixed = site.get("gateway", "mixed")?;
        let listeners: Vec<Value> = (mixed["status"]["listeners"].as_array().into_iter().flatten())
            .map(|one| {
                let (kinds, count) = (&one["supportedKinds"], &one["attachedRoutes"]);
                json!([one["name"], kinds, count, all_said(&one["conditions"])])
            })
            .collect();
        let expected = json!([
            ["tls", kind("TLSRoute"), 1, served],
            ["udp", kind("UDPRoute"), 1, served],
            ["tcp", kind("TCPRoute"), 0, served],
            ["other", [], 0, unserved]
        ]);
        ensure!(json!(listeners) == expected, "{listeners:#?}");
        let text = mixed["status"]["listeners"].to_string();
        ensure!(
            text.contains("protocol example.com/quic is not served: write protocol: "),
            "{text}"
        );
        Ok(())
    })
    .unwrap();
    // Where nothing is left there is no address either.
    let none = site.condition("gateway", "none", "Accepted", "False/ListenersNotValid");
    assert_eq!(none["status"]["addresses"].as_array().map_or(0, Vec::len), 0, "{none}");
    assert_eq!(site.cluster.get(["vips"]).unwrap()["items"].as_array().map_or(0, Vec::len), 1);

    let route_says = |kind: &str, expected: Value| {
        eventually(SOON, || {
            let route = site.get(kind, "web")?;
            ensure!(json!(parents_say(&route)) == expected, "{}", route["status"]);
            Ok(())
        })
        .unwrap();
    };
    let (accepted, refused) = ("Accepted=True/Accepted", "Accepted=False/NotAllowedByListeners");
    let (resolved, unresolved) =
        ("ResolvedRefs=True/ResolvedRefs", "ResolvedRefs=False/BackendNotFound");
    route_says(
        "tlsroute",
        json!([
            ["mixed", "tls", [accepted, resolved]],
            ["mixed", "missing", ["Accepted=False/NoMatchingParent", resolved]]
        ]),
    );
    route_says(
        "udproute",
        json!([["mixed", "udp", [accepted, unresolved]], ["none", null, [refused, unresolved]]]),
    );
    // Entries go with their parents.
    site.cluster.kubectl(["delete", "gateway", "mixed"]).unwrap();
    route_says("tlsroute", json!([]));
    route_says("udproute", json!([["none", null, [refused, unresolved]]]));
}
