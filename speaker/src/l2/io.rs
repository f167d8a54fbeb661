//! The task of one link and protocol: carries frames between its packet socket, responder and probes.
//!
//! Owns the socket and all state of the link; is told what is wanted by a watch channel, of which
//! only the newest value counts, and which addresses to probe by a bounded queue. Ends when told
//! to, when its handle is dropped, and when the link has vanished.
//!
//! Always true: the filter in force passes what is needed for the VIPs owned and addresses probed,
//! and one wake-up handles a bounded number of frames before time, orders and other tasks have
//! their turn.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use vipgate_planner::MacAddr;

use super::counters::Counters;
use super::error::L2Error;
use super::filter;
use super::frame::{Frame, Protocol};
use super::groups::Groups;
use super::probe::{self, Outcome, Probe};
use super::reason::DropReason;
use super::responder::{self, LinkState, Output, Purpose, Responder};
use super::socket::{PacketSocket, READY};
use super::speaker::Sighting;
use crate::deadline::until;

/// Frames read per wake-up.
const BUDGET: usize = 64;
/// More frames than the queue of a socket holds, with the default `net.core.rmem_default`.
const QUEUE: usize = 512;
/// Probe requests taken per wake-up.
const REQUESTS: usize = 64;
/// A link that vanishes goes down first, and the kernel reports that only. So it is looked for
/// this long after it went down.
const VANISH_CHECK: Duration = Duration::from_secs(1);
/// Numbers of address ranges tried for the filter. Kernels before 6.7 allow a socket 20 kB for it
/// (`net.core.optmem_max`), the old and the new one together.
const FILTER_SIZES: [usize; 4] = [filter::MAX_RANGES, 120, 30, 1];

/// What is wanted of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Desired {
    pub(super) link: LinkState,
    /// The VIPs it owns.
    pub(super) vips: BTreeSet<IpAddr>,
}

/// What a link is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    /// To find out whether an address is free.
    Probe(ProbeRequest),
    /// To announce a VIP anew, if it owns it.
    Insist(IpAddr),
}

/// Asks whether an address is free on a link. Dropping the receiver abandons the probe.
#[derive(Debug)]
pub(super) struct ProbeRequest {
    pub(super) vip: IpAddr,
    /// Whether it is only to be known who has it ([`Probe::looking`]).
    pub(super) looking: bool,
    pub(super) answer: mpsc::Sender<ProbeAnswer>,
}

/// What was found on which link.
#[derive(Debug)]
pub(super) struct ProbeAnswer {
    pub(super) link: String,
    pub(super) outcome: Result<Outcome, L2Error>,
}

/// A probe and who waits for it.
struct Asked {
    probe: Probe,
    answer: mpsc::Sender<ProbeAnswer>,
}

impl Asked {
    /// Each link has its place in the channel; the send fails only if nobody waits any more.
    fn tell(self, link: &str, outcome: Result<Outcome, L2Error>) {
        let _abandoned = self.answer.try_send(ProbeAnswer { link: link.to_owned(), outcome });
    }
}

/// What all links share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) announce_every: Duration,
    pub(super) sightings: mpsc::Sender<Sighting>,
    pub(super) counters: Arc<Counters>,
}

/// The task of one link and protocol.
pub(super) struct LinkTask {
    name: String,
    protocol: Protocol,
    socket: AsyncFd<PacketSocket>,
    responder: Responder,
    probes: Vec<Asked>,
    desired: watch::Receiver<Desired>,
    requests: mpsc::Receiver<Request>,
    shared: Shared,
    /// Joined for the addresses of the filter, but for those that are only looked for: who has one tells all
    /// nodes, and nobody has to find us.
    groups: Groups,
    grouped: BTreeSet<IpAddr>,
    /// The addresses of the filter in force.
    filtered: BTreeSet<IpAddr>,
    vanish_check: Option<Instant>,
}

/// Frames taken from the socket at once, and the error that ended it, if one did.
struct Batch {
    frames: Vec<Result<Frame, DropReason>>,
    /// Whether none was left.
    emptied: bool,
    error: Option<io::Error>,
}

impl LinkTask {
    /// Opens the socket of the link with this kernel index. Must be called on a runtime.
    pub(super) fn open(
        (name, index): (&str, u32),
        protocol: Protocol,
        desired: watch::Receiver<Desired>,
        requests: mpsc::Receiver<Request>,
        shared: Shared,
    ) -> Result<LinkTask, L2Error> {
        let socket = PacketSocket::open(index, protocol)
            .and_then(PacketSocket::into_async)
            .map_err(|source| L2Error::open(name, source))?;
        let link = desired.borrow().link.clone();
        Ok(LinkTask {
            name: name.to_owned(),
            protocol,
            groups: Groups::new(index),
            socket,
            responder: Responder::new(link, shared.announce_every),
            probes: Vec::new(),
            desired,
            requests,
            shared,
            grouped: BTreeSet::new(),
            filtered: BTreeSet::new(),
            vanish_check: None,
        })
    }

    /// Runs until the token is cancelled, the handle is dropped, or the link has vanished.
    pub(super) async fn run(mut self, token: CancellationToken) {
        let mut flow = self.apply();
        while flow.is_continue() {
            let deadline = self.deadline();
            let mut requests = Vec::new();
            flow = tokio::select! {
                biased;
                () = token.cancelled() => ControlFlow::Break(()),
                changed = self.desired.changed() => match changed {
                    Ok(()) => self.apply(),
                    Err(_dropped) => ControlFlow::Break(()),
                },
                () = until(deadline) => self.tick(),
                // When it is closed so is `desired`, which comes first.
                _count = self.requests.recv_many(&mut requests, REQUESTS) => self.begin(requests),
                batch = read(&self.socket, self.protocol) => {
                    self.shared.counters.woke();
                    self.receive(batch)
                }
            };
        }
        tracing::debug!(link = %self.name, protocol = %self.protocol, "no longer spoken");
    }

    fn deadline(&self) -> Option<Instant> {
        let probes = self.probes.iter().filter_map(|asked| asked.probe.deadline());
        probes.chain(self.responder.deadline()).chain(self.vanish_check).min()
    }

    /// Makes the responder follow what is wanted.
    fn apply(&mut self) -> ControlFlow<()> {
        let Desired { link, vips } = self.desired.borrow_and_update().clone();
        let gone: Vec<IpAddr> = self.responder.owned().filter(|v| !vips.contains(v)).collect();
        for vip in gone {
            self.handle(responder::Input::Disown(vip))?;
        }
        self.refilter();
        if link != *self.responder.link() {
            let up = link.up;
            self.handle(responder::Input::Link(link))?;
            if !up {
                self.fail_probes();
            }
        }
        let owned: BTreeSet<IpAddr> = self.responder.owned().collect();
        for vip in vips.difference(&owned) {
            self.handle(responder::Input::Own(*vip))?;
        }
        self.handle(responder::Input::Tick)
    }

    fn begin(&mut self, requests: Vec<Request>) -> ControlFlow<()> {
        let now = now();
        for request in requests {
            let ProbeRequest { vip, looking, answer } = match request {
                Request::Probe(request) => request,
                Request::Insist(vip) => {
                    self.handle(responder::Input::Insist(vip))?;
                    continue;
                }
            };
            let begin = if looking { Probe::looking } else { Probe::starting };
            let probe = begin(vip, self.responder.link().clone(), now);
            self.probes.push(Asked { probe, answer });
        }
        if !self.responder.link().up {
            self.fail_probes();
        }
        self.refilter();
        self.tick()
    }

    fn tick(&mut self) -> ControlFlow<()> {
        let now = now();
        if self.vanish_check.is_some_and(|at| at <= now) {
            self.vanish_check = None;
            self.check_exists()?;
        }
        self.handle(responder::Input::Tick)?;
        if self.probes.iter().any(|asked| asked.probe.deadline().is_some_and(|at| at <= now)) {
            // After a stall the answer may have been waiting longer than the deadline.
            let waiting = take(self.socket.get_ref(), self.protocol, QUEUE);
            self.receive(waiting)?;
        }
        self.advance_probes(probe::Input::Tick, now)
    }

    fn receive(&mut self, batch: Batch) -> ControlFlow<()> {
        let counters = Arc::clone(&self.shared.counters);
        for frame in batch.frames {
            counters.received();
            match frame {
                Ok(frame) => {
                    self.advance_probes(probe::Input::Received(&frame), now())?;
                    self.handle(responder::Input::Received(frame))?;
                }
                Err(reason) => counters.dropped(reason),
            }
        }
        let Some(error) = batch.error else { return ControlFlow::Continue(()) };
        if error.raw_os_error() == Some(libc::ENETDOWN) {
            self.vanish_check = Some(now() + VANISH_CHECK);
            return self.check_exists();
        }
        let protocol = self.protocol;
        tracing::warn!(link = %self.name, %error, "{protocol} ends: the packet socket cannot be read");
        ControlFlow::Break(())
    }

    fn handle(&mut self, input: responder::Input) -> ControlFlow<()> {
        for output in self.responder.handle(input, now()) {
            match output {
                Output::Send(frame, purpose) => {
                    if self.send(&frame, purpose).is_err() {
                        self.check_exists()?;
                    }
                }
                Output::Conflict { vip, mac } => self.report(vip, mac, false),
                Output::Member { vip, mac } => self.report(vip, mac, true),
                Output::Requested => self.shared.counters.requested(),
                Output::Dropped(reason) => self.shared.counters.dropped(reason),
            }
        }
        ControlFlow::Continue(())
    }

    /// Gives all probes the same input. Those that end are answered; those and the abandoned ones
    /// are no longer listened for.
    fn advance_probes(&mut self, input: probe::Input<'_>, now: Instant) -> ControlFlow<()> {
        let before = self.probes.len();
        self.probes.retain(|asked| !asked.answer.is_closed());
        for mut asked in std::mem::take(&mut self.probes) {
            match asked.probe.handle(input, now) {
                None => self.probes.push(asked),
                Some(probe::Output::Done(outcome)) => asked.tell(&self.name, Ok(outcome)),
                Some(probe::Output::Send(frame)) => match self.send(&frame, Purpose::Probe) {
                    Ok(()) => self.probes.push(asked),
                    Err(source) => {
                        let link = self.name.clone();
                        asked.tell(&self.name, Err(L2Error::Send { link, source }));
                        self.check_exists()?;
                    }
                },
            }
        }
        if self.probes.len() < before {
            self.refilter();
        }
        ControlFlow::Continue(())
    }

    fn fail_probes(&mut self) {
        for asked in self.probes.drain(..) {
            asked.tell(&self.name, Err(L2Error::LinkDown { link: self.name.clone() }));
        }
    }

    fn send(&self, frame: &Frame, purpose: Purpose) -> io::Result<()> {
        let sent = self.socket.get_ref().send(&frame.to_bytes());
        match &sent {
            Ok(()) => self.shared.counters.sent(purpose),
            Err(error) => {
                self.shared.counters.send_failed();
                tracing::debug!(link = %self.name, %error, ?purpose, "a frame was not sent");
            }
        }
        sent
    }

    fn report(&self, vip: IpAddr, mac: MacAddr, member: bool) {
        let sighting = Sighting { vip, mac, link: self.name.clone(), member };
        if self.shared.sightings.try_send(sighting).is_err() {
            self.shared.counters.sighting_lost();
        }
    }

    fn check_exists(&self) -> ControlFlow<()> {
        if self.socket.get_ref().link_exists() {
            return ControlFlow::Continue(());
        }
        tracing::warn!(link = %self.name, "the interface has vanished; its VIPs are not announced");
        ControlFlow::Break(())
    }

    /// Lets the kernel pass what concerns the VIPs and the addresses being probed.
    fn refilter(&mut self) {
        let mut grouped = self.desired.borrow().vips.clone();
        let (looking, wanting): (Vec<_>, Vec<_>) =
            self.probes.iter().map(|asked| &asked.probe).partition(|probe| probe.is_looking());
        grouped.extend(wanting.into_iter().map(Probe::vip));
        let mut needed = grouped.clone();
        needed.extend(looking.into_iter().map(Probe::vip));
        if grouped != self.grouped {
            if let Err(error) = self.groups.follow(&grouped) {
                tracing::warn!(
                    link = %self.name, %error,
                    "a multicast group of a VIP cannot be joined; neighbours may not find it: check net.ipv6 \
                     and net.core.optmem_max"
                );
            }
            self.grouped = grouped;
        }
        if needed == self.filtered {
            return;
        }
        let socket = self.socket.get_ref();
        let mut result = Ok(());
        for ranges in FILTER_SIZES {
            result = socket.set_filter(&filter::program(self.protocol, &needed, ranges));
            if result.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::ENOMEM)) {
                continue;
            }
            break;
        }
        match result {
            Ok(()) => self.filtered = needed,
            Err(error) => tracing::error!(
                link = %self.name, %error,
                "the kernel refuses the filter, VIPs may stay unanswered: check net.core.optmem_max"
            ),
        }
    }
}

/// Waits for frames and takes at most [`BUDGET`] of them. Cancel safe: nothing is read before the
/// only wait is over.
async fn read(socket: &AsyncFd<PacketSocket>, protocol: Protocol) -> Batch {
    match socket.ready(READY).await {
        Ok(mut ready) => {
            let batch = take(socket.get_ref(), protocol, BUDGET);
            if batch.emptied {
                ready.clear_ready();
            }
            batch
        }
        Err(error) => Batch { frames: Vec::new(), emptied: false, error: Some(error) },
    }
}

/// Takes at most so many of the frames that are there.
fn take(socket: &PacketSocket, protocol: Protocol, budget: usize) -> Batch {
    let mut batch = Batch { frames: Vec::new(), emptied: false, error: None };
    let mut buffer = [0; filter::LONGEST_SNAP as usize];
    while batch.frames.len() < budget {
        match socket.receive(&mut buffer) {
            Ok(length) => batch.frames.push(protocol.parse(&buffer[..length])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                batch.emptied = true;
                break;
            }
            Err(error) => {
                batch.error = Some(error);
                break;
            }
        }
    }
    batch
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
