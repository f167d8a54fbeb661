//! Pools: which addresses are offered, and to whom.
//!
//! What always holds: every address belongs to at most one pool. Where pools overlap, the first by
//! name has the addresses, and the others are reported as overlapping. So "which pool is this
//! address of" has one answer, for requested and for chosen addresses alike.
//!
//! Network and broadcast addresses of an IPv4 CIDR are addresses like any other, as in MetalLB: a
//! VIP is a /32 and knows no subnet. `avoidBuggyIPs` keeps `.0` and `.255` back for clients
//! that refuse them. What can never be a VIP (multicast, `0.0.0.0/8`, `::1` …) is in no pool.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vipgate_api::k8s::{LabelSelector, NAMESPACE_NAME_LABEL, Namespace};
use vipgate_api::selector::{Labels, matches};
use vipgate_api::vipgate::{
    AddressRange, AddressRangeError, IpAddressPool, IpAddressPoolSpec, ServiceAllocation,
};
use vipgate_api::{Kind, ObjectKey};

use super::span::{Family, Spans};
use super::want::Want;
use crate::world::Shelf;

/// Never the address of anything that a client connects to, whatever a pool says.
const NEVER: [AddressRange; 10] = [
    // "This network", RFC 6890.
    v4([0, 0, 0, 0], [0, 255, 255, 255]),
    // The ends of the loopback network: broadcast to kernels before 5.14.
    v4([127, 0, 0, 0], [127, 0, 0, 0]),
    v4([127, 255, 255, 255], [127, 255, 255, 255]),
    // Multicast, and the limited broadcast.
    v4([224, 0, 0, 0], [239, 255, 255, 255]),
    v4([255, 255, 255, 255], [255, 255, 255, 255]),
    // Unspecified; the one loopback address, which is the host's own.
    v6(0, 0),
    v6(1, 1),
    // IPv4-mapped, RFC 4291 2.5.5.2: no interface can carry them.
    v6(0xffff_0000_0000, 0xffff_ffff_ffff),
    // Link-local: means nothing without a zone, and an address in a Gateway has none.
    v6(0xfe80 << 112, (0xfec0 << 112) - 1),
    // Multicast.
    v6(0xff00 << 112, u128::MAX),
];

const fn v4(first: [u8; 4], last: [u8; 4]) -> AddressRange {
    let [a, b, c, d] = first;
    let [e, f, g, h] = last;
    AddressRange {
        first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        last: IpAddr::V4(Ipv4Addr::new(e, f, g, h)),
    }
}

const fn v6(first: u128, last: u128) -> AddressRange {
    AddressRange {
        first: IpAddr::V6(Ipv6Addr::from_bits(first)),
        last: IpAddr::V6(Ipv6Addr::from_bits(last)),
    }
}

/// Every usable pool, by name, and the labels of the namespaces that pools may select.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pools {
    pools: Vec<Pool>,
    namespaces: BTreeMap<String, Labels>,
}

/// One pool.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pool {
    /// Name; what claims refer to.
    pub(super) name: String,
    /// Where its object lives.
    namespace: String,
    /// What is given out, except for what [`Self::avoids`].
    offered: Spans,
    /// What `exclusions` takes out of `addresses`.
    excluded: Spans,
    avoid_buggy: bool,
    auto_assign: bool,
    reclaim: bool,
    restriction: ServiceAllocation,
}

/// Why a pool cannot be used. The text is for the status of the pool.
#[derive(Debug, thiserror::Error)]
enum PoolError {
    #[error("spec.addresses[{0}]: {1}")]
    Address(usize, AddressRangeError),
    #[error("spec.exclusions[{0}]: {1}")]
    Exclusion(usize, AddressRangeError),
    #[error(
        "no address is left: add a range to spec.addresses, or take one out of spec.exclusions \
         (multicast, link-local IPv6, 0.0.0.0/8 and ::1 are never given out; .0 and .255 not with \
         avoidBuggyIPs)"
    )]
    Empty,
    #[error("namespace {0:?} has a pool of this name already: give this one another name")]
    SameName(String),
    #[error("all that it could give out is in {with} already: keep every address in one pool")]
    Covered { with: String },
    #[error(
        "{shared} is in {with} too, and is given out from there (the first pool by name has an \
         address): keep every address in one pool"
    )]
    Overlap { shared: Spans, with: String },
}

impl Pools {
    /// Reads all pools. Beside them come the problems, by pool: one that is malformed, empty or of
    /// a name that is taken is left out as a whole; one that overlaps another goes on with the rest.
    pub fn new(
        pools: &Shelf<IpAddressPool>,
        namespaces: &Shelf<Namespace>,
    ) -> (Self, BTreeMap<ObjectKey, String>) {
        let mut by_name: Vec<_> = pools.iter().collect();
        by_name.sort_by_key(|(key, _)| (&key.name, &key.namespace));
        let (mut read, mut problems) = (Vec::new(), BTreeMap::new());
        for (key, stored) in by_name {
            let pool = Pool::read(key, &stored.object.spec);
            match pool.and_then(|pool| pool.beside(&read)) {
                Ok((pool, overlap)) => {
                    problems.extend(overlap.map(|error| (key.clone(), error.to_string())));
                    read.push((key, pool));
                }
                Err(error) => {
                    problems.insert(key.clone(), error.to_string());
                }
            }
        }
        let pools = read.into_iter().map(|(_, pool)| pool).collect();
        let namespaces = namespaces
            .iter()
            .map(|(key, stored)| {
                (key.name.clone(), stored.object.metadata.labels.clone().unwrap_or_default())
            })
            .collect();
        (Self { pools, namespaces }, problems)
    }

    /// Name of the pool that an address belongs to, given out or excluded.
    pub fn pool_of(&self, address: IpAddr) -> Option<&str> {
        self.home(address).map(|pool| pool.name.as_str())
    }

    /// The pool that an address belongs to; one that gives it out goes before one that excludes it.
    pub(super) fn home(&self, address: IpAddr) -> Option<&Pool> {
        let offers = self.pools.iter().find(|pool| pool.offered.contains(address));
        offers.or_else(|| self.pools.iter().find(|pool| pool.excludes(address)))
    }

    /// Whether the object is one of the pools that are used; all others have a problem.
    pub fn is_used(&self, key: &ObjectKey) -> bool {
        self.named(&key.name).is_some_and(|pool| pool.namespace == key.namespace)
    }

    /// How many addresses of a family a pool gives out, taken or not; none when it is not used.
    pub fn size(&self, key: &ObjectKey, family: Family) -> u128 {
        let pool = self.named(&key.name).filter(|pool| pool.namespace == key.namespace);
        pool.map_or(0, |pool| pool.size(family))
    }

    /// Whether the pool of this name gives out the address.
    pub fn gives_out(&self, name: &str, address: IpAddr) -> bool {
        self.named(name).is_some_and(|pool| pool.offers(address))
    }

    /// The pool of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Pool> {
        let index = self.pools.binary_search_by(|pool| pool.name.as_str().cmp(name)).ok()?;
        Some(&self.pools[index])
    }

    /// Names of all pools.
    pub(super) fn names(&self) -> Vec<String> {
        self.pools.iter().map(|pool| pool.name.clone()).collect()
    }

    /// The pools that somebody asks to choose from: those it names, else all with `autoAssign`.
    pub(super) fn candidates(&self, want: &Want) -> impl Iterator<Item = &Pool> {
        let named = want.pool_names();
        self.pools.iter().filter(move |pool| match named.is_empty() {
            true => pool.auto_assign,
            false => named.contains(&pool.name.as_str()),
        })
    }

    /// Those of the candidates that take the user, the preferred one first.
    pub(super) fn usable_by(&self, want: &Want) -> Vec<&Pool> {
        let takes = |pool: &&Pool| self.refusal(pool, want).is_none();
        let mut usable: Vec<_> = self.candidates(want).filter(takes).collect();
        usable.sort_by_key(|pool| pool.rank());
        usable
    }

    /// Why somebody may not have addresses of a pool, if so.
    pub(super) fn refusal(&self, pool: &Pool, want: &Want) -> Option<String> {
        let rule = &pool.restriction;
        let namespace = &want.user.key.namespace;
        let anywhere = rule.namespaces.is_empty() && rule.namespace_selectors.is_empty();
        if !anywhere
            && !rule.namespaces.contains(namespace)
            && !any_selects(&rule.namespace_selectors, &self.labels_of(namespace))
        {
            return Some(format!(
                "its serviceAllocation takes no {}s of namespace {namespace}: add it to \
                 namespaces, or give it labels that namespaceSelectors match",
                want.user.kind
            ));
        }
        let (own, field) = match want.user.kind {
            Kind::Service => (&rule.service_selectors, "serviceSelectors"),
            _ => (&rule.gateway_selectors, "gatewaySelectors"),
        };
        let kind = want.user.kind;
        if rule.service_selectors.is_empty() && rule.gateway_selectors.is_empty() {
            return None;
        }
        if own.is_empty() {
            return Some(format!(
                "its serviceAllocation selects by label, but no {kind}: add {field} to it"
            ));
        }
        (!any_selects(own, &want.labels)).then(|| {
            format!(
                "none of the {field} of its serviceAllocation matches the labels of the {kind}: \
                 change one or the other"
            )
        })
    }

    /// Whether an address is to be taken back from its users: the pool that it came from says so, and
    /// neither that nor another one gives it out any more.
    pub(super) fn reclaims(&self, address: IpAddr, pool: &str) -> bool {
        let given_out = self.home(address).is_some_and(|pool| pool.offers(address));
        !given_out && self.named(pool).is_some_and(|pool| pool.reclaim)
    }

    /// Labels of a namespace, with the one that an API server always sets.
    fn labels_of(&self, namespace: &str) -> Labels {
        let mut labels = self.namespaces.get(namespace).cloned().unwrap_or_default();
        labels.insert(NAMESPACE_NAME_LABEL.to_owned(), namespace.to_owned());
        labels
    }
}

impl Pool {
    fn read(key: &ObjectKey, spec: &IpAddressPoolSpec) -> Result<Self, PoolError> {
        let addresses = parse(&spec.addresses, PoolError::Address)?;
        let exclusions = parse(&spec.exclusions, PoolError::Exclusion)?;
        let pool = Self {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            offered: addresses.minus(&exclusions).minus(&NEVER.into_iter().collect()),
            excluded: addresses.and(&exclusions),
            avoid_buggy: spec.avoid_buggy_ips,
            auto_assign: spec.auto_assign,
            reclaim: spec.reclaim,
            restriction: spec.service_allocation.clone().unwrap_or_default(),
        };
        if pool.is_empty() { Err(PoolError::Empty) } else { Ok(pool) }
    }

    /// Leaves to the pools before this one what is theirs; says so if that was anything.
    fn beside(self, others: &[(&ObjectKey, Self)]) -> Result<(Self, Option<PoolError>), PoolError> {
        if let Some((taken, _)) = others.iter().find(|(key, _)| key.name == self.name) {
            return Err(PoolError::SameName(taken.namespace.clone()));
        }
        let (mut shared, mut with) = (Spans::default(), Vec::new());
        for (_, other) in others {
            let both = self.offered.and(&other.offered);
            if !both.is_empty() {
                shared = shared.or(&both);
                with.push(other.name.as_str());
            }
        }
        if shared.is_empty() {
            return Ok((self, None));
        }
        let with = with.join(", ");
        let rest = Self { offered: self.offered.minus(&shared), ..self };
        if rest.is_empty() {
            return Err(PoolError::Covered { with });
        }
        Ok((rest, Some(PoolError::Overlap { shared, with })))
    }

    /// Whether the pool gives out this address, to those who may use the pool.
    pub(super) fn offers(&self, address: IpAddr) -> bool {
        self.offered.contains(address) && !self.avoids(address)
    }

    /// Whether `exclusions` keeps this address back.
    pub(super) fn excludes(&self, address: IpAddr) -> bool {
        self.excluded.contains(address)
    }

    /// Whether `avoidBuggyIPs` keeps this address back.
    pub(super) fn avoids(&self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return false };
        self.avoid_buggy && matches!(v4.octets()[3], 0 | 255)
    }

    /// Whether the pool gives out addresses of a family, taken or not.
    pub(super) fn has(&self, family: Family) -> bool {
        self.lowest_free(family.lowest(), |_| false).is_some()
    }

    fn is_empty(&self) -> bool {
        !self.has(Family::V4) && !self.has(Family::V6)
    }

    /// The lowest address, from this one on and of its family, that the pool gives out and nobody
    /// has. Steps over taken addresses one by one; callers remember how far they came.
    pub(super) fn lowest_free(
        &self,
        from: IpAddr,
        is_taken: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let mut candidate = self.offered.at_or_after(from)?;
        while self.avoids(candidate) || is_taken(candidate) {
            candidate = self.offered.at_or_after(super::span::next(candidate)?)?;
        }
        Some(candidate)
    }

    /// Whether it is for somebody in particular, or goes before others.
    pub(super) fn is_pinned(&self) -> bool {
        let (unset, priority, everybody, _) = self.rank();
        !unset || priority > 0 || !everybody
    }

    /// Place among the pools: priority 1 first, unset (0) last; then those that are for somebody in
    /// particular before those for everybody (as in MetalLB); then by name.
    fn rank(&self) -> (bool, u32, bool, &str) {
        let rule = &self.restriction;
        let everybody = rule.namespaces.is_empty()
            && rule.namespace_selectors.is_empty()
            && rule.service_selectors.is_empty()
            && rule.gateway_selectors.is_empty();
        (rule.priority == 0, rule.priority, everybody, &self.name)
    }

    /// How many addresses of a family it gives out, taken or not.
    fn size(&self, family: Family) -> u128 {
        let avoided = if self.avoid_buggy { self.offered.ending_in_0_or_255() } else { 0 };
        let all = self.offered.len(family);
        if family == Family::V4 { all - avoided } else { all }
    }
}

/// Whether the address can never be a VIP.
pub(super) fn is_never(address: IpAddr) -> bool {
    NEVER.iter().any(|range| range.contains(address))
}

fn parse(
    texts: &[String],
    refused: impl Fn(usize, AddressRangeError) -> PoolError,
) -> Result<Spans, PoolError> {
    texts
        .iter()
        .enumerate()
        .map(|(index, text)| text.parse::<AddressRange>().map_err(|error| refused(index, error)))
        .collect()
}

fn any_selects(selectors: &[LabelSelector], labels: &Labels) -> bool {
    selectors.iter().any(|selector| matches(selector, labels))
}
