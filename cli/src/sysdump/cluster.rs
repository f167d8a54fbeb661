//! What a cluster tells, with the rights of whoever asks: objects, and logs of our pods.

use std::io::{self, Write};
use std::path::Path;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use vipgate_api::{GATEWAY_GROUP, Kind, VIPGATE_GROUP};
use vipgate_controller::{cluster, discovery};

use super::archive::Archive;
use super::host::{VIPS, why};
use crate::objects::{self, List, Place, Unread};

/// Objects of one kind.
const MANY: usize = 5000;
/// Of the log of a container, in bytes and lines.
const LOG_BYTES: i64 = 2 << 20;
const LOG_LINES: i64 = 20_000;
/// Pods whose logs are read.
const PODS: usize = 100;

/// Collects all of it.
pub(super) async fn collect<W: Write>(
    archive: &mut Archive<W>,
    kubeconfig: &Path,
    namespace: &str,
) -> io::Result<()> {
    let client = match cluster::connect(Some(kubeconfig)).await {
        Ok(client) => client,
        Err(error) => {
            archive.failed("cluster", error);
            return Ok(());
        }
    };
    match client.apiserver_version().await {
        Ok(version) => archive.json("cluster/version.json", &json!(version))?,
        Err(error) => archive.failed("cluster/version.json", error),
    }
    // Secrets first: what they have is then known wherever else it stands. Their values are not kept.
    let secrets = Place::new("", "v1", "secrets").in_namespace(namespace);
    let places: Vec<Place> =
        [secrets].into_iter().chain(places(archive, &client, namespace).await).collect();
    let asked = places.iter().map(|place| objects::list(&client, place, MANY));
    let (mut pods, mut vips) = (Vec::new(), Vec::new());
    for (place, answer) in places.iter().zip(join_all(asked).await) {
        let list = add(archive, place, answer)?;
        match place.plural.as_str() {
            "pods" => pods = list,
            "virtualips" => vips = list,
            _ => {}
        }
    }
    let known = vips.iter().filter_map(|vip| vip["spec"]["address"].as_str());
    let known: Vec<&str> = known.collect();
    let whom = [
        "--kubeconfig".to_owned(),
        kubeconfig.display().to_string(),
        "--namespace".to_owned(),
        namespace.to_owned(),
    ];
    for vip in known.iter().take(VIPS) {
        why(archive, vip, whom.iter()).await?;
    }
    if known.len() > VIPS {
        archive.left_out("vipgate/why", &format!("{} of {} VIPs", known.len() - VIPS, known.len()));
    }
    logs(archive, &client, namespace, &pods).await
}

fn add<W: Write>(
    archive: &mut Archive<W>,
    place: &Place,
    answer: Result<List, Unread>,
) -> io::Result<Vec<Value>> {
    let group = if place.group.is_empty() { String::new() } else { format!(".{}", place.group) };
    let part = format!("cluster/{}{group}.jsonl", place.plural);
    match answer {
        Ok(list) => {
            if list.more {
                archive.left_out(&part, &format!("more than {MANY} objects"));
            }
            archive.lines(&part, &list.items)?;
            Ok(list.items)
        }
        Err(error) => {
            archive.failed(&part, error);
            Ok(Vec::new())
        }
    }
}

/// Where the objects are that matter, in versions that are served.
async fn places<W: Write>(
    archive: &mut Archive<W>,
    client: &Client,
    namespace: &str,
) -> Vec<Place> {
    let mut places: Vec<Place> = [
        ("", "v1", "pods"),
        ("", "v1", "configmaps"),
        ("apps", "v1", "deployments"),
        ("apps", "v1", "daemonsets"),
        ("coordination.k8s.io", "v1", "leases"),
    ]
    .map(|(group, version, plural)| Place::new(group, version, plural).in_namespace(namespace))
    .into();
    places.extend([
        Place::new("", "v1", "services"),
        Place::new("", "v1", "nodes"),
        Place::new("discovery.k8s.io", "v1", "endpointslices"),
        Place::new("events.k8s.io", "v1", "events"),
    ]);
    let ours = Kind::ALL.into_iter().chain([Kind::VirtualIp, Kind::Speaker]);
    let ours: Vec<Kind> =
        ours.filter(|kind| [GATEWAY_GROUP, VIPGATE_GROUP].contains(&kind.group())).collect();
    match discovery::ask(client, &ours).await {
        Ok(served) => {
            places.extend(served.iter().map(|(kind, version)| Place::of_kind(*kind, version)));
            let absent: Vec<&str> = ours
                .iter()
                .filter(|kind| !served.contains_key(kind))
                .map(|kind| kind.name())
                .collect();
            if !absent.is_empty() {
                archive.failed("cluster", format!("not served: {}", absent.join(", ")));
            }
        }
        Err(error) => archive.failed("cluster", error),
    }
    places
}

/// The logs of our pods, also of the containers before those that run.
async fn logs<W: Write>(
    archive: &mut Archive<W>,
    client: &Client,
    namespace: &str,
    pods: &[Value],
) -> io::Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let ours = |pod: &&Value| pod["metadata"]["labels"]["app.kubernetes.io/name"] == "vipgate";
    let ours: Vec<&Value> = pods.iter().filter(ours).collect();
    if ours.len() > PODS {
        archive.left_out("cluster/logs", &format!("{} of {} pods", ours.len() - PODS, ours.len()));
    }
    for pod in ours.into_iter().take(PODS) {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        let restarted = statuses.filter(|status| status["restartCount"].as_u64() > Some(0));
        let restarted: Vec<&Value> = restarted.map(|status| &status["name"]).collect();
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            let container_name = container["name"].as_str().unwrap_or_default();
            let mut times = vec![false];
            if restarted.contains(&&container["name"]) {
                times.push(true);
            }
            for previous in times {
                let suffix = if previous { ".previous" } else { "" };
                let part = format!("cluster/logs/{name}-{container_name}{suffix}.txt");
                let params = LogParams {
                    container: Some(container_name.to_owned()),
                    limit_bytes: Some(LOG_BYTES),
                    tail_lines: Some(LOG_LINES),
                    previous,
                    ..LogParams::default()
                };
                match api.logs(name, &params).await {
                    Ok(log) => archive.text(&part, &log)?,
                    Err(error) => archive.failed(&part, error),
                }
            }
        }
    }
    Ok(())
}
