//! Which endpoint of a backendRef gets the next connection: pure functions of the client's address, of how
//! the endpoints stand, of whose turn it is, and of a random number. TCP and UDP ask the same.
//!
//! Each way of balancing puts all endpoints into an order for this client; the first that takes connections
//! is it, and the next of that order comes after it when it could not be connected to:
//!
//! | | the order |
//! |---|---|
//! | round robin | from the one whose turn it is, as they are listed |
//! | least connections | of two that are drawn the one with fewer open, then the other, then as round robin |
//! | source hash | by rendezvous hash of client and endpoint, the highest first ([`hash`]) |
//! | Maglev | as they come in the table, from the client's slot on ([`maglev`]) |
//!
//! The last two depend on the addresses alone, so all nodes agree, and an endpoint that does not take
//! connections leaves every other client where it is.
//!
//! An endpoint that is found [`Unhealthy`](Standing::Unhealthy) gets nothing while one is not; one that is
//! [`Ejected`](Standing::Ejected) gets nothing while one is neither. Where none is left somebody has to be
//! asked: then the order alone decides.

pub(crate) mod affinity;
pub(crate) mod hash;
pub(crate) mod maglev;
pub(crate) mod random;

use std::sync::Arc;

use vipgate_planner::{Balancing, Endpoint};

use hash::{Client, EndpointKey};
use maglev::Maglev;
use random::Random;

/// Of so many endpoints and more, half have to be left that those whose turn it is not get more than their
/// own.
const MANY: usize = 8;

/// Whether an endpoint takes connections; the better first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// As far as we know.
    Good,
    /// Clients could not be connected to it lately.
    Ejected,
    /// Checks found that it does not work.
    Unhealthy,
}

/// The endpoints of a backendRef, by their places.
pub(crate) trait Candidates {
    /// How many there are.
    fn count(&self) -> usize;
    /// How one of them stands.
    fn standing(&self, place: usize) -> Standing;
    /// How many connections it has from this node.
    fn open(&self, place: usize) -> usize;
}

/// A way of balancing, with what it needs of the endpoints; as fixed as their list.
#[derive(Debug)]
pub(crate) enum Balancer {
    RoundRobin,
    LeastConnections,
    /// By place.
    SourceHash(Box<[EndpointKey]>),
    Maglev(Arc<Maglev>),
}

impl Balancer {
    /// For these endpoints; `table` makes, or finds, the Maglev table of them.
    pub(crate) fn new(
        balancing: Balancing,
        endpoints: &[Endpoint],
        table: impl FnOnce() -> Arc<Maglev>,
    ) -> Self {
        match balancing {
            Balancing::RoundRobin => Self::RoundRobin,
            Balancing::LeastConnections => Self::LeastConnections,
            Balancing::SourceHash => {
                Self::SourceHash(endpoints.iter().map(|e| EndpointKey::of(e.0)).collect())
            }
            Balancing::Maglev => Self::Maglev(table()),
        }
    }

    /// The place of the endpoint for a new connection; none where there are no endpoints. `turn` counts the
    /// picks, and is any number at first.
    pub(crate) fn pick(
        &self,
        client: &Client,
        endpoints: &impl Candidates,
        turn: &mut usize,
        random: &mut Random,
    ) -> Option<usize> {
        let count = endpoints.count();
        if count == 0 {
            return None;
        }
        let place = match self {
            Self::RoundRobin => {
                let place = in_turn(*turn % count, endpoints);
                *turn = place + 1;
                place
            }
            Self::LeastConnections => least(endpoints, random),
            Self::SourceHash(_) | Self::Maglev(_) => {
                let at_most = best(endpoints);
                self.first(client, 0, count, |place| endpoints.standing(place) <= at_most)?
            }
        };
        Some(place)
    }

    /// Who comes after `at`, which could not be connected to; `asked` says what became of one that was asked
    /// for the same connection: whether it answered, with a refusal. When all were asked it is the next one
    /// again, unless it has answered. (One that stayed silent may have lost a packet.)
    pub(crate) fn next(
        &self,
        client: &Client,
        endpoints: &impl Candidates,
        at: usize,
        asked: impl Fn(usize) -> Option<bool>,
    ) -> Option<usize> {
        let count = endpoints.count();
        let from = (at + 1) % count.max(1);
        let first = |fits: &dyn Fn(usize) -> bool| self.first(client, from, count, fits);
        let at_most = if best(endpoints) == Standing::Unhealthy {
            Standing::Unhealthy
        } else {
            Standing::Ejected
        };
        first(&|place| asked(place).is_none() && endpoints.standing(place) == Standing::Good)
            .or_else(|| first(&|p| asked(p).is_none() && endpoints.standing(p) <= at_most))
            .or_else(|| {
                let again = first(&|place| endpoints.standing(place) <= at_most)?;
                (asked(again) != Some(true)).then_some(again)
            })
    }

    /// The first in this client's order that fits; where the order is that of the list, from a place on.
    fn first(
        &self,
        client: &Client,
        from: usize,
        count: usize,
        fits: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        match self {
            Self::RoundRobin | Self::LeastConnections => {
                (from..count).chain(0..from).find(|place| fits(*place))
            }
            Self::SourceHash(keys) => {
                let fitting = keys.iter().enumerate().filter(|(place, _)| fits(*place));
                let scored = fitting.map(|(place, key)| (client.score(key), place));
                // Of equal scores, of which there are none, the first.
                scored.max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1))).map(|(_, place)| place)
            }
            // Where none fits it is not worth a walk over the table.
            Self::Maglev(table) if (0..count).any(&fits) => table.first(client, fits),
            Self::Maglev(_) => None,
        }
    }
}

/// The best standing that there is.
fn best(endpoints: &impl Candidates) -> Standing {
    let mut best = Standing::Unhealthy;
    for place in 0..endpoints.count() {
        best = best.min(endpoints.standing(place));
        if best == Standing::Good {
            break;
        }
    }
    best
}

/// Round robin.
fn in_turn(turn: usize, endpoints: &impl Candidates) -> usize {
    if endpoints.standing(turn) == Standing::Good {
        return turn;
    }
    let count = endpoints.count();
    let healthy = |place: &usize| endpoints.standing(*place) != Standing::Unhealthy;
    let from_there = || (turn..count).chain(0..turn).filter(healthy);
    // Where most of many are ejected, those that are left are not to get it all.
    let left = (0..count).filter(healthy).count();
    let reach = if left < MANY { left } else { left.div_ceil(2) };
    from_there()
        .take(reach)
        .find(|place| endpoints.standing(*place) == Standing::Good)
        .or_else(|| from_there().next())
        .unwrap_or(turn)
}

/// Power of two choices (Mitzenmacher 2001): the busier of two that are drawn is never the busiest of all
/// for long, and no worker has to look at all of them.
fn least(endpoints: &impl Candidates, random: &mut Random) -> usize {
    let count = endpoints.count();
    let one = random.below(count);
    if count == 1 {
        return one;
    }
    // Another than the first, each with the same chance.
    let other = (one + 1 + random.below(count - 1)) % count;
    let standing = |place: usize| endpoints.standing(place);
    match (standing(one), standing(other)) {
        (Standing::Good, Standing::Good) => {
            if endpoints.open(other) < endpoints.open(one) {
                other
            } else {
                one
            }
        }
        (Standing::Good, _) => one,
        (_, Standing::Good) => other,
        // Nobody in sight: whoever comes next from a random place.
        _ => in_turn(one, endpoints),
    }
}

#[cfg(test)]
mod tests;
