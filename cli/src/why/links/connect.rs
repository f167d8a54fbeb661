//! The last link of a chain that is whole: how to connect, and what was not seen.

use serde_json::Value;
use vipgate_api::{Kind, ObjectRef};

use super::{about, route};
use crate::status::report::ListenerStatus;
use crate::why::cause::Stage;
use crate::why::chain::Chain;
use crate::why::facts::Vip;
use crate::why::subject::{Of, Subject};

/// What is left to the one who asks.
pub(super) fn link(chain: &mut Chain<'_>, subject: &Subject) {
    let facts = chain.facts;
    let Some(about) = about(facts, subject) else { return };
    if chain.is_broken() {
        return;
    }
    let vips = facts.vips.values().filter(|vip| match &subject.of {
        Of::Vip(address) => vip.status.address == *address,
        Of::Object(object) if object.kind.is_route() => {
            let parents = route::gateways(facts, object);
            vip.users.iter().any(|user| parents.contains(user))
        }
        Of::Object(object) => vip.users.contains(object),
    });
    let mut tries = Vec::new();
    for vip in vips {
        for (port, udp) in sockets(chain, vip, &about) {
            let try_it = if udp { "nc -vzu" } else { "nc -vz" };
            tries.push(format!("{try_it} {} {port}", vip.status.address));
        }
    }
    let unlisted = facts.all_unlisted();
    let tries = match (tries.len(), &unlisted) {
        (0, None) => return,
        (0, Some(_)) => "no link that could be looked at is broken".to_owned(),
        (1..=3, _) => format!("connect from where you are: {}", tries.join("; ")),
        (more, _) => {
            let first = tries[..3].join("; ");
            format!("connect from where you are: {first}; and {} more", more - 3)
        }
    };
    let service = about.kind == Kind::Service;
    let unseen = match (facts.in_cluster(), service) {
        (true, true) => {
            "kube-proxy or the CNI on the owner, NetworkPolicies, firewalls and routes on the way"
        }
        (true, false) => {
            "whether endpoints answer (`vipgate status` on the owner), firewalls and routes on the way"
        }
        (false, _) => "firewalls and routes between client and address",
    };
    let text = format!("{tries}. Not seen from here: {unseen}");
    match unlisted {
        None => chain.good(Stage::Client, &about, text),
        // Whether the chain is whole is not known.
        Some(why) => chain.unknown(Stage::Client, &about, format!("{text}; and {why}")),
    }
}

/// The ports of a VIP that were asked about, each with whether it is of UDP.
fn sockets(chain: &Chain<'_>, vip: &Vip, about: &ObjectRef) -> Vec<(u16, bool)> {
    let mut sockets: Vec<(u16, bool)> = match about.kind {
        Kind::Service => {
            let ports = chain.facts.things.get(about).map(|thing| thing["spec"]["ports"].clone());
            let ports = ports.as_ref().and_then(|ports| ports.as_array()).into_iter().flatten();
            let of = |port: &Value| {
                Some((u16::try_from(port["port"].as_u64()?).ok()?, port["protocol"] == "UDP"))
            };
            ports.filter_map(of).collect()
        }
        kind => {
            let listeners = vip.status.listeners.iter();
            let serves = |one: &&ListenerStatus| {
                !kind.is_route() || one.routes.iter().any(|route| route.route == about.to_string())
            };
            listeners.filter(serves).map(|one| (one.port, one.is_udp())).collect()
        }
    };
    sockets.retain(|(port, _)| chain.is_meant(*port));
    sockets.sort_unstable();
    sockets.dedup();
    sockets
}
