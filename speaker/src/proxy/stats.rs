//! Counters of listeners, their routes, endpoints and the engine, and their snapshot.
//!
//! Those of a listener and of its routes have one shard per worker, so that workers never write to the
//! same cache line while they forward. Those of an endpoint are in `endpoint`.

mod by_route;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use vipgate_api::ObjectRef;
use vipgate_planner::{Endpoint, ListenerId};

pub(super) use by_route::RouteStats;
use by_route::Routes;

use super::preserve::NotPreserved;

/// Why a connection was reset, or refused with an answer in its protocol. A connection that is in
/// none of these ended in an orderly way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResetReason {
    /// The listener has no route.
    NoRoute,
    /// The picked backendRef has no usable endpoint, or all weights are zero.
    NoEndpoint,
    /// No endpoint that was tried could be reached.
    ConnectFailed,
    /// The client reset the connection, or its host is gone; passed on to the backend.
    ByClient,
    /// The backend reset the connection, or its host is gone; passed on to the client.
    ByBackend,
    /// The route is no longer attached to the listener.
    RouteDetached,
    /// The listener is gone.
    ListenerGone,
    /// Still open when the time to drain was up.
    DrainDeadline,
    /// The process ran out of files between the client's socket and the backend's.
    OutOfFiles,
    /// Every port that this host may connect from is in use towards each endpoint that was tried.
    OutOfPorts,
    /// A panic while this connection was handled.
    Panic,
    /// No listener or route takes the name that the client asks for, or it asks in no way that we know.
    NoName,
    /// The listener has no certificate that can be used.
    NoCertificate,
    /// The client did not say in time what it wants.
    Silent,
    /// Too many others had not said yet what they want, and this client was at it for longest.
    Crowded,
    /// The client does not speak the protocol of the port, or asks in a way that has to be refused.
    NotUnderstood,
    /// The TLS handshake failed, or the client broke the protocol later.
    Tls,
    /// The PROXY header that the connection has to begin with is missing or wrong.
    ProxyHeader,
    /// The client's address may not connect.
    NotAllowed,
    /// The listener has as many connections as it may have.
    TooMany,
    /// The client's address, or its IPv6 network, has as many as it may have.
    TooManyFromSource,
    /// New connections come faster than the listener takes them.
    TooFast,
    /// Nothing moved in either direction for too long.
    Idle,
    /// There was no TLS handshake with any endpoint that was tried, or the backend broke the protocol
    /// later.
    BackendTls,
    /// The endpoint left its backendRef, and its connections were to end for it.
    EndpointGone,
}

impl ResetReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 25] = [
        Self::NoRoute,
        Self::NoEndpoint,
        Self::ConnectFailed,
        Self::ByClient,
        Self::ByBackend,
        Self::RouteDetached,
        Self::ListenerGone,
        Self::DrainDeadline,
        Self::OutOfFiles,
        Self::OutOfPorts,
        Self::Panic,
        Self::NoName,
        Self::NoCertificate,
        Self::Silent,
        Self::Crowded,
        Self::NotUnderstood,
        Self::Tls,
        Self::ProxyHeader,
        Self::NotAllowed,
        Self::TooMany,
        Self::TooManyFromSource,
        Self::TooFast,
        Self::Idle,
        Self::BackendTls,
        Self::EndpointGone,
    ];

    /// Whether a connection may have a route when this happens to it.
    pub fn has_route(self) -> bool {
        match self {
            Self::NoEndpoint
            | Self::ConnectFailed
            | Self::ByClient
            | Self::ByBackend
            | Self::RouteDetached
            | Self::ListenerGone
            | Self::DrainDeadline
            | Self::OutOfFiles
            | Self::OutOfPorts
            | Self::Panic
            | Self::Idle
            | Self::BackendTls
            | Self::EndpointGone
            | Self::Tls => true,
            Self::NoRoute
            | Self::NoName
            | Self::NoCertificate
            | Self::Silent
            | Self::Crowded
            | Self::NotUnderstood
            | Self::ProxyHeader
            | Self::NotAllowed
            | Self::TooMany
            | Self::TooManyFromSource
            | Self::TooFast => false,
        }
    }

    /// Its name in metrics and in the access log.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_endpoint",
            Self::ConnectFailed => "connect_failed",
            Self::ByClient => "by_client",
            Self::ByBackend => "by_backend",
            Self::RouteDetached => "route_detached",
            Self::ListenerGone => "listener_gone",
            Self::DrainDeadline => "drain_deadline",
            Self::OutOfFiles => "out_of_files",
            Self::OutOfPorts => "out_of_ports",
            Self::Panic => "panic",
            Self::NoName => "no_name",
            Self::NoCertificate => "no_certificate",
            Self::Silent => "silent",
            Self::Crowded => "crowded",
            Self::NotUnderstood => "not_understood",
            Self::Tls => "tls",
            Self::ProxyHeader => "proxy_header",
            Self::NotAllowed => "not_allowed",
            Self::TooMany => "too_many",
            Self::TooManyFromSource => "too_many_from_source",
            Self::TooFast => "too_fast",
            Self::Idle => "idle",
            Self::BackendTls => "backend_tls",
            Self::EndpointGone => "endpoint_gone",
        }
    }
}

/// How long connecting to endpoints took, for attempts that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectTimes {
    /// How many took at most as long as the bound of the same place, and longer than the one before;
    /// the last is those that took longer than all.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// Of all together.
    pub sum: Duration,
}

impl ConnectTimes {
    /// Microseconds: from a neighbour on the same switch to the end of most people's patience.
    pub const BOUNDS: [u64; 8] = [250, 1_000, 2_500, 10_000, 50_000, 100_000, 250_000, 1_000_000];
}

/// What one worker counted on one listener or route. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Shard {
    pub(super) accepted: AtomicU64,
    /// Of a route: connections that its listener had counted as accepted before the route was known.
    pub(super) joined: AtomicU64,
    /// Connections that are forwarded or being connected.
    pub(super) open: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    resets: [AtomicU64; ResetReason::ALL.len()],
    not_preserved: [AtomicU64; NotPreserved::ALL.len()],
    connect_times: [AtomicU64; ConnectTimes::BOUNDS.len() + 1],
    /// Microseconds.
    connect_time_sum: AtomicU64,
}

impl Shard {
    /// Counts a connection to an endpoint that was made in this time.
    pub(super) fn connected(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = ConnectTimes::BOUNDS.partition_point(|bound| *bound < micros);
        self.connect_times[place].fetch_add(1, Relaxed);
        self.connect_time_sum.fetch_add(micros, Relaxed);
    }

    /// Counts a connection that came from the node's address though the client's was wanted.
    pub(super) fn not_preserved(&self, why: NotPreserved) {
        self.not_preserved[why as usize].fetch_add(1, Relaxed);
    }

    /// Counts a reset.
    pub(super) fn reset(&self, reason: ResetReason) {
        self.resets[reason as usize].fetch_add(1, Relaxed);
    }
}

/// One shard for each worker.
#[derive(Debug)]
struct Shards(Box<[Shard]>);

impl Shards {
    fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Shard::default()).collect())
    }

    fn shard(&self, worker: usize) -> &Shard {
        &self.0[worker]
    }

    fn sum(&self) -> ListenerCounters {
        let mut sum = ListenerCounters::default();
        for shard in &self.0 {
            sum.accepted += shard.accepted.load(Relaxed);
            sum.open += shard.open.load(Relaxed);
            sum.bytes_in += shard.bytes_in.load(Relaxed);
            sum.bytes_out += shard.bytes_out.load(Relaxed);
            for (sum, count) in sum.connects.counts.iter_mut().zip(&shard.connect_times) {
                *sum += count.load(Relaxed);
            }
            sum.connects.sum += Duration::from_micros(shard.connect_time_sum.load(Relaxed));
            for (why, count) in NotPreserved::ALL.iter().zip(&shard.not_preserved) {
                let count = count.load(Relaxed);
                if count > 0 {
                    *sum.not_preserved.entry(*why).or_default() += count;
                }
            }
            for (reason, count) in ResetReason::ALL.iter().zip(&shard.resets) {
                let count = count.load(Relaxed);
                if count > 0 {
                    *sum.resets.entry(*reason).or_default() += count;
                }
            }
        }
        sum
    }
}

/// The counters of a listener, for as long as its id is in the plan, or of a port. Their identity
/// also tells a listener from a later one of the same id.
#[derive(Debug)]
pub(super) struct ListenerStats {
    /// Of connections that have no route.
    own: Shards,
    /// None of a port.
    routes: Routes,
    /// Of what was said once and need not be said again.
    told: [AtomicBool; NotPreserved::ALL.len()],
}

impl ListenerStats {
    pub(super) fn new(workers: usize) -> Self {
        Self { own: Shards::new(workers), routes: Routes::default(), told: Default::default() }
    }

    /// For connections that have no route.
    pub(super) fn shard(&self, worker: usize) -> &Shard {
        self.own.shard(worker)
    }

    /// Whether this is the first time that a client's address is lost for this reason.
    pub(super) fn is_news(&self, why: NotPreserved) -> bool {
        !self.told[why as usize].swap(true, Relaxed)
    }

    /// The counters of one of its routes.
    pub(super) fn route(&self, route: &ObjectRef) -> Arc<RouteStats> {
        self.routes.stats(route, self.own.0.len())
    }

    /// What was counted on each route that it has or that connections have, and on all together with
    /// what has no route.
    pub(super) fn snapshot(&self) -> (BTreeMap<ObjectRef, ListenerCounters>, ListenerCounters) {
        let (routes, mut all) = self.routes.snapshot();
        all.add(&self.own.sum());
        (routes, all)
    }

    /// What was counted on all together.
    pub(super) fn total(&self) -> ListenerCounters {
        self.snapshot().1
    }
}

/// Counters of the whole engine.
#[derive(Debug, Default)]
pub(super) struct EngineStats {
    pub(super) accept_pauses: AtomicU64,
    pub(super) panics: AtomicU64,
}

/// Everything that was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Per listener of the last [`apply`](super::Proxy::apply). A connection counts where the client
    /// said that it belongs, not before.
    pub listeners: BTreeMap<ListenerId, ListenerCounters>,
    /// Of these, per route that the listener forwards by, or did when a connection began that is still
    /// open. A connection counts on its route as soon as that is known.
    pub routes: BTreeMap<(ListenerId, ObjectRef), ListenerCounters>,
    /// Per port where clients have to say first which listener they mean.
    pub ports: BTreeMap<SocketAddr, PortCounters>,
    /// Per endpoint that a listener can forward to now.
    pub endpoints: BTreeMap<Endpoint, EndpointHealth>,
    /// Connections that are open now.
    pub open: usize,
    /// Connections that are open from their clients' addresses.
    pub preserved: usize,
    /// How many connections may be open (`RLIMIT_NOFILE`, less what the rest needs), give or take
    /// one for each worker.
    pub limit: usize,
    /// How often a worker stopped accepting for a moment: the limit was reached, or no file or
    /// memory was left.
    pub accept_pauses: u64,
    /// Panics that were contained; each one closed the connection that it met.
    pub panics: u64,
    /// Lines of the access log that were written.
    pub logged: u64,
    /// Lines that were not: nobody took them as fast as connections ended, or writing failed.
    pub log_dropped: u64,
}

/// What was counted on one listener, or there for one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounters {
    /// Connections accepted for it.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Connections that were reset, by reason; reasons that never occurred are absent.
    pub resets: BTreeMap<ResetReason, u64>,
    /// Connections that came from the node's address though the client's was wanted, by reason; reasons that
    /// never occurred are absent.
    pub not_preserved: BTreeMap<NotPreserved, u64>,
    /// How long connecting to endpoints took.
    pub connects: ConnectTimes,
}

impl ListenerCounters {
    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.open += other.open;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        for (reason, count) in &other.resets {
            *self.resets.entry(*reason).or_default() += count;
        }
        for (why, count) in &other.not_preserved {
            *self.not_preserved.entry(*why).or_default() += count;
        }
        for (sum, count) in self.connects.counts.iter_mut().zip(other.connects.counts) {
            *sum += count;
        }
        self.connects.sum += other.connects.sum;
    }
}

/// What was counted on a port before it was known which listener was meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Connections accepted, also those that count on a listener now.
    pub accepted: u64,
    /// Connections open whose client has not said yet what it wants.
    pub undecided: u64,
    /// Connections that ended before, by reason.
    pub ended: BTreeMap<ResetReason, u64>,
}

impl From<ListenerCounters> for PortCounters {
    fn from(counted: ListenerCounters) -> Self {
        Self { accepted: counted.accepted, undecided: counted.open, ended: counted.resets }
    }
}

/// How connecting to one endpoint went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointHealth {
    /// Connections made.
    pub connected: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that failed since the last that succeeded; 0 means healthy (or never used).
    pub consecutive_failures: u32,
    /// The last failure, as the operating system words it, or what was wrong with TLS.
    pub last_error: Option<String>,
    /// Whether new connections keep away while another endpoint of the backendRef is left: attempts
    /// failed as often in a row as the strictest of its backendRefs says, and it has not answered since.
    pub ejected: bool,
    /// How often that became so.
    pub ejections: u64,
    /// Whether a check found that it does not work; whoever asked for that check keeps away from it.
    pub unhealthy: bool,
}
