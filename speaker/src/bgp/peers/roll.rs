//! Who is there: one session per peer that is wanted.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::sync::{Notify, OnceCell, watch};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use vipgate_api::ObjectKey;

use super::session::{BROKEN, Order, RETRY, Session};
use super::settings::Settings;
use super::{Board, Known, Wanted, router_id};
use crate::bfd::io::Bfd;
use crate::bgp::io::Calls;

/// The BFD thread, once somebody wants it.
pub(super) type SharedBfd = Arc<OnceCell<Bfd>>;

/// The list of sessions.
pub(super) struct Roll {
    node: String,
    wanted: watch::Receiver<Arc<Wanted>>,
    farewell: watch::Receiver<Option<String>>,
    board: watch::Sender<Board>,
    shown: watch::Receiver<Board>,
    bfd: SharedBfd,
    /// Where routers call, from the first session on.
    calls: Option<Calls>,
    /// Derived when it is first needed, and kept: another one would end every session.
    router_id: Option<Ipv4Addr>,
    entries: BTreeMap<ObjectKey, Entry>,
    /// Says that a session has ended, whichever.
    ended: Arc<Notify>,
    tracker: TaskTracker,
}

struct Entry {
    /// `None` is the order to end.
    orders: watch::Sender<Option<Order>>,
    task: JoinHandle<()>,
}

impl Roll {
    pub(super) fn new(
        node: &str,
        wanted: watch::Receiver<Arc<Wanted>>,
        farewell: watch::Receiver<Option<String>>,
        board: watch::Sender<Board>,
    ) -> Self {
        Self {
            node: node.to_owned(),
            wanted,
            farewell,
            shown: board.subscribe(),
            board,
            bfd: Arc::default(),
            calls: None,
            router_id: None,
            entries: BTreeMap::new(),
            ended: Arc::default(),
            tracker: TaskTracker::new(),
        }
    }

    /// Runs until a farewell is said or nobody can want anything any more, and all sessions have
    /// ended.
    pub(super) async fn run(mut self) {
        loop {
            let wanted = Arc::clone(&self.wanted.borrow_and_update());
            self.follow(&wanted);
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { break },
                // A session that has ended may leave a place to one that is held back …
                _shown = self.shown.changed() => {}
                // … or be wanted again.
                () = self.ended.notified() => {}
                _said = self.farewell.wait_for(Option::is_some) => break,
            }
        }
        // Each session has heard the farewell, too; without one it sees that its orders end.
        self.entries.clear();
        self.calls = None;
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn follow(&mut self, wanted: &Wanted) {
        for (key, entry) in &self.entries {
            if !wanted.peers.contains_key(key) {
                entry.orders.send_if_modified(|order| order.take().is_some());
            }
        }
        // Those that are ending stay until they have: a peer that is wanted again waits for that.
        self.entries.retain(|_, entry| !entry.task.is_finished());
        self.board.send_if_modified(|board| hold_back(board, wanted, &self.entries));
        for (key, peer) in &wanted.peers {
            let router_id = peer.router_id.unwrap_or_else(|| self.router_id(wanted));
            let order = Order {
                settings: Settings::of(peer, &wanted.links, router_id),
                table: wanted.tables.get(key).cloned().unwrap_or_default(),
            };
            match self.entries.get(key) {
                Some(entry) => {
                    entry.orders.send_if_modified(|known| {
                        let changed = known.as_ref() != Some(&order);
                        *known = Some(order);
                        changed
                    });
                }
                None => self.begin(key, order),
            }
        }
    }

    fn begin(&mut self, key: &ObjectKey, order: Order) {
        let (orders, ordered) = watch::channel(Some(order));
        let calls = self.calls.get_or_insert_with(|| Calls::start(&self.tracker)).clone();
        let session = Session::new(
            (key.clone(), &self.node),
            ordered,
            self.farewell.clone(),
            self.board.clone(),
            (Arc::clone(&self.bfd), calls, self.tracker.clone()),
        );
        let (board, farewell) = (self.board.clone(), self.farewell.clone());
        let guarded = guarded(key.clone(), session.run(), self.tracker.clone(), board, farewell);
        let ended = Arc::clone(&self.ended);
        let task = self.tracker.spawn(async move {
            guarded.await;
            ended.notify_one();
        });
        self.entries.insert(key.clone(), Entry { orders, task });
    }

    fn router_id(&mut self, wanted: &Wanted) -> Ipv4Addr {
        *self.router_id.get_or_insert_with(|| {
            let found = router_id::derive(router_id::towards_default(), &wanted.links, &self.node);
            tracing::info!(router_id = %found, "BGP router ID where a BGPPeer gives none");
            found
        })
    }
}

/// Runs a session to its end. A panic is the end of that session and of no other: nothing that it said stays,
/// and it may begin anew after a while.
pub(super) async fn guarded(
    key: ObjectKey,
    session: impl Future<Output = ()> + Send + 'static,
    tracker: TaskTracker,
    board: watch::Sender<Board>,
    mut farewell: watch::Receiver<Option<String>>,
) {
    if tracker.spawn(session).await.is_ok() {
        return;
    }
    tracing::error!(peer = %key, "no BGP session: {BROKEN}");
    board.send_modify(|board| {
        board.insert(key, Known::failed(BROKEN));
    });
    let _said = tokio::time::timeout(RETRY, farewell.wait_for(Option::is_some)).await;
}

/// Shows the peers that have no session, and takes away those that were shown so; whether that is news.
fn hold_back(board: &mut Board, wanted: &Wanted, entries: &BTreeMap<ObjectKey, Entry>) -> bool {
    let before = board.len();
    board.retain(|key, _| {
        entries.contains_key(key)
            || wanted.peers.contains_key(key)
            || wanted.held_back.contains_key(key)
    });
    let holds = |key: &ObjectKey| entries.get(key).is_some_and(|one| one.orders.borrow().is_some());
    let mut news = board.len() != before;
    for (key, why) in &wanted.held_back {
        let said = board.get(key).and_then(|known| known.report.last_error.as_ref());
        if said != Some(&why.message) && !holds(key) {
            board.insert(key.clone(), Known::refused(why));
            news = true;
        }
    }
    news
}
