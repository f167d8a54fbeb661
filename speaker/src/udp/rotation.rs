//! Whose turn it is among the shares of a target, and among the endpoints inside each, where that is not for
//! the client's address to decide.
//!
//! All workers take turns from the same one: a session often is but one question, and with a turn for
//! each worker the weights would hold for each of them only, not for the listener.

use std::time::Instant;

use crate::proxy::balance::hash::Client;
use crate::proxy::balance::random::Random;
use crate::proxy::pick::Picker;
use crate::proxy::table::Forward;

use super::stats::DropReason;

/// See the module.
#[derive(Debug)]
pub(super) struct Rotation {
    picker: Picker,
    /// Per share, counts its picks.
    cursors: Box<[usize]>,
    random: Random,
}

impl Rotation {
    pub(super) fn new(forward: &Forward) -> Self {
        Self {
            picker: Picker::new(forward.shares.iter().map(|share| share.weight)),
            cursors: vec![0; forward.shares.len()].into_boxed_slice(),
            random: Random::new(),
        }
    }

    /// Where the next session of a target goes: a share, and the endpoint in it to try first. The
    /// target has the weights that this was made for.
    pub(super) fn pick(
        &mut self,
        forward: &Forward,
        client: &Client,
        now: Instant,
    ) -> Result<(usize, usize), DropReason> {
        let share = forward.share(client, || self.picker.pick()).ok_or(DropReason::NoEndpoint)?;
        let turn = &mut self.cursors[share];
        let place = forward.shares[share].pick(client, turn, &mut self.random, now);
        Ok((share, place.ok_or(DropReason::NoEndpoint)?))
    }
}
