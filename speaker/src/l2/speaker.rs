//! ARP and NDP of this host: which links there are, which VIPs they own, and the tasks of each link.
//!
//! Owns the handles of the link tasks. A link gets a socket and a task for a protocol when it first owns
//! a VIP of that or is asked on for one, and keeps them, deaf behind an empty filter when idle, until it vanishes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_planner::{Link, MacAddr};

use super::counters::{Counters, Counts};
use super::error::L2Error;
use super::frame::Protocol;
use super::io::{Desired, LinkTask, ProbeRequest, Request, Shared};
use super::probe::Outcome;
use super::responder::LinkState;

/// Sightings that wait to be taken.
const SIGHTINGS: usize = 1024;
/// Requests that wait for a link; who asks for more probes waits too.
const REQUESTS: usize = 256;

/// Another station claims a VIP that is owned here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The VIP.
    pub vip: IpAddr,
    /// The station.
    pub mac: MacAddr,
    /// The link on which it was seen.
    pub link: String,
    /// Whether the station is a member of the group. Against others the VIP was defended.
    pub member: bool,
}

/// What a probe found on all links asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// Nobody answered on any of them.
    Free,
    /// A station has the address, or wants it and comes first.
    Conflict {
        /// The station.
        mac: MacAddr,
        /// The link on which it is.
        link: String,
    },
}

/// ARP and NDP of this host.
///
/// All methods must be called on a tokio runtime with I/O and time.
#[derive(Debug)]
pub struct L2Speaker {
    tracker: TaskTracker,
    token: CancellationToken,
    shared: Shared,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<String, Link>,
    own_macs: Arc<BTreeSet<MacAddr>>,
    friends: Arc<BTreeSet<MacAddr>>,
    /// The VIPs each link is to own, whether it exists or not.
    owned: BTreeMap<String, BTreeSet<IpAddr>>,
    handles: BTreeMap<(String, Protocol), Handle>,
}

/// The way to a link's task. Dropping it ends the task.
#[derive(Clone, Debug)]
struct Handle {
    index: u32,
    desired: Arc<watch::Sender<Desired>>,
    requests: mpsc::Sender<Request>,
}

impl L2Speaker {
    /// A speaker that knows no link and owns nothing; its tasks are tracked by `tracker` and end
    /// when `token` is cancelled. A VIP is announced each `announce_every` after its first burst,
    /// or not again if that is zero.
    ///
    /// The receiver yields what is seen of others that claim VIPs. If it is not read that is lost, and
    /// counted.
    pub fn new(
        tracker: TaskTracker,
        token: CancellationToken,
        announce_every: Duration,
    ) -> (L2Speaker, mpsc::Receiver<Sighting>) {
        let (sightings, receiver) = mpsc::channel(SIGHTINGS);
        let shared = Shared { announce_every, sightings, counters: Arc::new(Counters::default()) };
        let state = Mutex::new(State::default());
        (L2Speaker { tracker, token, shared, state }, receiver)
    }

    /// Takes over the host's links as they are now: all of them, so that the addresses of this
    /// host are not taken for foreign ones. A link that came up or changed its address announces
    /// its VIPs again.
    ///
    /// Returns the links that own VIPs and cannot speak for them, and why. A link that is merely
    /// down is not among them. Call again, or [`Self::set_owned`], to try again.
    pub fn set_links(&self, links: &[Link]) -> BTreeMap<String, L2Error> {
        let mut state = self.state();
        state.links = links.iter().map(|link| (link.name.clone(), link.clone())).collect();
        state.own_macs = Arc::new(links.iter().filter_map(|link| link.mac).collect());
        self.reconcile(&mut state)
    }

    /// Takes over the Ethernet addresses of the group's other members. Which of them has a VIP, the
    /// group knows: what they say on the wire is no conflict, and reported as what it is.
    pub fn set_friends(&self, friends: BTreeSet<MacAddr>) {
        let mut state = self.state();
        if *state.friends != friends {
            state.friends = Arc::new(friends);
            // What cannot speak was said by the last change of links or VIPs.
            drop(self.reconcile(&mut state));
        }
    }

    /// Says which VIP is owned on which links, by name; all of them. A VIP that was not owned
    /// before is announced at once, and one that no longer is falls silent, as soon as the link's
    /// task runs. A link that does not exist yet takes up its VIPs when [`Self::set_links`] brings
    /// it. Saying the same again does nothing.
    ///
    /// Returns what [`Self::set_links`] does.
    pub fn set_owned(&self, owned: &BTreeMap<IpAddr, Vec<String>>) -> BTreeMap<String, L2Error> {
        let mut by_link: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for (vip, links) in owned {
            for link in links {
                by_link.entry(link.clone()).or_default().insert(*vip);
            }
        }
        let mut state = self.state();
        state.owned = by_link;
        self.reconcile(&mut state)
    }

    /// Asks on all these links whether somebody has the address; takes half a second if nobody
    /// does. Dropping the future abandons the question. To be asked before an address is claimed
    /// for the first time, never at a take-over.
    ///
    /// # Errors
    /// The first link on which the question could not be asked, so that silence proves nothing.
    pub async fn probe(&self, vip: IpAddr, links: &[String]) -> Result<ProbeOutcome, L2Error> {
        self.ask(vip, links, false).await
    }

    /// Asks on all these links who has the address, members of the group among them. Not to be asked
    /// while it is owned here.
    ///
    /// # Errors
    /// Those of [`Self::probe`].
    pub async fn look_for(&self, vip: IpAddr, links: &[String]) -> Result<ProbeOutcome, L2Error> {
        self.ask(vip, links, true).await
    }

    /// Announces a VIP anew on all links that own it, as after a take-over.
    pub fn insist(&self, vip: IpAddr) {
        let state = self.state();
        for ((name, protocol), handle) in &state.handles {
            let owned = state.owned.get(name).is_some_and(|vips| vips.contains(&vip));
            if owned && *protocol == Protocol::of(vip) {
                // Where a link has that much to do, the other will be seen again.
                let _busy = handle.requests.try_send(Request::Insist(vip));
            }
        }
    }

    async fn ask(
        &self,
        vip: IpAddr,
        links: &[String],
        looking: bool,
    ) -> Result<ProbeOutcome, L2Error> {
        let links: BTreeSet<&String> = links.iter().collect();
        if links.is_empty() {
            return Err(L2Error::NoLinks);
        }
        let (answer, mut answers) = mpsc::channel(links.len());
        for link in &links {
            let requests = self.asking(link, Protocol::of(vip))?;
            let request = ProbeRequest { vip, looking, answer: answer.clone() };
            requests.send(Request::Probe(request)).await.map_err(|_ended| gone(link))?;
        }
        drop(answer);
        let mut silent = BTreeSet::new();
        while let Some(found) = answers.recv().await {
            match found.outcome? {
                Outcome::Conflict(mac) => {
                    return Ok(ProbeOutcome::Conflict { mac, link: found.link });
                }
                Outcome::Free => silent.insert(found.link),
            };
        }
        match links.into_iter().find(|link| !silent.contains(*link)) {
            Some(link) => Err(gone(link)),
            None => Ok(ProbeOutcome::Free),
        }
    }

    /// The counts of all links since the start.
    pub fn counts(&self) -> Counts {
        self.shared.counters.snapshot()
    }

    /// The queue of a link that is able to probe.
    fn asking(&self, name: &str, protocol: Protocol) -> Result<mpsc::Sender<Request>, L2Error> {
        let mut state = self.state();
        if state.links.get(name).is_some_and(|link| link.mac.is_some() && !link.up) {
            return Err(L2Error::LinkDown { link: name.to_owned() });
        }
        self.speaking(&mut state, name, protocol).map(|handle| handle.requests)
    }

    /// Brings the link tasks in line with the state.
    fn reconcile(&self, state: &mut State) -> BTreeMap<String, L2Error> {
        let owned = state
            .owned
            .iter()
            .flat_map(|(name, vips)| vips.iter().map(|vip| (name.clone(), Protocol::of(*vip))));
        let tasks: BTreeSet<_> = state.handles.keys().cloned().chain(owned).collect();
        let mut failed = BTreeMap::new();
        for (name, protocol) in tasks {
            match self.speaking(state, &name, protocol) {
                Ok(handle) => state.tell(&name, protocol, &handle),
                Err(error) if state.owned.contains_key(&name) => {
                    failed.insert(name, error);
                }
                Err(_unused) => {}
            }
        }
        failed
    }

    /// The task of a link, started if there is none. One that serves a link which has vanished, or
    /// came back under another index, is let go.
    fn speaking(
        &self,
        state: &mut State,
        name: &str,
        protocol: Protocol,
    ) -> Result<Handle, L2Error> {
        let key = (name.to_owned(), protocol);
        let index = state.links.get(name).map(|link| link.index);
        let current = |handle: &Handle| Some(handle.index) == index && !handle.desired.is_closed();
        if let Some(handle) = state.handles.get(&key) {
            if current(handle) {
                return Ok(handle.clone());
            }
            state.handles.remove(&key);
            tracing::info!(link = name, %protocol, "the interface has vanished or was replaced");
        }
        let (index, desired) = state.desired(name, protocol)?;
        let (desired, wanted) = watch::channel(desired);
        let (requests, asked) = mpsc::channel(REQUESTS);
        let task = LinkTask::open((name, index), protocol, wanted, asked, self.shared.clone())?;
        self.tracker.spawn(task.run(self.token.clone()));
        let handle = Handle { index, desired: Arc::new(desired), requests };
        state.handles.insert(key, handle.clone());
        Ok(handle)
    }

    /// No method panics with the lock held in a half-changed state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is wanted of a link, and its index.
    fn desired(&self, name: &str, protocol: Protocol) -> Result<(u32, Desired), L2Error> {
        let link = name.to_owned();
        let Some(found) = self.links.get(name) else {
            return Err(L2Error::NoSuchLink { link });
        };
        let Some(mac) = found.mac.filter(|_| !found.loopback) else {
            return Err(L2Error::NotEthernet { link });
        };
        let own_macs = Arc::clone(&self.own_macs);
        let friends = Arc::clone(&self.friends);
        let link = LinkState { mac, up: found.up, own_macs, friends };
        let vips = self.owned.get(name).into_iter().flatten();
        let vips = vips.filter(|vip| Protocol::of(**vip) == protocol).copied().collect();
        Ok((found.index, Desired { link, vips }))
    }

    /// A link that has lost its Ethernet address keeps its last orders until it is gone.
    fn tell(&self, name: &str, protocol: Protocol, handle: &Handle) {
        if let Ok((_index, wanted)) = self.desired(name, protocol) {
            handle.desired.send_if_modified(|desired| {
                let changed = *desired != wanted;
                *desired = wanted;
                changed
            });
        }
    }
}

fn gone(link: &str) -> L2Error {
    L2Error::Gone { link: link.to_owned() }
}
