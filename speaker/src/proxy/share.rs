//! Where a route sends connections, with what picking needs at hand: a target and its backendRefs.
//!
//! Which backendRef is the matter of weights, and those are exact ([`pick`](super::pick)) — unless a client is
//! to stay where it is: when every backendRef with a weight balances by the client's address or has session
//! affinity, the address decides about the backendRef, too, by a weighted rendezvous hash
//! ([`balance::hash`](super::balance::hash)). Then each gets its weight's part of the clients, not of the
//! connections. One without endpoints keeps its clients, too: they are reset.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use vipgate_api::ObjectRef;
use vipgate_planner::{BackendSettings, BackendShare, Target};

use super::balance::affinity::Affinity;
use super::balance::hash::{Client, ShareKey};
use super::balance::random::Random;
use super::balance::{Balancer, Candidates, Standing};
use super::check::CheckState;
use super::departure::Member;
use super::endpoint::{EndpointState, Held};
use super::endpoints::Endpoints;

/// A target with what connecting needs at hand.
#[derive(Debug)]
pub(crate) struct Forward {
    /// Shared on its own: an open connection keeps its route's name, not all its endpoints.
    pub(crate) route: Arc<ObjectRef>,
    pub(crate) shares: Vec<Share>,
    /// The client's address decides about the share.
    by_client: bool,
    /// A pick needs the client's address.
    pub(crate) wants_client: bool,
}

/// A backendRef.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) weight: u32,
    /// What it is called.
    pub(super) backend: Arc<str>,
    key: ShareKey,
    pub(crate) endpoints: Vec<Arc<EndpointState>>,
    pub(crate) settings: Arc<BackendSettings>,
    balancer: Balancer,
    affinity: Option<Arc<Affinity>>,
    /// By endpoint, where it is checked; else empty.
    pub(super) checks: Vec<Option<Arc<CheckState>>>,
    /// By endpoint, where it matters that one leaves; else empty.
    pub(super) members: Vec<Arc<Member>>,
}

impl Forward {
    /// Prepares a target.
    pub(crate) fn new(target: &Target, endpoints: &mut Endpoints) -> Self {
        let route = Arc::new(target.route.clone());
        let mut seen: HashMap<&str, u64> = HashMap::new();
        let shares: Vec<Share> = target
            .shares
            .iter()
            .map(|share| {
                let nth = seen.entry(&share.backend).or_default();
                *nth += 1;
                Share::new(&route, share, *nth - 1, endpoints)
            })
            .collect();
        let stays =
            |share: &Share| share.settings.balancing.is_hash() || share.settings.affinity.is_some();
        let weighty = || shares.iter().filter(|share| share.weight > 0);
        let by_client = weighty().count() > 1 && weighty().all(stays);
        let wants_client = weighty().any(stays);
        Self { route, by_client, wants_client, shares }
    }

    /// Whether any connection could be forwarded.
    pub(crate) fn has_endpoints(&self) -> bool {
        self.shares.iter().any(|share| share.weight > 0 && !share.endpoints.is_empty())
    }

    /// Whether a pick over this one may go on where a pick over `other` stopped.
    pub(crate) fn same_weights(&self, other: &Self) -> bool {
        self.route == other.route
            && self.shares.iter().map(|s| s.weight).eq(other.shares.iter().map(|s| s.weight))
    }

    /// The share of a new connection: the client's own where its address decides, else whose turn it is.
    pub(crate) fn share(
        &self,
        client: &Client,
        turn: impl FnOnce() -> Option<usize>,
    ) -> Option<usize> {
        if !self.by_client {
            return turn();
        }
        client.share(self.shares.iter().map(|share| (share.key, share.weight)))
    }

    /// The client as picks of this target see it; none where they need one and there is none.
    pub(crate) fn client(&self, address: Option<IpAddr>) -> Option<Client> {
        match (self.wants_client, address) {
            (false, _) => Some(Client::ANY),
            (true, address) => address.map(Client::of),
        }
    }
}

impl Share {
    fn new(route: &Arc<ObjectRef>, share: &BackendShare, nth: u64, known: &mut Endpoints) -> Self {
        let settings = Arc::clone(&share.settings);
        let backend: Arc<str> = share.backend.as_str().into();
        let balancer =
            Balancer::new(settings.balancing, &share.endpoints, || known.maglev(&share.endpoints));
        let endpoints = share.endpoints.iter().map(|e| known.state(e.0)).collect();
        let affinity = settings.affinity.map(|_| known.affinity(route, &backend));
        let checks = match &settings.check {
            Some(check) => share.endpoints.iter().map(|e| known.check(e.0, check)).collect(),
            None => Vec::new(),
        };
        let members = match settings.close_gone_after {
            Some(_) => share.endpoints.iter().map(|e| known.member(route, &backend, e.0)).collect(),
            None => Vec::new(),
        };
        let key = ShareKey::of(&backend, nth);
        let weight = share.weight;
        Self { weight, backend, key, endpoints, settings, balancer, affinity, checks, members }
    }

    /// The place of the endpoint for a client's new connection; none where there are none. `turn` counts
    /// the picks.
    pub(crate) fn pick(
        &self,
        client: &Client,
        turn: &mut usize,
        random: &mut Random,
        now: Instant,
    ) -> Option<usize> {
        let mut balance = || self.balancer.pick(client, self, turn, random);
        let (Some(affinity), Some(timeout)) = (&self.affinity, self.settings.affinity) else {
            return balance();
        };
        let takes = |address| {
            let place = self.endpoints.iter().position(|e| e.address == address)?;
            (self.standing(place) == Standing::Good).then_some(place)
        };
        affinity.endpoint(client, now, timeout, takes, || {
            let place = balance()?;
            Some((place, self.endpoints[place].address))
        })
    }

    /// The place of the endpoint that is tried after `at`; see [`Balancer::next`].
    pub(crate) fn next(
        &self,
        client: &Client,
        at: usize,
        asked: impl Fn(usize) -> Option<bool>,
    ) -> Option<usize> {
        self.balancer.next(client, self, at, asked)
    }

    /// A client ended up at another endpoint than was picked.
    pub(crate) fn moved(&self, client: &Client, place: usize, now: Instant) {
        if let (Some(affinity), Some(timeout)) = (&self.affinity, self.settings.affinity) {
            affinity.note(client, self.endpoints[place].address, now, timeout);
        }
    }

    /// Holds an endpoint for a connection, where connections are counted or may have to end.
    pub(crate) fn hold(&self, place: usize) -> Option<Held> {
        let counts = matches!(self.balancer, Balancer::LeastConnections);
        (counts || !self.members.is_empty()).then(|| Held::new(&self.endpoints[place]))
    }
}

impl Candidates for Share {
    fn count(&self) -> usize {
        self.endpoints.len()
    }

    fn standing(&self, place: usize) -> Standing {
        let check = self.checks.get(place).and_then(Option::as_ref);
        if check.is_some_and(|check| check.is_unhealthy()) {
            return Standing::Unhealthy;
        }
        let endpoint = &self.endpoints[place];
        match self.settings.eject_after {
            Some(failures) if endpoint.is_ejected_after(failures) => Standing::Ejected,
            _ => Standing::Good,
        }
    }

    fn open(&self, place: usize) -> usize {
        self.endpoints[place].open()
    }
}
