//! Policies: what is attached to others and says more of them (GEP-713, direct attachment).
//!
//! ListenerPolicy is about clients, BackendPolicy about backends. As with the kinds of BGP, a spec knows
//! what is wrong with it by itself ([`Fault`](super::Fault)).

mod backend;
mod listener;

pub use backend::{BackendPolicy, BackendPolicySpec};
pub use listener::{ListenerPolicy, ListenerPolicySpec};
