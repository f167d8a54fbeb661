//! Which kinds are served, and in which version: asked of the API server, again whenever a CRD
//! comes, goes or changes.
//!
//! What counts is what is *served*. A version that stands in a CRD may be off (TCPRoute `v1alpha2` in
//! the standard channel of 1.6 is), so CRDs are only the signal to ask again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use vipgate_api::Kind;

/// What the API server serves of what we read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The version of each kind that is served: of several the one we prefer.
    pub versions: BTreeMap<Kind, &'static str>,
    /// Release of the Gateway API, as its CRDs say: `v1.6.1`.
    pub bundle: Option<String>,
    /// Its channel: `standard` or `experimental`.
    pub channel: Option<String>,
}

/// How long after a CRD changed discovery shows it, at most; asked again at each of these times.
const SETTLING: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(700), Duration::from_secs(3)];
/// How often to ask where CRDs cannot be watched, and as a net below the watch.
const AT_LEAST: Duration = Duration::from_secs(60);
const AFTER_FAILURE: Duration = Duration::from_secs(2);

const BUNDLE: &str = "gateway.networking.k8s.io/bundle-version";
const CHANNEL: &str = "gateway.networking.k8s.io/channel";

/// Asks what is served of these kinds.
///
/// # Errors
/// When the API server cannot be reached, or does not tell.
pub async fn ask(client: &Client, kinds: &[Kind]) -> kube::Result<Served> {
    let mut served = Served::default();
    let groups: BTreeSet<&str> = kinds.iter().map(|kind| kind.group()).collect();
    let known = client.list_api_groups().await?;
    for group in groups {
        let versions: BTreeSet<String> = match group {
            "" => BTreeSet::from(["v1".to_owned()]),
            group => known
                .groups
                .iter()
                .filter(|known| known.name == group)
                .flat_map(|known| known.versions.iter().map(|version| version.version.clone()))
                .collect(),
        };
        for version in versions {
            let resources = match group {
                "" => client.list_core_api_resources(&version).await?,
                group => client.list_api_group_resources(&format!("{group}/{version}")).await?,
            };
            let names: BTreeSet<&str> =
                resources.resources.iter().map(|r| r.name.as_str()).collect();
            for kind in kinds.iter().filter(|kind| kind.group() == group) {
                let place =
                    |version: &str| kind.versions().iter().position(|known| *known == version);
                let Some(found) = place(&version) else { continue };
                if !names.contains(kind.plural().as_str()) {
                    continue;
                }
                let best = served.versions.entry(*kind).or_insert(kind.versions()[found]);
                if place(best).is_some_and(|best| found < best) {
                    *best = kind.versions()[found];
                }
            }
        }
    }
    Ok(served)
}

/// Whether a kind is not served any more, as its CRD says. Discovery alone does not count: an API
/// server that has just started may not know its CRDs yet.
pub async fn is_gone(client: &Client, kind: Kind) -> bool {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    match crds.get_opt(&format!("{}.{}", kind.plural(), kind.group())).await {
        Ok(None) => true,
        Ok(Some(crd)) => {
            let ours = |name: &str| kind.versions().contains(&name);
            !crd.spec.versions.iter().any(|version| version.served && ours(&version.name))
        }
        Err(_) => false,
    }
}

/// Follows what is served, for ever. What cannot be learned is logged, and asked for again.
pub async fn follow(client: Client, kinds: Vec<Kind>, out: watch::Sender<Served>) {
    let crds: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    let mut events = watcher(crds, watcher::Config::default()).default_backoff().boxed();
    let mut labels: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    let mut due: Vec<tokio::time::Instant> = vec![tokio::time::Instant::now()];
    let mut said = String::new();
    loop {
        let next =
            due.iter().min().copied().unwrap_or_else(|| tokio::time::Instant::now() + AT_LEAST);
        tokio::select! {
            event = events.next() => {
                match event {
                    Some(Ok(watcher::Event::Apply(crd) | watcher::Event::InitApply(crd))) => {
                        let name = crd.name_any();
                        if name.ends_with(vipgate_api::GATEWAY_GROUP) {
                            let of = |key: &str| crd.annotations().get(key).cloned();
                            labels.insert(name, (of(BUNDLE), of(CHANNEL)));
                        }
                    }
                    Some(Ok(watcher::Event::Delete(crd))) => {
                        labels.remove(&crd.name_any());
                    }
                    Some(Ok(watcher::Event::Init | watcher::Event::InitDone)) => {}
                    Some(Err(error)) => {
                        let text = error.to_string();
                        if text != said {
                            tracing::warn!(error = text, "CRDs cannot be watched; new ones are \
                                noticed once a minute");
                            said = text;
                        }
                        continue;
                    }
                    None => return,
                }
                due = SETTLING.iter().map(|after| tokio::time::Instant::now() + *after).collect();
            }
            () = tokio::time::sleep_until(next) => {
                let now = tokio::time::Instant::now();
                due.retain(|time| *time > now);
                match ask(&client, &kinds).await {
                    Ok(mut served) => {
                        // The GatewayClass is in every release and channel.
                        let gateway_class = format!("gatewayclasses.{}", vipgate_api::GATEWAY_GROUP);
                        if let Some((bundle, channel)) = labels.get(&gateway_class) {
                            served.bundle.clone_from(bundle);
                            served.channel.clone_from(channel);
                        }
                        out.send_if_modified(|current| {
                            let changed = *current != served;
                            if changed {
                                *current = served;
                            }
                            changed
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the API server does not tell what it serves");
                        due.push(now + AFTER_FAILURE);
                    }
                }
            }
        }
        if out.is_closed() {
            return;
        }
    }
}
