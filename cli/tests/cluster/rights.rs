//! Rights that are missing.

use anyhow::ensure;
use vipgate_lab::{Program, eventually};

use crate::site::{SOON, Site, VIP, backend, gateway, route, said};

/// Everything that the controller needs, but for one kind.
fn role(routes: &str) -> String {
    format!(
        "apiVersion: v1
kind: ServiceAccount
metadata: {{name: controller, namespace: vipgate-system}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: controller}}
rules:
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses, gateways, gateways/finalizers, listenersets, tlsroutes, udproutes, httproutes,
    referencegrants, gatewayclasses/status, gateways/status, tcproutes/status{routes}]
  verbs: [get, list, watch, update, patch]
- {{apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [get, list, watch]}}
- {{apiGroups: [''], resources: [namespaces, nodes, secrets, services, services/status], verbs: ['*']}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: ['*']}}
- {{apiGroups: [events.k8s.io], resources: [events], verbs: ['*']}}
- {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: ['*']}}
- {{apiGroups: [vipgate.dev], resources: ['*'], verbs: ['*']}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: controller}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: controller}}
subjects: [{{kind: ServiceAccount, name: controller, namespace: vipgate-system}}]
"
    )
}

#[test]
fn a_kind_that_may_not_be_read_is_named_and_the_others_go_on() {
    let site = Site::new("rights");
    site.apply_pool();
    site.apply(&role(""));
    let kubeconfig = site.cluster.kubeconfig_of("vipgate-system", "controller").unwrap();
    let program = Program::new(env!("CARGO_BIN_EXE_vipgate"))
        .args(["controller", "--identity", "one", "--kubeconfig"])
        .arg(&kubeconfig)
        .env("VIPGATE_LOG", "info,kube=warn");
    let controller = site.controllers.spawn(program).unwrap();
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&backend("web", 7000));
    site.apply(&route("v1", "web", "web", "web"));
    controller.wait_for_line("may not list TCPRoute: give this ServiceAccount", SOON).unwrap();
    site.condition("gateway", "web", "Accepted", "True/Accepted");
    eventually(SOON, || site.get("vip", VIP)).unwrap();
    // Claims end, although one kind is not known: no address belongs to a route.
    site.cluster.kubectl(["delete", "gateway", "web"]).unwrap();
    eventually(SOON, || {
        ensure!(site.get("vip", VIP).is_err(), "the claim is still there");
        Ok(())
    })
    .unwrap();

    // Given the right, it goes on without a restart.
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&role(", tcproutes"));
    eventually(SOON * 3, || {
        let route = site.get("tcproute", "web")?;
        let accepted = said(&route["status"]["parents"][0]["conditions"], "Accepted");
        ensure!(accepted.as_deref() == Some("True/Accepted"), "{route}");
        Ok(())
    })
    .unwrap();
}
