//! What the API server says of a VIP: its VirtualIP, the Speakers, and the advertisements of its pool.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use vipgate_api::k8s::ObjectMeta;
use vipgate_api::vipgate::{
    BgpAdvertisement, IpAddressPool, L2Advertisement, Speaker, SpeakerVipState, VirtualIp,
    virtual_ip_name,
};
use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_controller::cluster;
use vipgate_planner::{NodeReport, Plan, selects_pool};

use super::explain::Explanation;
use super::{runtime, unknown};
use crate::run::nodes::own_state;
use crate::status::report::NodeStanding;

/// Reads all of it.
pub(super) fn explain(vip: IpAddr, kubeconfig: &Path) -> Result<Explanation> {
    runtime()?.block_on(async {
        let client = cluster::connect(Some(kubeconfig)).await?;
        let claims: Vec<VirtualIp> = list(&client, Kind::VirtualIp).await?;
        let named = virtual_ip_name(vip);
        let of_vip = |claim: &&VirtualIp| claim.metadata.name.as_ref() == Some(&named);
        let Some(claim) = claims.iter().find(of_vip) else {
            let known: Vec<String> =
                claims.iter().map(|one| one.spec.address.to_string()).collect();
            bail!(unknown(vip, &known));
        };
        let speakers: Vec<Speaker> = list(&client, Kind::Speaker).await?;
        let pool = &claim.spec.pool;
        let users = claim.spec.users.iter().map(|user| user.object.to_string()).collect();
        let nodes = nodes(vip, &speakers);
        let advertisements = advertisements(&client, pool).await?;
        Ok(Explanation::new(vip, pool.clone(), users, advertisements, nodes))
    })
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
    let gvk = GroupVersionKind::gvk(kind.group(), kind.versions()[0], kind.name());
    let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.plural());
    Api::all_with(client.clone(), &resource)
}

async fn advertisements(client: &Client, pool: &str) -> Result<Vec<String>> {
    let pools: Vec<IpAddressPool> = list(client, Kind::IpAddressPool).await?;
    let labels = pools.into_iter().find(|one| one.metadata.name.as_deref() == Some(pool));
    let labels = labels.and_then(|pool| pool.metadata.labels).unwrap_or_default();
    let name = |kind: Kind, metadata: &ObjectMeta| {
        ObjectRef::new(kind, ObjectKey::of(metadata)).to_string()
    };
    let lan: Vec<L2Advertisement> = list(client, Kind::L2Advertisement).await?;
    let lan = lan.iter().filter(|one| selects_pool(&one.spec, pool, &labels));
    let routed: Vec<BgpAdvertisement> = list(client, Kind::BgpAdvertisement).await?;
    let routed = routed.iter().filter(|one| selects_pool(&one.spec, pool, &labels));
    let lan = lan.map(|one| name(Kind::L2Advertisement, &one.metadata));
    Ok(lan.chain(routed.map(|one| name(Kind::BgpAdvertisement, &one.metadata))).collect())
}

/// What each speaker says of the VIP, by name.
fn nodes(vip: IpAddr, speakers: &[Speaker]) -> Vec<NodeStanding> {
    let name = |speaker: &Speaker| speaker.metadata.name.clone().unwrap_or_default();
    let mut nodes: Vec<NodeStanding> = speakers
        .iter()
        .map(|speaker| {
            let name = name(speaker);
            if !is_seen(&name, speakers) {
                return NodeStanding {
                    key: name.clone(),
                    name,
                    reason: Some("Lost".to_owned()),
                    message: Some("the other speakers do not see it".to_owned()),
                    ..NodeStanding::default()
                };
            }
            standing(vip, name, speaker)
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

fn standing(vip: IpAddr, name: String, speaker: &Speaker) -> NodeStanding {
    let status = &speaker.status;
    let key = status.group_address.clone().unwrap_or_else(|| name.clone());
    let of_vip = |one: &&vipgate_api::vipgate::SpeakerVip| one.address == vip;
    let said = status.vips.iter().find(of_vip);
    // All that matters is which has more of them.
    let failed = status.failed_listeners.iter().filter(|failed| failed.address == vip);
    let failed = u16::try_from(failed.count()).unwrap_or(u16::MAX);
    let mut node = NodeStanding {
        name,
        key,
        weight: said.map_or(0, |vip| vip.weight),
        bound: u16::MAX - failed,
        ..NodeStanding::default()
    };
    own_state(&mut node, vip, &NodeReport::from_speaker(status, &Plan::default()));
    if said.is_some_and(|vip| vip.state == SpeakerVipState::Waiting) {
        node.message = said.and_then(|vip| vip.message.clone());
    }
    node
}

/// Whether more of the others see a speaker than do not: what those say that died with it does not count.
fn is_seen(name: &str, speakers: &[Speaker]) -> bool {
    let others: Vec<&Speaker> =
        speakers.iter().filter(|one| one.metadata.name.as_deref() != Some(name)).collect();
    let see = others.iter().filter(|other| {
        let members: BTreeSet<&str> = other.status.members.iter().map(String::as_str).collect();
        members.contains(name)
    });
    others.is_empty() || 2 * see.count() > others.len()
}
