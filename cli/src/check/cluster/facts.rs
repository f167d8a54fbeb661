//! All that is read of a cluster, once.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use kube::Client;
use kube::api::GetParams;
use kube::client::Body;
use kube::core::Request;
use serde_json::Value;
use vipgate_api::{GATEWAY_GROUP, Kind};
use vipgate_controller::{discovery, leader};

use crate::objects::{self, List, Place, Unread};

/// Objects of one kind that are looked at.
const MANY: usize = 10_000;

/// What was read. Single objects are by `NAMESPACE/NAME` of a plural, lists by their plural.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Where vipgate is installed.
    pub(super) namespace: String,
    /// `v1.33.2`.
    pub(super) version: Option<Result<String, String>>,
    /// How far the clock of the API server is ahead of ours, in seconds.
    pub(super) skew: Option<f64>,
    /// API groups that are served.
    pub(super) groups: Option<Result<BTreeSet<String>, String>>,
    /// Which of the kinds that vipgate reads are served, and in which version.
    pub(super) served: Option<Result<BTreeMap<Kind, &'static str>, String>>,
    pub(super) lists: BTreeMap<String, Result<List, Unread>>,
    pub(super) single: BTreeMap<String, Result<Option<Value>, Unread>>,
}

impl Facts {
    /// Asks for everything; what cannot be read is said with its reason.
    pub(super) async fn read(client: &Client, namespace: &str) -> Self {
        let mut facts = Self { namespace: namespace.to_owned(), ..Self::default() };
        let version = client.apiserver_version().await;
        facts.version =
            Some(version.map(|info| info.git_version).map_err(|error| error.to_string()));
        facts.skew = skew(client).await;
        let groups = client.list_api_groups().await;
        let names = groups.map(|list| list.groups.into_iter().map(|group| group.name).collect());
        facts.groups = Some(names.map_err(|error| error.to_string()));
        let served = discovery::ask(client, &Kind::ALL).await;
        facts.served = Some(served.map_err(|error| error.to_string()));

        let places = lists(namespace);
        let answers = join_all(places.iter().map(|place| objects::list(client, place, MANY))).await;
        for (place, answer) in places.into_iter().zip(answers) {
            let key = place.namespace.map_or_else(
                || place.plural.clone(),
                |namespace| format!("{namespace}/{}", place.plural),
            );
            // MetalLB has a kind of the same name.
            let key = if place.group == "metallb.io" { format!("metallb/{key}") } else { key };
            facts.lists.insert(key, answer);
        }
        let places = singles(namespace);
        let answers =
            join_all(places.iter().map(|(place, name)| objects::get(client, place, name))).await;
        for ((place, name), answer) in places.into_iter().zip(answers) {
            facts.single.insert(format!("{}/{name}", place.plural), answer);
        }
        facts
    }

    /// The objects of a list; or why they are not known. A kind that is not served has none.
    pub(super) fn list(&self, key: &str) -> Result<&[Value], String> {
        match self.lists.get(key) {
            Some(Ok(list)) => Ok(&list.items),
            Some(Err(Unread::NotServed(_))) => Ok(&[]),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!("{key} were not asked for")),
        }
    }

    /// An object, if it is there; or why that is not known.
    pub(super) fn one(&self, key: &str) -> Result<Option<&Value>, String> {
        match self.single.get(key) {
            Some(Ok(object)) => Ok(object.as_ref()),
            Some(Err(Unread::NotServed(_))) => Ok(None),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!("{key} was not asked for")),
        }
    }

    /// The pods of vipgate: of a component.
    pub(super) fn pods(&self, component: &str) -> Result<Vec<&Value>, String> {
        let is_ours = |pod: &&Value| {
            let labels = &pod["metadata"]["labels"];
            labels["app.kubernetes.io/name"] == "vipgate"
                && labels["app.kubernetes.io/component"] == component
        };
        Ok(self.list(&format!("{}/pods", self.namespace))?.iter().filter(is_ours).collect())
    }
}

/// Name of an object.
pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or("?")
}

/// Text of a field, or nothing.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Elements of a field, or none.
pub(super) fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// By the date that stands on every answer; whether we may read the object does not matter.
async fn skew(client: &Client) -> Option<f64> {
    let request =
        Request::new("/api/v1/namespaces").get("kube-system", &GetParams::default()).ok()?;
    let before = Timestamp::now();
    let answer = client.send(request.map(Body::from)).await.ok()?;
    let after = Timestamp::now();
    let date = answer.headers().get("date")?.to_str().ok()?.to_owned();
    let theirs = DateTimeParser::new().parse_timestamp(&date).ok()?;
    // Whole seconds are told: half a second is the mean of what is cut.
    let ours = (before.as_millisecond() + after.as_millisecond()) as f64 / 2000.0;
    Some(theirs.as_second() as f64 + 0.5 - ours)
}

fn lists(namespace: &str) -> Vec<Place> {
    let ours = [Kind::IpAddressPool, Kind::BgpPeer, Kind::VirtualIp, Kind::Speaker];
    let ours = ours.map(|kind| Place::of_kind(kind, kind.versions()[0]));
    let core = |plural| Place::new("", "v1", plural);
    let mut places = vec![
        Place::new("apps", "v1", "daemonsets"),
        Place::new("apps", "v1", "deployments"),
        core("nodes"),
        core("services"),
        core("pods").in_namespace("kube-system"),
        core("pods").in_namespace(namespace),
        Place::new("networking.k8s.io", "v1", "servicecidrs"),
        Place::new(GATEWAY_GROUP, "v1", "gateways"),
        Place::new("metallb.io", "v1beta1", "ipaddresspools"),
        Place::new("cilium.io", "v2", "ciliumloadbalancerippools"),
        Place::new("crd.projectcalico.org", "v1", "felixconfigurations"),
    ];
    places.extend(ours);
    places
}

fn singles(namespace: &str) -> Vec<(Place, String)> {
    let core = |plural| Place::new("", "v1", plural);
    let system = |name: &str| (core("configmaps").in_namespace("kube-system"), name.to_owned());
    let lease = Place::new("coordination.k8s.io", "v1", "leases").in_namespace(namespace);
    let mut places = vec![
        system("kube-proxy"),
        system("cilium-config"),
        (core("namespaces"), namespace.to_owned()),
        (lease, leader::NAME.to_owned()),
    ];
    places.extend(
        crds().map(|name| {
            (Place::new("apiextensions.k8s.io", "v1", "customresourcedefinitions"), name)
        }),
    );
    places
}

/// The names of the CRDs that matter.
fn crds() -> impl Iterator<Item = String> {
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.group() == GATEWAY_GROUP);
    let theirs = kinds.map(|kind| format!("{}.{}", kind.plural(), kind.group()));
    theirs.chain(vipgate_api::crd::all().into_iter().map(|crd| name(&crd).to_owned()))
}
