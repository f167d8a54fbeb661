//! Everything that outlives a target's tables: states of endpoints and of checks, members, affinities,
//! Maglev tables. One of each, found again while anybody still has it.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use vipgate_api::ObjectRef;
use vipgate_planner::{Check, Endpoint};

use super::balance::affinity::Affinity;
use super::balance::maglev::Maglev;
use super::check::CheckState;
use super::departure::Member;
use super::endpoint::{EndpointState, Use};
use super::prober::Prober;
use super::share::Forward;
use super::tls::backend::Backends;

/// A backendRef: its route, and what it is called there.
type Backend = (Arc<ObjectRef>, Arc<str>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Endpoints {
    known: HashMap<SocketAddr, Weak<EndpointState>>,
    checks: HashMap<(SocketAddr, Check), Weak<CheckState>>,
    affinities: HashMap<Backend, Weak<Affinity>>,
    members: HashMap<(Backend, SocketAddr), Weak<Member>>,
    maglevs: HashMap<Box<[Endpoint]>, Weak<Maglev>>,
    /// How backends are spoken to by TLS.
    pub(super) tls: Backends,
    ejects: bool,
    prober: Option<Prober>,
}

impl Endpoints {
    /// None so far. Without a prober none is ejected or checked.
    pub(crate) fn new(prober: Option<Prober>) -> Self {
        Self {
            known: HashMap::new(),
            checks: HashMap::new(),
            affinities: HashMap::new(),
            members: HashMap::new(),
            maglevs: HashMap::new(),
            tls: Backends::default(),
            ejects: true,
            prober,
        }
    }

    /// Those of an engine that does not connect to them by TCP: none is ejected, and they are checked
    /// where the check says another port.
    pub(crate) fn of_datagrams(prober: Prober) -> Self {
        Self { ejects: false, ..Self::new(Some(prober)) }
    }

    /// The state of an address.
    pub(crate) fn state(&mut self, address: SocketAddr) -> Arc<EndpointState> {
        let prober = self.prober.clone().filter(|_| self.ejects);
        found(&mut self.known, address, || EndpointState::new(address, prober))
    }

    /// The state of a check of an address, if there is anybody to ask, and a port to ask at.
    pub(super) fn check(&mut self, address: SocketAddr, check: &Check) -> Option<Arc<CheckState>> {
        let prober = self.prober.as_ref()?;
        if !self.ejects && check.port.is_none() {
            return None;
        }
        let mut new = false;
        let state = found(&mut self.checks, (address, check.clone()), || {
            new = true;
            CheckState::new(address, check.clone())
        });
        if new {
            prober.check(&state);
        }
        Some(state)
    }

    pub(super) fn affinity(&mut self, route: &Arc<ObjectRef>, backend: &Arc<str>) -> Arc<Affinity> {
        let key = (Arc::clone(route), Arc::clone(backend));
        found(&mut self.affinities, key, Affinity::default)
    }

    pub(super) fn member(
        &mut self,
        route: &Arc<ObjectRef>,
        backend: &Arc<str>,
        address: SocketAddr,
    ) -> Arc<Member> {
        let key = ((Arc::clone(route), Arc::clone(backend)), address);
        found(&mut self.members, key, Member::default)
    }

    /// The Maglev table of these endpoints. It is built once for all that have the same.
    pub(super) fn maglev(&mut self, endpoints: &[Endpoint]) -> Arc<Maglev> {
        found(&mut self.maglevs, endpoints.into(), || {
            let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.0).collect();
            Maglev::new(&addresses)
        })
    }

    /// Learns what the targets that serve now ask of their endpoints, and which endpoints left them.
    /// Whether any left, or came back, that has connections for which that matters.
    pub(super) fn settle<'a>(
        &mut self,
        forwards: impl Iterator<Item = &'a Arc<Forward>>,
        now: Instant,
    ) -> bool {
        let mut uses: HashMap<SocketAddr, Use> = HashMap::new();
        let mut routes: HashSet<&ObjectRef> = HashSet::new();
        let mut backends: HashMap<Backend, Option<Duration>> = HashMap::new();
        let mut there: HashSet<(Backend, SocketAddr)> = HashSet::new();
        // Nearly always there is none of which it matters that it leaves.
        let members_matter = !self.members.is_empty();
        for forward in forwards {
            for share in &forward.shares {
                let settings = &share.settings;
                let asks =
                    Use { eject_after: settings.eject_after, patience: settings.connect_timeout };
                for endpoint in &share.endpoints {
                    let both = uses.entry(endpoint.address).or_insert(asks);
                    *both = both.and(asks);
                }
            }
            if !members_matter {
                continue;
            }
            routes.insert(&*forward.route);
            for share in &forward.shares {
                let backend = (Arc::clone(&forward.route), Arc::clone(&share.backend));
                let addresses = share.endpoints.iter().map(|endpoint| endpoint.address);
                there.extend(addresses.map(|address| (backend.clone(), address)));
                backends.insert(backend, share.settings.close_gone_after);
            }
        }
        for state in self.iter_all() {
            state.use_as(uses.get(&state.address).copied());
        }
        let mut news = false;
        for (key, member) in &self.members {
            let Some(member) = member.upgrade() else { continue };
            let after = backends.get(&key.0).copied();
            news |= if there.contains(key) {
                member.stays(after.flatten())
            } else {
                // A route that serves nowhere for now says nothing of its endpoints.
                routes.contains(&*key.0.0) && member.left(now, after)
            };
        }
        news
    }

    /// Forgets what nobody has any more.
    pub(crate) fn forget_unused(&mut self) {
        self.known.retain(|_, state| state.strong_count() > 0);
        self.checks.retain(|_, state| state.strong_count() > 0);
        self.affinities.retain(|_, state| state.strong_count() > 0);
        self.members.retain(|_, state| state.strong_count() > 0);
        self.maglevs.retain(|_, state| state.strong_count() > 0);
        self.tls.forget_unused();
    }

    /// Those that some target has.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Arc<EndpointState>> {
        self.iter_all().filter(|state| state.is_in_use())
    }

    /// Those that checks found not to work.
    pub(super) fn unhealthy(&self) -> HashSet<SocketAddr> {
        let checks = self.checks.values().filter_map(Weak::upgrade);
        checks.filter(|check| check.is_unhealthy()).map(|check| check.endpoint).collect()
    }

    fn iter_all(&self) -> impl Iterator<Item = Arc<EndpointState>> {
        self.known.values().filter_map(Weak::upgrade)
    }
}

/// What is known under a key; a new one if there is none.
fn found<K: Eq + Hash, V>(
    known: &mut HashMap<K, Weak<V>>,
    key: K,
    new: impl FnOnce() -> V,
) -> Arc<V> {
    let known = known.entry(key).or_default();
    known.upgrade().unwrap_or_else(|| {
        let value = Arc::new(new());
        *known = Arc::downgrade(&value);
        value
    })
}
