//! The links of listeners, of a Gateway and of its ListenerSets: what their conditions say, and whether they are
//! bound where the address is.

use serde_json::Value;
use vipgate_api::vipgate::ListenerFault;
use vipgate_api::{ObjectRef, Reason};

use super::{gateway, reasons};
use crate::why::cause::{Cause, Fill, Stage};
use crate::why::chain::Chain;
use crate::why::facts::{Vip, conditions};

/// What conditions say.
pub(super) fn links(chain: &mut Chain<'_>, gateway: &ObjectRef) {
    of(chain, gateway);
    let sets: Vec<ObjectRef> = gateway::sets_of(chain.facts, gateway).cloned().collect();
    for set in sets {
        let Some(thing) = chain.facts.things.get(&set) else { continue };
        let said = conditions(&thing["status"]);
        let refused = said.iter().find(|said| said.fails("Accepted"));
        match refused.map(|refused| (refused, refused.known())) {
            Some((refused, Some(Reason::NotAllowed))) => {
                let text = format!("{set}: {}", refused.message);
                chain.broken(Cause::SetNotAllowed, gateway, text, Fill::none());
            }
            // What its Gateway or its listeners say.
            Some((_, Some(Reason::ParentNotAccepted))) => {}
            _ => of(chain, &set),
        }
    }
}

/// The listeners of one object.
fn of(chain: &mut Chain<'_>, owner: &ObjectRef) {
    let Some(thing) = chain.facts.things.get(owner) else { return };
    let mut good = Vec::new();
    let listeners = thing["status"]["listeners"].as_array().into_iter().flatten();
    for listener in listeners {
        let name = listener["name"].as_str().unwrap_or_default();
        let port = port_of(thing, name);
        if !port.is_none_or(|port| chain.is_meant(port)) {
            continue;
        }
        let said = conditions(listener);
        let is_bad = |kind: &str| said.iter().find(|said| said.fails(kind));
        let bad: Vec<_> =
            [is_bad("Accepted"), is_bad("ResolvedRefs")].into_iter().flatten().collect();
        for bad in &bad {
            let text = format!("listener {name}: {}", bad.message);
            let fill = Fill { port, ..Fill::none() };
            chain.broken_at(Stage::Listener, reasons::of_listener(bad), owner, text, fill);
        }
        if bad.is_empty() && !said.is_empty() {
            good.push(port.map_or(name.to_owned(), |port| format!("{name} :{port}")));
        }
    }
    if !good.is_empty() {
        chain.good(Stage::Listener, owner, format!("{}: valid", good.join(", ")));
    }
}

/// The port of a listener of this name.
pub(super) fn port_of(thing: &Value, name: &str) -> Option<u16> {
    let mut listeners = thing["spec"]["listeners"].as_array().into_iter().flatten();
    let listener = listeners.find(|listener| listener["name"] == name)?;
    u16::try_from(listener["port"].as_u64()?).ok()
}

/// Whether they are bound where the address is.
pub(super) fn sockets(chain: &mut Chain<'_>, gateway: &ObjectRef, vip: &Vip) {
    let address = vip.status.address;
    let mut nodes = vip.status.nodes.iter();
    // A process knows of its own sockets alone, and is the first of the nodes; of a cluster it is looked at where
    // the address is.
    let holder = match chain.facts.in_cluster() {
        false => nodes.next(),
        true => nodes
            .clone()
            .find(|node| node.owner)
            .or_else(|| nodes.find(|node| node.routers.is_some())),
    };
    let Some(holder) = holder else { return };
    let meant: Vec<_> =
        vip.status.listeners.iter().filter(|listener| chain.is_meant(listener.port)).collect();
    let mut bound = Vec::new();
    for listener in meant {
        let Some(why) = &listener.failure else {
            bound.push(format!("{} :{}", listener.name, listener.port));
            continue;
        };
        let cause = match listener.fault {
            Some(ListenerFault::NotBound) => Cause::PortTaken,
            Some(ListenerFault::NoCertificate) => Cause::CertificateNotThere,
            None => Cause::NotServedYet,
        };
        let text = format!("{address} listener {} :{}: {why}", listener.name, listener.port);
        let fill = Fill::at(address).on(&holder.name).port(listener.port);
        chain.broken(cause, gateway, text, fill);
    }
    if !bound.is_empty() {
        let text = format!("{} bound on {}", bound.join(", "), holder.name);
        chain.good(Stage::Socket, gateway, text);
    }
}
