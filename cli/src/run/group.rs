//! The group of hosts that share one set of VIPs: how it is found, and who gives out addresses.
//!
//! Every host reads the same manifests, but only one gives out addresses: the lowest member that is
//! alive (by where it is reached). Claims are replicated as notes of each member:
//!
//! ```text
//!   c<address>#<n>  a user of a claim that this member goes by, as JSON without ports: those are in
//!                   the manifests
//!   f<address>      a host outside of the group has the address: its MAC
//!   n               the labels of this member, as JSON
//!   t               the term of this member: raised each time it begins to lead
//!   l<member>       this member leads, and has taken the claims that that one had in this term of its
//! ```
//!
//! A member that is not the lowest goes by what it has until the lowest has taken that over; then by the
//! lowest one's claims. So nothing that was given out is forgotten when hosts come together: of two
//! claims to one address the published one counts, then the leader's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use vipgate_api::ObjectRef;
use vipgate_api::selector::Labels;
use vipgate_planner::{Claim, Claims, Foreign, MacAddr, Neighbour, Neighbours, Origin, VipUser};
use vipgate_speaker::group::core::Setup;
use vipgate_speaker::group::{Group, Keyring, Notes, Other, Standing, beacon};

use crate::args::GroupArgs;

/// Where members are reached when nothing else is said.
pub(crate) const PORT: u16 = 7947;

/// What a supervisor may take to start the process again.
const RESTART_WITHIN: Duration = Duration::from_millis(500);

/// An address like those of this host.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);

/// The group of a cluster's speakers; each cluster has a key of its own.
const CLUSTER: &str = "cluster";

const CLAIM: u8 = b'c';
const LEADS: u8 = b'l';
const FOREIGN: u8 = b'f';
const TERM: &[u8] = b"t";
const LABELS: &[u8] = b"n";

/// Says what labels this host has, for the others to know which VIPs it could have.
pub(crate) fn introduce(group: &Group, labels: &Labels) {
    group.note(LABELS, serde_json::to_vec(labels).ok());
}

/// The other hosts, as they introduced themselves.
pub(crate) fn neighbours(standing: &Standing) -> Neighbours {
    let neighbour = |other: &Other| {
        let labels = serde_json::from_slice(other.notes.get(LABELS)?).ok()?;
        Some((other.name.clone(), Neighbour { labels, gives_way: false }))
    };
    standing.others.values().filter_map(|other| neighbour(other)).collect()
}

/// Joins the group that the arguments name, if any. Without peers they are found by beacons.
pub(crate) fn join(
    args: &GroupArgs,
    name: &str,
    former: &BTreeMap<IpAddr, u64>,
) -> Result<Option<Arc<Group>>> {
    let Some(key) = &args.group_key else { return Ok(None) };
    let keys = Keyring::open(key)?;
    let seeds: BTreeSet<SocketAddr> = args.peers.iter().copied().collect();
    let address = match args.group_address {
        Some(address) => {
            let ip = address.ip();
            ensure!(is_here(ip), "--group-address {ip} is no address of this host");
            address
        }
        None if seeds.is_empty() => SocketAddr::new(
            source_towards(beacon::destination(ANYWHERE).ip()).context(
                "say where the other hosts of the group are (--peer), or which address of this host is on \
                 their network (--group-address)",
            )?,
            PORT,
        ),
        None => own_address(&seeds)?,
    };
    let group = args.group_name.clone();
    let beacon = seeds.is_empty();
    let restart = args.restart_within.or_else(of_supervisor);
    let rebalance = args.rebalance;
    let setup = Setup { group, keys, address, epoch: epoch(), seeds, restart, beacon, rebalance };
    Ok(Some(Arc::new(Group::start(setup, name, former)?)))
}

/// Joins the group of a cluster's speakers. More of them come later ([`Group::set_seeds`]).
pub(crate) fn join_cluster(
    address: SocketAddr,
    node: &str,
    keys: Keyring,
    seeds: BTreeSet<SocketAddr>,
    rebalance: bool,
    former: &BTreeMap<IpAddr, u64>,
) -> Result<Arc<Group>> {
    let group = CLUSTER.to_owned();
    // A kubelet takes a second and more to start a container again: that is not waited for.
    let (restart, beacon) = (None, false);
    let setup = Setup { group, keys, address, epoch: epoch(), seeds, restart, beacon, rebalance };
    Ok(Arc::new(Group::start(setup, node, former)?))
}

/// A service of systemd is started again 100 ms after a crash, where its unit says so.
fn of_supervisor() -> Option<Duration> {
    std::env::var_os("INVOCATION_ID").map(|_| RESTART_WITHIN)
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
    if let Some(here) = peers.iter().find(|peer| is_here(peer.ip())) {
        return Ok(*here);
    }
    let first = peers.first().context("a group needs at least one --peer")?;
    let ip = source_towards(first.ip()).with_context(|| {
        format!("there is no way to {first} yet: say --group-address, the address of this host")
    })?;
    Ok(SocketAddr::new(ip, PORT))
}

/// Whether an address is this host's. (Binding it proves nothing: `net.ipv4.ip_nonlocal_bind`.)
fn is_here(ip: IpAddr) -> bool {
    source_towards(ip).is_ok_and(|source| source == ip)
}

/// By which address this host would send there. Nothing is sent.
fn source_towards(ip: IpAddr) -> std::io::Result<IpAddr> {
    let unspecified: IpAddr = if ip.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((unspecified, 0))?;
    socket.connect((ip, PORT))?;
    Ok(socket.local_addr()?.ip())
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

/// What a member says of a user of a claim.
#[derive(Serialize, Deserialize)]
struct Said {
    pool: String,
    user: ObjectRef,
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
    /// How often this host began to lead.
    term: u64,
    /// Members whose claims were taken into ours, with their terms then, while this host leads.
    merged: Option<BTreeMap<SocketAddr, Vec<u8>>>,
    /// What the leader said last, and its claims: they are looked at whenever anything happens.
    read: Option<(Notes, Claims)>,
    /// From what was last said the notes were made.
    said: Option<Words>,
}

/// What the notes of a host are made from.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    claims: Claims,
    foreign: Foreign,
    term: u64,
    merged: Option<BTreeMap<SocketAddr, Vec<u8>>>,
}

impl Clerk {
    /// Looks at the group anew. `own` are the claims that this host goes by.
    pub(crate) fn look(&mut self, me: SocketAddr, standing: &Standing, own: &Claims) -> Lead {
        let Standing { others, ownership, .. } = standing;
        if let Some((_, leader)) = others.first_key_value().filter(|(other, _)| **other < me) {
            self.merged = None;
            // What was taken over in an earlier term lacks what this host gave out since.
            let granted = leader.notes.get(&keyed(LEADS, me.to_string().as_bytes()));
            return match leader.complete && granted == Some(&self.term()) {
                true => Lead::There(carried(self.claims_of(&leader.notes), own)),
                false => Lead::Nobody,
            };
        }
        if self.merged.is_none() && !ownership.settled {
            return Lead::Nobody;
        }
        if self.merged.is_none() {
            self.term += 1;
        }
        let merged = self.merged.get_or_insert_default();
        merged.retain(|member, _| others.contains_key(member));
        let mut claims = own.clone();
        for (member, other) in others.iter().filter(|(_, other)| other.complete) {
            let term = other.notes.get(TERM).cloned().unwrap_or_default();
            if merged.get(member) == Some(&term) {
                continue;
            }
            merged.insert(*member, term);
            for (address, theirs) in claims_of(&other.notes).0 {
                let ours = claims.0.get(&address);
                if ours.is_none_or(|ours| theirs.published && !ours.published) {
                    claims.0.insert(address, theirs);
                }
            }
        }
        Lead::Here((claims != *own).then_some(claims))
    }

    /// The claims of the leader.
    fn claims_of(&mut self, notes: &Notes) -> Claims {
        if self.read.as_ref().is_none_or(|(read, _)| read != notes) {
            self.read = Some((notes.clone(), claims_of(notes)));
        }
        self.read.as_ref().map(|(_, claims)| claims.clone()).unwrap_or_default()
    }

    fn term(&self) -> Vec<u8> {
        self.term.to_be_bytes().to_vec()
    }

    /// What this host says to the others.
    pub(crate) fn say(&mut self, group: &Group, claims: &Claims, foreign: &Foreign) {
        let words = Words {
            claims: claims.clone(),
            foreign: foreign.clone(),
            term: self.term,
            merged: self.merged.clone(),
        };
        if self.said.as_ref() != Some(&words) {
            group.notes(|notes| self.write(claims, foreign, notes));
            self.said = Some(words);
        }
    }

    fn write(&self, claims: &Claims, foreign: &Foreign, notes: &mut Notes) {
        notes.retain(|key, _| !matches!(key.first(), Some(&CLAIM | &LEADS | &FOREIGN)));
        notes.insert(TERM.to_vec(), self.term());
        for (address, claim) in &claims.0 {
            for (number, user) in claim.users.iter().enumerate() {
                let said = Said {
                    pool: claim.pool.clone(),
                    user: user.object.clone(),
                    origin: claim.origin,
                    published: claim.published,
                };
                let key = keyed(CLAIM, format!("{address}#{number}").as_bytes());
                notes.insert(key, serde_json::to_vec(&said).expect("claims are plain data"));
            }
        }
        for (address, mac) in foreign {
            notes.insert(keyed(FOREIGN, address.to_string().as_bytes()), mac.0.to_vec());
        }
        for (member, term) in self.merged.iter().flatten() {
            notes.insert(keyed(LEADS, member.to_string().as_bytes()), term.clone());
        }
    }
}

fn keyed(prefix: u8, rest: &[u8]) -> Vec<u8> {
    [&[prefix], rest].concat()
}

/// Addresses that hosts outside of the group have, as its members found.
pub(crate) fn foreign(standing: &Standing) -> Foreign {
    let finding = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let (&FOREIGN, address) = key.split_first()? else { return None };
        let address = std::str::from_utf8(address).ok()?.parse().ok()?;
        Some((address, MacAddr(value.as_slice().try_into().ok()?)))
    };
    standing.others.values().flat_map(|other| &other.notes).filter_map(finding).collect()
}

/// The claims that a member says it goes by; what cannot be read is of a later version, and left out.
fn claims_of(notes: &Notes) -> Claims {
    let mut claims = Claims::default();
    for (key, value) in notes {
        let Some((address, said)) = claim_of(key, value) else { continue };
        let Said { pool, user: object, origin, published } = said;
        let claim = Claim { pool, users: Vec::new(), origin, published };
        let claim = claims.0.entry(address).or_insert(claim);
        claim.users.push(VipUser { object, ports: Vec::new(), terms: None });
    }
    for claim in claims.0.values_mut() {
        claim.users.sort_unstable();
    }
    claims
}

fn claim_of(key: &[u8], value: &[u8]) -> Option<(IpAddr, Said)> {
    let (&CLAIM, place) = key.split_first()? else { return None };
    let (address, _) = std::str::from_utf8(place).ok()?.split_once('#')?;
    Some((address.parse().ok()?, serde_json::from_slice(value).ok()?))
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
