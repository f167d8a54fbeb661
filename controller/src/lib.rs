//! The cluster side of vipgate: reads a cluster, and says what is so in it.
//!
//! ```text
//!   API server ──> discovery ──> watch ──> index ──> planner ──> desired ──> gate ──> API server
//!                  (what is      (objects)  (what is  (pure)      (what is    (only the
//!                   served)                  there)                to be)      leader writes)
//! ```
//!
//! [`cluster`], [`discovery`] and [`watch`] serve the speaker too.

pub mod backoff;
pub mod bundles;
pub mod change;
pub mod claims;
pub mod class;
pub mod classless;
pub mod cluster;
pub mod companion;
pub mod controller;
pub mod copies;
pub mod discovery;
pub mod events;
pub mod facts;
pub mod fights;
pub mod foreign;
pub mod former;
pub mod group_key;
mod hash;
pub mod index;
pub mod initial;
pub mod ip_mode;
pub mod leader;
pub mod merge;
pub mod pace;
pub mod watch;
pub mod words;
pub mod writer;
