//! What is looked at in a cluster, with the rights of whoever asks. [`facts`] reads, every other file has plain
//! functions from what was read to findings.

mod api;
mod facts;
mod install;
mod network;
mod pools;
mod rights;
mod rivals;

use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::finding::Finding;
use super::pools::Wanted;
use vipgate_api::Kind;
use vipgate_controller::cluster;

/// Looks at everything; what listeners and pools ask of nodes is told as well.
pub(super) async fn look(
    kubeconfig: Option<&Path>,
    namespace: &str,
) -> Result<(Vec<Finding>, Wanted)> {
    let client = cluster::connect(kubeconfig).await?;
    let facts = facts::Facts::read(&client, namespace).await;
    let mut findings = vec![api::server(&facts), api::skew(&facts)];
    findings.extend(api::crds(&facts));
    findings.push(api::gateway_api(&facts));
    findings.push(network::kube_proxy(&facts));
    findings.push(network::cni(&facts));
    findings.extend(rivals::controllers(&facts));
    findings.push(install::namespace(&facts));
    findings.push(install::controller(&facts, jiff::Timestamp::now()));
    findings.extend(install::speakers(&facts));
    findings.push(install::versions(&facts));
    findings.push(rights::rights(&rights::ask(&client, namespace).await));
    findings.extend(pools::pools(&facts));
    findings.push(pools::vips(&facts));
    let mut wanted = Wanted::default();
    for kind in [Kind::IpAddressPool, Kind::Gateway] {
        let objects = facts.list(&kind.plural()).unwrap_or_default();
        objects.iter().for_each(|object| wanted.take(object, kind));
    }
    match facts.list(&Kind::VirtualIp.plural()) {
        Ok(vips) => wanted.claimed.extend(vips.iter().filter_map(claimed)),
        Err(error) => wanted.claims_unread = Some(error),
    }
    Ok((findings, wanted))
}

/// The address of a VirtualIP.
fn claimed(vip: &Value) -> Option<IpAddr> {
    vip["spec"]["address"].as_str()?.parse().ok()
}
