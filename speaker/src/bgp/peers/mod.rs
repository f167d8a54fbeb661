//! The sessions of a node, as a plan wants them: they come, change and go with it.
//!
//! ```text
//!   node executor                 thread "vipgate-bgp", current-thread runtime
//!   ┌──────────┐ set (newest)  ┌────────────────────────────────────────────────┐
//!   │          ├──────────────>│ roll: a session per BGPPeer                    │
//!   │ Sessions │               │   session ── Peer (io) ── TCP                  │
//!   │          │<── watch ─────┤     ├── beside: BFD, as long as it is wanted   │
//!   └──────────┘    Board      │     └── Discovery, where the peer is a link    │
//!                              └────────────────────────────────────────────────┘
//! ```
//!
//! State: what is wanted, and for each peer what came of it. What always holds:
//! * a change of one peer touches no other, and a change of BFD alone no BGP session;
//! * a session whose settings change is ended with Cease / Other Configuration Change, one that is
//!   wanted no more with Peer De-configured; a planned stop takes the routes back first;
//! * nothing else of the process runs on the thread, so that nothing delays a KEEPALIVE. It starts
//!   with the first peer.
//!
//! Caveats: the thread stays in the network namespace of whoever first wants a peer.

mod beside;
mod known;
mod roll;
mod router_id;
mod session;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use known::in_words;
pub use known::{Board, Counters, Known};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use vipgate_api::ObjectKey;
use vipgate_planner::{Link, Refusal, bgp};

use super::rib::Routes;
use super::wire::Family;
use roll::Roll;

/// What is wanted of the sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The sessions.
    pub peers: bgp::Peers,
    /// BGPPeers without a session, and why.
    pub held_back: BTreeMap<ObjectKey, Refusal>,
    /// What each peer is told; without an entry nothing.
    pub tables: BTreeMap<ObjectKey, Table>,
    /// The links of the node.
    pub links: Vec<Link>,
}

/// What a peer is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Prefixes and their paths.
    pub routes: Routes,
    /// Families in which all that there can be is forwarded by the kernel, without this process.
    pub surviving: BTreeSet<Family>,
}

/// The sessions of a node.
#[derive(Debug)]
pub struct Sessions {
    node: String,
    wanted: watch::Sender<Arc<Wanted>>,
    farewell: watch::Sender<Option<String>>,
    board: watch::Sender<Board>,
    /// Closed when the thread has ended; `None` until it could be started.
    thread: Mutex<Option<watch::Receiver<()>>>,
}

impl Sessions {
    /// None yet. Router IDs may come from the name of the node.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            wanted: watch::Sender::default(),
            farewell: watch::Sender::default(),
            board: watch::Sender::default(),
            thread: Mutex::default(),
        }
    }

    /// Says what is wanted, all of it. Saying the same again does nothing, but for a thread that could not be
    /// started: that is tried again. Whether there is one, if any is needed.
    pub fn set(&self, wanted: Wanted) -> bool {
        let any = !(wanted.peers.is_empty() && wanted.held_back.is_empty());
        self.wanted.send_if_modified(|known| {
            let changed = **known != wanted;
            if changed {
                *known = Arc::new(wanted);
            }
            changed
        });
        !any || self.is_started(|| self.start())
    }

    /// Starts the thread if there is none; whether there is one.
    fn is_started(&self, start: impl FnOnce() -> io::Result<watch::Receiver<()>>) -> bool {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return true;
        }
        match start() {
            Ok(started) => *thread = Some(started),
            Err(error) => self.show_failure(&format!("the BGP thread cannot be started: {error}")),
        }
        thread.is_some()
    }

    fn show_failure(&self, why: &str) {
        let peers: Vec<ObjectKey> = self.wanted.borrow().peers.keys().cloned().collect();
        self.board.send_if_modified(|board| {
            let said = |known: &Known| known.report.last_error.as_deref() == Some(why);
            if peers.len() == board.len() && board.values().all(said) {
                return false;
            }
            tracing::error!("no session is held: {why}");
            *board = peers.into_iter().map(|peer| (peer, Known::failed(why))).collect();
            true
        });
    }

    fn start(&self) -> io::Result<watch::Receiver<()>> {
        let (alive, ended) = watch::channel(());
        let roll = Roll::new(
            &self.node,
            self.wanted.subscribe(),
            self.farewell.subscribe(),
            self.board.clone(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("vipgate-bgp".to_owned());
        let _detached = thread.spawn(move || {
            let _until_the_end = alive;
            runtime.block_on(roll.run());
        })?;
        Ok(ended)
    }

    /// What the sessions do.
    #[must_use]
    pub fn board(&self) -> watch::Receiver<Board> {
        self.board.subscribe()
    }

    /// Ends all of them, for good: routes are marked as about to go, then withdrawn, then each
    /// session is ended with this text, which the router shows. Returns when that is done.
    pub async fn leave(&self, text: &str) {
        self.farewell.send_replace(Some(text.to_owned()));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(mut thread) = thread {
            // Nothing is ever sent: it is closed.
            while thread.changed().await.is_ok() {}
        }
    }
}
