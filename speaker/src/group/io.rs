//! The socket of a member, on a thread of its own.
//!
//! The thread runs nothing else, so that no load elsewhere in the process delays a heartbeat or a
//! take-over; where it may (root), it asks the kernel for a better priority, too.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use thiserror::Error;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::beacon;
use super::core::{Input, Output, Setup};
use super::key::Keyring;
use super::member::{Member, Notes, Offers, Standing};
use super::news::News;
use super::refusal;
use super::wire::MAX_DATAGRAM;

/// Datagrams taken before the rule is asked again.
const AT_ONCE: usize = 64;
/// Nice value that is asked for.
const PRIORITY: i32 = -15;
/// How long the others may take to be told that we go.
const FAREWELL: Duration = Duration::from_millis(20);

/// Why a member cannot start.
#[derive(Debug, Error)]
pub enum GroupError {
    /// The socket.
    #[error(
        "cannot receive from the group at {address}/udp: {error}; the address has to be one of this \
         host, the port free on it (--group-address IP:PORT)"
    )]
    Socket {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The multicast socket.
    #[error(
        "cannot hear the beacons of other hosts at {address}: {error}; name them instead (--peer)"
    )]
    Beacon {
        /// Of this host.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The kernel.
    #[error("the kernel gives no random bytes")]
    Randomness,
    /// The thread.
    #[error("the thread for the group cannot be started: {0}")]
    Thread(#[source] io::Error),
}

/// A running member. Dropping it ends it without a word to the others, as a crash would:
/// [`Group::leave`].
#[derive(Debug)]
pub struct Group {
    orders: watch::Sender<Orders>,
    standings: watch::Receiver<Arc<Standing>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    address: SocketAddr,
}

/// What the process wants of its member.
#[derive(Clone, Debug)]
struct Orders {
    offers: Arc<Offers>,
    notes: Arc<Notes>,
    keys: Keyring,
    seeds: BTreeSet<SocketAddr>,
    /// How often VIPs were asked to be spread anew.
    rebalances: u64,
    leave: bool,
}

impl Group {
    /// Binds the socket and starts the thread. `former` are the VIPs that were held here before.
    pub fn start(
        setup: Setup,
        name: &str,
        former: &BTreeMap<IpAddr, u64>,
    ) -> Result<Self, GroupError> {
        let address = setup.address;
        let socket = std::net::UdpSocket::bind(address)
            .and_then(|socket| {
                socket.set_nonblocking(true)?;
                refusal::listen(&socket)?;
                Ok(socket)
            })
            .map_err(|error| GroupError::Socket { address, error })?;
        let beacons = match setup.beacon {
            true => {
                let opened = beacon::open(&socket, address);
                Some(opened.map_err(|error| GroupError::Beacon { address, error })?)
            }
            false => None,
        };
        let orders = Orders {
            offers: Arc::default(),
            notes: Arc::default(),
            keys: setup.keys.clone(),
            seeds: setup.seeds.clone(),
            rebalances: 0,
            leave: false,
        };
        let (sender, wanted) = watch::channel(orders.clone());
        let mut seed = <SmallRng as SeedableRng>::Seed::default();
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| GroupError::Randomness)?;
        let rng = SmallRng::from_seed(seed);
        let member = Member::new(Instant::now(), &setup, name, former, rng);
        let (sink, standings) = watch::channel(Arc::new(member.standing().clone()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(GroupError::Thread)?;
        let beacon_to = beacon::destination(address);
        let shell = Shell { member, orders, wanted, sink, beacon_to };
        let thread = thread::Builder::new()
            .name("vipgate-group".to_owned())
            .spawn(move || {
                // Only a wish: without CAP_SYS_NICE it is refused.
                let me = rustix::thread::gettid();
                let _ = rustix::process::setpriority_process(Some(me), PRIORITY);
                runtime.block_on(shell.run(socket, beacons));
            })
            .map_err(GroupError::Thread)?;
        Ok(Self { orders: sender, standings, thread: Mutex::new(Some(thread)), address })
    }

    /// Where the others reach us.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How things stand, each time that changes.
    pub fn standings(&self) -> watch::Receiver<Arc<Standing>> {
        self.standings.clone()
    }

    /// The same, for one who does not have to hear of everything at once.
    pub fn news(&self) -> News {
        News::new(self.standings())
    }

    /// Says what could be served here.
    pub fn offer(&self, offers: Offers) {
        self.orders.send_if_modified(|orders| {
            let changed = *orders.offers != offers;
            if changed {
                orders.offers = Arc::new(offers);
            }
            changed
        });
    }

    /// Says something to the other processes, under a key, or takes it back.
    pub fn note(&self, key: &[u8], value: Option<Vec<u8>>) {
        if self.orders.borrow().notes.get(key) == value.as_ref() {
            return;
        }
        self.notes(|notes| match value {
            Some(value) => drop(notes.insert(key.to_vec(), value)),
            None => drop(notes.remove(key)),
        });
    }

    /// Changes what is said to the other processes.
    pub fn notes(&self, change: impl FnOnce(&mut Notes)) {
        self.orders.send_if_modified(|orders| {
            let mut notes = (*orders.notes).clone();
            change(&mut notes);
            let changed = *orders.notes != notes;
            if changed {
                orders.notes = Arc::new(notes);
            }
            changed
        });
    }

    /// Changes the keys.
    pub fn set_keys(&self, keys: Keyring) {
        self.orders.send_modify(|orders| orders.keys = keys);
    }

    /// Changes whom to look for.
    pub fn set_seeds(&self, seeds: BTreeSet<SocketAddr>) {
        self.orders.send_if_modified(|orders| {
            let changed = orders.seeds != seeds;
            orders.seeds = seeds;
            changed
        });
    }

    /// Has VIPs spread anew, by all members.
    pub fn rebalance(&self) {
        self.orders.send_modify(|orders| orders.rebalances += 1);
    }

    /// Says good-bye, and blocks until that is said.
    pub fn leave(&self) {
        self.orders.send_modify(|orders| orders.leave = true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread of the group panicked");
        }
    }
}

/// What the thread has.
struct Shell {
    member: Member,
    /// What was done of what is wanted. Not read from the channel: what was sent there before the
    /// thread ran is still to be done.
    orders: Orders,
    wanted: watch::Receiver<Orders>,
    sink: watch::Sender<Arc<Standing>>,
    beacon_to: SocketAddr,
}

impl Shell {
    async fn run(mut self, socket: std::net::UdpSocket, beacons: Option<std::net::UdpSocket>) {
        let sockets = UdpSocket::from_std(socket)
            .and_then(|socket| Ok((socket, beacons.map(UdpSocket::from_std).transpose()?)));
        let (socket, beacons) = match sockets {
            Ok(sockets) => sockets,
            Err(error) => {
                tracing::error!(%error, "the socket of the group cannot be used");
                return;
            }
        };
        // Before the runtime has seen that it is, a socket counts as not writable, and the first calls
        // to the others would be lost.
        let _ = socket.writable().await;
        let mut buffer = [0; MAX_DATAGRAM + 1];
        loop {
            let due = tokio::time::Instant::from_std(self.member.due());
            tokio::select! {
                biased;
                changed = self.wanted.changed() => {
                    if changed.is_err() { return; }
                    let next = self.wanted.borrow_and_update().clone();
                    let leave = next.leave;
                    let before = std::mem::replace(&mut self.orders, next.clone());
                    self.follow(&before, &next, &socket);
                    if leave {
                        // The kernel has them; a moment for it to find the receivers' MACs.
                        tokio::time::sleep(FAREWELL).await;
                        return;
                    }
                }
                ready = socket.ready(Interest::READABLE | Interest::ERROR) => {
                    if let Err(error) = ready {
                        tracing::error!(%error, "the socket of the group is broken");
                        return;
                    }
                    for _ in 0..AT_ONCE {
                        let refused =
                            socket.try_io(Interest::ERROR, || refusal::next(socket.as_raw_fd()));
                        match refused {
                            Ok(Some(member)) => self.handle(Input::Refused(member), &socket),
                            Ok(None) => {}
                            Err(_) => break,
                        }
                    }
                    for _ in 0..AT_ONCE {
                        match socket.try_recv_from(&mut buffer) {
                            Ok((length, from)) => {
                                let datagram = buffer[..length].to_vec();
                                self.handle(Input::Datagram(from, datagram), &socket);
                            }
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                            // Of an earlier datagram that could not be delivered.
                            Err(_) => {}
                        }
                    }
                }
                beacon = next_beacon(beacons.as_ref()) => {
                    self.handle(Input::Beacon(beacon.0, beacon.1), &socket);
                }
                () = tokio::time::sleep_until(due) => self.handle(Input::Tick, &socket),
            }
            let settled = self.member.settle(Instant::now());
            self.send(settled, &socket);
            if self.member.has_news() {
                self.publish();
            }
        }
    }

    fn follow(&mut self, before: &Orders, next: &Orders, socket: &UdpSocket) {
        if next.keys != before.keys {
            self.handle(Input::Keys(next.keys.clone()), socket);
        }
        if next.seeds != before.seeds {
            self.handle(Input::Seeds(next.seeds.clone()), socket);
        }
        if !Arc::ptr_eq(&next.notes, &before.notes) {
            self.member.note((*next.notes).clone());
        }
        if !Arc::ptr_eq(&next.offers, &before.offers) {
            self.member.offer((*next.offers).clone());
        }
        if next.rebalances != before.rebalances {
            self.member.rebalance(Instant::now());
        }
        if next.leave {
            self.handle(Input::Leave, socket);
        }
    }

    fn handle(&mut self, input: Input, socket: &UdpSocket) {
        let out = self.member.handle(Instant::now(), input);
        self.send(out, socket);
    }

    /// What cannot be sent is lost, as it may be on the way: the protocol tells again.
    fn send(&self, outputs: Vec<Output>, socket: &UdpSocket) {
        for output in outputs {
            let (to, datagram) = match output {
                Output::Send(to, datagram) => (to, datagram),
                Output::Beacon(datagram) => (self.beacon_to, datagram),
                Output::Changed => continue,
            };
            // The first error may be what became of an earlier datagram, and this one was not tried.
            let sent = socket.try_send_to(&datagram, to);
            if let Err(error) = sent.or_else(|_| socket.try_send_to(&datagram, to)) {
                tracing::trace!(%to, %error, "a datagram of the group was not sent");
            }
        }
    }

    fn publish(&self) {
        let standing = self.member.standing();
        self.sink.send_if_modified(|current| {
            let changed = **current != *standing;
            if changed {
                *current = Arc::new(standing.clone());
            }
            changed
        });
    }
}

/// The next beacon, and from where; never where there are none.
async fn next_beacon(socket: Option<&UdpSocket>) -> (SocketAddr, Vec<u8>) {
    let Some(socket) = socket else { return std::future::pending().await };
    let mut buffer = [0; MAX_DATAGRAM + 1];
    loop {
        if let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            return (from, buffer[..length].to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use vipgate_planner::ownership::{Offer, Possession};

    use super::*;
    use crate::group::GroupKey;

    /// What is said before the thread has begun counts as what is said later. Often, because it is a race.
    #[test]
    fn an_offer_that_comes_at_once_is_not_lost() {
        let vip = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..50 {
            let keys = Keyring::new(vec![GroupKey::random().unwrap()]).unwrap();
            let free = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let setup = Setup {
                group: "test".to_owned(),
                keys,
                address,
                epoch: 1,
                seeds: BTreeSet::new(),
                restart: None,
                beacon: false,
                rebalance: false,
            };
            let group = Group::start(setup, "one", &BTreeMap::new()).unwrap();
            group.offer([(vip, Offer { bound: 1, ..Offer::default() })].into());
            let started = Instant::now();
            while group.standings().borrow().ownership.vips.get(&vip) != Some(&Possession::Here) {
                assert!(started.elapsed() < Duration::from_secs(10), "the offer was lost");
                thread::sleep(Duration::from_millis(1));
            }
            group.leave();
        }
    }
}
