//! BFD at work: one thread with a runtime of its own, on which one task has all sessions.
//!
//! What always holds:
//! * our packets have their turn before those that came;
//! * a packet is read only if it comes from the address of a peer, and of a single hop
//!   session only with TTL 255, which the kernel checks (RFC 5881 section 5);
//! * a session whose handle is dropped says AdminDown and is forgotten;
//! * there is a packet socket on a link only while a session there asks for echo.

mod echo;
mod session;
mod socket;
mod task;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::fsm::{Config, Echoing};
use super::wire::{Diagnostic, State};
use task::{Request, Task};

/// Requests that wait: they come one by one from whoever applies a configuration.
const REQUESTS: usize = 16;

/// The other side of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address; for a link-local one, with the index of the interface.
    pub peer: SocketAddr,
    /// Our address; the kernel's choice when not given.
    pub local: Option<IpAddr>,
    /// Leave by this interface only.
    pub device: Option<String>,
    /// The device of the VRF that it is in: packets go and come there.
    pub vrf: Option<String>,
    /// Of a multihop session (RFC 5883): the least TTL to be received.
    pub multihop: Option<u8>,
}

/// What a session is doing.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// Why it is in it.
    pub diagnostic: Diagnostic,
    /// What the other side last said of its own. One that is taken down on purpose says AdminDown,
    /// which is no failure of the path (RFC 5882 section 4.2).
    pub remote: State,
    /// Since when.
    pub since: Instant,
    /// How often it came up.
    pub ups: u64,
    /// How often it went down after it was up.
    pub downs: u64,
    /// Why it last went down.
    pub last_down: Option<Diagnostic>,
    /// What its echo function does.
    pub echo: Echoing,
}

/// Why a session cannot be held.
#[derive(Debug, Error)]
pub enum BfdError {
    /// The thread.
    #[error("the BFD thread cannot be started: {0}")]
    Thread(#[source] io::Error),
    /// A receiving socket.
    #[error(
        "cannot receive BFD on UDP port {port}: {source}; check that no other BFD daemon (FRR's \
         bfdd, BIRD) runs on this host"
    )]
    Receive {
        /// 3784 or 4784.
        port: u16,
        /// What the kernel says.
        source: io::Error,
    },
    /// Another session with the same peer.
    #[error("there is a BFD session with {0} already")]
    Twice(IpAddr),
    /// The thread is gone.
    #[error("BFD has ended")]
    Ended,
}

/// All BFD sessions of this process. They end with it.
#[derive(Debug)]
pub struct Bfd {
    requests: mpsc::Sender<Request>,
    dropped: Arc<Notify>,
}

/// A session. Dropping it ends it.
#[derive(Debug)]
pub struct Session {
    status: watch::Receiver<Status>,
    orders: watch::Sender<Order>,
    dropped: Arc<Notify>,
}

/// What is wanted of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    config: Config,
    /// The index of the link for echo packets.
    echo_link: Option<u32>,
    admin_down: bool,
}

impl Bfd {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn start() -> Result<Bfd, BfdError> {
        let (requests, asked) = mpsc::channel(REQUESTS);
        let dropped = Arc::new(Notify::new());
        let noticed = Arc::clone(&dropped);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BfdError::Thread)?;
        std::thread::Builder::new()
            .name("vipgate-bfd".to_owned())
            .spawn(move || {
                prefer_this_thread();
                runtime.block_on(Task::new(asked, noticed).run());
            })
            .map_err(BfdError::Thread)?;
        Ok(Bfd { requests, dropped })
    }

    /// Begins a session.
    ///
    /// # Errors
    /// When its packets could not be received, or there is one with this peer.
    pub async fn session(&self, target: Target, config: Config) -> Result<Session, BfdError> {
        let (orders, ordered) =
            watch::channel(Order { config, echo_link: None, admin_down: false });
        let (answer, answered) = oneshot::channel();
        let request = Request { target, ordered, answer };
        self.requests.send(request).await.map_err(|_| BfdError::Ended)?;
        let status = answered.await.map_err(|_| BfdError::Ended)??;
        Ok(Session { status, orders, dropped: Arc::clone(&self.dropped) })
    }
}

/// Asks the kernel to run this thread before others. It needs CAP_SYS_NICE, which a speaker in a
/// cluster does not have; sessions at 3 × 300 ms live without.
fn prefer_this_thread() {
    const NICE: i32 = -15;
    if rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE).is_err() {
        tracing::debug!("BFD runs with ordinary priority: CAP_SYS_NICE is missing");
    }
}

impl Session {
    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Other settings; the session stays up (section 6.8.3).
    pub fn configure(&self, config: Config) {
        self.orders.send_modify(|order| order.config = config);
        self.dropped.notify_one();
    }

    /// On which link the peer is, by its index: without one there is no echo, nor is there for IPv6 and
    /// multihop. The session stays up.
    pub fn echo_by(&self, link: Option<u32>) {
        self.orders.send_modify(|order| order.echo_link = link);
        self.dropped.notify_one();
    }

    /// Says that we are about to go, so that the peer does not take it for a failure.
    pub fn admin_down(&self) {
        self.orders.send_modify(|order| order.admin_down = true);
        self.dropped.notify_one();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.orders.send_modify(|order| order.admin_down = true);
        self.dropped.notify_one();
    }
}
