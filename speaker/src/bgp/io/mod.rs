//! A session with a peer, at work: one task per peer, so that none waits for another.
//!
//! ```text
//!   Peer ──routes (newest only), stop, BFD──> PeerTask ──> Status (newest only)
//!                                             │  Fsm ── timers
//!                                             │  Rib ── outbox ─┐
//!                                             │        inbox <─┐│
//!                                             ├── dial ──> TCP socket
//!   Calls ──from the address of the peer──────┴─ accept ─> TCP socket
//! ```
//!
//! The task owns the socket and all state of the session. What always holds:
//! * it reads a bounded part of what has come before timers and orders have their turn;
//! * routes are composed only when the peer has taken all that was composed before, so that a
//!   slow peer costs no memory;
//! * nobody but the configured address is ever read from. Where peers call there is one listener for
//!   all of them (`calls`), which closes what comes from elsewhere.

mod calls;
mod dial;
mod line;
mod link;
mod next_hops;
mod socket;
mod status;
mod task;

pub use calls::Calls;
pub use dial::{Address, Target};
pub use status::{Received, Status};

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use super::fsm::{self, Restart};
use super::rib::Routes;
use super::wire::Cease;
use crate::bfd::io as bfd;
use task::{Order, PeerTask};

/// Orders that wait: the task takes them at once.
const ORDERS: usize = 8;

/// Settings of a peer.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// For logs.
    pub name: String,
    /// Where it is.
    pub target: Target,
    /// How to speak with it.
    pub session: fsm::Config,
    /// Any number; another one for each peer and node.
    pub seed: u64,
    /// The BFD session with the peer, if there is one: when it goes down, so does this one.
    pub bfd: Option<watch::Receiver<bfd::Status>>,
    /// Where the calls of peers come in; `None` takes none.
    pub calls: Option<Calls>,
}

/// A peer being spoken with. Dropping it ends the session at once, without notice to the people
/// on the other side: see [`Peer::stop`].
#[derive(Debug)]
pub struct Peer {
    routes: watch::Sender<Arc<Routes>>,
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
}

impl Peer {
    /// Starts to speak with a peer, on a task of `tracker`. Must be called on a tokio runtime.
    #[must_use]
    pub fn start(config: PeerConfig, tracker: &TaskTracker) -> Peer {
        let (routes, wanted) = watch::channel(Arc::default());
        let (orders, ordered) = mpsc::channel(ORDERS);
        let (reports, status) = watch::channel(Status::new());
        tracker.spawn(PeerTask::new(config, wanted, ordered, reports).run());
        Peer { routes, orders, status }
    }

    /// Says what the peer should have, all of it. Saying the same again sends nothing.
    pub fn set_routes(&self, routes: Routes) {
        let routes = Arc::new(routes);
        self.routes.send_if_modified(|known| {
            let changed = **known != *routes;
            *known = routes;
            changed
        });
    }

    /// Ends the session: step by step if `gracefully`, at once if not or if asked a second time.
    /// The text is shown on the other side (RFC 9003). Returns when it has ended.
    pub async fn stop(&self, text: &str, gracefully: bool) {
        let _ended = self.orders.send(Order::Stop { text: text.to_owned(), gracefully }).await;
        self.orders.closed().await;
    }

    /// Ends the session at once, for a reason that is no planned stop. Returns when it has ended.
    pub async fn end(&self, cease: Cease) {
        let _ended = self.orders.send(Order::End(cease)).await;
        self.orders.closed().await;
    }

    /// Changes what is offered of graceful restart. Routes are to be set after this: a session that
    /// promised too much begins anew first.
    pub async fn offer(&self, restart: Option<Restart>) {
        let _ended = self.orders.send(Order::Offer(restart)).await;
    }

    /// What the session is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}
