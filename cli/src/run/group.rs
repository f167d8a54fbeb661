//! The group of hosts that share one set of VIPs: how it is found, and who gives out addresses.
//!
//! Every host reads the same manifests, but only one gives out addresses: the lowest member that is
//! alive (by where it is reached). Claims are replicated as notes of each member:
//!
//! ```text
//!   c<address>   a claim that this member goes by, as JSON without ports: those are in the manifests
//!   l<member>    this member leads, and has taken the claims of that one into its own
//! ```
//!
//! A member that is not the lowest goes by what it has until the lowest has taken that over; then by the
//! lowest one's claims. So nothing that was given out is forgotten when hosts come together: of two
//! claims to one address the published one counts, then the leader's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use vipgate_api::ObjectRef;
use vipgate_planner::{Claim, Claims, Origin, VipUser};
use vipgate_speaker::group::core::Setup;
use vipgate_speaker::group::{Group, Keyring, Notes, Standing};

use crate::args::GroupArgs;

/// Where members are reached when nothing else is said.
pub(crate) const PORT: u16 = 7947;

/// The group of a cluster's speakers; each cluster has a key of its own.
const CLUSTER: &str = "cluster";

const CLAIM: u8 = b'c';
const LEADS: u8 = b'l';

/// Joins the group that the arguments name, if any.
pub(crate) fn join(
    args: &GroupArgs,
    name: &str,
    former: &BTreeMap<IpAddr, u64>,
) -> Result<Option<Arc<Group>>> {
    let Some(key) = &args.group_key else { return Ok(None) };
    let keys = Keyring::open(key)?;
    let seeds: BTreeSet<SocketAddr> = args.peers.iter().copied().collect();
    let address = match args.group_address {
        Some(address) => address,
        None => own_address(&seeds)?,
    };
    let setup = Setup { group: args.group_name.clone(), keys, address, epoch: epoch(), seeds };
    Ok(Some(Arc::new(Group::start(setup, name, former)?)))
}

/// Joins the group of a cluster's speakers. More of them come later ([`Group::set_seeds`]).
pub(crate) fn join_cluster(
    address: SocketAddr,
    node: &str,
    keys: Keyring,
    seeds: BTreeSet<SocketAddr>,
    former: &BTreeMap<IpAddr, u64>,
) -> Result<Arc<Group>> {
    let group = CLUSTER.to_owned();
    let setup = Setup { group, keys, address, epoch: epoch(), seeds };
    Ok(Arc::new(Group::start(setup, node, former)?))
}

/// Larger than in every life before, as long as the clock does not go back; then it takes seconds
/// until the others believe it.
fn epoch() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let (seconds, nanoseconds) = (now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned());
    seconds.saturating_mul(1_000).saturating_add(nanoseconds / 1_000_000)
}

/// The peer that is this host, so that all hosts can be given one list; else the address by which
/// this host reaches the first one.
fn own_address(peers: &BTreeSet<SocketAddr>) -> Result<SocketAddr> {
    let is_here = |peer: &&SocketAddr| UdpSocket::bind((peer.ip(), 0)).is_ok();
    if let Some(here) = peers.iter().find(is_here) {
        return Ok(*here);
    }
    let first = peers.first().context("a group needs at least one --peer")?;
    let unspecified: IpAddr = if first.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let probe = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((unspecified, 0))?;
        socket.connect(first)?;
        Ok(socket.local_addr()?.ip())
    };
    let ip = probe().with_context(|| {
        format!("there is no way to {first} yet: say --group-address, the address of this host")
    })?;
    ensure!(!ip.is_unspecified(), "say --group-address: how others reach this host is not clear");
    Ok(SocketAddr::new(ip, PORT))
}

/// What is to be known of members that should be there and are not.
pub(crate) fn missing(standing: &Standing) -> impl Iterator<Item = String> {
    let text = |address: &SocketAddr| {
        format!(
            "{address} of the group does not answer: does vipgate run there with the same key, and do \
             firewalls let UDP through?"
        )
    };
    standing.missing.iter().map(text)
}

/// Who was there the last time, for the log.
#[derive(Debug, Default)]
pub(crate) struct Roll(BTreeMap<SocketAddr, String>);

impl Roll {
    /// Says who came and who went. A member is named once its name is known.
    pub(crate) fn call(&mut self, standing: &Standing) {
        let named = standing.others.iter().filter(|(_, other)| !other.name.is_empty());
        let now: BTreeMap<SocketAddr, String> =
            named.map(|(address, other)| (*address, other.name.clone())).collect();
        for (address, name) in now.iter().filter(|(address, _)| !self.0.contains_key(*address)) {
            tracing::info!(%address, "{name} is there, as one of the group");
        }
        for (address, name) in self.0.iter().filter(|(address, _)| !now.contains_key(*address)) {
            tracing::warn!(%address, "{name} is gone from the group");
        }
        self.0 = now;
    }
}

/// What a member says of a claim.
#[derive(Serialize, Deserialize)]
struct Said {
    pool: String,
    users: Vec<ObjectRef>,
    origin: Origin,
    published: bool,
}

/// Who gives out addresses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// This host, from these claims on when there are some that it does not have.
    Here(Option<Claims>),
    /// Another one, and these are its claims.
    There(Claims),
    /// Nobody yet: what is there stays, nothing is added.
    Nobody,
}

/// This host's part in the giving out of addresses.
#[derive(Debug, Default)]
pub(crate) struct Clerk {
    /// Members whose claims were taken into ours, while this host leads.
    merged: Option<BTreeSet<SocketAddr>>,
}

impl Clerk {
    /// Looks at the group anew. `own` are the claims that this host goes by.
    pub(crate) fn look(&mut self, me: SocketAddr, standing: &Standing, own: &Claims) -> Lead {
        let Standing { others, ownership, .. } = standing;
        if let Some((lowest, leader)) = others.first_key_value().filter(|(other, _)| **other < me) {
            self.merged = None;
            let mine = keyed(LEADS, me.to_string().as_bytes());
            let granted = leader.complete && leader.notes.contains_key(&mine);
            tracing::trace!(%lowest, granted, "another member gives out addresses");
            return match granted {
                true => Lead::There(carried(claims_of(&leader.notes), own)),
                false => Lead::Nobody,
            };
        }
        let complete = || others.iter().filter(|(_, other)| other.complete);
        if self.merged.is_none() && !ownership.settled {
            return Lead::Nobody;
        }
        let merged = self.merged.get_or_insert_default();
        merged.retain(|member| others.contains_key(member));
        let new: Vec<_> = complete().filter(|(member, _)| !merged.contains(*member)).collect();
        if new.is_empty() {
            return Lead::Here(None);
        }
        let mut claims = own.clone();
        for (member, other) in new {
            merged.insert(*member);
            for (address, theirs) in claims_of(&other.notes).0 {
                let ours = claims.0.get(&address);
                if ours.is_none_or(|ours| theirs.published && !ours.published) {
                    claims.0.insert(address, theirs);
                }
            }
        }
        Lead::Here((claims != *own).then_some(claims))
    }

    /// What this host says to the others.
    pub(crate) fn say(&self, claims: &Claims, notes: &mut Notes) {
        notes.retain(|key, _| !matches!(key.first(), Some(&CLAIM | &LEADS)));
        for (address, claim) in &claims.0 {
            let said = Said {
                pool: claim.pool.clone(),
                users: claim.users.iter().map(|user| user.object.clone()).collect(),
                origin: claim.origin,
                published: claim.published,
            };
            let key = keyed(CLAIM, address.to_string().as_bytes());
            let value = serde_json::to_vec(&said).expect("claims are plain data");
            if key.len() + value.len() < LONGEST {
                notes.insert(key, value);
            } else {
                tracing::warn!(%address, "a claim of so many users is not known to the group");
            }
        }
        for member in self.merged.iter().flatten() {
            notes.insert(keyed(LEADS, member.to_string().as_bytes()), Vec::new());
        }
    }
}

/// What the group takes of a key and its value.
const LONGEST: usize = vipgate_speaker::group::store::MAX_ENTRY - 1;

fn keyed(prefix: u8, rest: &[u8]) -> Vec<u8> {
    [&[prefix], rest].concat()
}

/// The claims that a member says it goes by; what cannot be read is of a later version, and left out.
fn claims_of(notes: &Notes) -> Claims {
    let claim = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let (&CLAIM, address) = key.split_first()? else { return None };
        let address: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
        let Said { pool, users, origin, published } = serde_json::from_slice(value).ok()?;
        let users =
            users.into_iter().map(|object| VipUser { object, ports: Vec::new(), terms: None });
        Some((address, Claim { pool, users: users.collect(), origin, published }))
    };
    Claims(notes.iter().filter_map(claim).collect())
}

/// Claims of the leader, with what we know of them: their ports, and that they were published.
fn carried(mut claims: Claims, own: &Claims) -> Claims {
    for (address, claim) in &mut claims.0 {
        let Some(ours) = own.0.get(address) else { continue };
        let same = |a: &VipUser, b: &VipUser| a.object == b.object;
        if ours.users.len() == claim.users.len()
            && ours.users.iter().zip(&claim.users).all(|(a, b)| same(a, b))
        {
            claim.users.clone_from(&ours.users);
            claim.published |= ours.published;
        }
    }
    claims
}

#[cfg(test)]
mod tests;
