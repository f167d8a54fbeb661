//! The CRDs of our kinds: the signal that something else may be served, and the place where the
//! release of the Gateway API is written.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep_until};
use vipgate_api::{GATEWAY_GROUP, Kind, VIPGATE_GROUP};

use crate::backoff::Backoff;
use crate::watch::WATCH_SECONDS;
use crate::words::refusal;

const BUNDLE: &str = "gateway.networking.k8s.io/bundle-version";
const CHANNEL: &str = "gateway.networking.k8s.io/channel";

type Crd = PartialObjectMeta<CustomResourceDefinition>;

/// The CRDs of our kinds, as their metadata says.
pub(super) struct Crds {
    events: BoxStream<'static, watcher::Result<watcher::Event<Crd>>>,
    /// Release and channel, by name.
    known: BTreeMap<String, (Option<String>, Option<String>)>,
    listing: BTreeMap<String, (Option<String>, Option<String>)>,
    /// Whether they can be followed.
    pub(super) watched: bool,
    backoff: Backoff,
    wait_until: Option<Instant>,
    said: Option<String>,
}

impl Crds {
    pub(super) fn new(client: Client) -> Self {
        // Metadata is all that is asked for.
        let crds: Api<Crd> = Api::all(client);
        Self {
            events: watcher(crds, watcher::Config::default().timeout(WATCH_SECONDS)).boxed(),
            known: BTreeMap::new(),
            listing: BTreeMap::new(),
            watched: true,
            backoff: Backoff::default(),
            wait_until: None,
            said: None,
        }
    }

    /// Waits for the next thing that happens; says whether it concerns us. May be dropped while it
    /// waits.
    pub(super) async fn changed(&mut self) -> bool {
        if let Some(time) = self.wait_until {
            sleep_until(time).await;
            self.wait_until = None;
        }
        let Some(event) = self.events.next().await else {
            // It never ends.
            return std::future::pending().await;
        };
        match event {
            Ok(event) => {
                self.well();
                self.take(event)
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    fn take(&mut self, event: watcher::Event<Crd>) -> bool {
        match event {
            watcher::Event::Init => self.listing.clear(),
            watcher::Event::InitApply(crd) => {
                if is_ours(&crd) {
                    self.listing.insert(crd.name_any(), release(&crd));
                }
            }
            watcher::Event::InitDone => {
                self.known = std::mem::take(&mut self.listing);
                return true;
            }
            watcher::Event::Apply(crd) if is_ours(&crd) => {
                self.known.insert(crd.name_any(), release(&crd));
                return true;
            }
            watcher::Event::Delete(crd) if is_ours(&crd) => {
                self.known.remove(&crd.name_any());
                return true;
            }
            watcher::Event::Apply(_) | watcher::Event::Delete(_) => {}
        }
        false
    }

    fn well(&mut self) {
        self.backoff.reset();
        self.watched = true;
        if self.said.take().is_some() {
            tracing::info!("CRDs can be watched again");
        }
    }

    fn failed(&mut self, error: &watcher::Error) {
        self.wait_until = Some(Instant::now() + self.backoff.wait());
        let Some((verb, status)) = refusal(error) else { return };
        if status.code == 410 {
            return;
        }
        self.watched = false;
        let text = format!(
            "may not {verb} CRDs, so changes of them are noticed late: give this ServiceAccount the \
             verbs get, list and watch on customresourcedefinitions of API group \
             apiextensions.k8s.io ({})",
            status.message
        );
        if self.said.as_ref() != Some(&text) {
            tracing::warn!("{text}");
            self.said = Some(text);
        }
    }

    /// Release and channel of the Gateway API. The GatewayClass is in every release and channel.
    pub(super) fn release(&self) -> (Option<String>, Option<String>) {
        self.known.get(&super::crd_name(Kind::GatewayClass)).cloned().unwrap_or_default()
    }
}

fn is_ours(crd: &Crd) -> bool {
    let name = crd.name_any();
    let group = name.split_once('.').map(|(_, group)| group);
    group.is_some_and(|group| [GATEWAY_GROUP, VIPGATE_GROUP].contains(&group))
}

fn release(crd: &Crd) -> (Option<String>, Option<String>) {
    let of = |key: &str| crd.annotations().get(key).cloned();
    (of(BUNDLE), of(CHANNEL))
}
