//! Pools against what else has addresses, and what became of those that were given out.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::facts::{Facts, elements, name, text};
use crate::check::catalogue::Check;
use crate::check::finding::Finding;
use crate::check::pools::Pool;

/// Findings of one kind that are shown each.
const SHOWN: usize = 10;

pub(super) fn pools(facts: &Facts) -> Vec<Finding> {
    let check = Check::POOLS;
    let objects = match facts.list("ipaddresspools") {
        Ok(objects) => objects,
        Err(error) => return vec![Finding::unseen(check, error)],
    };
    if objects.is_empty() {
        let mend =
            "make an IPAddressPool; one is enough for a working address (docs/in-a-cluster.md)";
        return vec![
            Finding::warning(check, "there is none, so there is no address to give").mend(mend),
        ];
    }
    let pools: Vec<Pool> = objects.iter().map(Pool::of_object).collect();
    let mut findings = refused(objects);
    let mut left = Vec::new();
    for (index, pool) in pools.iter().enumerate() {
        for other in &pools[index + 1..] {
            if let Some(range) = pool.shared_with(other) {
                let found = format!(
                    "{range} is in {} and in {}: the first by name gives it out",
                    pool.name, other.name
                );
                findings.push(Finding::warning(check, found));
            }
        }
    }
    match facts.list("nodes") {
        Ok(nodes) => {
            findings.extend(addresses_of(nodes, &pools));
            findings.extend(inside(&pools, nodes.iter().flat_map(pod_networks)));
        }
        Err(error) => left.push(format!("addresses of nodes and pods: {error}")),
    }
    match facts.list("servicecidrs") {
        Ok(cidrs) => findings.extend(inside(&pools, cidrs.iter().flat_map(service_networks))),
        Err(error) => left.push(format!("Service networks: {error}")),
    }
    match facts.list("services") {
        Ok(services) => findings.extend(cluster_ips(services, &pools)),
        Err(error) => left.push(format!("cluster IPs: {error}")),
    }
    if findings.is_empty() {
        let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
        findings.push(Finding::ok(
            check,
            format!("{}: nobody else has their addresses", names.join(", ")),
        ));
    }
    findings.extend(left.into_iter().map(|reason| Finding::unseen(check, reason)));
    findings
}

/// Pools of which the controller says that they are not as they should be.
fn refused(objects: &[Value]) -> Vec<Finding> {
    let said = |object: &Value| {
        let mut conditions = elements(&object["status"]["conditions"]);
        let accepted = conditions.find(|one| one["type"] == "Accepted")?;
        // An overlap is looked for here.
        let bad = accepted["status"] == "False";
        let (reason, message) = (text(&accepted["reason"]), text(&accepted["message"]));
        bad.then(|| Finding::error(Check::POOLS, format!("{}: {reason}: {message}", name(object))))
    };
    objects.iter().filter_map(said).take(SHOWN).collect()
}

fn addresses_of(nodes: &[Value], pools: &[Pool]) -> Vec<Finding> {
    let addresses = nodes.iter().flat_map(|node| {
        let all = elements(&node["status"]["addresses"]);
        all.filter_map(move |one| Some((node, text(&one["address"]).parse::<IpAddr>().ok()?)))
    });
    let found = addresses.filter_map(|(node, address)| {
        let pool = pools.iter().find(|pool| pool.contains(address))?;
        let found =
            format!("{address} is an address of Node {}, and in pool {}", name(node), pool.name);
        let mend = format!("`spec.exclusions: [{address}]` in the pool");
        Some(Finding::error(Check::POOLS, found).mend(mend))
    });
    found.take(SHOWN).collect()
}

fn pod_networks(node: &Value) -> Vec<(String, String)> {
    let of = format!("pods of Node {}", name(node));
    elements(&node["spec"]["podCIDRs"]).map(|cidr| (text(cidr).to_owned(), of.clone())).collect()
}

fn service_networks(object: &Value) -> Vec<(String, String)> {
    let of = format!("Services (ServiceCIDR {})", name(object));
    elements(&object["spec"]["cidrs"]).map(|cidr| (text(cidr).to_owned(), of.clone())).collect()
}

/// Pools that reach into networks of the cluster.
fn inside(pools: &[Pool], networks: impl Iterator<Item = (String, String)>) -> Vec<Finding> {
    let networks = networks.map(|(cidr, of)| {
        let network = json!({"metadata": {"name": cidr.clone()}, "spec": {"addresses": [cidr]}});
        (Pool::of_object(&network), of)
    });
    let found = networks.flat_map(|(network, of)| {
        let shared =
            pools.iter().filter_map(|pool| Some((pool.name.clone(), pool.shared_with(&network)?)));
        let found = shared
            .map(|(pool, range)| format!("{range} of pool {pool} is in {}, of {of}", network.name));
        found.map(|found| Finding::error(Check::POOLS, found)).collect::<Vec<_>>()
    });
    found.take(SHOWN).collect()
}

fn cluster_ips(services: &[Value], pools: &[Pool]) -> Vec<Finding> {
    let found = services.iter().filter_map(|service| {
        let ips = elements(&service["spec"]["clusterIPs"]);
        let mut ips = ips.filter_map(|ip| text(ip).parse::<IpAddr>().ok());
        let taken = ips.find_map(|ip| Some((ip, pools.iter().find(|pool| pool.contains(ip))?)));
        let (ip, pool) = taken?;
        let namespace = text(&service["metadata"]["namespace"]);
        let found = format!(
            "{ip} of pool {} is the cluster IP of Service {namespace}/{}",
            pool.name,
            name(service)
        );
        Some(Finding::error(Check::POOLS, found))
    });
    found.take(SHOWN).collect()
}

/// Whether what was given out is served.
pub(super) fn vips(facts: &Facts) -> Finding {
    let check = Check::VIPS;
    let (vips, speakers) = match (facts.list("virtualips"), facts.list("speakers")) {
        (Ok(vips), Ok(speakers)) => (vips, speakers),
        (Err(error), _) | (_, Err(error)) => return Finding::unseen(check, error),
    };
    let truncated = speakers.iter().any(|speaker| speaker["status"]["truncated"] == true);
    let serving: BTreeSet<&str> = speakers
        .iter()
        .flat_map(|speaker| elements(&speaker["status"]["vips"]))
        .filter(|vip| vip["state"] == "Serving")
        .map(|vip| text(&vip["address"]))
        .collect();
    let mut bad: Vec<String> = Vec::new();
    for vip in vips {
        let address = text(&vip["spec"]["address"]);
        if vip["spec"]["published"] != true {
            bad.push(format!("{address} is not published"));
        } else if !serving.contains(address) && !truncated {
            bad.push(format!("{address} is served by no speaker"));
        }
    }
    match &bad[..] {
        [] if truncated => Finding::unseen(check, "speakers have more VIPs than they can tell of"),
        [] => Finding::ok(check, format!("all {} are published and served", vips.len())),
        bad => {
            let more = bad.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let shown = bad[..bad.len().min(SHOWN)].join(", ");
            Finding::warning(check, format!("{shown}{more}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Verdict;
    use crate::objects::List;

    /// Pools of these ranges, and other lists.
    fn facts(ranges: &[(&str, &str)], others: &[(&str, Value)]) -> Facts {
        let pool = |(name, range): &(&str, &str)| json!({"metadata": {"name": name}, "spec": {"addresses": [range]}});
        let mut facts = Facts::default();
        let pools: Value = ranges.iter().map(pool).collect();
        let empty = ["nodes", "servicecidrs", "services"].map(|key| (key, json!([])));
        for (key, items) in empty.iter().chain(&[("ipaddresspools", pools)]).chain(others) {
            let list = List { items: items.as_array().unwrap().clone(), more: false };
            facts.lists.insert((*key).into(), Ok(list));
        }
        facts
    }

    #[test]
    fn pools_that_meet_others_are_told_with_what_they_meet() {
        let lan = [("lan", "192.0.2.240-192.0.2.250")];
        assert_eq!(pools(&facts(&lan, &[]))[0].found, "lan: nobody else has their addresses");
        assert_eq!(pools(&facts(&[], &[]))[0].verdict, Verdict::Warning);
        let both = [lan[0], ("more", "192.0.2.250-192.0.2.254")];
        let found = pools(&facts(&both, &[]));
        assert_eq!((found.len(), found[0].verdict), (1, Verdict::Warning));
        assert!(found[0].found.starts_with("192.0.2.250 is in lan and in more"), "{found:?}");

        let node = json!([{"metadata": {"name": "a"}, "spec": {"podCIDRs": ["192.0.2.248/29"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.241"},
                {"type": "Hostname", "address": "a"}]}}]);
        let found = pools(&facts(&lan, &[("nodes", node)]));
        let texts: Vec<&str> = found.iter().map(|finding| finding.found.as_str()).collect();
        assert_eq!(
            texts,
            [
                "192.0.2.241 is an address of Node a, and in pool lan",
                "192.0.2.248-192.0.2.250 of pool lan is in 192.0.2.248/29, of pods of Node a",
            ]
        );
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Error));

        let cidr =
            json!([{"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["192.0.2.0/24"]}}]);
        assert_eq!(pools(&facts(&lan, &[("servicecidrs", cidr)]))[0].verdict, Verdict::Error);
        let service = json!([{"metadata": {"name": "web", "namespace": "default"},
            "spec": {"clusterIPs": ["None", "192.0.2.245"]}}]);
        let found = pools(&facts(&lan, &[("services", service)]));
        assert!(found[0].found.contains("cluster IP of Service default/web"), "{found:?}");
    }

    #[test]
    fn what_could_not_be_read_is_said_beside_what_is_well() {
        let mut facts = facts(&[("lan", "192.0.2.240")], &[]);
        facts.lists.remove("nodes");
        let found = pools(&facts);
        let verdicts: Vec<Verdict> = found.iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Verdict::Ok, Verdict::NotLookedAt]);
        assert_eq!(pools(&Facts::default())[0].verdict, Verdict::NotLookedAt);
    }

    #[test]
    fn a_refused_pool_and_a_vip_that_nobody_serves_are_told() {
        let refused = json!([{"metadata": {"name": "lan"}, "spec": {"addresses": []}, "status": {"conditions": [
            {"type": "Accepted", "status": "False", "reason": "Invalid", "message": "no address \
             is left"}]}}]);
        let found = pools(&facts(&[], &[("ipaddresspools", refused)]));
        assert_eq!(found[0].found, "lan: Invalid: no address is left");

        let vip = |address: &str, published: bool| json!({"spec": {"address": address, "published": published}});
        let all = json!([vip("192.0.2.1", true), vip("192.0.2.2", true), vip("192.0.2.3", false)]);
        let of = |all: &Value, truncated: bool| {
            let speaker = json!([{"status": {"truncated": truncated,
                "vips": [{"address": "192.0.2.1", "state": "Serving"}]}}]);
            vips(&facts(&[], &[("virtualips", all.clone()), ("speakers", speaker)]))
        };
        assert_eq!(
            of(&all, false).found,
            "192.0.2.2 is served by no speaker, 192.0.2.3 is not published"
        );
        assert_eq!(of(&json!([vip("192.0.2.1", true)]), false).verdict, Verdict::Ok);
        assert_eq!(of(&json!([vip("192.0.2.2", true)]), true).verdict, Verdict::NotLookedAt);
        assert_eq!(vips(&Facts::default()).verdict, Verdict::NotLookedAt);
    }
}
