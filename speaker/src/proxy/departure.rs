//! Endpoints that left their backendRef, where connections to them are to end for it some time later.
//!
//! A [`Member`] is an endpoint of a backendRef of a route. Connections to it hold it, so whoever built the
//! table can say of it when they are to end, and take that back when the endpoint returns.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Member(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last that was asked for; never when absent.
    after: Option<Duration>,
    left_at: Option<Instant>,
}

impl Member {
    /// It is there; once it has left, its connections may go on for so long. Whether that is news.
    pub(super) fn stays(&self, after: Option<Duration>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.after = after;
        state.left_at.take().is_some()
    }

    /// It is not there any more; how long its connections may go on, if its backendRef is still there to say
    /// so. Whether that is news.
    pub(super) fn left(&self, now: Instant, after: Option<Option<Duration>>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = state.left_at.is_none() || after.is_some_and(|after| after != state.after);
        state.left_at.get_or_insert(now);
        state.after = after.unwrap_or(state.after);
        news
    }

    /// When connections to it are to end, if they are.
    pub(super) fn closes_at(&self) -> Option<Instant> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.left_at?.checked_add(state.after?)
    }
}
