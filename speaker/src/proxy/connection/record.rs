//! What is kept of a connection beyond what forwarding it needs, where some policy asks for it.
//!
//! Boxed away, so that connections of listeners and backends without a policy pay eight bytes for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use vipgate_planner::Keepalive;

use super::departed::Departing;
use super::{Connection, Ending};
use crate::access_log::{Line, Place, Tally};
use crate::proxy::endpoint::{EndpointState, Held};
use crate::proxy::limits::Permit;
use crate::proxy::preserve::Preserved;
use crate::proxy::proxy_protocol::Addresses;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Record {
    /// The endpoint that it is connected to.
    pub(super) endpoint: Option<Arc<EndpointState>>,
    /// The same, where its connections are counted or may have to end.
    pub(super) held: Option<Held>,
    /// Where it is to end some time after the endpoint left its backendRef.
    pub(super) departing: Option<Departing>,
    /// Who connected, where somebody looked: the client, or the sender of a PROXY header.
    pub(super) peer: Option<SocketAddr>,
    /// What the PROXY header said, where there was one that says it.
    pub(super) header: Option<Addresses>,
    /// What it has taken of its listener's limits.
    pub(super) permit: Option<Permit>,
    /// What the sockets to endpoints get, too.
    pub(super) keepalive: Option<Keepalive>,
    /// What is counted for the access log.
    pub(super) tally: Option<Box<Tally>>,
    /// That it comes from the client's address, if it does.
    pub(super) preserved: Option<Preserved>,
}

impl Record {
    /// Of a connection that comes in now from there, where some listener of its port asks for it.
    pub(in crate::proxy) fn new(
        peer: Option<SocketAddr>,
        log: Option<&Arc<Place>>,
        now: Instant,
    ) -> Self {
        let tally = log.map(|place| Box::new(Tally::new(Arc::clone(place), now)));
        Self { peer, tally, ..Self::default() }
    }

    /// The client: by the PROXY header where there is one.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        self.header.map(|header| header.source).or(self.peer)
    }
}

impl Connection {
    /// Notes what the client asks for.
    pub(in crate::proxy) fn note_name(&mut self, name: Option<&str>) {
        if let Some(tally) = self.record.as_mut().and_then(|record| record.tally.as_mut()) {
            tally.server_name = name.map(str::to_owned);
        }
    }

    /// The line that says how it ended, if it is one of those that are logged.
    pub(in crate::proxy) fn last_line(&mut self, ending: Ending, now: Instant) -> Option<Line> {
        let record = self.record.as_mut()?;
        let tally = record.tally.take_if(|tally| tally.place.samples())?;
        Some(Line {
            time: Timestamp::now(),
            lasted: now.saturating_duration_since(tally.began),
            tally: *tally,
            client: record.client(),
            via: record.header.and(record.peer),
            route: self.route.as_ref().map(|stats| stats.route.to_string()),
            endpoint: record.endpoint.as_ref().map(|endpoint| endpoint.address),
            reason: match ending {
                Ending::Orderly => "orderly",
                Ending::Reset(reason) | Ending::Refused(reason) => reason.name(),
            },
        })
    }
}
