//! Which policy has which target: the oldest of those that can be followed.

use std::collections::BTreeMap;

use vipgate_api::gateway::PolicyTargetReference;
use vipgate_api::vipgate::{
    BackendPolicy, BackendPolicySpec, Fault, ListenerPolicy, ListenerPolicySpec,
};
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef, Reason, Resource};

use crate::refusal::Refusal;
use crate::world::Shelf;

/// How many faults are told in one message.
const TOLD: usize = 6;

/// A policy of ours.
pub(super) trait Policy: Resource {
    /// What it says.
    type Spec;

    fn spec(&self) -> &Self::Spec;
    fn targets(&self) -> &[PolicyTargetReference];
    fn faults(&self) -> Vec<Fault>;
}

impl Policy for ListenerPolicy {
    type Spec = ListenerPolicySpec;

    fn spec(&self) -> &ListenerPolicySpec {
        &self.spec
    }

    fn targets(&self) -> &[PolicyTargetReference] {
        &self.spec.target_refs
    }

    fn faults(&self) -> Vec<Fault> {
        self.spec.faults()
    }
}

impl Policy for BackendPolicy {
    type Spec = BackendPolicySpec;

    fn spec(&self) -> &BackendPolicySpec {
        &self.spec
    }

    fn targets(&self) -> &[PolicyTargetReference] {
        &self.spec.target_refs
    }

    fn faults(&self) -> Vec<Fault> {
        self.spec.faults()
    }
}

/// A target, wherever it is named.
pub(super) type Target<'a> = (&'a str, &'a PolicyTargetReference);

/// The targets of a policy: whether it has them, as far as other policies go.
pub(super) type Outcomes<'a> = Vec<(Target<'a>, Result<(), Refusal>)>;

/// Who has what.
pub(super) struct Contest<'a, P> {
    shelf: &'a Shelf<P>,
    /// Those that cannot be followed.
    invalid: BTreeMap<&'a ObjectKey, Refusal>,
    winners: BTreeMap<Target<'a>, &'a ObjectKey>,
}

impl<'a, P: Policy> Contest<'a, P> {
    pub(super) fn new(shelf: &'a Shelf<P>) -> Self {
        let mut invalid = BTreeMap::new();
        let mut winners: BTreeMap<Target<'_>, (&Age, &ObjectKey)> = BTreeMap::new();
        for (key, stored) in shelf {
            if let Some(refusal) = refusal(&stored.object.faults()) {
                invalid.insert(key, refusal);
                continue;
            }
            for target in stored.object.targets() {
                let mine = (&stored.age, key);
                let winner = winners.entry((&key.namespace, target)).or_insert(mine);
                *winner = mine.min(*winner);
            }
        }
        let winners = winners.into_iter().map(|(target, (_, key))| (target, key)).collect();
        Self { shelf, invalid, winners }
    }

    /// What is said of a target, if anything.
    pub(super) fn said(&self, target: Target<'a>) -> Option<&'a P::Spec> {
        let winner = self.winners.get(&target)?;
        Some(self.shelf[*winner].object.spec())
    }

    /// What is said of every target.
    pub(super) fn all(&self) -> impl Iterator<Item = (Target<'a>, &'a P::Spec)> {
        self.winners.iter().map(|(target, winner)| (*target, self.shelf[*winner].object.spec()))
    }

    /// Every policy with its targets.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (&'a ObjectKey, &'a P, Outcomes<'a>)> {
        self.shelf.iter().map(|(key, stored)| {
            let policy: &P = &stored.object;
            let outcome = |target: &'a PolicyTargetReference| {
                let target = (key.namespace.as_str(), target);
                (target, self.outcome(key, target))
            };
            (key, policy, policy.targets().iter().map(outcome).collect())
        })
    }

    fn outcome(&self, key: &ObjectKey, target: Target<'a>) -> Result<(), Refusal> {
        if let Some(refusal) = self.invalid.get(key) {
            return Err(refusal.clone());
        }
        match self.winners.get(&target) {
            Some(winner) if *winner != key => {
                let winner = ObjectRef::new(P::KIND, (*winner).clone());
                let message = format!(
                    "{} has the older {winner}: put both into one, or name another target",
                    describe(target)
                );
                Err(Refusal::new(Reason::Conflicted, message))
            }
            _ => Ok(()),
        }
    }
}

fn refusal(faults: &[Fault]) -> Option<Refusal> {
    let told = faults.iter().take(TOLD).map(|fault| format!("{}: {}", fault.path, fault.message));
    let mut message = told.collect::<Vec<_>>().join("; ");
    if faults.len() > TOLD {
        message.push_str(&format!("; and {} more", faults.len() - TOLD));
    }
    (!faults.is_empty()).then(|| Refusal::new(Reason::Invalid, message))
}

/// `Gateway default/web`, or `listener tls of Gateway default/web`.
pub(super) fn describe((namespace, target): Target<'_>) -> String {
    let PolicyTargetReference { kind, name, section_name, .. } = target;
    match section_name {
        Some(section) => format!("listener {section} of {kind} {namespace}/{name}"),
        None => format!("{kind} {namespace}/{name}"),
    }
}

/// The object that a target is, if it is of a kind that we know.
pub(super) fn object((namespace, target): Target<'_>) -> Option<ObjectRef> {
    let known = |kind: &Kind| kind.group() == target.group && kind.name() == target.kind;
    let kind = Kind::ALL.into_iter().find(known)?;
    Some(ObjectRef::new(kind, ObjectKey::new(namespace, &target.name)))
}
