//! What a session says of itself.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::bgp::fsm::{Session, State};
use crate::bgp::rib::{Counts, Told};
use crate::bgp::wire::{Family, TooLong};

/// What a session is doing.
#[derive(Clone, Debug)]
pub struct Status {
    /// The state of the session.
    pub state: State,
    /// Since when it is established, or not.
    pub since: Instant,
    /// What was negotiated, while established.
    pub session: Option<Session>,
    /// Prefixes.
    pub routes: Counts,
    /// Families of which prefixes can be sent: negotiated, and with a next hop.
    pub carries: BTreeSet<Family>,
    /// What the peer was told; something newer may be on its way.
    pub told: Option<Told>,
    /// What fits no message, if there is something.
    pub refused: Option<TooLong>,
    /// How often it was established.
    pub established: u64,
    /// What came from the peer since the start.
    pub received: Received,
    /// Why the last attempt or session ended, in words; kept until one is established.
    pub last_error: Option<String>,
}

/// What came from a peer, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// UPDATEs.
    pub updates: u64,
    /// Prefixes it announced; none is used.
    pub prefixes: u64,
    /// UPDATEs with a defect (RFC 7606).
    pub defects: u64,
}

impl Status {
    pub(super) fn new() -> Status {
        Status {
            state: State::Idle,
            since: Instant::now(),
            session: None,
            routes: Counts::default(),
            carries: BTreeSet::new(),
            told: None,
            refused: None,
            established: 0,
            received: Received::default(),
            last_error: None,
        }
    }
}
