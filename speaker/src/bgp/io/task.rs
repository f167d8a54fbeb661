//! The task of one peer: carries bytes, timers and orders between its socket, its state machine
//! and its routes.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::PeerConfig;
use super::dial::{Dialed, Target, dial};
use super::link::{Link, Read};
use super::status::Status;
use crate::bfd::io as bfd;
use crate::bfd::wire::State as BfdState;
use crate::bgp::fsm::{Down, Fsm, Input, Output, State, Timer};
use crate::bgp::rib::{Rib, Routes};
use crate::bgp::wire::{self, Message, NextHops};

/// The order to end.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) text: String,
    pub(super) gracefully: bool,
}

/// The BFD session with the peer.
struct Watch {
    status: watch::Receiver<bfd::Status>,
    was_up: bool,
}

type Dialing = Pin<Box<dyn Future<Output = Result<Dialed, String>> + Send>>;

/// The connection, in its stages.
enum Line {
    None,
    Dialing(Dialing),
    Up(Link),
}

/// The task of one peer.
pub(super) struct PeerTask {
    name: String,
    target: Target,
    fsm: Fsm,
    rib: Rib,
    line: Line,
    next_hops: NextHops,
    timers: BTreeMap<Timer, Instant>,
    routes: watch::Receiver<Arc<Routes>>,
    orders: mpsc::Receiver<Stop>,
    bfd: Option<Watch>,
    reports: watch::Sender<Status>,
    stopped: bool,
}

/// What woke the task.
enum Woken {
    Order(Option<Stop>),
    Bfd(bool),
    Routes(bool),
    Timer,
    Dialed(Result<Dialed, String>),
    Ready,
}

impl PeerTask {
    pub(super) fn new(
        config: PeerConfig,
        routes: watch::Receiver<Arc<Routes>>,
        orders: mpsc::Receiver<Stop>,
        reports: watch::Sender<Status>,
    ) -> PeerTask {
        PeerTask {
            name: config.name,
            target: config.target,
            fsm: Fsm::new(config.session, config.seed),
            rib: Rib::default(),
            line: Line::None,
            next_hops: NextHops::default(),
            timers: BTreeMap::new(),
            routes,
            orders,
            bfd: config.bfd.map(|status| Watch { status, was_up: false }),
            reports,
            stopped: false,
        }
    }

    /// Runs until it is told to stop, or the handle is dropped.
    pub(super) async fn run(mut self) {
        self.take_routes();
        self.handle(Input::Start);
        while !self.stopped {
            self.pump();
            self.report();
            match self.wait().await {
                Woken::Bfd(lost) => {
                    if lost {
                        self.handle(Input::BfdDown);
                    }
                }
                Woken::Order(Some(Stop { text, gracefully })) => {
                    self.handle(Input::Stop { text, gracefully });
                    self.stopped |= self.fsm.state() == State::Idle;
                }
                Woken::Order(None) | Woken::Routes(false) => {
                    self.handle(Input::Stop { text: String::new(), gracefully: false });
                    self.stopped = true;
                }
                Woken::Routes(true) => self.take_routes(),
                Woken::Timer => self.expire(),
                Woken::Dialed(dialed) => self.dialed(dialed),
                Woken::Ready => self.receive(),
            }
        }
        self.report();
    }

    async fn wait(&mut self) -> Woken {
        let next = self.timers.values().min().copied();
        tokio::select! {
            biased;
            order = self.orders.recv() => Woken::Order(order),
            lost = bfd_changed(&mut self.bfd) => Woken::Bfd(lost),
            () = until(next) => Woken::Timer,
            changed = self.routes.changed() => Woken::Routes(changed.is_ok()),
            woken = self.line.wait() => woken,
        }
    }

    fn take_routes(&mut self) {
        let routes = Arc::clone(&self.routes.borrow_and_update());
        self.rib.set(routes);
    }

    fn dialed(&mut self, dialed: Result<Dialed, String>) {
        match dialed {
            Ok(Dialed { stream, surroundings }) => {
                self.line = Line::Up(Link::new(stream));
                self.next_hops = surroundings.next_hops;
                self.handle(Input::Connected { on_link: surroundings.on_link });
            }
            Err(why) => {
                self.line = Line::None;
                self.handle(Input::ConnectFailed(why));
            }
        }
    }

    /// Hands over what waits, and composes routes once nothing does.
    fn pump(&mut self) {
        loop {
            let Line::Up(link) = &mut self.line else { return };
            let flushed = link.flush();
            let idle = link.idle();
            match flushed {
                Ok(true) => self.handle(Input::Progress),
                Ok(false) => {}
                Err(error) => return self.lost(error.to_string()),
            }
            let Line::Up(link) = &mut self.line else { return };
            if !idle {
                return;
            }
            let messages = self.rib.drain();
            if messages.is_empty() {
                return;
            }
            messages.iter().for_each(|message| link.send(message));
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        if self.timers.get(&Timer::Hold).is_some_and(|at| *at <= now) {
            // After a stall what the peer said in time may still be waiting to be read.
            self.receive();
        }
        let due = self.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer);
        for timer in due.collect::<Vec<_>>() {
            if self.timers.remove(&timer).is_some() {
                self.handle(Input::Timer(timer));
            }
        }
    }

    fn receive(&mut self) {
        let Line::Up(link) = &mut self.line else { return };
        let read = link.read();
        self.messages();
        if let Read::Closed(why) = read {
            self.lost(why);
        }
    }

    /// Handles the messages that are whole.
    fn messages(&mut self) {
        let as4 = self.fsm.session().is_none_or(|session| session.as4);
        loop {
            let Line::Up(link) = &mut self.line else { return };
            let input = match wire::frame(link.inbox()) {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    let decoded = wire::decode(frame.kind, frame.body, as4);
                    let length = frame.length;
                    link.consume(length);
                    decoded.map_or_else(Input::Malformed, Input::Received)
                }
                Err(error) => Input::Malformed(error),
            };
            self.count(&input);
            self.handle(input);
        }
    }

    fn count(&self, input: &Input) {
        if let Input::Received(Message::Update(update)) = input {
            self.reports.send_if_modified(|status| {
                status.received.updates += 1;
                status.received.prefixes += u64::from(update.announced);
                status.received.defects += u64::from(update.defect.is_some());
                false
            });
            if let Some(defect) = update.defect {
                tracing::debug!(peer = %self.name, ?defect, "an UPDATE with a defect");
            }
        }
    }

    fn lost(&mut self, why: String) {
        self.line = Line::None;
        self.handle(Input::Closed(why));
    }

    fn handle(&mut self, input: Input) {
        for output in self.fsm.handle(input) {
            self.execute(output);
        }
    }

    fn execute(&mut self, output: Output) {
        match output {
            Output::Connect => self.line = Line::Dialing(Box::pin(dial(self.target.clone()))),
            Output::Send(control) => {
                if let Line::Up(link) = &mut self.line {
                    link.send(&control.encode());
                }
            }
            Output::Close => {
                if let Line::Up(link) = std::mem::replace(&mut self.line, Line::None) {
                    link.close();
                }
            }
            Output::Set(timer, time) => {
                self.timers.insert(timer, Instant::now() + time);
            }
            Output::Clear(timer) => {
                self.timers.remove(&timer);
            }
            Output::ClearAll => self.timers.clear(),
            Output::Up(session) => {
                tracing::info!(peer = %self.name, asn = session.peer_as, "BGP session established");
                self.rib.up(&session.families, session.encoding(self.next_hops));
                self.reports.send_modify(|status| {
                    status.established += 1;
                    status.last_error = None;
                });
            }
            Output::Resend(family) => self.rib.resend(family),
            Output::MarkRoutes => self.rib.leave(),
            Output::WithdrawRoutes => self.rib.withdraw(),
            Output::Down(down) => self.down(&down),
        }
    }

    fn down(&mut self, down: &Down) {
        self.rib.down();
        if *down == Down::Stopped {
            self.stopped = true;
            return;
        }
        let words = down.to_string();
        let repeated = self.reports.borrow().last_error.as_ref() == Some(&words);
        if !repeated {
            tracing::warn!(peer = %self.name, "no BGP session: {words}");
        }
        self.reports.send_if_modified(|status| {
            status.last_error = Some(words);
            !repeated
        });
    }

    fn report(&self) {
        let (state, routes) = (self.fsm.state(), self.rib.counts());
        self.reports.send_if_modified(|status| {
            let changed = status.state != state || status.routes != routes;
            if (status.state >= State::Established) != (state >= State::Established) {
                status.since = Instant::now().into_std();
                status.session = self.fsm.session().cloned();
            }
            status.state = state;
            status.routes = routes;
            changed
        });
    }
}

impl Line {
    async fn wait(&mut self) -> Woken {
        match self {
            Line::None => pending().await,
            Line::Dialing(dialing) => Woken::Dialed(dialing.await),
            Line::Up(link) => match link.ready().await {
                Ok(()) => Woken::Ready,
                Err(_runtime_ends) => pending().await,
            },
        }
    }
}

/// Waits for a change of the BFD session; whether it was up and has failed. One that is ended on
/// purpose, by either side, says nothing about the path (RFC 5882 section 4.2).
async fn bfd_changed(watch: &mut Option<Watch>) -> bool {
    let Some(Watch { status, was_up }) = watch else { return pending().await };
    if status.changed().await.is_err() {
        *watch = None;
        return false;
    }
    let now = *status.borrow_and_update();
    let lost = *was_up && now.state == BfdState::Down && now.remote != BfdState::AdminDown;
    *was_up = now.state == BfdState::Up;
    lost
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
