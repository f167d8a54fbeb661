//! The task of one BGPPeer: begins its session, begins it anew when its settings change, and ends it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use vipgate_api::ObjectKey;

use super::beside::{Beside, Want};
use super::known::{Board, Known, Live, Place, in_words};
use super::roll::SharedBfd;
use super::settings::{Found, Settings};
use super::{Table, router_id};
use crate::bfd;
use crate::bgp::io::{Address, Calls, Peer, PeerConfig, Target};
use crate::bgp::unnumbered::{self, Discovery};
use crate::bgp::wire::Cease;

/// How long after a session could not be begun.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// What is said when a task of a session panics; the panic itself is in the log.
pub(super) const BROKEN: &str = "the session broke down by a mistake in vipgate, and begins anew in a few seconds: \
    please report what the log says of a panic";

/// What is wanted of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) settings: Settings,
    pub(super) table: Table,
}

/// The task.
pub(super) struct Session {
    key: ObjectKey,
    seed: u64,
    /// `None` is the order to end.
    orders: watch::Receiver<Option<Order>>,
    farewell: watch::Receiver<Option<String>>,
    board: watch::Sender<Board>,
    bfd: SharedBfd,
    calls: Calls,
    tracker: TaskTracker,
}

/// A session that was begun.
struct Begun {
    settings: Settings,
    peer: Peer,
    live: Live,
    beside: Beside,
    trouble: watch::Receiver<Option<String>>,
    /// Where the router is, if that had to be found out.
    found: Option<watch::Receiver<Option<std::net::SocketAddrV6>>>,
    _discovery: Option<Discovery>,
    /// Since when it is established, or not; and in words.
    since: (Instant, String),
}

/// What comes after a session.
enum Next {
    Anew,
    Nothing,
}

/// What woke the task.
enum Woken {
    Ordered,
    /// Nobody can order anything any more.
    Left,
    Farewell(String),
    News,
    /// The engine has ended, which nobody told it to.
    Broken,
}

impl Session {
    pub(super) fn new(
        (key, node): (ObjectKey, &str),
        orders: watch::Receiver<Option<Order>>,
        farewell: watch::Receiver<Option<String>>,
        board: watch::Sender<Board>,
        (bfd, calls, tracker): (SharedBfd, Calls, TaskTracker),
    ) -> Self {
        let seed = u64::from(router_id::mixed(&format!("{node} {key}")));
        Self { key, seed, orders, farewell, board, bfd, calls, tracker }
    }

    /// Runs until the session is wanted no more, and has ended.
    pub(super) async fn run(mut self) {
        loop {
            let Some(order) = self.orders.borrow_and_update().clone() else { break };
            let next = match self.begin(&order) {
                Ok(begun) => self.hold(begun).await,
                Err(why) => self.wait(&why).await,
            };
            if let Next::Nothing = next {
                break;
            }
        }
        self.board.send_if_modified(|board| board.remove(&self.key).is_some());
    }

    fn begin(&self, order: &Order) -> Result<Begun, String> {
        let settings = order.settings.clone();
        let (address, discovery) = match settings.place.clone()? {
            Found::At(address) => (Address::At(address), None),
            Found::On(interface, _) => {
                let discovery = Discovery::start(&interface, &self.tracker);
                let discovery = discovery.map_err(|error| error.to_string())?;
                let (neighbour, port) = (discovery.found(), settings.peer.port);
                (Address::Found { neighbour, port }, Some(discovery))
            }
        };
        let beside = Beside::start(self.bfd.clone(), &self.tracker);
        let config = PeerConfig {
            name: self.key.to_string(),
            target: Target {
                address,
                source: settings.peer.source,
                device: settings.device().cloned(),
                vrf: settings.peer.vrf.clone(),
                password: settings.peer.password.as_ref().map(|key| key.0.clone()),
                ttl_security: settings.peer.ttl_security,
            },
            session: settings.session(&order.table.surviving),
            seed: self.seed,
            bfd: Some(beside.status()),
            calls: Some(self.calls.clone()),
        };
        let peer = Peer::start(config, &self.tracker);
        peer.set_routes(order.table.routes.clone());
        let live = Live { bgp: peer.status(), bfd: beside.status() };
        let since = live.bgp.borrow().since;
        Ok(Begun {
            settings,
            peer,
            live,
            trouble: beside.trouble(),
            beside,
            found: discovery.as_ref().map(Discovery::found),
            _discovery: discovery,
            since: (since, in_words(since)),
        })
    }

    /// Holds a session until it is to begin anew or to end.
    async fn hold(&mut self, mut begun: Begun) -> Next {
        loop {
            begun.watch_the_path();
            self.show(begun.known());
            match self.woken(&mut begun).await {
                Woken::News => {}
                Woken::Broken => return self.wait(BROKEN).await,
                Woken::Farewell(text) => {
                    begun.peer.stop(&text, true).await;
                    return Next::Nothing;
                }
                Woken::Left => {
                    begun.peer.stop("", false).await;
                    return Next::Nothing;
                }
                Woken::Ordered => {
                    let Some(order) = self.orders.borrow_and_update().clone() else {
                        begun.peer.end(Cease::PeerDeconfigured).await;
                        // It may be wanted again by now.
                        return Next::Anew;
                    };
                    if !order.settings.same_session(&begun.settings) {
                        begun.peer.end(Cease::OtherConfigurationChange).await;
                        return Next::Anew;
                    }
                    begun.settings = order.settings;
                    begun.peer.offer(begun.settings.restart(&order.table.surviving)).await;
                    begun.peer.set_routes(order.table.routes);
                }
            }
        }
    }

    /// Says why a session could not be begun, and waits for a reason to try again.
    async fn wait(&mut self, why: &str) -> Next {
        let said = |known: &Known| known.report.last_error.as_deref() == Some(why);
        if !self.board.borrow().get(&self.key).is_some_and(said) {
            tracing::warn!(peer = %self.key, "no BGP session: {why}");
            self.show(Known::failed(why));
        }
        tokio::select! {
            changed = self.orders.changed() => match changed {
                Ok(()) => Next::Anew,
                Err(_) => Next::Nothing,
            },
            _said = self.farewell.wait_for(Option::is_some) => Next::Nothing,
            () = tokio::time::sleep(RETRY) => Next::Anew,
        }
    }

    async fn woken(&mut self, begun: &mut Begun) -> Woken {
        let said = self.farewell.clone();
        tokio::select! {
            biased;
            text = self.farewell.wait_for(Option::is_some) => match text {
                Ok(text) => Woken::Farewell(text.clone().unwrap_or_default()),
                Err(_) => Woken::Left,
            },
            changed = self.orders.changed() => match changed {
                Ok(()) => Woken::Ordered,
                Err(_) => left(&said.borrow()),
            },
            changed = begun.live.bgp.changed() => match changed {
                Ok(()) => Woken::News,
                Err(_) => Woken::Broken,
            },
            () = news(&mut begun.live.bfd) => Woken::News,
            () = news(&mut begun.trouble) => Woken::News,
            () = some_news(&mut begun.found) => Woken::News,
        }
    }

    fn show(&self, known: Known) {
        self.board.send_if_modified(|board| match board.get(&self.key) {
            Some(shown) if !shown.differs(&known) => {
                // Nobody is told, but counters are those of the present session.
                board.insert(self.key.clone(), known);
                false
            }
            _ => {
                board.insert(self.key.clone(), known);
                true
            }
        });
    }
}

impl Begun {
    /// Where the router is, as far as known.
    fn address(&self) -> Option<SocketAddr> {
        match &self.found {
            Some(found) => {
                let neighbour = *found.borrow();
                neighbour.map(|place| unnumbered::with_port(place, self.settings.peer.port))
            }
            None => match self.settings.place {
                Ok(Found::At(address)) => Some(address),
                _ => None,
            },
        }
    }

    /// Has BFD look at where the router is now.
    fn watch_the_path(&self) {
        let want = self.settings.bfd.and_then(|beside| {
            let target = bfd::io::Target {
                peer: self.address()?,
                local: self.settings.peer.source,
                device: self.settings.device().cloned(),
                vrf: self.settings.peer.vrf.clone(),
                multihop: beside.multihop,
            };
            let echo_link = beside.echo.and_then(Result::ok);
            Some(Want { target, config: beside.config, echo_link })
        });
        self.beside.want(want);
    }

    fn known(&mut self) -> Known {
        let since = self.live.bgp.borrow_and_update().since;
        if since != self.since.0 {
            self.since = (since, in_words(since));
        }
        let trouble = self.trouble.borrow_and_update().clone();
        self.live.bfd.mark_unchanged();
        let place = Place {
            address: self.address(),
            device: self.settings.device(),
            beside: self.settings.bfd.as_ref(),
            trouble: trouble.map(|why| format!("no BFD: {why}")),
            restart: self.settings.peer.graceful_restart,
        };
        Known::running(&self.live, &self.since.1, &place)
    }
}

/// Nobody orders anything any more. Who did so has heard the farewell, perhaps: it is said by another
/// thread, which wakes one after the other.
fn left(said: &Option<String>) -> Woken {
    match said {
        Some(text) => Woken::Farewell(text.clone()),
        None => Woken::Left,
    }
}

/// Waits for something new; for ever when nothing can come any more.
async fn news<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn some_news<T>(watched: &mut Option<watch::Receiver<T>>) {
    match watched {
        Some(watched) => news(watched).await,
        None => std::future::pending().await,
    }
}
