//! Which kinds are served, and in which version: asked of the API server, again whenever a CRD
//! comes, goes or changes.
//!
//! What counts is what is *served*. A version that stands in a CRD may be off (TCPRoute `v1alpha2` in
//! the standard channel of 1.6 is), so CRDs are only the signal to ask again. The experimental
//! XListenerSet is another kind, in another group, and not read.
//!
//! What always holds: a kind that was served counts as served until its CRD, too, says that it is not:
//! an API server that has just started may not know its CRDs yet.

mod crds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use vipgate_api::Kind;

use crate::backoff::Backoff;
use crate::words::with_causes;
use crds::Crds;

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

/// What is known at a moment. Nothing was asked successfully yet while `served` is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) served: Option<Served>,
    /// Why the API server does not answer, if it does not.
    pub(crate) away: Option<String>,
}

/// When discovery is asked after a CRD changed: it follows by itself, some moments later.
const SETTLING: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(600),
    Duration::from_millis(1500),
    Duration::from_secs(4),
];
/// How often to ask without any reason, as a net below the watch of CRDs.
const AT_LEAST: Duration = Duration::from_secs(60);
/// The same where CRDs cannot be watched.
const UNWATCHED: Duration = Duration::from_secs(5);
/// Between two times of asking, whatever happens: CRDs come by the dozen.
const AT_MOST: Duration = Duration::from_millis(100);

/// Asks which of these kinds are served, and in which of the versions that we read.
///
/// # Errors
/// When the API server cannot be reached, or does not tell.
pub async fn ask(client: &Client, kinds: &[Kind]) -> kube::Result<BTreeMap<Kind, &'static str>> {
    let places: BTreeSet<(&str, &str)> = kinds
        .iter()
        .flat_map(|kind| kind.versions().iter().map(|version| (kind.group(), *version)))
        .collect();
    let answers = join_all(places.iter().map(|(group, version)| resources(client, group, version)));
    let mut there = BTreeSet::new();
    for ((group, version), names) in places.iter().zip(answers.await) {
        there.extend(names?.into_iter().map(|name| (*group, *version, name)));
    }
    let preferred = |kind: &Kind| {
        let is_served =
            |version: &&&'static str| there.contains(&(kind.group(), **version, kind.plural()));
        kind.versions().iter().find(is_served).map(|version| (*kind, *version))
    };
    Ok(kinds.iter().filter_map(preferred).collect())
}

/// Names of the resources of a group and version; none where it is not served.
async fn resources(client: &Client, group: &str, version: &str) -> kube::Result<Vec<String>> {
    let answer = match group {
        "" => client.list_core_api_resources(version).await,
        group => client.list_api_group_resources(&format!("{group}/{version}")).await,
    };
    match answer {
        Ok(list) => Ok(list.resources.into_iter().map(|resource| resource.name).collect()),
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether a kind is not served any more, as its CRD says.
async fn is_gone(client: &Client, kind: Kind) -> bool {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    match crds.get_opt(&crd_name(kind)).await {
        Ok(None) => true,
        Ok(Some(crd)) => {
            let ours = |name: &str| kind.versions().contains(&name);
            !crd.spec.versions.iter().any(|version| version.served && ours(&version.name))
        }
        // Who may not see CRDs has to believe discovery.
        Err(kube::Error::Api(refusal)) => refusal.code == 403,
        Err(_) => false,
    }
}

fn crd_name(kind: Kind) -> String {
    format!("{}.{}", kind.plural(), kind.group())
}

/// Follows what is served.
pub(crate) struct Follower {
    client: Client,
    kinds: Vec<Kind>,
    out: watch::Sender<Picture>,
    /// Somebody has a reason to ask: a watch lost its kind, or the server.
    doubts: Arc<Notify>,
    crds: Crds,
    /// When to ask.
    due: Vec<Instant>,
    asked: Option<Instant>,
    backoff: Backoff,
}

impl Follower {
    pub(crate) fn new(
        client: Client,
        kinds: Vec<Kind>,
        out: watch::Sender<Picture>,
        doubts: Arc<Notify>,
    ) -> Self {
        let crds = Crds::new(client.clone());
        let due = vec![Instant::now()];
        let backoff = Backoff::default();
        Self { client, kinds, out, doubts, crds, due, asked: None, backoff }
    }

    /// Goes on until nobody is interested any more.
    pub(crate) async fn run(mut self) {
        let doubts = Arc::clone(&self.doubts);
        while !self.out.is_closed() {
            let next = self.next();
            tokio::select! {
                changed = self.crds.changed() => {
                    if changed {
                        self.soon();
                    }
                }
                () = doubts.notified() => {
                    // While it is away it is asked for often enough.
                    if self.out.borrow().away.is_none() {
                        self.soon();
                    }
                }
                () = sleep_until(next) => self.ask().await,
            }
        }
    }

    fn soon(&mut self) {
        let now = Instant::now();
        self.due = SETTLING.iter().map(|after| now + *after).collect();
    }

    fn next(&self) -> Instant {
        let often = if self.crds.watched { AT_LEAST } else { UNWATCHED };
        let regular = self.asked.map_or_else(Instant::now, |asked| asked + often);
        let next = self.due.iter().min().map_or(regular, |due| regular.min(*due));
        self.asked.map_or(next, |asked| next.max(asked + AT_MOST))
    }

    async fn ask(&mut self) {
        let answer = ask(&self.client, &self.kinds).await;
        let now = Instant::now();
        self.asked = Some(now);
        self.due.retain(|due| *due > now);
        let mut picture = self.out.borrow().clone();
        match answer {
            Ok(versions) => {
                self.backoff.reset();
                let before = picture.served.unwrap_or_default().versions;
                let versions = self.believed(before, versions).await;
                let (bundle, channel) = self.crds.release();
                picture =
                    Picture { served: Some(Served { versions, bundle, channel }), away: None };
            }
            Err(error) => {
                self.due.push(now + self.backoff.wait());
                picture.away = Some(with_causes(&error));
            }
        }
        self.out.send_if_modified(|current| {
            say(current.away.as_ref(), picture.away.as_ref());
            let changed = *current != picture;
            *current = picture;
            changed
        });
    }

    /// The versions as they are now, and those that cannot be gone yet.
    async fn believed(
        &mut self,
        before: BTreeMap<Kind, &'static str>,
        mut now: BTreeMap<Kind, &'static str>,
    ) -> BTreeMap<Kind, &'static str> {
        for (kind, version) in before {
            if !now.contains_key(&kind) && !is_gone(&self.client, kind).await {
                now.insert(kind, version);
                self.due.push(Instant::now() + SETTLING[1]);
            }
        }
        now
    }
}

fn say(before: Option<&String>, now: Option<&String>) {
    match (before, now) {
        (None, Some(why)) => {
            tracing::warn!(why, "the API server does not answer; what is known stays")
        }
        (Some(_), None) => tracing::info!("the API server answers again"),
        _ => {}
    }
}
