//! Watches of a real API server: kinds that come and go, restarts, rights that are missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_api::{Kind, Object, ObjectKey, ObjectRef};
use vipgate_controller::cluster;
use vipgate_controller::discovery::Served;
use vipgate_controller::watch::{self, Event, Scope};
use vipgate_lab::cluster::{Channel, Cluster};
use vipgate_lab::{Bridge, Lab, Link, Node, patience};

const SOON: Duration = Duration::from_secs(20);
/// In which a kind that comes is to be watched, with the time that kubectl takes to say so.
const AT_ONCE: Duration = Duration::from_millis(1500);

const KINDS: [Kind; 12] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::ListenerSet,
    Kind::TcpRoute,
    Kind::TlsRoute,
    Kind::ReferenceGrant,
    Kind::Namespace,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Secret,
    Kind::Backend,
    Kind::Node,
];

struct Site {
    cluster: Cluster,
    /// Where the watches are.
    node: Node,
    cable: Link,
    _to_cluster: Link,
    _lan: Bridge,
    _lab: Lab,
}

impl Site {
    fn new(name: &str) -> Self {
        Self::build(name).expect("a cluster can be built")
    }

    fn build(name: &str) -> Result<Self> {
        let lab = Lab::new(name)?;
        let lan = lab.bridge("lan")?;
        let plane = lab.node("cp")?;
        let to_cluster = plane.join(&lan, "10.77.0.1/24")?;
        let node = lab.node("watcher")?;
        let cable = node.join(&lan, "10.77.0.2/24")?;
        let cluster = Cluster::start(plane, "10.77.0.1".parse()?)?;
        Ok(Self { cluster, node, cable, _to_cluster: to_cluster, _lan: lan, _lab: lab })
    }
}

/// Runs on the node; the watches have threads of their own there.
fn on<F: Future<Output = ()> + Send>(node: &Node, test: F) {
    node.enter(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads");
        runtime.block_on(test);
    });
}

/// What was told so far.
struct Told {
    events: mpsc::Receiver<Event>,
    objects: BTreeMap<ObjectRef, Object>,
    /// Deletions, in their order.
    deleted: Vec<ObjectRef>,
    synced: BTreeMap<Kind, u32>,
    unreadable: BTreeMap<ObjectRef, String>,
    served: Served,
    trouble: BTreeMap<Kind, String>,
    away: Option<String>,
    stopped: CancellationToken,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

impl Told {
    async fn by(kubeconfig: &Path, scope: Scope) -> Self {
        let client = cluster::connect(Some(kubeconfig)).await.expect("a kubeconfig");
        let stopped = CancellationToken::new();
        let events = watch::start(&client, scope, &TaskTracker::new(), stopped.clone());
        Self {
            events,
            objects: BTreeMap::new(),
            deleted: Vec::new(),
            synced: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            served: Served::default(),
            trouble: BTreeMap::new(),
            away: None,
            stopped,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Applied(object, ..) => drop(self.objects.insert(object.reference(), object)),
            Event::Deleted(object) => {
                self.objects.remove(&object);
                self.deleted.push(object);
            }
            Event::Synced(kind) => *self.synced.entry(kind).or_default() += 1,
            Event::Unreadable(object, why, _) => drop(self.unreadable.insert(object, why)),
            Event::Served(served) => self.served = served,
            Event::Trouble(kind, why) => drop(self.trouble.insert(kind, why)),
            Event::Well(kind) => drop(self.trouble.remove(&kind)),
            Event::Away(why) => self.away = why,
        }
    }

    /// Takes in events until it is so.
    async fn until(&mut self, what: &str, within: Duration, so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + patience(within);
        while !so(self) {
            match timeout_at(end, self.events.recv()).await {
                Ok(event) => self.take(event.expect("watches go on")),
                Err(_) => panic!(
                    "not within {within:?}: {what}\nserved: {:?}\nsynced: {:?}\ntrouble: {:?}\n\
                     away: {:?}\nobjects: {:?}\ndeleted: {:?}",
                    self.served,
                    self.synced,
                    self.trouble,
                    self.away,
                    self.objects.keys(),
                    self.deleted
                ),
            }
        }
    }

    /// Takes in what comes for a while.
    async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(event) = timeout_at(end, self.events.recv()).await {
            self.take(event.expect("watches go on"));
        }
    }

    fn version(&self, kind: Kind) -> Option<&'static str> {
        self.served.versions.get(&kind).copied()
    }

    fn has(&self, object: &ObjectRef) -> bool {
        self.objects.contains_key(object)
    }

    fn complete(&self) -> bool {
        !self.served.versions.is_empty()
            && self.served.versions.keys().all(|kind| self.synced.contains_key(kind))
    }
}

fn object(kind: Kind, name: &str) -> ObjectRef {
    let namespace = if kind.is_namespaced() { "default" } else { "" };
    ObjectRef { kind, key: ObjectKey::new(namespace, name) }
}

fn everything() -> Scope {
    Scope { kinds: KINDS.to_vec(), ..Scope::default() }
}

fn route(version: &str, port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: TCPRoute\nmetadata: {{name: web}}\n\
         spec: {{parentRefs: [{{name: web}}], rules: [{{backendRefs: [{{name: web, port: {port}}}]}}]}}\n"
    )
}

const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
    metadata: {name: web}\nspec: {gatewayClassName: none, listeners: \
    [{name: a, protocol: TCP, port: 80}]}\n";

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n"
    )
}

#[test]
fn kinds_and_versions_come_change_and_go() {
    let site = Site::new("comeandgo");
    let cluster = &site.cluster;
    on(&site.node, async {
        let mut told = Told::by(cluster.kubeconfig(), everything()).await;
        told.until("core kinds are complete", SOON, Told::complete).await;
        assert_eq!(told.version(Kind::Service), Some("v1"));
        assert_eq!(told.version(Kind::Gateway), None);
        assert!(told.has(&object(Kind::Namespace, "default")));

        let install = |version, channel| cluster.install_gateway_api(version, channel).unwrap();
        install("1.2.1", Channel::Standard);
        let standard = |told: &Told| told.version(Kind::Gateway) == Some("v1");
        told.until("Gateways are watched", AT_ONCE, standard).await;
        assert_eq!(told.version(Kind::TcpRoute), None, "not in that channel");
        install("1.2.1", Channel::Experimental);
        let alpha = |told: &Told| told.version(Kind::TcpRoute) == Some("v1alpha2");
        told.until("TCPRoutes are watched", AT_ONCE, alpha).await;
        let released = |told: &Told| {
            told.served.bundle.as_deref() == Some("v1.2.1")
                && told.served.channel.as_deref() == Some("experimental")
        };
        told.until("the release is known", SOON, released).await;
        let all = |told: &Told| {
            told.version(Kind::ReferenceGrant) == Some("v1beta1")
                && told.version(Kind::TlsRoute) == Some("v1alpha2")
        };
        told.until("all kinds of 1.2", AT_ONCE, all).await;
        let there = object(Kind::TcpRoute, "web");
        cluster.apply(&route("v1alpha2", 80)).unwrap();
        told.until("the route", SOON, |told| told.has(&there)).await;

        // With XListenerSets, which are not read.
        install("1.4.1", Channel::Experimental);
        let released = |told: &Told| told.served.bundle.as_deref() == Some("v1.4.1");
        told.until("1.4.1", SOON, released).await;
        assert_eq!(told.version(Kind::ListenerSet), None);
        install("1.5.1", Channel::Experimental);
        let listener_sets = |told: &Told| told.version(Kind::ListenerSet) == Some("v1");
        told.until("ListenerSets are watched", AT_ONCE, listener_sets).await;
        assert_eq!(told.version(Kind::TcpRoute), Some("v1alpha2"), "1.5 has no other");
        install("1.6.1", Channel::Experimental);
        let newer = |told: &Told| told.version(Kind::TcpRoute) == Some("v1");
        told.until("TCPRoutes are watched as v1", AT_ONCE, newer).await;
        let grants = |told: &Told| told.version(Kind::ReferenceGrant) == Some("v1");
        told.until("ReferenceGrants are watched as v1", AT_ONCE, grants).await;
        told.pass(Duration::from_secs(1)).await;
        assert!(told.has(&there) && told.deleted.is_empty(), "{:?}", told.deleted);
        cluster.apply(&route("v1", 81)).unwrap();
        let changed = |told: &Told| match told.objects.get(&there) {
            Some(Object::TcpRoute(route)) => route.spec.rules[0].backend_refs[0].port == Some(81),
            _ => false,
        };
        told.until("the route in v1", SOON, changed).await;

        cluster.kubectl(["delete", "crd", "tcproutes.gateway.networking.k8s.io"]).unwrap();
        let gone = |told: &Told| told.version(Kind::TcpRoute).is_none() && !told.has(&there);
        told.until("TCPRoutes are gone", AT_ONCE, gone).await;
        cluster.apply(GATEWAY).unwrap();
        let gateway = object(Kind::Gateway, "web");
        told.until("other kinds go on", AT_ONCE, |told| told.has(&gateway)).await;
        install("1.6.1", Channel::Experimental);
        told.until("they are back", AT_ONCE, newer).await;
        cluster.apply(&route("v1", 80)).unwrap();
        told.until("the route is back", SOON, |told| told.has(&there)).await;
        assert!(told.trouble.is_empty(), "{:?}", told.trouble);
    });
}

#[test]
fn an_api_server_that_restarts_takes_nothing_away() {
    let Site { mut cluster, node, cable, _to_cluster, _lan, _lab } = Site::new("restarts");
    cluster.install_gateway_api("1.6.1", Channel::Standard).unwrap();
    let kubeconfig = cluster.kubeconfig().to_owned();
    let (stays, goes) = (object(Kind::Service, "stays"), object(Kind::Service, "goes"));
    let gateway = object(Kind::Gateway, "web");
    on(&node, async {
        let mut told = Told::by(&kubeconfig, everything()).await;
        told.until("it is complete", SOON, Told::complete).await;
        let all = format!("{GATEWAY}---\n{}---\n{}", service("stays"), service("goes"));
        cluster.apply(&all).unwrap();
        let there = |told: &Told| told.has(&stays) && told.has(&goes) && told.has(&gateway);
        told.until("they are there", SOON, there).await;
        told.pass(Duration::from_secs(1)).await;
        let objects = told.objects.len();
        let versions = told.served.versions.clone();

        // Something that we do not hear of, so that our place in the history is before the restart.
        cluster.kubectl(["create", "configmap", "any"]).unwrap();
        cluster.api_server().kill();
        told.until("it is missed", SOON, |told| told.away.is_some()).await;
        told.pass(Duration::from_secs(3)).await;
        assert_eq!((told.objects.len(), told.deleted.as_slice()), (objects, [].as_slice()));

        // What happens behind our back is found in a list: our place in the history is gone with the
        // old process (410).
        let lists = told.synced.clone();
        cable.cut_silently().unwrap();
        cluster.restart_api_server().unwrap();
        cluster.kubectl(["delete", "service", "goes"]).unwrap();
        cluster.apply(&service("comes")).unwrap();
        cable.restore().unwrap();
        told.until("it is back", SOON, |told| told.away.is_none()).await;
        let comes = object(Kind::Service, "comes");
        told.until("the difference", SOON, |told| told.has(&comes) && !told.has(&goes)).await;
        told.pass(Duration::from_secs(6)).await;
        assert!(told.synced[&Kind::Service] > lists[&Kind::Service], "it was not listed again");
        assert_eq!(told.deleted, std::slice::from_ref(&goes));
        assert!(told.has(&stays) && told.has(&gateway));
        assert_eq!(told.served.versions, versions);
        assert!(told.trouble.is_empty(), "{:?}", told.trouble);

        // And in order, with everything as it was.
        cluster.restart_api_server().unwrap();
        cluster.apply(&service("later")).unwrap();
        let later = object(Kind::Service, "later");
        told.until("watches go on", SOON, |told| told.has(&later)).await;
        assert_eq!(told.deleted, std::slice::from_ref(&goes));
    });
}

const ACCOUNT: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses, gateways, listenersets, tlsroutes, referencegrants]
  verbs: [get, list, watch]
- {apiGroups: [''], resources: [namespaces, services, nodes], verbs: [get, list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: default}
rules: [{apiGroups: [''], resources: [secrets], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
";

const REST: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: rest}
rules:
- {apiGroups: [gateway.networking.k8s.io], resources: [tcproutes], verbs: [get, list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rest}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: rest}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
";

#[test]
fn a_right_that_is_missing_is_named_and_harms_no_other_kind() {
    let site = Site::new("rights");
    let cluster = &site.cluster;
    cluster.apply(ACCOUNT).unwrap();
    for namespace in ["default", "kube-system"] {
        let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n";
        cluster.apply(&format!("{secret}  namespace: {namespace}\n")).unwrap();
    }
    for name in ["one", "two"] {
        cluster
            .apply(&format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n"))
            .unwrap();
    }
    let kubeconfig = cluster.kubeconfig_of("default", "reader").unwrap();
    on(&site.node, async {
        let secrets_in = Some("default".to_owned());
        let scope = Scope { kinds: KINDS.to_vec(), secrets_in, ..Scope::default() };
        let mut told = Told::by(&kubeconfig, scope).await;
        // CRDs may not be watched either: kinds that come are noticed all the same.
        let services = |told: &Told| told.synced.contains_key(&Kind::Service);
        told.until("Services are complete", SOON, services).await;
        cluster.install_gateway_api("1.6.1", Channel::Standard).unwrap();
        let served = |told: &Told| told.version(Kind::TcpRoute).is_some();
        told.until("TCPRoutes are served", SOON, served).await;

        let troubled = [Kind::TcpRoute, Kind::EndpointSlice];
        let named = |told: &Told| troubled.iter().all(|kind| told.trouble.contains_key(kind));
        told.until("trouble is named", SOON, named).await;
        let (routes, slices) = (&told.trouble[&troubled[0]], &told.trouble[&troubled[1]]);
        assert!(routes.starts_with("may not list TCPRoute: give this ServiceAccount"), "{routes}");
        assert!(
            routes.contains("tcproutes of API group \"gateway.networking.k8s.io\""),
            "{routes}"
        );
        assert!(slices.starts_with("may not watch EndpointSlice"), "{slices}");
        let others = |told: &Told| {
            let served = told.served.versions.keys();
            served.filter(|kind| **kind != Kind::TcpRoute).all(|k| told.synced.contains_key(k))
        };
        told.until("all others are complete", SOON, others).await;
        assert_eq!(told.trouble.len(), 2, "{:?}", told.trouble);
        assert!(told.has(&object(Kind::Secret, "a")) && told.has(&object(Kind::Node, "one")));
        let strangers = told
            .objects
            .keys()
            .filter(|object| object.kind == Kind::Secret && object.key.namespace != "default");
        assert_eq!(strangers.count(), 0);

        cluster.apply(REST).unwrap();
        cluster.apply(&route("v1", 80)).unwrap();
        let there = object(Kind::TcpRoute, "web");
        let well = |told: &Told| told.has(&there) && told.trouble.is_empty();
        told.until("it was tried again", SOON, well).await;

        // A right that is taken away takes no object away.
        cluster.kubectl(["delete", "clusterrole", "rest"]).unwrap();
        told.pass(Duration::from_secs(3)).await;
        assert!(told.has(&there));
    });
}

/// Everywhere, that is; in a namespace of our own everything is ours.
#[test]
fn of_the_secrets_of_others_only_certificates_are_asked_for() {
    let site = Site::new("secrets");
    let cluster = &site.cluster;
    let secret = |name: &str, rest: &str| {
        let head = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\n");
        cluster.apply(&(head + rest)).unwrap();
    };
    secret("password", "stringData: {password: secret}\n");
    secret("web", "type: kubernetes.io/tls\ndata: {tls.crt: '', tls.key: ''}\n");
    let are_told = |secrets_in: Option<String>, expected: [bool; 2]| {
        on(&site.node, async {
            let scope = Scope { kinds: vec![Kind::Secret], secrets_in, ..Scope::default() };
            let mut told = Told::by(cluster.kubeconfig(), scope).await;
            let complete = |told: &Told| told.synced.contains_key(&Kind::Secret);
            told.until("Secrets are complete", SOON, complete).await;
            let has = ["password", "web"].map(|name| told.has(&object(Kind::Secret, name)));
            assert_eq!(has, expected);
        });
    };
    are_told(None, [false, true]);
    are_told(Some("default".to_owned()), [true, true]);
}

const LOOSE: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: backends.vipgate.dev}
spec:
  group: vipgate.dev
  scope: Namespaced
  names: {kind: Backend, plural: backends}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[test]
fn an_object_that_cannot_be_read_keeps_its_last_good_version() {
    let site = Site::new("unreadable");
    let cluster = &site.cluster;
    let backend = |name: &str, spec: &str| {
        let head = "apiVersion: vipgate.dev/v1alpha1\nkind: Backend\nmetadata:";
        cluster.apply(&format!("{head} {{name: {name}}}\nspec: {spec}\n")).unwrap();
    };
    let good = "{endpoints: [{address: 10.0.0.1, port: 80}]}";
    on(&site.node, async {
        let mut told = Told::by(cluster.kubeconfig(), everything()).await;
        cluster.apply(LOOSE).unwrap();
        let backends = |told: &Told| told.synced.contains_key(&Kind::Backend);
        told.until("Backends are complete", SOON, backends).await;
        backend("a", good);
        let (a, b) = (object(Kind::Backend, "a"), object(Kind::Backend, "b"));
        told.until("the Backend", SOON, |told| told.has(&a)).await;
        backend("a", "{endpoints: 7}");
        backend("b", good);
        told.until("what is wrong", SOON, |told| told.unreadable.contains_key(&a)).await;
        told.until("another", SOON, |told| told.has(&b)).await;
        assert!(told.has(&a) && told.unreadable.len() == 1, "{:?}", told.unreadable);
        cluster.kubectl(["delete", "backend", "a"]).unwrap();
        told.until("it is gone", SOON, |told| !told.has(&a)).await;
        assert_eq!(told.deleted, std::slice::from_ref(&a));
    });
}
