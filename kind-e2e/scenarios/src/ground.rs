//! What every scenario stands on: objects that go away with it, and what the cluster says of them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::client::Client;
use crate::manifests::{self, NAMESPACE, Server};
use crate::rig::{Family, Fate, Rig};
use crate::wait::{SOON, eventually};
use crate::{Facts, Result};

/// The cluster, as one scenario sees it.
pub(crate) struct Ground<'a> {
    pub(crate) rig: &'a dyn Rig,
    applied: RefCell<Vec<String>>,
}

impl<'a> Ground<'a> {
    /// All nodes well, and one group.
    pub(crate) fn lay(rig: &'a dyn Rig) -> Result<Self> {
        let ground = Self { rig, applied: RefCell::default() };
        // It stays: the same for all scenarios.
        rig.kubectl(&APPLY, &manifests::ground(&rig.facts().namespace))?;
        ground.settle()?;
        Ok(ground)
    }

    pub(crate) fn facts(&self) -> &Facts {
        self.rig.facts()
    }

    pub(crate) fn client(&self) -> Client<'a> {
        Client::of(self.rig)
    }

    /// Has objects in the cluster until the scenario is over.
    pub(crate) fn apply(&self, manifest: &str) -> Result<()> {
        self.applied.borrow_mut().push(manifest.to_owned());
        self.rig.kubectl(&APPLY, manifest).map(|_| ())
    }

    /// Deletes objects, and waits until they are gone.
    pub(crate) fn delete(&self, manifest: &str) -> Result<()> {
        self.rig.kubectl(&DELETE, manifest).map(|_| ())
    }

    /// Servers and a Service, both called `name`; ready.
    pub(crate) fn servers(&self, name: &str, kind: Server, replicas: u8) -> Result<()> {
        let Facts { echo, servers, .. } = self.facts();
        self.apply(&manifests::servers(name, kind, replicas, echo, servers))?;
        let (deployment, namespace) = (format!("deployment/{name}"), NAMESPACE);
        let wait = ["rollout", "status", &deployment, "-n", namespace, "--timeout=180s"];
        self.rig.kubectl(&wait, "").map(|_| ())
    }

    pub(crate) fn get(&self, what: &[&str]) -> Result<Value> {
        let arguments = [&["get", "--output=json", "--namespace", NAMESPACE][..], what].concat();
        Ok(serde_json::from_str(&self.rig.kubectl(&arguments, "")?)?)
    }

    /// The addresses of a Gateway, when it is programmed and has one of each family.
    pub(crate) fn gateway(&self, name: &str) -> Result<Vec<IpAddr>> {
        eventually(SOON, || {
            let gateway = self.get(&["gateway", name])?;
            let status = &gateway["status"];
            let programmed = |one: &Value| one["type"] == "Programmed" && one["status"] == "True";
            let conditions = status["conditions"].as_array();
            ensure!(
                conditions.is_some_and(|all| all.iter().any(programmed)),
                "Gateway {name}: {status}"
            );
            self.of_each_family(&status["addresses"], "value").with_context(|| status.to_string())
        })
    }

    /// The addresses of a Service, when it has one of each family.
    pub(crate) fn service(&self, name: &str) -> Result<Vec<IpAddr>> {
        eventually(SOON, || {
            let service = self.get(&["service", name])?;
            let ingress = &service["status"]["loadBalancer"]["ingress"];
            self.of_each_family(ingress, "ip").with_context(|| service["status"].to_string())
        })
    }

    fn of_each_family(&self, list: &Value, field: &str) -> Result<Vec<IpAddr>> {
        let all = list.as_array().context("no address yet")?;
        let texts = all.iter().filter_map(|one| one[field].as_str());
        let addresses: Vec<IpAddr> = texts.map(str::parse).collect::<Result<_, _>>()?;
        for family in &self.facts().families {
            let of = addresses.iter().filter(|address| Family::of(**address) == *family);
            ensure!(of.count() == 1, "{addresses:?}: one of {family:?} is due");
        }
        Ok(addresses)
    }

    /// The node that says that it serves a VIP, while it is the only one that does, and one of the edges.
    pub(crate) fn owner(&self, vip: IpAddr) -> Result<String> {
        eventually(SOON, || {
            let list = self.get(&["speakers"])?;
            let serves = |speaker: &&Value| {
                let vips = speaker["status"]["vips"].as_array();
                let serving = |one: &Value| {
                    one["address"] == vip.to_string().as_str() && one["state"] == "Serving"
                };
                vips.is_some_and(|vips| vips.iter().any(serving))
            };
            let all = list["items"].as_array().context("a list")?;
            let owners: Vec<&str> = (all.iter().filter(serves))
                .filter_map(|speaker| speaker["metadata"]["name"].as_str())
                .collect();
            let [owner] = owners[..] else { anyhow::bail!("{owners:?} say that they have {vip}") };
            ensure!(self.facts().edges.iter().any(|edge| edge == owner), "{owner} is no edge");
            Ok(owner.to_owned())
        })
    }

    /// The edges but this one.
    pub(crate) fn others(&self, than: &str) -> BTreeSet<String> {
        self.facts().edges.iter().filter(|edge| *edge != than).cloned().collect()
    }

    /// The address of a node in a family.
    pub(crate) fn address(&self, node: &str, family: Family) -> Result<IpAddr> {
        let node = self.get(&["node", node])?;
        let all = node["status"]["addresses"].as_array().context("addresses of a node")?;
        let internal = all.iter().filter(|one| one["type"] == "InternalIP");
        let mut parsed = internal.filter_map(|one| one["address"].as_str()?.parse().ok());
        parsed
            .find(|address| Family::of(*address) == family)
            .with_context(|| format!("an address of {family:?}: {}", node["status"]))
    }

    /// Waits until exactly this node answers for a VIP, and says so.
    pub(crate) fn only(&self, node: &str, vip: IpAddr, port: u16) -> Result<()> {
        eventually(SOON, || {
            let expected = self.client().mac_of_node(self.address(node, Family::of(vip))?)?;
            let answer = self.client().who_has(vip, port)?;
            ensure!(
                answer == BTreeSet::from([expected.clone()]),
                "{answer:?} answer for {vip}, and {node} is {expected}"
            );
            let owner = self.owner(vip)?;
            ensure!(owner == node, "{owner} says that it has {vip}, and {node} answers");
            Ok(())
        })
    }

    /// Waits until one node alone answers for a VIP, and it is the one that says that it has it; which it is.
    pub(crate) fn agreed(&self, vip: IpAddr, port: u16) -> Result<String> {
        eventually(SOON, || {
            let owner = self.owner(vip)?;
            let expected = self.client().mac_of_node(self.address(&owner, Family::of(vip))?)?;
            let answer = self.client().who_has(vip, port)?;
            ensure!(
                answer == BTreeSet::from([expected]),
                "{answer:?} answer for {vip}, and {owner} says that it has it"
            );
            Ok(owner)
        })
    }

    /// Sets all nodes right, and waits until their speakers know each other.
    pub(crate) fn settle(&self) -> Result<()> {
        let edges = &self.facts().edges;
        self.rig.api_server(false)?;
        for edge in edges {
            self.rig.node(edge, Fate::Well)?;
        }
        eventually(SOON * 3, || {
            for edge in edges {
                let speaker = self.get(&["speaker", edge])?;
                let members = speaker["status"]["members"].as_array();
                let knows = |edge: &String| {
                    members.is_some_and(|all| all.iter().any(|one| one == edge.as_str()))
                };
                ensure!(edges.iter().all(knows), "{edge} knows {:?} only", members);
            }
            Ok(())
        })
    }

    /// Takes away what the scenario made. All of it is tried; the first error counts.
    pub(crate) fn clear(self) -> Result<()> {
        let settled = self.settle();
        let applied = self.applied.take();
        let deleted: Vec<Result<()>> =
            applied.iter().rev().map(|manifest| self.delete(manifest)).collect();
        // The next scenario finds all addresses free.
        let given_back = eventually(SOON, || {
            let left = self.get(&["virtualips"])?["items"].as_array().map_or(0, Vec::len);
            ensure!(left == 0, "{left} VIPs are still claimed");
            Ok(())
        });
        std::iter::once(settled).chain(deleted).chain([given_back]).collect()
    }
}

const APPLY: [&str; 5] = ["apply", "--server-side", "--force-conflicts", "--filename", "-"];
const DELETE: [&str; 5] = ["delete", "--ignore-not-found", "--timeout=90s", "--filename", "-"];
