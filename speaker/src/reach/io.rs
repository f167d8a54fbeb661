//! The one task that asks: questions to the links' tasks, frames on sockets of its own, results on the board.
//!
//! State: who is asked for and when, the questions and visits under way, and for each link and family of addresses
//! that VIPs were asked for on a packet socket and, for each address of ours, a TCP port that is bound and nothing
//! else, so that nobody on this host uses it. They stay until the link changes or nobody is asked for there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, select_all};
use futures_util::stream::FuturesUnordered;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vipgate_planner::{Link, MacAddr, Plan};

use super::result::{Board, Outcome, Reached};
use super::roster::{self, ASKS, Roster, Target, roster};
use super::schedule::Schedule;
use super::visit::{PORTS, Visit};
use super::wire::{self, LONGEST};
use crate::deadline::until;
use crate::group::{Group, Standing};
use crate::l2::socket::PacketSocket;
use crate::l2::{L2Error, L2Speaker, ProbeOutcome};

/// So many are asked for at a time.
pub(super) const AT_ONCE: usize = 8;
/// How long changes of the plan and of the group may wait for more of the kind.
const GATHERING: Duration = Duration::from_secs(1);
/// Frames read per wake-up.
const BUDGET: usize = 64;
/// Failures in a row of which the log tells.
const WORTH_A_LINE: u32 = 2;

/// Whether and how often VIPs of other members are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// They are not.
    Off,
    /// Each about once in this time.
    Every(Duration),
}

/// What the task goes by.
pub(crate) struct Sources {
    pub(crate) plans: watch::Receiver<Arc<Plan>>,
    pub(crate) links: watch::Receiver<Vec<Link>>,
    pub(crate) group: watch::Receiver<Option<Arc<Group>>>,
    pub(crate) l2: Arc<L2Speaker>,
}

/// Asks until `stopped`; for nobody while there is no group.
pub(crate) async fn start(
    asking: Asking,
    mut sources: Sources,
    board: Board,
    stopped: CancellationToken,
) {
    let Asking::Every(every) = asking else { return };
    let joined = async {
        let joined = sources.group.wait_for(Option::is_some).await;
        joined.ok().and_then(|group| group.clone())
    };
    let Some(Some(group)) = stopped.run_until_cancelled(joined).await else { return };
    let mut seed = <SmallRng as SeedableRng>::Seed::default();
    if aws_lc_rs::rand::fill(&mut seed).is_err() {
        tracing::error!("VIPs of other nodes are not asked for: the kernel gives no random bytes");
        return;
    }
    group.note(ASKS, Some(Vec::new()));
    let task = Task {
        me: group.address(),
        standings: group.standings(),
        schedule: Schedule::new(every),
        rng: SmallRng::from_seed(seed),
        sources,
        board,
        roster: Roster::new(),
        rounds: 0,
        questions: FuturesUnordered::new(),
        visits: BTreeMap::new(),
        lines: BTreeMap::new(),
    };
    stopped.run_until_cancelled(task.run()).await;
}

/// A VIP that is asked for: of whom, since when, and what its question found.
type Asked = (IpAddr, Target, Instant, Result<ProbeOutcome, L2Error>);

struct Task {
    me: SocketAddr,
    sources: Sources,
    standings: watch::Receiver<Arc<Standing>>,
    board: Board,
    rng: SmallRng,
    roster: Roster,
    schedule: Schedule,
    /// Counts visits, for the ports of those VIPs that have many.
    rounds: usize,
    questions: FuturesUnordered<BoxFuture<'static, Asked>>,
    visits: BTreeMap<IpAddr, Visiting>,
    /// By link and EtherType.
    lines: BTreeMap<(String, u16), Line>,
}

struct Visiting {
    visit: Visit,
    target: Target,
    /// How long the question took before.
    asked: Duration,
    line: (String, u16),
}

/// The socket of a link, for one family of addresses.
struct Line {
    index: u32,
    mac: MacAddr,
    /// Our address, and the port of it that is kept.
    address: IpAddr,
    port: u16,
    socket: AsyncFd<PacketSocket>,
    _kept: Socket,
}

impl Line {
    /// Opens one, to ask for `vip` from this link.
    fn open(link: &Link, vip: IpAddr) -> io::Result<Self> {
        let other = |why: &str| io::Error::other(format!("{} {why}", link.name));
        let mac = link.mac.ok_or_else(|| other("has no Ethernet address"))?;
        let address = source(link, vip).ok_or_else(|| other("has no address that suits"))?;
        let kept = Socket::new(Domain::for_address((address, 0).into()), Type::STREAM, None)?;
        kept.bind(&SocketAddr::new(address, 0).into())?;
        let port = kept.local_addr()?.as_socket().map(|bound| bound.port());
        let port = port.ok_or_else(|| other("gave no port"))?;
        let ether_type = wire::ether_type(vip);
        let socket = PacketSocket::of_type(link.index, ether_type)?;
        socket.set_filter(&wire::filter(ether_type, port))?;
        let socket = socket.into_async()?;
        Ok(Self { index: link.index, mac, address, port, socket, _kept: kept })
    }

    /// Whether it is still what would be opened now.
    fn suits(&self, link: &Link, vip: IpAddr) -> bool {
        let same = self.index == link.index && Some(self.mac) == link.mac;
        same && source(link, vip) == Some(self.address)
    }

    fn send(&self, frame: &[u8]) {
        // As good as lost on the wire: it is sent again, or the other side gives up by itself.
        if let Err(error) = self.socket.get_ref().send(frame) {
            tracing::debug!(%error, "a question for a VIP of another node was not sent");
        }
    }
}

/// The address of a link that is in one network with the VIP.
fn source(link: &Link, vip: IpAddr) -> Option<IpAddr> {
    link.addresses.iter().find(|network| network.contains(&vip)).map(|network| network.addr())
}

impl Task {
    async fn run(mut self) {
        // Whatever came before counts as new.
        let mut stale_since = Some(Instant::now());
        loop {
            let gathered = stale_since.map(|since| since + GATHERING);
            let busy = self.questions.len() + self.visits.len();
            let next = self.schedule.due().filter(|_| busy < AT_ONCE);
            let visits = self.visits.values().filter_map(|visiting| visiting.visit.due()).min();
            tokio::select! {
                Ok(()) = self.sources.plans.changed(), if gathered.is_none() => {
                    stale_since = Some(Instant::now());
                }
                Ok(()) = self.sources.links.changed(), if gathered.is_none() => {
                    stale_since = Some(Instant::now());
                }
                changed = self.standings.changed(), if gathered.is_none() => {
                    if changed.is_err() {
                        return;
                    }
                    stale_since = Some(Instant::now());
                }
                () = until(gathered) => {
                    stale_since = None;
                    self.follow();
                }
                () = until(next) => self.begin(),
                () = until(visits) => {}
                Some(asked) = self.questions.next(), if !self.questions.is_empty() => {
                    self.visit(asked);
                }
                line = readable(&self.lines), if !self.visits.is_empty() => self.read(&line),
            }
            self.advance();
        }
    }

    /// Takes in the plan, the links and the group.
    fn follow(&mut self) {
        let plan = Arc::clone(&self.sources.plans.borrow_and_update());
        let links = self.sources.links.borrow_and_update().clone();
        let standing = Arc::clone(&self.standings.borrow_and_update());
        self.roster = roster(&plan, &standing, self.me);
        let vips: BTreeSet<IpAddr> = self.roster.keys().copied().collect();
        let rng = &mut self.rng;
        self.schedule.follow(Instant::now(), &vips, || rng.random());
        let roster = &self.roster;
        self.board.change(|found| {
            found.vips.retain(|vip, found| {
                roster.get(vip).is_some_and(|target| target.name == found.owner)
            });
        });
        let wanted = |(name, ether_type): &(String, u16)| {
            let of = |(vip, target): (&IpAddr, &Target)| {
                wire::ether_type(*vip) == *ether_type && target.links.contains(name)
            };
            links.iter().any(|link| link.name == *name) && roster.iter().any(of)
        };
        self.lines.retain(|line, _| wanted(line));
    }

    /// Asks who has the VIP that is due.
    fn begin(&mut self) {
        let now = Instant::now();
        let Some(vip) = self.schedule.take(now) else { return };
        let Some(target) = self.roster.get(&vip).cloned() else { return };
        let l2 = Arc::clone(&self.sources.l2);
        self.questions.push(Box::pin(async move {
            let found = l2.look_for(vip, &target.links).await;
            (vip, target, now, found)
        }));
    }

    /// Whether the same member still has a VIP. It may have moved while it was asked for, and may be here.
    fn stands(&self, vip: IpAddr, target: &Target) -> bool {
        let standing = self.standings.borrow();
        roster::announcing(&standing, vip).is_some_and(|(owner, _)| owner == target.owner)
    }

    /// Goes to the station that answered for a VIP.
    fn visit(&mut self, (vip, target, began, found): Asked) {
        let (now, asked) = (Instant::now(), began.elapsed());
        let (mac, link) = match found {
            Ok(ProbeOutcome::Conflict { mac, link }) => (mac, link),
            Ok(ProbeOutcome::Free) => {
                return self.end(vip, target, Outcome::Unanswered, asked, BTreeMap::new());
            }
            Err(error) => return self.give_up(vip, &error.to_string()),
        };
        if !target.macs.is_empty() && !target.macs.contains(&mac) {
            return self.end(vip, target, Outcome::AnotherHost(mac), asked, BTreeMap::new());
        }
        self.rounds = self.rounds.wrapping_add(1);
        let ports = some_of(&target.ports, self.rounds);
        if ports.is_empty() {
            return self.end(vip, target, Outcome::Reached, asked, BTreeMap::new());
        }
        let line = (link, wire::ether_type(vip));
        let from = match self.line(&line, vip) {
            Ok(from) => from,
            Err(error) => return self.give_up(vip, &error.to_string()),
        };
        let visit = Visit::new(now, from, (mac, vip), &ports, || self.rng.random());
        self.visits.insert(vip, Visiting { visit, target, asked, line });
    }

    /// From where to ask for a VIP on a link.
    fn line(&mut self, key: &(String, u16), vip: IpAddr) -> io::Result<(MacAddr, IpAddr, u16)> {
        let links = self.sources.links.borrow();
        let link = links.iter().find(|link| link.name == key.0);
        let link = link.ok_or_else(|| io::Error::other(format!("{} is gone", key.0)))?;
        if self.lines.get(key).is_some_and(|line| !line.suits(link, vip)) {
            self.lines.remove(key);
        }
        let line = match self.lines.entry(key.clone()) {
            Entry::Occupied(line) => line.into_mut(),
            Entry::Vacant(place) => place.insert(Line::open(link, vip)?),
        };
        Ok((line.mac, line.address, line.port))
    }

    /// Takes what waits at a socket.
    fn read(&mut self, key: &(String, u16)) {
        let Some(line) = self.lines.get(key) else { return };
        let (now, mut buffer) = (Instant::now(), [0; LONGEST]);
        for _ in 0..BUDGET {
            let received = line.socket.try_io(Interest::READABLE, |s| s.receive(&mut buffer));
            let Ok(length) = received else { return };
            let Some(answer) = wire::read(&buffer[..length], line.port) else { continue };
            let visiting = self.visits.get_mut(&answer.vip).filter(|one| one.line == *key);
            let Some(visiting) = visiting else { continue };
            if let Some(frame) = visiting.visit.receive(now, &answer) {
                line.send(&frame);
            }
        }
    }

    /// Sends what is due, and ends the visits that are over.
    fn advance(&mut self) {
        let now = Instant::now();
        let mut over = Vec::new();
        for (vip, visiting) in &mut self.visits {
            let frames = visiting.visit.tick(now);
            if let Some(line) = self.lines.get(&visiting.line) {
                frames.iter().for_each(|frame| line.send(frame));
            }
            if visiting.visit.is_over(now) {
                over.push(*vip);
            }
        }
        for vip in over {
            if let Some(Visiting { visit, target, asked, .. }) = self.visits.remove(&vip) {
                let (took, outcome, ports) = visit.found();
                self.end(vip, target, outcome, asked + took, ports);
            }
        }
    }

    /// What was found counts, if the VIP did not move meanwhile.
    fn end(
        &mut self,
        vip: IpAddr,
        target: Target,
        outcome: Outcome,
        took: Duration,
        ports: BTreeMap<u16, bool>,
    ) {
        self.schedule.done(Instant::now(), vip, self.rng.random());
        if !self.stands(vip, &target) || !self.roster.contains_key(&vip) {
            return;
        }
        let owner = target.name;
        let found = Reached { owner: owner.clone(), outcome, failures: 0, took, ports };
        let (before, failures) = self.board.change(|all| {
            let told = all.learn(vip, found);
            // Ports that listeners have no more.
            if let Some(found) = all.vips.get_mut(&vip) {
                found.ports.retain(|port, _| target.ports.contains(port));
            }
            told
        });
        if failures == WORTH_A_LINE {
            tracing::warn!(%vip, "not reached from here: {}", outcome.in_words(&owner));
        }
        if failures == 0 && before >= WORTH_A_LINE {
            tracing::info!(%vip, "reached from here again: {}", outcome.in_words(&owner));
        }
    }

    /// Nothing was found out.
    fn give_up(&mut self, vip: IpAddr, why: &str) {
        self.schedule.done(Instant::now(), vip, self.rng.random());
        self.board.change(|found| {
            found.unasked += 1;
            found.vips.remove(&vip);
        });
        tracing::debug!(%vip, why, "it could not be asked for");
    }
}

/// Of many ports some, others the next time.
fn some_of(ports: &[u16], round: usize) -> Vec<u16> {
    if ports.len() <= PORTS {
        return ports.to_vec();
    }
    let first = round.wrapping_mul(PORTS) % ports.len();
    ports.iter().cycle().skip(first).take(PORTS).copied().collect()
}

/// Waits until something can be read, and says where; for ever without a socket.
async fn readable(lines: &BTreeMap<(String, u16), Line>) -> (String, u16) {
    if lines.is_empty() {
        return std::future::pending().await;
    }
    let ready = lines.iter().map(|(key, line)| {
        Box::pin(async move {
            // An error is cleared by reading, too.
            drop(line.socket.readable().await);
            key.clone()
        })
    });
    select_all(ready).await.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_ports_each_has_its_turn() {
        assert_eq!(some_of(&[80, 443], 7), [80, 443]);
        let many: Vec<u16> = (1..=256).collect();
        let asked: BTreeSet<u16> = (0..16).flat_map(|round| some_of(&many, round)).collect();
        assert_eq!(asked.len(), 256);
        assert_eq!(some_of(&many, usize::MAX).len(), PORTS);
        let odd: Vec<u16> = (1..=17).collect();
        let asked: BTreeSet<u16> = (0..17).flat_map(|round| some_of(&odd, round)).collect();
        assert_eq!(asked.len(), 17);
    }

    #[test]
    fn it_is_asked_from_an_address_of_the_same_network() {
        let link = Link {
            index: 2,
            name: "eth0".to_owned(),
            up: true,
            loopback: false,
            mac: Some(MacAddr([2; 6])),
            addresses: ["10.0.0.1/24", "10.77.0.1/16", "fd77::1/64", "fe80::1/64"]
                .map(|text| text.parse().unwrap())
                .into(),
        };
        let from = |vip: &str| source(&link, vip.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(from("10.77.0.200").as_deref(), Some("10.77.0.1"));
        assert_eq!(from("fd77::200").as_deref(), Some("fd77::1"));
        assert_eq!(from("192.0.2.1"), None);
    }
}
