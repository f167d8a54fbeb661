//! A network of members in simulated time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::group::core::{Core, Input, Output, Setup};
use crate::group::key::{GroupKey, Keyring};

/// Where member `number` is.
pub(super) fn address(number: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, number)), 7946)
}

pub(super) fn key(byte: u8) -> GroupKey {
    GroupKey([byte; 32])
}

pub(super) fn ring(bytes: &[u8]) -> Keyring {
    Keyring::new(bytes.iter().map(|byte| key(*byte)).collect()).unwrap()
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// No datagram takes longer than this.
const SLOWEST: Duration = Duration::from_micros(600);

/// On its way: when it lands, its number, from, to, and what it is.
type Flying = Reverse<(Instant, u64, SocketAddr, SocketAddr, Vec<u8>)>;

/// Members, and the datagrams between them.
pub(super) struct Net {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) members: BTreeMap<SocketAddr, Core>,
    flying: BinaryHeap<Flying>,
    number: u64,
    pub(super) rng: SmallRng,
    /// Share of datagrams that are lost.
    pub(super) loss: f64,
    /// Pairs that cannot reach each other.
    pub(super) cut: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Who hears beacons, if there are any; then nobody is named to anybody.
    pub(super) beacons: Option<BTreeSet<SocketAddr>>,
    /// What members say of being restarted.
    pub(super) restart: Option<Duration>,
    /// Members whose processes are gone since then, while their hosts say so, this often to each other
    /// member.
    pub(super) ended: BTreeMap<SocketAddr, (Instant, BTreeMap<SocketAddr, u8>)>,
    /// Members that do not run, until when.
    pub(super) stalled: BTreeMap<SocketAddr, Instant>,
    /// Everything that was sent, when it is wanted.
    pub(super) tape: Option<Vec<(SocketAddr, SocketAddr, Vec<u8>)>>,
    /// Who saw whom come and go.
    pub(super) changes: Vec<(Duration, SocketAddr, BTreeSet<SocketAddr>)>,
}

impl Net {
    pub(super) fn new(seed: u64) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            members: BTreeMap::new(),
            flying: BinaryHeap::new(),
            number: 0,
            rng: SmallRng::seed_from_u64(seed),
            loss: 0.0,
            cut: BTreeSet::new(),
            beacons: None,
            restart: None,
            ended: BTreeMap::new(),
            stalled: BTreeMap::new(),
            tape: None,
            changes: Vec::new(),
        }
    }

    /// `count` members that know each other's addresses, started one after the other and settled.
    pub(super) fn settled(seed: u64, count: u8) -> Self {
        let mut net = Self::new(seed);
        net.settle(count);
        net
    }

    /// Starts members that know each other's addresses, and waits until all know all.
    pub(super) fn settle(&mut self, count: u8) {
        for number in 1..=count {
            self.start(number, 1, count, &ring(&[1]));
        }
        self.run(ms(3_000));
        for number in 1..=count {
            assert_eq!(self.alive(number).len(), usize::from(count) - 1, "{number} knows all");
        }
        self.changes.clear();
    }

    /// Starts a member in a new life.
    pub(super) fn start(&mut self, number: u8, epoch: u64, count: u8, keys: &Keyring) {
        let setup = Setup {
            group: "lab".to_owned(),
            keys: keys.clone(),
            address: address(number),
            epoch,
            seeds: match self.beacons {
                Some(_) => BTreeSet::new(),
                None => (1..=count).map(address).collect(),
            },
            restart: self.restart,
            beacon: self.beacons.is_some(),
            rebalance: false,
        };
        let rng = SmallRng::seed_from_u64(self.rng.random());
        self.ended.remove(&address(number));
        self.members.insert(address(number), Core::new(self.now, &setup, rng));
    }

    /// Ends the process of a member; its host lives.
    pub(super) fn end(&mut self, number: u8) {
        self.members.remove(&address(number));
        self.ended.insert(address(number), (self.now, BTreeMap::new()));
    }

    /// Ends the host of a member.
    pub(super) fn kill(&mut self, number: u8) {
        self.members.remove(&address(number));
    }

    /// Whether a datagram is on its way to a member.
    pub(super) fn is_called(&self, number: u8) -> bool {
        self.flying.iter().any(|Reverse((_, _, _, to, _))| *to == address(number))
    }

    pub(super) fn alive(&self, number: u8) -> &BTreeSet<SocketAddr> {
        self.members[&address(number)].alive()
    }

    /// Cuts every pair between these and the others.
    pub(super) fn cut_off(&mut self, numbers: &[u8]) {
        let these: BTreeSet<_> = numbers.iter().map(|number| address(*number)).collect();
        let all: Vec<_> = self.members.keys().copied().collect();
        for a in &all {
            for b in &all {
                if these.contains(a) != these.contains(b) {
                    self.cut.insert((*a, *b));
                }
            }
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Runs until `done`, or that moment; whether it was done.
    pub(super) fn run_until(&mut self, end: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let runs = |address: &SocketAddr, due: Instant| {
                self.stalled.get(address).map_or(due, |until| due.max(*until))
            };
            let wake = self
                .members
                .iter()
                .map(|(address, member)| (runs(address, member.due()), *address))
                .min();
            let lands = self.flying.peek().map(|Reverse((at, ..))| *at);
            let at = wake.iter().map(|(at, _)| *at).chain(lands).min().unwrap_or(end);
            if at > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(at);
            if lands == Some(at) {
                let Some(Reverse((_, _, from, to, datagram))) = self.flying.pop() else { continue };
                match self.stalled.get(&to) {
                    // It waits in the socket.
                    Some(until) if *until > self.now => {
                        let at = *until;
                        self.number += 1;
                        self.flying.push(Reverse((at, self.number, from, to, datagram)));
                    }
                    _ => self.input(to, Input::Datagram(from, datagram)),
                }
            } else if let Some((_, member)) = wake {
                self.input(member, Input::Tick);
            }
        }
    }

    pub(super) fn input(&mut self, to: SocketAddr, input: Input) {
        let now = self.now;
        if let Some((since, said)) = self.ended.get_mut(&to) {
            // What was on its way then was in the socket, and went with that.
            if let Input::Datagram(from, _) = input
                && now > *since + SLOWEST
            {
                let times = said.entry(from).or_default();
                *times = times.saturating_add(1);
                // As often as a kernel does (icmp_ratelimit), before it says it once a second.
                if *times <= 6 {
                    self.input(from, Input::Refused(to));
                }
            }
            return;
        }
        let Some(member) = self.members.get_mut(&to) else { return };
        let before = member.alive().len();
        let outputs = member.handle(now, input);
        if outputs.contains(&Output::Changed) && member.alive().len() != before {
            self.changes.push((now - self.start, to, member.alive().clone()));
        }
        for output in outputs {
            match output {
                Output::Send(receiver, datagram) => self.send(to, receiver, datagram),
                Output::Beacon(beacon) => {
                    for receiver in self.beacons.clone().into_iter().flatten() {
                        self.input(receiver, Input::Beacon(to, beacon.clone()));
                    }
                }
                Output::Changed => {}
            }
        }
    }

    pub(super) fn send(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        if let Some(tape) = &mut self.tape {
            tape.push((from, to, datagram.clone()));
        }
        if self.cut.contains(&(from, to)) || self.rng.random_bool(self.loss) {
            return;
        }
        let slowest = u64::try_from(SLOWEST.as_micros()).unwrap();
        let at = self.now + Duration::from_micros(self.rng.random_range(100..slowest));
        self.number += 1;
        self.flying.push(Reverse((at, self.number, from, to, datagram)));
    }
}
