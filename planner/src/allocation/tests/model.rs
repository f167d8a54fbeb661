//! The rules once more, by enumeration of the 32 addresses: slow, and plain enough to be checked
//! by reading. It knows no intervals and no ledger.

use proptest::prelude::*;
use vipgate_api::selector::matches;
use vipgate_api::vipgate::AddressRange;

use super::arbitrary::{surroundings, universe, wants};
use super::*;

/// A pool as a plain list.
pub(super) struct Listed<'a> {
    pub(super) name: &'a str,
    spec: &'a IpAddressPoolSpec,
    /// What it gives out, ascending.
    pub(super) addresses: Vec<IpAddr>,
}

impl Listed<'_> {
    fn rank(&self) -> (u32, bool, &str) {
        let rule = self.spec.service_allocation.clone().unwrap_or_default();
        let everybody = ServiceAllocation { priority: rule.priority, ..Default::default() } == rule;
        (if rule.priority == 0 { u32::MAX } else { rule.priority }, everybody, self.name)
    }

    fn has(&self, family: Family) -> bool {
        self.addresses.iter().any(|address| Family::of(*address) == family)
    }
}

/// What the setup means, for one address or one Gateway at a time.
pub(super) struct Model<'a> {
    pub(super) setup: &'a Setup,
    pub(super) pools: Vec<Listed<'a>>,
}

impl<'a> Model<'a> {
    pub(super) fn new(setup: &'a Setup) -> Self {
        let mut seen = BTreeSet::new();
        let pools = setup.pools.iter().map(|(key, stored)| {
            let spec = &stored.object.spec;
            let inside = |texts: &[String], address: &IpAddr| {
                texts.iter().any(|text| text.parse::<AddressRange>().unwrap().contains(*address))
            };
            let offered = universe().into_iter().filter(|address| {
                inside(&spec.addresses, address) && !inside(&spec.exclusions, address)
            });
            let own: Vec<_> = offered.filter(|address| !seen.contains(address)).collect();
            let buggy = |address: &IpAddr| {
                let text = address.to_string();
                spec.avoid_buggy_ips && (text.ends_with(".0") || text.ends_with(".255"))
            };
            let addresses: Vec<_> = own.iter().copied().filter(|a| !buggy(a)).collect();
            // A pool that has nothing to give is left out, and takes nothing from the others.
            if !addresses.is_empty() {
                seen.extend(own);
            }
            Listed { name: &key.name, spec, addresses }
        });
        let pools = pools.collect();
        Self { setup, pools }
    }

    pub(super) fn pool_of(&self, address: IpAddr) -> Option<&Listed<'a>> {
        self.pools.iter().find(|pool| pool.addresses.contains(&address))
    }

    /// Whether pool and annotation let the Gateway have addresses of the pool.
    pub(super) fn allows(&self, pool: &Listed<'_>, want: &Want) -> bool {
        let named = want.pool_names();
        if !named.is_empty() && !named.contains(&pool.name) {
            return false;
        }
        let Some(rule) = &pool.spec.service_allocation else { return true };
        let namespace = &want.user.key.namespace;
        let stored = self.setup.namespaces.get(&ObjectKey::new("", namespace.clone()));
        let of_namespace =
            stored.and_then(|stored| stored.object.metadata.labels.clone()).unwrap_or_default();
        let here = rule.namespaces.is_empty() && rule.namespace_selectors.is_empty()
            || rule.namespaces.contains(namespace)
            || rule.namespace_selectors.iter().any(|s| matches(s, &of_namespace));
        let this = rule.gateway_selectors.is_empty()
            || rule.gateway_selectors.iter().any(|s| matches(s, &want.labels));
        here && this
    }

    /// Whether addresses may be chosen from the pool for the Gateway.
    pub(super) fn chooses_from(&self, pool: &Listed<'_>, want: &Want) -> bool {
        (pool.spec.auto_assign || !want.pool_names().is_empty()) && self.allows(pool, want)
    }

    /// Whether the address can be given to anybody.
    pub(super) fn is_free_of_others(&self, address: IpAddr) -> bool {
        !self.setup.node_addresses.contains(&address)
    }

    /// All pools to choose from, in order.
    fn usable(&self, want: &Want) -> Vec<&Listed<'a>> {
        let mut usable: Vec<_> =
            self.pools.iter().filter(|pool| self.chooses_from(pool, want)).collect();
        usable.sort_by_key(|pool| pool.rank());
        usable
    }

    /// What every Gateway gets when nobody has anything yet.
    fn allocate(&self) -> BTreeMap<ObjectRef, Vec<IpAddr>> {
        let mut wants: Vec<_> = self.setup.wants.iter().collect();
        wants.sort_by_key(|want| (&want.age, &want.user));
        let mut taken: BTreeSet<IpAddr> = BTreeSet::new();
        let mut got: BTreeMap<ObjectRef, Vec<Option<IpAddr>>> = BTreeMap::new();
        for want in &wants {
            let mut asked = BTreeSet::new();
            let mut slots = Vec::new();
            for entry in entries(want) {
                match entry.value.as_deref().unwrap_or_default() {
                    "nonsense" => {}
                    "" => slots.push(None),
                    value => {
                        let address = ip(value);
                        let pool = self.pool_of(address);
                        if asked.insert(address)
                            && pool.is_some_and(|pool| self.allows(pool, want))
                            && self.is_free_of_others(address)
                            && taken.insert(address)
                        {
                            slots.push(Some(address));
                        }
                    }
                }
            }
            got.insert(want.user.clone(), slots);
        }
        for want in wants {
            let slots = got.get_mut(&want.user).unwrap();
            let chosen = self.choose(want, slots, &mut taken);
            let mut chosen = chosen.into_iter();
            if entries(want).is_empty() {
                *slots = chosen.map(Some).collect();
            } else {
                slots.iter_mut().for_each(|slot| *slot = slot.or_else(|| chosen.next()));
            }
        }
        let assigned = |slots: Vec<Option<IpAddr>>| slots.into_iter().flatten().collect();
        got.into_iter().map(|(gateway, slots)| (gateway, assigned(slots))).collect()
    }

    fn choose(
        &self,
        want: &Want,
        slots: &[Option<IpAddr>],
        taken: &mut BTreeSet<IpAddr>,
    ) -> BTreeSet<IpAddr> {
        let usable = self.usable(want);
        let mut chosen: BTreeSet<IpAddr> = BTreeSet::new();
        if entries(want).is_empty() {
            let families = |pool: &Listed<'_>| {
                FAMILIES.iter().copied().filter(|f| pool.has(*f)).collect::<Vec<_>>()
            };
            let free = |pool: &Listed<'_>, family| self.lowest(&[pool], &[family], taken).is_some();
            let complete = usable.iter().find(|pool| {
                let own = families(pool);
                !own.is_empty() && own.iter().all(|family| free(pool, *family))
            });
            let any = usable.iter().find(|pool| FAMILIES.iter().any(|family| free(pool, *family)));
            let Some(pool) = complete.or(any) else { return chosen };
            for family in families(pool) {
                let found = self
                    .lowest(&[pool], &[family], taken)
                    .or_else(|| self.lowest(&usable, &[family], taken));
                chosen.extend(found);
                taken.extend(found);
            }
            return chosen;
        }
        let mut covered: BTreeSet<Family> = entries(want)
            .iter()
            .filter_map(|entry| entry.value.as_deref()?.parse().ok())
            .map(Family::of)
            .collect();
        for _ in slots.iter().filter(|slot| slot.is_none()) {
            let mine = |pool: &&&Listed<'_>| {
                let mut all = slots.iter().flatten().chain(&chosen);
                all.any(|address| pool.addresses.contains(address))
            };
            let own: Vec<_> = usable.iter().filter(mine).copied().collect();
            let new: Vec<_> = FAMILIES.iter().copied().filter(|f| !covered.contains(f)).collect();
            let found = self
                .lowest(&own, &new, taken)
                .or_else(|| self.lowest(&usable, &new, taken))
                .or_else(|| self.lowest(&own, &FAMILIES, taken))
                .or_else(|| self.lowest(&usable, &FAMILIES, taken));
            let Some(found) = found else { break };
            covered.insert(Family::of(found));
            chosen.insert(found);
            taken.insert(found);
        }
        chosen
    }

    /// The lowest address that may be chosen: first pool, then first family, then lowest.
    fn lowest(
        &self,
        pools: &[&Listed<'_>],
        families: &[Family],
        taken: &BTreeSet<IpAddr>,
    ) -> Option<IpAddr> {
        let free = |address: &&IpAddr| {
            families.contains(&Family::of(**address))
                && self.is_free_of_others(**address)
                && !self.setup.foreign.contains_key(*address)
                && !taken.contains(*address)
        };
        // The universe lists IPv4 first, as every list of families here does.
        pools.iter().find_map(|pool| pool.addresses.iter().find(free)).copied()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn agrees_with_enumeration(surroundings in surroundings(), wants in wants()) {
        let setup = Setup { wants, ..surroundings };
        let allocation = setup.run();
        let got: BTreeMap<_, _> = allocation
            .users
            .into_iter()
            .map(|(gateway, addresses)| (gateway, addresses.assigned))
            .collect();
        prop_assert_eq!(got, Model::new(&setup).allocate());
    }

    #[test]
    fn attributes_addresses_as_enumeration_does(setup in surroundings()) {
        let model = Model::new(&setup);
        let pools = setup.read_pools().0;
        for address in universe() {
            let home = pools.home(address).filter(|pool| pool.offers(address));
            let expected = model.pool_of(address).map(|pool| pool.name);
            prop_assert_eq!(home.map(|pool| pool.name.as_str()), expected);
        }
    }
}
