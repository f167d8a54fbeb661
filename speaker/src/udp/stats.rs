//! Counters of listeners and of the engine, and their snapshot.
//!
//! A listener's counters have one shard per worker, so that workers never write to the same cache
//! line while they forward. An endpoint's are those that connections have, and are shared.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vipgate_planner::{Endpoint, ListenerId};

use super::places::Places;
use crate::proxy::EndpointHealth;
use crate::rate::Meter;

/// Why a datagram was not forwarded. None of them is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The listener has no route.
    NoRoute,
    /// The picked backendRef has no usable endpoint, or all weights are zero.
    NoEndpoint,
    /// No endpoint that was tried has a way to it.
    Unreachable,
    /// No file, port or memory was left for a session.
    Exhausted,
    /// It would begin a session, and the engine is ending.
    Draining,
    /// Its client may not use the listener.
    NotAllowed,
    /// It would begin a session, and those of the listener begin faster than they may.
    TooFast,
    /// It claims to come from a listener of ours: two services that answer each other's answers would never
    /// stop.
    Loop,
    /// It came faster than it could be taken: the socket's buffer was full.
    Overrun,
    /// The way out was full.
    Full,
    /// Too long for the way out.
    TooLong,
    /// The host may not send it: a firewall, or the VIP is not here any more.
    NotSent,
    /// Sent to a session's socket by somebody else than its endpoint.
    Foreign,
}

impl DropReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 13] = [
        Self::NoRoute,
        Self::NoEndpoint,
        Self::Unreachable,
        Self::Exhausted,
        Self::Draining,
        Self::NotAllowed,
        Self::TooFast,
        Self::Loop,
        Self::Overrun,
        Self::Full,
        Self::TooLong,
        Self::NotSent,
        Self::Foreign,
    ];

    /// As a label of metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_endpoint",
            Self::Unreachable => "unreachable",
            Self::Exhausted => "exhausted",
            Self::Draining => "draining",
            Self::NotAllowed => "not_allowed",
            Self::TooFast => "too_fast",
            Self::Loop => "loop",
            Self::Overrun => "overrun",
            Self::Full => "full",
            Self::TooLong => "too_long",
            Self::NotSent => "not_sent",
            Self::Foreign => "foreign",
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// Nobody said anything for too long.
    Idle,
    /// There were too many, and this one was silent for longest.
    Crowded,
    /// The same among those of its listener.
    ListenerCrowded,
    /// The same among those of one source, in all or of its listener.
    SourceCrowded,
    /// Its endpoint does not listen (ICMP "port unreachable"), or cannot be reached any more.
    Refused,
    /// Its endpoint left the route and answers no more.
    Deserted,
    /// The route is no longer attached to the listener.
    RouteDetached,
    /// The listener is gone.
    ListenerGone,
    /// Still there when the time to drain was up.
    DrainDeadline,
    /// A panic while this session was handled.
    Panic,
}

impl EndReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 10] = [
        Self::Idle,
        Self::Crowded,
        Self::ListenerCrowded,
        Self::SourceCrowded,
        Self::Refused,
        Self::Deserted,
        Self::RouteDetached,
        Self::ListenerGone,
        Self::DrainDeadline,
        Self::Panic,
    ];

    /// As a label of metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Crowded => "crowded",
            Self::ListenerCrowded => "listener_crowded",
            Self::SourceCrowded => "source_crowded",
            Self::Refused => "refused",
            Self::Deserted => "deserted",
            Self::RouteDetached => "route_detached",
            Self::ListenerGone => "listener_gone",
            Self::DrainDeadline => "drain_deadline",
            Self::Panic => "panic",
        }
    }
}

/// What one worker counted on one listener. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Shard {
    pub(super) sessions: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) datagrams_in: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) datagrams_out: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    ended: [AtomicU64; EndReason::ALL.len()],
}

impl Shard {
    /// Counts datagrams that were not forwarded.
    pub(super) fn dropped(&self, reason: DropReason, datagrams: u64) {
        if datagrams > 0 {
            self.dropped[reason as usize].fetch_add(datagrams, Relaxed);
        }
    }

    /// Counts the end of a session.
    pub(super) fn ended(&self, reason: EndReason) {
        self.open.fetch_sub(1, Relaxed);
        self.ended[reason as usize].fetch_add(1, Relaxed);
    }
}

/// The counters of a listener, for as long as its id is in the plan, and what its limits go by. Their
/// identity also tells a listener from a later one of the same id.
#[derive(Debug)]
pub(super) struct ListenerStats {
    shards: Box<[Shard]>,
    pub(super) places: Places,
    pub(super) meter: Meter,
}

impl ListenerStats {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            shards: (0..workers).map(|_| Shard::default()).collect(),
            places: Places::default(),
            meter: Meter::default(),
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.shards.len()
    }

    /// The worker that has the most sessions; this one if it is among them.
    pub(super) fn fullest(&self, own: usize) -> usize {
        let open = self.shards.iter().map(|shard| shard.open.load(Relaxed)).enumerate();
        open.max_by_key(|(worker, open)| (*open, *worker == own)).map_or(own, |(worker, _)| worker)
    }

    pub(super) fn shard(&self, worker: usize) -> &Shard {
        &self.shards[worker]
    }

    pub(super) fn snapshot(&self) -> ListenerCounters {
        let mut sum = ListenerCounters::default();
        for shard in &self.shards {
            sum.sessions += shard.sessions.load(Relaxed);
            sum.open += shard.open.load(Relaxed);
            sum.datagrams_in += shard.datagrams_in.load(Relaxed);
            sum.bytes_in += shard.bytes_in.load(Relaxed);
            sum.datagrams_out += shard.datagrams_out.load(Relaxed);
            sum.bytes_out += shard.bytes_out.load(Relaxed);
            add(&mut sum.dropped, &DropReason::ALL, &shard.dropped);
            add(&mut sum.ended, &EndReason::ALL, &shard.ended);
        }
        sum
    }
}

fn add<R: Copy + Ord>(sums: &mut BTreeMap<R, u64>, reasons: &[R], counts: &[AtomicU64]) {
    for (reason, count) in reasons.iter().zip(counts) {
        let count = count.load(Relaxed);
        if count > 0 {
            *sums.entry(*reason).or_default() += count;
        }
    }
}

/// Counters of the whole engine.
#[derive(Debug, Default)]
pub(super) struct EngineStats {
    pub(super) joined: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) panics: AtomicU64,
}

/// Everything that was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Per listener of the last [`apply`](super::Udp::apply).
    pub listeners: BTreeMap<ListenerId, ListenerCounters>,
    /// Per endpoint that a listener can forward to now: how many sessions it answered, and how many
    /// failed.
    pub endpoints: BTreeMap<Endpoint, EndpointHealth>,
    /// How many sessions there may be.
    pub limit: usize,
    /// Runs of datagrams that the kernel handed over as one piece (UDP GRO).
    pub joined: u64,
    /// Such pieces that it cut into datagrams again (UDP GSO); the others were cut here.
    pub cut: u64,
    /// Panics that were contained.
    pub panics: u64,
}

/// What was counted on one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounters {
    /// Sessions that began.
    pub sessions: u64,
    /// Sessions that there are now.
    pub open: u64,
    /// Datagrams from clients, those included that were dropped.
    pub datagrams_in: u64,
    /// Bytes in them.
    pub bytes_in: u64,
    /// Datagrams to clients.
    pub datagrams_out: u64,
    /// Bytes in them.
    pub bytes_out: u64,
    /// Datagrams of either direction that were not forwarded, by reason; reasons that never occurred are
    /// absent.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Sessions that ended, by reason, likewise.
    pub ended: BTreeMap<EndReason, u64>,
}
