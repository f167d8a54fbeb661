//! The task of one peer: carries bytes, timers and orders between its socket, its state machine
//! and its routes.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::PeerConfig;
use super::calls::{Call, Calls, Expected};
use super::dial::{Dialed, Target, dial};
use super::line::{Event, Line};
use super::link::{Link, Read};
use super::status::Status;
use crate::bfd::fsm::Echoing;
use crate::bfd::io as bfd;
use crate::bfd::wire::State as BfdState;
use crate::bgp::fsm::{Down, Fsm, Input, Origin, Output, Restart, State, Timer};
use crate::bgp::rib::{Rib, Routes};
use crate::bgp::wire::{self, Cease, Control, Message};

/// What the task is told beside routes.
#[derive(Debug)]
pub(super) enum Order {
    Stop { text: String, gracefully: bool },
    End(Cease),
    Offer(Option<Restart>),
}

/// How often it is looked whether BFD's echoes come back, before the next attempt.
const PROOF: Duration = Duration::from_secs(1);

/// The BFD session with the peer.
struct Watch {
    status: watch::Receiver<bfd::Status>,
    was_up: bool,
}

/// The task of one peer.
pub(super) struct PeerTask {
    name: String,
    target: Target,
    passive: bool,
    fsm: Fsm,
    rib: Rib,
    /// The connection that we make.
    ours: Line,
    /// The one that the peer made.
    theirs: Line,
    /// Which of them has the routes.
    up: Option<Origin>,
    /// Whoever has just called.
    door: Option<Call>,
    calls: Option<Calls>,
    /// Once the calls are ours.
    expected: Option<Expected>,
    timers: BTreeMap<Timer, Instant>,
    routes: watch::Receiver<Arc<Routes>>,
    orders: mpsc::Receiver<Order>,
    bfd: Option<Watch>,
    reports: watch::Sender<Status>,
    stopped: bool,
}

/// What woke the task.
enum Woken {
    Order(Option<Order>),
    Bfd(bool),
    Routes(bool),
    Timer,
    Called(Call),
    Deaf(Option<String>),
    Line(Origin, Event),
}

impl PeerTask {
    pub(super) fn new(
        config: PeerConfig,
        routes: watch::Receiver<Arc<Routes>>,
        orders: mpsc::Receiver<Order>,
        reports: watch::Sender<Status>,
    ) -> PeerTask {
        PeerTask {
            name: config.name,
            target: config.target,
            passive: config.session.passive,
            fsm: Fsm::new(config.session, config.seed),
            rib: Rib::default(),
            ours: Line::None,
            theirs: Line::None,
            up: None,
            door: None,
            calls: config.calls,
            expected: None,
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
        if let Some(calls) = self.calls.take() {
            self.expected = calls.expect(self.target.clone(), self.passive).await;
        }
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
                Woken::Order(Some(order)) => self.obey(order),
                Woken::Order(None) | Woken::Routes(false) => {
                    self.handle(Input::Stop { text: String::new(), gracefully: false });
                    self.stopped = true;
                }
                Woken::Routes(true) => self.take_routes(),
                Woken::Timer => self.expire(),
                Woken::Called(call) => self.called(call),
                Woken::Deaf(why) => self.handle(Input::Deaf(why)),
                Woken::Line(_, Event::Dialed(dialed)) => self.dialed(dialed),
                Woken::Line(origin, Event::Ready) => self.receive(origin),
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
            call = called(&mut self.expected) => call,
            event = self.ours.wait() => Woken::Line(Origin::Ours, event),
            event = self.theirs.wait() => Woken::Line(Origin::Theirs, event),
        }
    }

    fn obey(&mut self, order: Order) {
        self.handle(match order {
            Order::Stop { text, gracefully } => Input::Stop { text, gracefully },
            Order::End(cease) => Input::End(cease),
            Order::Offer(restart) => Input::Offer(restart),
        });
        self.stopped |= self.fsm.state() == State::Idle;
    }

    fn take_routes(&mut self) {
        let routes = Arc::clone(&self.routes.borrow_and_update());
        self.rib.set(routes);
    }

    fn dialed(&mut self, dialed: Result<Dialed, String>) {
        match dialed {
            Ok(_) if self.is_broken() => {
                self.ours = Line::None;
                let why = "BFD's echoes do not come back".to_owned();
                self.handle(Input::ConnectFailed(why));
            }
            Ok(Dialed { stream, surroundings }) => {
                self.ours = Line::Up(Link::new(stream), surroundings.next_hops);
                self.handle(Input::Connected { on_link: surroundings.on_link });
            }
            Err(why) => {
                self.ours = Line::None;
                self.handle(Input::ConnectFailed(why));
            }
        }
    }

    fn called(&mut self, call: Call) {
        if self.is_broken() {
            return;
        }
        let on_link = call.surroundings.on_link;
        self.door = Some(call);
        self.handle(Input::Called { on_link });
        self.door = None;
    }

    fn line(&mut self, origin: Origin) -> &mut Line {
        match origin {
            Origin::Ours => &mut self.ours,
            Origin::Theirs => &mut self.theirs,
        }
    }

    fn pump(&mut self) {
        self.pump_one(Origin::Ours);
        self.pump_one(Origin::Theirs);
    }

    /// Hands over what waits, and composes routes once nothing does.
    fn pump_one(&mut self, origin: Origin) {
        loop {
            let Line::Up(link, _) = self.line(origin) else { return };
            let flushed = link.flush();
            let idle = link.idle();
            match flushed {
                Ok(true) => self.handle(Input::Progress),
                Ok(false) => {}
                Err(error) => return self.lost(origin, error.to_string()),
            }
            if !idle || self.up != Some(origin) {
                return;
            }
            let messages = self.rib.drain();
            if messages.is_empty() {
                return;
            }
            let Line::Up(link, _) = self.line(origin) else { return };
            messages.iter().for_each(|message| link.send(message));
        }
    }

    /// Whether the peer's forwarding is known to be broken: BFD's echoes do not come back. Its BGP works all the
    /// same, and a session would have it draw traffic.
    fn is_broken(&self) -> bool {
        self.bfd.as_ref().is_some_and(|watch| watch.status.borrow().echo == Echoing::Failed)
    }

    fn expire(&mut self) {
        let now = Instant::now();
        if self.timers.get(&Timer::Hold).is_some_and(|at| *at <= now) {
            // After a stall what the peer said in time may still be waiting to be read.
            self.receive(Origin::Ours);
            self.receive(Origin::Theirs);
        }
        let due = self.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer);
        for timer in due.collect::<Vec<_>>() {
            if (timer, self.fsm.state()) == (Timer::Retry, State::Waiting) && self.is_broken() {
                self.timers.insert(timer, now + PROOF);
            } else if self.timers.remove(&timer).is_some() {
                self.handle(Input::Timer(timer));
            }
        }
    }

    fn receive(&mut self, origin: Origin) {
        let Line::Up(link, _) = self.line(origin) else { return };
        let read = link.read();
        self.messages(origin);
        if let (Read::Closed(why), Line::Up(..)) = (read, self.line(origin)) {
            self.lost(origin, why);
        }
    }

    /// Handles the messages that are whole.
    fn messages(&mut self, origin: Origin) {
        let as4 = self.fsm.session().is_none_or(|session| session.as4);
        loop {
            let Line::Up(link, _) = self.line(origin) else { return };
            let input = match wire::frame(link.inbox()) {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    let decoded = wire::decode(frame.kind, frame.body, as4);
                    let length = frame.length;
                    link.consume(length);
                    match decoded {
                        Ok(message) => Input::Received(origin, message),
                        Err(error) => Input::Malformed(origin, error),
                    }
                }
                Err(error) => Input::Malformed(origin, error),
            };
            self.count(&input);
            self.handle(input);
        }
    }

    fn count(&self, input: &Input) {
        if let Input::Received(_, Message::Update(update)) = input {
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

    fn lost(&mut self, origin: Origin, mut why: String) {
        let line = std::mem::replace(self.line(origin), Line::None);
        if let (Origin::Ours, Line::Up(link, _)) = (origin, line)
            && let Some(address) = link.unheard()
        {
            why.push_str(&format!(" before it said anything; is {address} its neighbour?"));
        }
        self.handle(Input::Closed(origin, why));
    }

    fn handle(&mut self, input: Input) {
        for output in self.fsm.handle(input) {
            self.execute(output);
        }
    }

    fn execute(&mut self, output: Output) {
        match output {
            Output::Connect => self.ours = Line::Dialing(Box::pin(dial(self.target.clone()))),
            Output::Accept => {
                if let Some(Call { stream, surroundings }) = self.door.take() {
                    self.theirs = Line::Up(Link::new(stream), surroundings.next_hops);
                }
            }
            Output::Refuse(notification) => {
                if let Some(call) = self.door.take() {
                    let mut link = Link::new(call.stream);
                    link.send(&Control::Notification(notification).encode());
                    link.close();
                }
            }
            Output::Send(origin, control) => {
                if let Line::Up(link, _) = self.line(origin) {
                    link.send(&control.encode());
                }
            }
            Output::Close(origin) => {
                if let Line::Up(link, _) = std::mem::replace(self.line(origin), Line::None) {
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
            Output::Up(origin, session) => {
                tracing::info!(peer = %self.name, asn = session.peer_as, "BGP session established");
                let next_hops = match self.line(origin) {
                    Line::Up(_, next_hops) => *next_hops,
                    _ => return,
                };
                self.up = Some(origin);
                self.rib.up(&session.families, session.encoding(next_hops));
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
        self.up = None;
        self.rib.down();
        match down {
            Down::Stopped => {
                self.stopped = true;
                return;
            }
            Down::Renewed => {
                tracing::info!(peer = %self.name, "BGP session {down}");
                return;
            }
            _ => {}
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
        let (carries, refused) = (self.rib.carries(), self.rib.refused());
        // What the kernel has not taken yet is on its way, and what was told before still is so.
        let line = match self.up {
            Some(Origin::Theirs) => &self.theirs,
            Some(Origin::Ours) | None => &self.ours,
        };
        let told = match line {
            Line::Up(link, _) if state == State::Established && !link.idle() => None,
            Line::Up(..) if state == State::Established => self.rib.told().map(Some),
            _ => Some(None),
        };
        self.reports.send_if_modified(|status| {
            let mut changed =
                (status.state, status.routes) != (state, routes) || status.carries != carries;
            if let Some(told) = told.filter(|told| *told != status.told) {
                status.told = told;
                changed = true;
            }
            status.refused = refused;
            if (status.state >= State::Established) != (state >= State::Established) {
                status.since = Instant::now().into_std();
                status.session = self.fsm.session().cloned();
            }
            status.state = state;
            status.routes = routes;
            status.carries = carries;
            changed
        });
    }
}

/// Waits for a call, or for news of whether there can be any.
async fn called(expected: &mut Option<Expected>) -> Woken {
    let Some(calls) = expected else { return pending().await };
    match calls.next().await {
        Some(Ok(call)) => Woken::Called(call),
        Some(Err(deaf)) => Woken::Deaf(deaf),
        None => {
            *expected = None;
            pending().await
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
