//! Requests: made by the thousand, and counted as the API server counts them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Sub;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::json;
use vipgate_lab::Node;

use crate::site::Site;

/// As many as the controller has under way.
const AT_ONCE: usize = 16;
/// When nothing was written for so long, nothing will be.
const QUIET: Duration = Duration::from_secs(2);

/// Runs something with a client of the API server, on a thread of the node.
fn with_client<T: Send>(
    node: &Node,
    kubeconfig: &Path,
    work: impl AsyncFnOnce(Client) -> T + Send,
) -> T {
    node.enter(|| with_client_here(kubeconfig, work))
}

/// The same, on this thread and in its namespace.
pub(super) fn with_client_here<T>(kubeconfig: &Path, work: impl AsyncFnOnce(Client) -> T) -> T {
    // One thread: connections are made where the runtime runs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = vipgate_controller::cluster::connect(Some(kubeconfig)).await.unwrap();
        work(client).await
    })
}

/// Objects of a kind in the namespace `default`.
pub(super) fn api(client: Client, kind: &str) -> Api<DynamicObject> {
    let (group, version) = match kind {
        "Service" => ("", "v1"),
        "EndpointSlice" => ("discovery.k8s.io", "v1"),
        _ => ("gateway.networking.k8s.io", "v1"),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client, "default", &resource)
}

/// Creates objects.
pub(super) fn create(site: &Site, objects: Vec<DynamicObject>) {
    with_client(&site.client, site.cluster.kubeconfig(), async |client| {
        let params = PostParams::default();
        at_once(objects, async |object: DynamicObject| {
            let kind = object.types.as_ref().unwrap().kind.clone();
            api(client.clone(), &kind).create(&params, &object).await.unwrap();
        })
        .await;
    });
}

/// Writes the status of every TCPRoute anew, as one who does nothing else: as the controller does it,
/// with its rights, from the version that is there. What it says is the same; the times are others. Returns
/// how long it took, without the reading.
pub(super) fn write_statuses(site: &Site, kubeconfig: &Path) -> Duration {
    with_client(&site.client, kubeconfig, async |client| {
        let routes = api(client, "TCPRoute");
        let list = routes.list(&kube::api::ListParams::default()).await.unwrap();
        let params = PatchParams { field_manager: Some("bare".to_owned()), ..Default::default() };
        let patches: Vec<(String, Patch<()>)> = list
            .items
            .into_iter()
            .map(|mut route| {
                let mut status = route.data["status"].take();
                for condition in status["parents"][0]["conditions"].as_array_mut().unwrap() {
                    condition["lastTransitionTime"] = "2020-01-01T00:00:00Z".into();
                }
                let metadata = route.metadata;
                let patch = json!([
                    {"op": "replace", "path": "/metadata/resourceVersion",
                        "value": metadata.resource_version},
                    {"op": "add", "path": "/status", "value": status},
                ]);
                (metadata.name.unwrap(), Patch::Json(serde_json::from_value(patch).unwrap()))
            })
            .collect();
        let start = Instant::now();
        at_once(patches, async |(name, patch): (String, Patch<()>)| {
            routes.patch_status(&name, &params, &patch).await.unwrap();
        })
        .await;
        start.elapsed()
    })
}

/// Does something with each of many, some at a time.
async fn at_once<T>(all: Vec<T>, each: impl AsyncFn(T)) {
    futures_util::stream::iter(all).for_each_concurrent(AT_ONCE, |one| each(one)).await;
}

/// How many writes the API server has answered, by resource, leases left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Writes {
    by_resource: BTreeMap<String, usize>,
    /// Of these, writes that were answered with an error.
    pub(super) refused: usize,
}

impl Writes {
    /// What was counted so far.
    fn now(site: &Site) -> Self {
        let metrics = site.cluster.kubectl(["get", "--raw=/metrics"]).unwrap();
        let mut writes = Self::default();
        for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let label = |name: &str| {
                let (_, rest) = line.split_once(&format!("{name}=\"")).unwrap();
                rest.split_once('"').unwrap().0
            };
            let reads = ["GET", "LIST", "WATCH", "CONNECT"].contains(&label("verb"));
            if reads || label("resource") == "leases" {
                continue;
            }
            let count = line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as usize;
            let resource = match label("subresource") {
                "" => label("resource").to_owned(),
                sub => format!("{}/{sub}", label("resource")),
            };
            *writes.by_resource.entry(resource).or_default() += count;
            if !label("code").starts_with('2') {
                writes.refused += count;
            }
        }
        writes
    }

    /// Of a resource, such as `tcproutes/status`.
    pub(super) fn of(&self, resource: &str) -> usize {
        self.by_resource.get(resource).copied().unwrap_or_default()
    }

    /// Of all.
    pub(super) fn all(&self) -> usize {
        self.by_resource.values().sum()
    }
}

impl Sub<&Self> for Writes {
    type Output = Self;

    fn sub(mut self, before: &Self) -> Self {
        for (resource, count) in &mut self.by_resource {
            *count -= before.of(resource);
        }
        self.by_resource.retain(|_, count| *count > 0);
        self.refused -= before.refused;
        self
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.by_resource.iter().map(|(resource, count)| format!("{resource} {count}"));
        write!(f, "{} ({} refused)", all.collect::<Vec<_>>().join(", "), self.refused)
    }
}

/// Waits until nobody writes any more.
pub(super) fn quiet(site: &Site) -> Writes {
    let (mut before, mut since) = (Writes::now(site), Instant::now());
    while since.elapsed() < QUIET {
        thread::sleep(QUIET / 8);
        let now = Writes::now(site);
        if now.all() != before.all() {
            (before, since) = (now, Instant::now());
        }
    }
    before
}
