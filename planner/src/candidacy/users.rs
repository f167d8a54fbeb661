//! Who has a VIP, and by whom its nodes go where no node fits all of them.

use std::cmp::Reverse;

use vipgate_api::selector::Labels;
use vipgate_api::{Age, Kind, ObjectRef};

use super::Ground;
use super::advertisement::Advertisement;
use crate::exclusion::{Exclusion, ExclusionReason};

/// A user of a VIP, as advertisements of one kind see it.
pub(super) struct User<'a, A> {
    object: &'a ObjectRef,
    age: Option<&'a Age>,
    /// Whether a pool of its VIP is selected by any advertisement, and those of these that take it.
    pub(super) advertised: Option<Vec<A>>,
}

impl<A> User<'_, A> {
    /// The least is the oldest; one that is not known yet is young.
    fn rank(&self) -> (bool, Option<&Age>, &ObjectRef) {
        (self.age.is_none(), self.age, self.object)
    }
}

/// The users by which it goes on a node, and that these are not all, if so.
pub(super) struct Decisive<'u, 'a, A> {
    pub(super) users: Vec<&'u User<'a, A>>,
    pub(super) compromise: Option<Exclusion>,
}

impl<A: Advertisement> Decisive<'_, '_, A> {
    /// The advertisements of these users that take a node of these labels, each once, by name.
    pub(super) fn taking(&self, labels: &Labels) -> Vec<A> {
        let mut taking: Vec<A> = self.all().filter(|one| one.takes_node(labels)).collect();
        taking.sort_by(|a, b| a.key().cmp(b.key()));
        taking.dedup_by(|a, b| a.key() == b.key());
        taking
    }

    /// All advertisements of these users.
    pub(super) fn all(&self) -> impl Iterator<Item = A> {
        self.users.iter().flat_map(|user| user.advertised.iter().flatten().copied())
    }
}

impl<'a> Ground<'a> {
    /// The users of a VIP whose pool is selected by these advertisements.
    pub(super) fn users<A: Advertisement>(
        &self,
        objects: &[&'a ObjectRef],
        selecting: &[A],
    ) -> Vec<User<'a, A>> {
        let of = |object: &'a ObjectRef| {
            let (labels, age) = self.labels_and_age(object);
            let takes = |one: &A| one.takes_user(object.kind, &labels);
            let advertised =
                (!selecting.is_empty()).then(|| selecting.iter().copied().filter(takes).collect());
            User { object, age, advertised }
        };
        objects.iter().copied().map(of).collect()
    }

    fn labels_and_age(&self, object: &ObjectRef) -> (Labels, Option<&'a Age>) {
        match object.kind {
            Kind::Service => {
                let service = self.world.services.get(&object.key);
                let labels = service.and_then(|stored| stored.object.metadata.labels.clone());
                (labels.unwrap_or_default(), service.map(|stored| &stored.age))
            }
            _ => {
                let gateway = self.admission.gateways.get(&object.key);
                let age = self.world.gateways.get(&object.key).map(|stored| &stored.age);
                (gateway.map(|gateway| gateway.labels.clone()).unwrap_or_default(), age)
            }
        }
    }

    /// The users by which it goes on this node; or why this node is no candidate.
    pub(super) fn decisive<'u, A: Advertisement>(
        &self,
        users: &'u [User<'a, A>],
    ) -> Result<Decisive<'u, 'a, A>, Exclusion> {
        let here = |user: &User<'a, A>| self.misfit(user, &self.node.name, &self.node.labels);
        let Some(misfit) = users.iter().find_map(here) else {
            return Ok(Decisive { users: users.iter().collect(), compromise: None });
        };
        let all: Vec<&User<'a, A>> = users.iter().collect();
        if users.len() == 1 || self.others_fit(&all) {
            return Err(misfit);
        }
        let has_a_node = |user: &&User<'a, A>| {
            let mut others = self.neighbours.iter();
            here(user).is_none()
                || others.any(|(name, other)| self.misfit(user, name, &other.labels).is_none())
        };
        let oldest = users.iter().filter(has_a_node).max_by_key(|user| Reverse(user.rank()));
        let Some(oldest) = oldest else { return Err(misfit) };
        let compromise = format!(
            "no node fits all who have it, so it goes by the oldest, {}: {misfit}",
            oldest.object
        );
        let compromise = Some(Exclusion::new(ExclusionReason::NoCommonNode, compromise));
        here(oldest).map_or_else(|| Ok(Decisive { users: vec![oldest], compromise }), Err)
    }

    /// Whether there is another node that fits all of these users and does not give its VIPs away.
    pub(super) fn others_fit<A: Advertisement>(&self, users: &[&User<'_, A>]) -> bool {
        self.neighbours.iter().any(|(name, neighbour)| {
            let fits = |user: &&User<'_, A>| self.misfit(user, name, &neighbour.labels).is_none();
            !neighbour.gives_way && users.iter().all(fits)
        })
    }

    /// Why a node is not one for a user, if so.
    fn misfit<A: Advertisement>(
        &self,
        user: &User<'_, A>,
        name: &str,
        labels: &Labels,
    ) -> Option<Exclusion> {
        let object = user.object;
        if let Some(advertised) = &user.advertised {
            if advertised.is_empty() {
                let message = format!(
                    "no {} of its pool takes {object}: give it labels that their {} match",
                    A::KIND,
                    A::SELECTORS
                );
                return Some(Exclusion::new(ExclusionReason::NoAdvertisement, message));
            }
            let taking = || advertised.iter().filter(|one| one.takes_node(labels));
            if taking().next().is_none() {
                let names: Vec<String> =
                    advertised.iter().map(|one| one.key().to_string()).collect();
                let message = format!(
                    "no {} of {object} takes node {name}: give the node labels that the nodeSelectors of {} \
                     match (standalone: --label)",
                    A::KIND,
                    names.join(", ")
                );
                return Some(Exclusion::new(ExclusionReason::NodeNotSelected, message));
            }
            // One way out is enough.
            let mut obstacles = taking().map(|one| one.obstacle(name, labels));
            if let Some(Some(first)) = obstacles.next()
                && obstacles.all(|obstacle| obstacle.is_some())
            {
                return Some(first);
            }
        }
        let nodes = self.local.get(&object.key).filter(|_| object.kind == Kind::Service)?;
        (!nodes.contains(name)).then(|| {
            let message = format!(
                "no ready endpoint of {object} is on node {name}, and its externalTrafficPolicy is Local"
            );
            Exclusion::new(ExclusionReason::NoLocalEndpoint, message)
        })
    }
}
