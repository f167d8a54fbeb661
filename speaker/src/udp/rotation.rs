//! Whose turn it is among the shares of a target, and among the endpoints inside each.
//!
//! All workers take turns from the same one: a session often is but one question, and with a turn for
//! each worker the weights would hold for each of them only, not for the listener.

use crate::proxy::pick::Picker;
use crate::proxy::table::Forward;

use super::stats::DropReason;

/// See the module.
#[derive(Debug)]
pub(super) struct Rotation {
    picker: Picker,
    /// Per share, counts its picks.
    cursors: Box<[usize]>,
}

impl Rotation {
    pub(super) fn new(forward: &Forward) -> Self {
        Self {
            picker: Picker::new(forward.shares.iter().map(|share| share.weight)),
            cursors: vec![0; forward.shares.len()].into_boxed_slice(),
        }
    }

    /// Where the next session of a target goes: a share, and the endpoint in it to try first. The
    /// target has the weights that this was made for.
    pub(super) fn pick(&mut self, forward: &Forward) -> Result<(usize, usize), DropReason> {
        let share = self.picker.pick().ok_or(DropReason::NoEndpoint)?;
        let endpoints = forward.shares[share].endpoints.len();
        if endpoints == 0 {
            return Err(DropReason::NoEndpoint);
        }
        let cursor = &mut self.cursors[share];
        *cursor = cursor.wrapping_add(1);
        Ok((share, cursor.wrapping_sub(1) % endpoints))
    }
}
