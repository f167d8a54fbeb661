//! The links of each subject, from what is known.
//!
//! One file for each part of the chain. What a condition says already is not worked out again: its reason is
//! the cause. Behind a class that is not ours nothing is looked at.

mod connect;
mod controller;
mod gateway;
mod known;
mod listener;
mod reasons;
mod route;
mod service;
mod vip;

use std::net::IpAddr;

use anyhow::{Result, bail};
use vipgate_api::{Kind, ObjectRef};

use super::cause::{Cause, Fill, Stage};
use super::chain::{Answer, Chain};
use super::facts::Facts;
use super::subject::{Of, Subject};

/// The chain of what was asked about.
///
/// # Errors
/// When there is no such thing; says which there are.
pub(super) fn answer(facts: &Facts, subject: &Subject) -> Result<Answer> {
    let mut chain = Chain::new(facts, subject.port);
    let port_of = |object: &ObjectRef| subject.port.map(|port| (object.clone(), port));
    match &subject.of {
        Of::Vip(vip) => of_vip(&mut chain, *vip, subject.port)?,
        Of::Object(object) => {
            known::object(facts, object)?;
            match object.kind {
                Kind::Gateway => {
                    known::port(facts, port_of(object))?;
                    gateway::links(&mut chain, object, None);
                }
                Kind::Service => {
                    known::port(facts, port_of(object))?;
                    service::links(&mut chain, object, None);
                }
                _ => route::links(&mut chain, object),
            }
        }
    }
    if let Some(about) = about(facts, subject) {
        for (kind, why) in &facts.unread {
            let text = format!("not looked at: {} could not be listed ({why})", kind.plural());
            chain.unknown(Stage::Object, &about, text);
        }
    }
    connect::link(&mut chain, subject);
    Ok(chain.into_answer(subject.to_string(), matches!(subject.of, Of::Vip(_))))
}

/// The object that stands for the subject.
fn about(facts: &Facts, subject: &Subject) -> Option<ObjectRef> {
    match &subject.of {
        Of::Object(object) => Some(object.clone()),
        Of::Vip(vip) => users_of(facts, *vip).into_iter().next(),
    }
}

/// Who has an address, or asks for it and has not got it.
fn users_of(facts: &Facts, address: IpAddr) -> Vec<ObjectRef> {
    match facts.vips.get(&address) {
        Some(vip) => vip.users.clone(),
        None => {
            let things = facts.things.keys();
            things.filter(|one| known::asks_for(facts, one, address)).cloned().collect()
        }
    }
}

fn of_vip(chain: &mut Chain<'_>, address: IpAddr, port: Option<u16>) -> Result<()> {
    let facts = chain.facts;
    let users = users_of(facts, address);
    if users.is_empty() {
        if let Some(why) = facts.unlisted(&[Kind::VirtualIp, Kind::Gateway, Kind::Service]) {
            bail!("whether {address} is a VIP is not known: {why}");
        }
        let all: Vec<String> = facts.vips.keys().map(IpAddr::to_string).collect();
        bail!(known::not_a_vip(address, &all));
    }
    let meant: Vec<&ObjectRef> = users
        .iter()
        .filter(|user| {
            port.is_none_or(|port| known::ports(facts, user).is_none_or(|all| all.contains(&port)))
        })
        .collect();
    if meant.is_empty() {
        let all: Vec<u16> =
            users.iter().filter_map(|user| known::ports(facts, user)).flatten().collect();
        let known = known::other_ports(facts, &all);
        bail!("{address} has no port {}{known}", port.unwrap_or_default());
    }
    for user in meant {
        match user.kind {
            Kind::Service => service::links(chain, user, Some(address)),
            _ => gateway::links(chain, user, Some(address)),
        }
    }
    Ok(())
}

/// The reader of manifests has something against an object, or it is going.
fn object(chain: &mut Chain<'_>, about: &ObjectRef) {
    let facts = chain.facts;
    let unread: Vec<_> = facts.told(about).filter(|told| told.reason.is_none()).collect();
    for told in &unread {
        // What could not be reached is another link's.
        if told.place.is_some() {
            chain.broken(Cause::ManifestInvalid, about, told.message.clone(), Fill::none());
        }
    }
    for (place, why) in &facts.unreadable {
        let text = format!(
            "{place} cannot be read ({why}): what it says of this object, if it is there, is not obeyed"
        );
        chain.note(Stage::Object, about, text);
    }
    let Some(thing) = facts.things.get(about) else { return };
    if thing["metadata"]["deletionTimestamp"].is_string() {
        let text = "it was deleted, and a finalizer holds it";
        chain.broken(Cause::BeingDeleted, about, text, Fill::none());
    } else if !chain.is_broken_at(Stage::Object) {
        chain.good(Stage::Object, about, "exists");
    }
}
