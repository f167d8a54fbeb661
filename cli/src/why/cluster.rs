//! Asking an API server: objects of one kind, or all that `vipgate why` looks at.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::Value;
use vipgate_api::Kind;
use vipgate_controller::{cluster, discovery, leader};

use super::facts::{Facts, Lease, Place};
use super::of_cluster::Listed;
use super::runtime;

/// Kinds that are looked at. Secrets and ConfigMaps are not: statuses say what is wrong with those, and who asks
/// need not be let to read them.
pub(super) const KINDS: [Kind; 23] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::ListenerSet,
    Kind::TcpRoute,
    Kind::TlsRoute,
    Kind::UdpRoute,
    Kind::HttpRoute,
    Kind::ReferenceGrant,
    Kind::BackendTlsPolicy,
    Kind::Namespace,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::IpAddressPool,
    Kind::L2Advertisement,
    Kind::BgpPeer,
    Kind::BgpAdvertisement,
    Kind::BfdProfile,
    Kind::Community,
    Kind::Backend,
    Kind::ListenerPolicy,
    Kind::BackendPolicy,
    Kind::VirtualIp,
    Kind::Speaker,
];

/// How long after its end a Lease counts as not renewed: clocks of two hosts differ by less.
const CLOCKS: Duration = Duration::from_secs(10);

/// Everything that an API server says; vipgate is installed in the namespace `install`.
pub(super) fn facts(kubeconfig: &Path, install: &str) -> Result<Facts> {
    runtime()?.block_on(async {
        let client = cluster::connect(Some(kubeconfig)).await?;
        let served = discovery::ask(&client, &KINDS).await.context(
            "the API server does not say what it serves; is the kubeconfig right, and does it run?",
        )?;
        let (mut objects, mut unread) = (Vec::new(), BTreeMap::new());
        for (kind, version) in served {
            match raw(&client, kind, version).await {
                Ok(list) => objects.extend(list.into_iter().map(|object| (kind, object))),
                Err(error) => {
                    unread.insert(kind, error.to_string());
                }
            }
        }
        // Without them all that is missed is that a requested address is a node's own.
        let nodes = raw(&client, Kind::Node, "v1").await.unwrap_or_default();
        let lease = lease(&client, install).await;
        let place = Place::Cluster { install: install.to_owned(), lease };
        Ok(Facts::of_cluster(Listed { objects, nodes, unread }, place))
    })
}

/// Objects as they are written.
async fn raw(client: &Client, kind: Kind, version: &str) -> kube::Result<Vec<Value>> {
    let all = of_version(client, kind, version).list(&ListParams::default()).await?;
    let read =
        |object: DynamicObject| serde_json::to_value(object).map_err(kube::Error::SerdeError);
    all.items.into_iter().map(read).collect()
}

async fn lease(client: &Client, install: &str) -> Lease {
    let leases: Api<LeaseObject> = Api::namespaced(client.clone(), install);
    match leases.get_opt(leader::NAME).await {
        Err(error) => Lease::Unknown(error.to_string()),
        Ok(None) => Lease::Free,
        Ok(Some(lease)) => state_of(&lease, Timestamp::now()),
    }
}

fn state_of(lease: &LeaseObject, now: Timestamp) -> Lease {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.clone());
    let Some(holder) = holder.filter(|holder| !holder.is_empty()) else { return Lease::Free };
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
    let renewed = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
    let since = renewed.and_then(|renewed| Duration::try_from(now.duration_since(renewed)).ok());
    let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    match since.map(|since| since.saturating_sub(duration)) {
        Some(late) if late > CLOCKS => Lease::Late(holder, late),
        _ => Lease::Held(holder),
    }
}

/// All objects of one of our kinds.
pub(crate) async fn list<T: DeserializeOwned>(client: &Client, kind: Kind) -> Result<Vec<T>> {
    let objects = api(client, kind).list(&ListParams::default()).await;
    let objects = objects.with_context(|| format!("{} cannot be listed", kind.plural()))?;
    let read = |object: DynamicObject| {
        let name = object.metadata.name.clone().unwrap_or_default();
        let value = serde_json::to_value(object)?;
        serde_json::from_value(value).with_context(|| format!("{} {name}", kind.name()))
    };
    objects.items.into_iter().map(read).collect()
}

/// Where objects of one of our kinds are.
pub(crate) fn api(client: &Client, kind: Kind) -> Api<DynamicObject> {
    of_version(client, kind, kind.versions()[0])
}

fn of_version(client: &Client, kind: Kind, version: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(kind.group(), version, kind.name());
    let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.plural());
    Api::all_with(client.clone(), &resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_late_only_when_clocks_do_not_explain_it() {
        let lease = |holder: &str, renewed: &str| {
            let spec = serde_json::json!({
                "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed,
            });
            serde_json::from_value::<LeaseObject>(serde_json::json!({"metadata": {}, "spec": spec}))
        };
        let now = "2026-11-30T00:01:00Z".parse().unwrap();
        let state = |holder: &str, renewed: &str| state_of(&lease(holder, renewed).unwrap(), now);
        assert_eq!(state("", "2026-11-30T00:00:59.000000Z"), Lease::Free);
        let held = Lease::Held("a".to_owned());
        assert_eq!(state("a", "2026-11-30T00:00:59.000000Z"), held);
        // From a clock that is ahead, and just too late.
        assert_eq!(state("a", "2026-11-30T00:01:30.000000Z"), held);
        assert_eq!(state("a", "2026-11-30T00:00:36.000000Z"), held);
        let late = Lease::Late("a".to_owned(), Duration::from_secs(15));
        assert_eq!(state("a", "2026-11-30T00:00:30.000000Z"), late);
    }
}
