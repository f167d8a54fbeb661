//! The table that the workers forward by: built by `apply`, read by every worker, never edited.
//!
//! A new table shares with the one before it every entry that did not change, so a worker finds the
//! differences by comparing pointers, and keeps what it has for the rest.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustls::ServerConfig;
use vipgate_api::ObjectRef;
use vipgate_planner::{Certificate, Listener, Service};

use super::door::Door;
pub(crate) use super::endpoints::Endpoints;
use super::limits::Gate;
pub(crate) use super::share::Forward;
use super::stats::{ListenerStats, RouteStats};
use crate::access_log::Place;
use crate::clients::Clients;

/// What all workers do.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By number: a port keeps its own for as long as some listener wants it.
    pub(super) ports: Vec<Option<Arc<Port>>>,
    /// By number: a listener keeps its own for as long as its id is in the plan.
    pub(super) entries: Vec<Option<Arc<Entry>>>,
    /// Set when the engine ends: accept what is queued, then no more; what is open then is reset.
    pub(super) drain_until: Option<Instant>,
    /// Another one than before when endpoints left or came back whose connections are to end for it.
    pub(super) departures: u64,
}

/// An address and port where connections are accepted, for one listener or for several that are told
/// apart by what the client says first.
#[derive(Debug)]
pub(super) struct Port {
    /// None once the engine has ended.
    pub(super) socket: Option<Arc<OwnedFd>>,
    /// The port that the socket has: another than clients use where somebody else has that.
    pub(super) served_at: u16,
    /// The same for all its listeners: a name that a client asks for in one protocol never means a
    /// listener of another.
    pub(super) protocol: Protocol,
    /// Whether the client has to say first what it means.
    pub(super) asks: bool,
    /// Whether a client whose name nobody has is reset instead of told so: what it speaks inside TLS
    /// may be anything, and so may be what ends TLS.
    pub(super) curt: bool,
    /// What the settings of its listeners say before one of them is chosen.
    pub(super) door: Arc<Door>,
    /// Numbers of its listeners.
    pub(super) listeners: Vec<u32>,
    /// Of connections that have not said yet which listener they mean, and of those that ended
    /// before. A port that changes its protocol gets new ones.
    pub(super) stats: Arc<ListenerStats>,
}

/// What clients of a port speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Anything.
    Tcp,
    /// HTTP/1.1: told apart by the Host of the first request.
    Http,
    /// TLS: told apart by the server name of the handshake.
    Tls,
}

impl Protocol {
    /// What the clients of a listener speak.
    pub(super) fn of(service: &Service) -> Self {
        match service {
            Service::Tcp(_) | Service::Udp(_) => Self::Tcp,
            Service::Http(_) => Self::Http,
            Service::Https(..) | Service::Tls(..) => Self::Tls,
        }
    }
}

/// One listener.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) listener: Arc<Listener>,
    /// Where connections go, by the name that they ask for.
    pub(super) forwards: Vec<(Option<String>, Arc<Forward>)>,
    /// Where connections of each of the `forwards` count.
    pub(super) routes: Vec<Arc<RouteStats>>,
    /// Certificates, with what a handshake needs.
    pub(super) certificates: Vec<(Arc<Certificate>, Arc<ServerConfig>)>,
    pub(super) stats: Arc<ListenerStats>,
    /// Who is in, for as long as its id is in the plan.
    pub(super) gate: Arc<Gate>,
    /// Who may come in.
    pub(super) clients: Clients,
    /// Whether the settings say anything of new connections.
    pub(super) guarded: bool,
    /// Where its connections are logged, if they are.
    pub(super) log: Option<Arc<Place>>,
}

impl Entry {
    /// Whether connections of this route go on.
    pub(super) fn keeps(&self, route: &ObjectRef) -> bool {
        self.listener.attached.contains(route) || self.listener.serves(route)
    }

    /// Whether clients that have no route yet may be shaking hands.
    pub(super) fn ends_tls(&self) -> bool {
        self.listener.termination().is_some()
    }

    /// The names that it takes.
    pub(super) fn hostname(&self) -> Option<&str> {
        self.listener.by_name()?.hostname.as_deref()
    }
}
