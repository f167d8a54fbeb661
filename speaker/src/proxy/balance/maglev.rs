//! Maglev tables (Eisenbud et al., "Maglev: a fast and reliable software network load balancer", 2016).
//!
//! Each endpoint walks over the slots of the table in an order of its own, which its address alone decides;
//! taking turns, each takes the next slot of its walk that is free, until none is. So all get the same number
//! of slots, give or take one: with a hundred slots for each, less than one per cent of its part. When an endpoint comes or
//! goes most slots stay with whom they had. A client's slot is a hash of its address.
//!
//! There are three sizes, all prime (each step then visits every slot). Where the number of endpoints passes
//! from one to another, most clients move, once.

use std::net::SocketAddr;

use super::hash::{Client, EndpointKey};

/// The sizes, and up to how many endpoints each has a hundred slots for one. Beyond the last, the parts are
/// less equal.
const SIZES: [usize; 3] = [16_381, 131_071, 1_048_573];
/// More slots than this for each endpoint.
const SLOTS_FOR_EACH: usize = 100;

/// See the module.
#[derive(Debug)]
pub(crate) struct Maglev {
    slots: Slots,
}

/// Places of endpoints.
#[derive(Debug)]
enum Slots {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

impl Maglev {
    /// The table of these endpoints, in order, each there once.
    pub(crate) fn new(endpoints: &[SocketAddr]) -> Self {
        let size = size_for(endpoints.len());
        let slots = fill(endpoints, size);
        let slots = if endpoints.len() <= usize::from(u16::MAX) {
            let narrow = |place: u32| u16::try_from(place).expect("there are no more places");
            Slots::Narrow(slots.into_iter().map(narrow).collect())
        } else {
            Slots::Wide(slots.into_boxed_slice())
        };
        Self { slots }
    }

    /// The first endpoint that fits, from the client's slot on.
    pub(crate) fn first(&self, client: &Client, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.len();
        if count == 0 {
            return None;
        }
        let from = usize::try_from(client.slot() % count as u64).ok()?;
        (from..count).chain(0..from).map(|slot| self.at(slot)).find(|place| fits(*place))
    }

    fn len(&self) -> usize {
        match &self.slots {
            Slots::Narrow(slots) => slots.len(),
            Slots::Wide(slots) => slots.len(),
        }
    }

    /// Whose a slot is.
    fn at(&self, slot: usize) -> usize {
        match &self.slots {
            Slots::Narrow(slots) => slots[slot].into(),
            Slots::Wide(slots) => slots[slot] as usize,
        }
    }

    /// All slots in order.
    #[cfg(test)]
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).map(|slot| self.at(slot))
    }
}

/// None for no endpoint.
fn size_for(endpoints: usize) -> usize {
    if endpoints == 0 {
        return 0;
    }
    let enough = |size: &&usize| **size > SLOTS_FOR_EACH * endpoints;
    *SIZES.iter().find(enough).unwrap_or(&SIZES[SIZES.len() - 1])
}

fn fill(endpoints: &[SocketAddr], size: usize) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    if size == 0 {
        return Vec::new();
    }
    let cut = |hash: u64, below: usize| usize::try_from(hash % below as u64).unwrap_or(0);
    // Where each stands, and its step.
    let mut walks: Vec<(usize, usize)> = endpoints
        .iter()
        .map(|address| {
            let (offset, skip) = EndpointKey::of(*address).walk();
            (cut(offset, size), cut(skip, size - 1) + 1)
        })
        .collect();
    let mut slots = vec![FREE; size];
    let mut left = size;
    loop {
        for (place, (at, step)) in (0_u32..).zip(&mut walks) {
            if left == 0 {
                return slots;
            }
            while slots[*at] != FREE {
                *at = (*at + *step) % size;
            }
            slots[*at] = place;
            left -= 1;
        }
    }
}
