//! Whose status has to be looked at.
//!
//! In a large cluster almost every object says what it is to say, and a round that compared them all would
//! cost more than what it is for. So only those are looked at of which something changed: the object, as the
//! watch tells it, or what there is to say of it, as the planner does.
//!
//! What always holds: an object is on the agenda from the moment that either changed until its status was
//! found to be right, or was written. A write that failed, was overtaken or has to wait leaves it there.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::{Statuses, World};

use crate::companion;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    open: BTreeSet<ObjectRef>,
    /// What there was to say when that was looked at last.
    last: Option<Arc<Statuses>>,
    /// Where looking goes on, so that all come to their turn.
    after: Option<ObjectRef>,
}

impl Agenda {
    /// An object has to be looked at.
    pub(super) fn open(&mut self, object: ObjectRef) {
        self.open.insert(object);
    }

    /// All of these.
    pub(super) fn open_all(&mut self, objects: impl IntoIterator<Item = ObjectRef>) {
        self.open.extend(objects);
    }

    /// An object says what it is to say, or is gone.
    pub(super) fn close(&mut self, object: &ObjectRef) {
        self.open.remove(object);
    }

    /// Takes in what there is to say now.
    pub(super) fn compare(&mut self, statuses: &Arc<Statuses>, world: &World) {
        let none = Arc::default();
        let last = self.last.as_ref().unwrap_or(&none);
        if Arc::ptr_eq(last, statuses) {
            return;
        }
        let changed = changed(last, statuses);
        let gateways: BTreeSet<&ObjectKey> = (changed.iter())
            .filter(|object| object.kind == Kind::Gateway)
            .map(|object| &object.key)
            .collect();
        // A companion shows the addresses of its Gateway.
        let beside = companion::beside(world, &gateways).collect::<Vec<_>>();
        self.open.extend(beside);
        self.open.extend(changed);
        self.last = Some(Arc::clone(statuses));
    }

    /// Those to be looked at, in the order in which they are.
    pub(super) fn objects(&self) -> Vec<ObjectRef> {
        let Some(after) = &self.after else { return self.open.iter().cloned().collect() };
        let next = self.open.range((Bound::Excluded(after), Bound::Unbounded));
        next.chain(self.open.range(..=after)).cloned().collect()
    }

    /// Looking stopped after this one, and goes on there.
    pub(super) fn look_on_after(&mut self, object: Option<&ObjectRef>) {
        self.after = object.cloned();
    }
}

/// The objects that there is something else to say of than before.
fn changed(before: &Statuses, now: &Statuses) -> Vec<ObjectRef> {
    let of = |kind| move |key: &ObjectKey| ObjectRef::new(kind, key.clone());
    let classes = differing(&before.classes, &now.classes).map(of(Kind::GatewayClass));
    let gateways = differing(&before.gateways, &now.gateways).map(of(Kind::Gateway));
    let sets = differing(&before.sets, &now.sets).map(of(Kind::ListenerSet));
    let services = differing(&before.services, &now.services).map(of(Kind::Service));
    let pools = differing(&before.pools, &now.pools).map(of(Kind::IpAddressPool));
    let named = (differing(&before.routes, &now.routes))
        .chain(differing(&before.bgp, &now.bgp))
        .chain(differing(&before.policies, &now.policies))
        .chain(differing(&before.former, &now.former));
    classes.chain(gateways).chain(sets).chain(services).chain(pools).chain(named.cloned()).collect()
}

/// The keys that have another value than before, or are in one of the maps only.
fn differing<'a, K: Ord, V: PartialEq>(
    before: &'a BTreeMap<K, V>,
    now: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (before.peek(), now.peek()) {
                (Some((old, _)), Some((new, _))) => old.cmp(new),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            let old = order.is_le().then(|| before.next()).flatten();
            let new = order.is_ge().then(|| now.next()).flatten();
            let (key, _) = old.or(new)?;
            if old.map(|(_, value)| value) != new.map(|(_, value)| value) {
                return Some(key);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_come_to_their_turn() {
        let object = |name: &str| ObjectRef::new(Kind::TcpRoute, ObjectKey::new("a", name));
        let mut agenda = Agenda::default();
        agenda.open_all(["a", "b", "c"].map(object));
        let names = |agenda: &Agenda| -> String {
            agenda.objects().into_iter().map(|object| object.key.name.clone()).collect()
        };
        assert_eq!(names(&agenda), "abc");
        agenda.look_on_after(Some(&object("a")));
        assert_eq!(names(&agenda), "bca");
        agenda.close(&object("c"));
        agenda.look_on_after(Some(&object("c")));
        assert_eq!(names(&agenda), "ab");
    }

    #[test]
    fn what_came_went_or_changed_differs() {
        let before = BTreeMap::from([(1, "same"), (2, "old"), (4, "gone"), (7, "gone")]);
        let now = BTreeMap::from([(0, "new"), (1, "same"), (2, "changed"), (5, "new")]);
        let keys = |before, now| differing(before, now).copied().collect::<Vec<_>>();
        assert_eq!(keys(&before, &now), [0, 2, 4, 5, 7]);
        assert_eq!(keys(&now, &now), [0; 0]);
        assert_eq!(keys(&BTreeMap::new(), &now), [0, 1, 2, 5]);
    }
}
