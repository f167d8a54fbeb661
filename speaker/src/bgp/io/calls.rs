//! Calls of routers: listeners for all peers of a node, one per family, and of each VRF its own.
//!
//! ```text
//!   PeerTask ── expect ──> task ── accept ── from whom? ──> Expected of that peer
//!                            └── a listener while a passive peer of its family is expected
//! ```
//!
//! What always holds:
//! * there is a listener only while a peer is passive; others may call then, too;
//! * a call from any other address is closed before anything is read, and so is one from a peer whose
//!   password or TTL security the listener could not be given;
//! * passwords (TCP MD5) and TTL security hold from the first SYN on;
//! * the port is never taken from another program: when it is in use, the peers that are passive say so.
//!
//! Caveat: two routers with one link-local address on two links share a password.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::select_all;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::dial::{Address, Target};
use super::next_hops::{self, Surroundings};
use super::socket;

/// Where routers call.
const PORT: u16 = 179;
/// How long after a listener could not be opened, or none can be accepted from.
const RETRY: Duration = Duration::from_secs(5);
/// Requests that wait; and calls of one peer.
const REQUESTS: usize = 16;
const CALLS: usize = 2;

/// Where the calls of peers come in. Listeners end with the last peer that wants one.
#[derive(Clone, Debug)]
pub struct Calls {
    requests: mpsc::Sender<Request>,
}

/// A connection that a peer made.
pub(super) struct Call {
    pub(super) stream: TcpStream,
    pub(super) surroundings: Surroundings,
}

/// The calls of one peer. None are taken any more once it is dropped.
pub(super) struct Expected {
    calls: mpsc::Receiver<Call>,
    trouble: watch::Receiver<Option<String>>,
    _until: Calls,
}

impl Calls {
    /// Without a listener yet, on a task of `tracker`. Must be called on a tokio runtime.
    #[must_use]
    pub fn start(tracker: &TaskTracker) -> Calls {
        let (requests, asked) = mpsc::channel(REQUESTS);
        let (expected, ears) = (Vec::new(), BTreeMap::new());
        tracker.spawn(Task { asked, expected, ears, rest: None }.run());
        Calls { requests }
    }

    /// Takes the calls of a peer; `awaited`: has a listener for their sake. `None` when the task is
    /// gone.
    pub(super) async fn expect(&self, target: Target, awaited: bool) -> Option<Expected> {
        let (sender, calls) = mpsc::channel(CALLS);
        let (troubles, trouble) = watch::channel(None);
        let (answer, answered) = oneshot::channel();
        let caller = Caller { target, awaited, calls: sender, troubles };
        self.requests.send(Request { caller, answer }).await.ok()?;
        answered.await.ok()?;
        Some(Expected { calls, trouble, _until: self.clone() })
    }
}

impl Expected {
    /// The next call, or news of why there can be none; `None` when the task is gone.
    pub(super) async fn next(&mut self) -> Option<Result<Call, Option<String>>> {
        tokio::select! {
            call = self.calls.recv() => call.map(Ok),
            changed = self.trouble.changed() => {
                changed.ok().map(|()| Err(self.trouble.borrow_and_update().clone()))
            }
        }
    }
}

#[derive(Debug)]
struct Request {
    caller: Caller,
    answer: oneshot::Sender<()>,
}

/// Who may call.
#[derive(Debug)]
struct Caller {
    target: Target,
    awaited: bool,
    calls: mpsc::Sender<Call>,
    troubles: watch::Sender<Option<String>>,
}

/// What a listener is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Door {
    ipv4: bool,
    /// The device of a VRF.
    vrf: Option<String>,
}

/// A listener.
struct Ear {
    listener: TcpListener,
    /// Keys that it has been given.
    keys: BTreeMap<IpAddr, Vec<u8>>,
    /// From whom it takes TTL 255 only.
    near: Vec<IpAddr>,
}

struct Task {
    asked: mpsc::Receiver<Request>,
    expected: Vec<Caller>,
    ears: BTreeMap<Door, Ear>,
    /// Until when none are accepted, after that has failed.
    rest: Option<Instant>,
}

enum Woken {
    Asked(Option<Request>),
    Call(Door, io::Result<(TcpStream, SocketAddr)>),
    Changed,
}

impl Task {
    /// Runs until nobody can expect a call any more.
    async fn run(mut self) {
        loop {
            self.expected.retain(|caller| !caller.calls.is_closed());
            self.listen();
            match self.wait().await {
                Woken::Asked(None) => return,
                Woken::Asked(Some(Request { caller, answer })) => {
                    // The last to expect a call from an address has it.
                    self.expected.insert(0, caller);
                    self.listen();
                    let _gone = answer.send(());
                }
                Woken::Call(door, Ok((stream, from))) => self.answer(&door, stream, from).await,
                Woken::Call(door, Err(error)) => {
                    tracing::warn!(%error, ?door, "BGP: no call can be accepted");
                    self.rest = Some(Instant::now() + RETRY);
                }
                Woken::Changed => {}
            }
            self.rest = self.rest.filter(|until| *until > Instant::now());
        }
    }

    async fn wait(&mut self) -> Woken {
        let troubled = self.expected.iter().any(|caller| caller.troubles.borrow().is_some());
        let troubled = troubled || self.rest.is_some();
        tokio::select! {
            asked = self.asked.recv() => Woken::Asked(asked),
            (door, call) = accept(&self.ears), if self.rest.is_none() => Woken::Call(door, call),
            () = changed(&mut self.expected) => Woken::Changed,
            () = tokio::time::sleep(RETRY), if troubled => Woken::Changed,
        }
    }

    /// Opens the listeners that are wanted, closes the others, and tells them about peers.
    fn listen(&mut self) {
        let awaited = |caller: &&Caller| caller.awaited;
        let wanted: BTreeSet<Door> =
            self.expected.iter().filter(awaited).map(Caller::door).collect();
        self.ears.retain(|door, _| wanted.contains(door));
        self.expected.iter().filter(|one| !wanted.contains(&one.door())).for_each(Caller::fine);
        for door in wanted {
            let opened = match self.ears.remove(&door) {
                Some(ear) => Ok(ear),
                None => Ear::open(&door),
            };
            let callers = self.expected.iter().filter(|caller| caller.door() == door);
            match opened {
                Ok(mut ear) => {
                    ear.follow(callers);
                    self.ears.insert(door, ear);
                }
                Err(error) => {
                    let words = deaf(&error);
                    callers.for_each(|caller| caller.trouble(words.clone()));
                }
            }
        }
    }

    async fn answer(&self, door: &Door, stream: TcpStream, from: SocketAddr) {
        let is_from = |caller: &&Caller| {
            caller.door() == *door && caller.is_at(from) && caller.troubles.borrow().is_none()
        };
        let Some(caller) = self.expected.iter().find(is_from) else {
            return tracing::debug!(%from, "BGP: a call from nobody's address");
        };
        match greet(&stream, caller, from).await {
            // A peer that calls faster than it is listened to is told so by the end of the connection.
            Ok(surroundings) => drop(caller.calls.try_send(Call { stream, surroundings })),
            Err(error) => tracing::debug!(%from, %error, "BGP: a call that cannot be taken"),
        }
    }
}

/// Readies an accepted connection.
async fn greet(stream: &TcpStream, caller: &Caller, from: SocketAddr) -> io::Result<Surroundings> {
    let socket = SockRef::from(stream);
    socket::prepare(&socket, from.is_ipv4())?;
    if caller.target.ttl_security {
        socket::require_one_hop(&socket, from)?;
    }
    next_hops::look_around(stream.local_addr()?.ip(), from.ip(), caller.target.bound_to()).await
}

fn deaf(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "TCP port {PORT} of this node is in use, so it cannot be called: stop the other BGP daemon \
             (FRR, BIRD) on it, or leave `passive` out and let the router accept"
        ),
        _ => format!("this node cannot listen on TCP port {PORT}: {error}"),
    }
}

impl Caller {
    /// Where it is, as far as known.
    fn address(&self) -> Option<SocketAddr> {
        match &self.target.address {
            Address::At(address) => Some(*address),
            Address::Found { neighbour, .. } => neighbour.borrow().map(SocketAddr::V6),
        }
    }

    /// Which listener it would reach.
    fn door(&self) -> Door {
        let ipv4 = match &self.target.address {
            Address::At(address) => address.is_ipv4(),
            Address::Found { .. } => false,
        };
        Door { ipv4, vrf: self.target.vrf.clone() }
    }

    fn is_at(&self, from: SocketAddr) -> bool {
        let scope = |address: SocketAddr| match address {
            SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => v6.scope_id(),
            _ => 0,
        };
        let same = |at: SocketAddr| (at.ip(), scope(at)) == (from.ip(), scope(from));
        self.address().is_some_and(same)
    }

    fn fine(&self) {
        self.troubles.send_if_modified(|trouble| trouble.take().is_some());
    }

    fn trouble(&self, words: String) {
        self.troubles.send_if_modified(|trouble| {
            let changed = trouble.as_ref() != Some(&words);
            *trouble = Some(words);
            changed
        });
    }
}

impl Ear {
    fn open(door: &Door) -> io::Result<Ear> {
        let listener = socket::listen(door.ipv4, door.vrf.as_deref(), PORT)?;
        let listener = TcpListener::from_std(listener.into())?;
        Ok(Ear { listener, keys: BTreeMap::new(), near: Vec::new() })
    }

    /// Gives it the keys of peers and whose TTL to look at; what fails is the peer's trouble.
    fn follow<'a>(&mut self, callers: impl Iterator<Item = &'a Caller> + Clone) {
        let socket = SockRef::from(&self.listener);
        let placed = callers.filter_map(|caller| Some((caller, caller.address()?)));
        let keyed = |caller: &'a Caller| caller.target.password.as_ref();
        let mut wanted = BTreeMap::new();
        for (caller, at) in placed.clone() {
            // The first has the calls.
            if let Some(key) = keyed(caller) {
                wanted.entry(at.ip()).or_insert(key);
            }
        }
        self.keys.retain(|peer, _| {
            wanted.contains_key(peer) || socket::unsign(&socket, SocketAddr::new(*peer, 0)).is_err()
        });
        let mut near: Vec<IpAddr> = placed
            .clone()
            .filter(|(caller, _)| caller.target.ttl_security)
            .map(|(_, at)| at.ip())
            .collect();
        near.sort();
        near.dedup();
        let filtered = match near == self.near {
            true => Ok(()),
            false => socket::require_one_hop_from(&socket, &near),
        };
        if filtered.is_ok() {
            self.near = near;
        }
        for (caller, at) in placed {
            let signed = match keyed(caller) {
                Some(key)
                    if wanted.get(&at.ip()) == Some(&key)
                        && self.keys.get(&at.ip()) != Some(key) =>
                {
                    let signed = socket::sign(&socket, at, key);
                    signed.map(|()| drop(self.keys.insert(at.ip(), key.clone())))
                }
                _ => Ok(()),
            };
            match (signed, &filtered) {
                (Err(error), _) => caller.trouble(format!(
                    "the password (TCP MD5) cannot be asked of its calls: {error}"
                )),
                (_, Err(error)) if caller.target.ttl_security => {
                    caller.trouble(format!("the TTL of its calls cannot be checked: {error}"));
                }
                _ => caller.fine(),
            }
        }
    }
}

/// Waits for a call.
async fn accept(ears: &BTreeMap<Door, Ear>) -> (Door, io::Result<(TcpStream, SocketAddr)>) {
    let waits: Vec<_> = ears
        .iter()
        .map(|(door, ear)| Box::pin(async move { (door.clone(), ear.listener.accept().await) }))
        .collect();
    if waits.is_empty() {
        return pending().await;
    }
    select_all(waits).await.0
}

/// Waits until a peer is gone, or found elsewhere.
async fn changed(expected: &mut [Caller]) {
    let waits: Vec<_> = expected.iter_mut().map(|one| Box::pin(one.changed())).collect();
    if waits.is_empty() {
        return pending().await;
    }
    select_all(waits).await;
}

impl Caller {
    /// Waits until it expects nothing any more, or is somewhere else.
    async fn changed(&mut self) {
        let Caller { target, calls, .. } = self;
        let moved = async {
            match &mut target.address {
                Address::Found { neighbour, .. } => {
                    if neighbour.changed().await.is_err() {
                        pending().await
                    }
                }
                Address::At(_) => pending().await,
            }
        };
        tokio::select! {
            () = calls.closed() => {}
            () = moved => {}
        }
    }
}
