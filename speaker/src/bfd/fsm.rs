//! One BFD session, as a state machine (RFC 5880 section 6): packets and time in, packets and
//! changes out.
//!
//! No socket, no clock, no task; randomness by a seed. Whoever runs it calls [`Fsm::handle`] with
//! what comes, and with [`Input::Tick`] when [`Fsm::deadline`] is there. What always holds:
//! * while not up, at most one packet a second is sent (section 6.8.3);
//! * a change of our intervals is announced by a poll, and a longer transmit or shorter detection
//!   time takes effect only when the other side has answered it;
//! * when the interval shrinks, the next packet is due at once: the other side may already count
//!   by the shorter one;
//! * echo packets are sent only while up, and only as fast as the other side says it returns them
//!   (section 6.8.9). They come on top: control packets are sent and awaited as without them;
//! * after a failure of the echo function it stays down for a while, however ready the other side is, which
//!   hears us all the time.

mod echo;

use std::time::{Duration, Instant};

use super::wire::{Diagnostic, Packet, State};
use echo::Echo;
pub use echo::Echoing;

/// Section 6.8.3: the least interval while not up.
const SLOW: Duration = Duration::from_secs(1);

/// Settings of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Send this often, if the other side can take it.
    pub transmit_interval: Duration,
    /// Take packets this often.
    pub receive_interval: Duration,
    /// So many of ours may be missed.
    pub multiplier: u8,
    /// Send nothing until the other side does (section 6.1).
    pub passive: bool,
    /// Send echo packets this often, if the other side returns them, and return its own.
    pub echo: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        let interval = Duration::from_millis(300);
        Config {
            transmit_interval: interval,
            receive_interval: interval,
            multiplier: 3,
            passive: false,
            echo: None,
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A packet of the other side.
    Received(Packet),
    /// Time has passed.
    Tick,
    /// An operator takes the session down, or lets it come up again.
    AdminDown(bool),
    /// Other settings.
    Configure(Config),
    /// Whether there is a way for echo packets: ours can be sent, and those of the other side returned.
    EchoPath(bool),
    /// An echo packet came back that was sent as this.
    EchoReturned(Duration),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Send(Packet),
    /// The session is in another state, for this reason.
    Changed(State, Diagnostic),
    /// Send an echo packet with this in it: when it is sent, counted from the session's beginning.
    SendEcho(Duration),
}

/// One session.
#[derive(Clone, Debug)]
pub struct Fsm {
    config: Config,
    local: u32,
    state: State,
    diagnostic: Diagnostic,
    remote: Remote,
    /// Our intervals as the other side knows them: in force.
    tx: Duration,
    rx: Duration,
    polling: bool,
    send_at: Option<Instant>,
    detect_at: Option<Instant>,
    echo: Echo,
    /// After a failure of the echo function: it stays down until then, …
    held_until: Option<Instant>,
    /// … which was so much later.
    hold: Duration,
    random: u64,
}

/// What the other side last said.
#[derive(Clone, Copy, Debug)]
struct Remote {
    discriminator: u32,
    state: State,
    min_rx: Duration,
    /// Its multiplier and how often it wants to send: what makes our detection time.
    multiplier: u32,
    desired_tx: Duration,
    /// How often it returns echo packets; zero if it does not.
    min_echo_rx: Duration,
    demand: bool,
}

const SILENT: Remote = Remote {
    discriminator: 0,
    state: State::Down,
    min_rx: Duration::from_micros(1),
    multiplier: 0,
    desired_tx: Duration::ZERO,
    min_echo_rx: Duration::ZERO,
    demand: false,
};

impl Fsm {
    /// A session that is down, with our number for it (not zero).
    #[must_use]
    pub fn new(config: Config, local: u32, seed: u64, now: Instant) -> Fsm {
        Fsm {
            config,
            local,
            state: State::Down,
            diagnostic: Diagnostic::None,
            remote: SILENT,
            tx: config.transmit_interval.max(SLOW),
            rx: config.receive_interval,
            polling: false,
            send_at: (!config.passive).then_some(now),
            detect_at: None,
            echo: Echo::new(now),
            held_until: None,
            hold: SLOW,
            random: seed,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What the other side last said of its state.
    #[must_use]
    pub fn remote_state(&self) -> State {
        self.remote.state
    }

    /// Our number for the session.
    #[must_use]
    pub fn discriminator(&self) -> u32 {
        self.local
    }

    /// Without a packet for this long, the session is down.
    #[must_use]
    pub fn detection_time(&self) -> Duration {
        self.rx.max(self.remote.desired_tx) * self.remote.multiplier
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.send_at.into_iter().chain(self.detect_at).chain(self.echo.deadline()).min()
    }

    /// Takes what happened, returns what is to be done.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::Received(packet) => self.received(&packet, now, &mut outputs),
            Input::Tick => self.tick(now, &mut outputs),
            Input::AdminDown(down) => self.admin(down, now, &mut outputs),
            Input::Configure(config) => self.configure(config, now),
            Input::EchoPath(path) => self.set_echo_path(path, now),
            Input::EchoReturned(sent) => self.echo.returned(sent, now),
        }
        self.follow_echo(now);
        outputs
    }

    fn received(&mut self, packet: &Packet, now: Instant, outputs: &mut Vec<Output>) {
        self.remote = Remote {
            discriminator: packet.my_discriminator,
            state: packet.state,
            min_rx: Duration::from_micros(u64::from(packet.required_min_rx)),
            multiplier: u32::from(packet.multiplier),
            desired_tx: Duration::from_micros(u64::from(packet.desired_min_tx)),
            min_echo_rx: Duration::from_micros(u64::from(packet.required_min_echo_rx)),
            demand: packet.demand,
        };
        if packet.is_final && self.polling {
            self.polling = false;
            self.tx = self.desired_tx();
            self.rx = self.config.receive_interval;
        }
        if self.state == State::AdminDown {
            return;
        }
        if packet.state == State::AdminDown {
            self.echo.is_failing = false;
        }
        self.detect_at = Some(now + self.detection_time());
        self.follow(packet.state, now, outputs);
        if packet.poll {
            outputs.push(Output::Send(self.packet(true)));
        }
        self.hasten(now);
    }

    /// Section 6.8.6: our state after theirs.
    fn follow(&mut self, theirs: State, now: Instant, outputs: &mut Vec<Output>) {
        if self.state == State::Down && self.held_until.is_some_and(|until| now < until) {
            return;
        }
        let next = match (self.state, theirs) {
            (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => State::Down,
            (State::Down, State::Down) => State::Init,
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => State::Up,
            (state, _) => state,
        };
        if next == self.state {
            return;
        }
        self.diagnostic = match next {
            State::Down => Diagnostic::NeighborSignaledDown,
            _ => Diagnostic::None,
        };
        self.change(next, now, outputs);
    }

    fn change(&mut self, next: State, now: Instant, outputs: &mut Vec<Output>) {
        self.state = next;
        self.follow_echo(now);
        outputs.push(Output::Changed(next, self.diagnostic));
        match next {
            // Faster from now on; the other side counts by it as soon as it hears of it.
            State::Up => {
                self.polling = true;
                self.tx = self.desired_tx();
            }
            _ => {
                self.polling = false;
                self.tx = self.desired_tx();
                self.rx = self.config.receive_interval;
            }
        }
        // Tell at once; a passive side has been spoken to by now.
        self.send_at = Some(now);
        self.send_due(now, outputs);
    }

    fn tick(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.detect_at.is_some_and(|at| at <= now) {
            self.detect_at = None;
            self.remote = SILENT;
            // Perhaps it does no BFD any more: nothing is known of its forwarding.
            self.echo.is_failing = false;
            if matches!(self.state, State::Init | State::Up) {
                self.diagnostic = Diagnostic::DetectionTimeExpired;
                self.change(State::Down, now, outputs);
            }
            if self.config.passive {
                self.send_at = None;
            }
        }
        self.judge_echo(now, outputs);
        self.send_due(now, outputs);
        self.send_due_echo(now, outputs);
    }

    fn admin(&mut self, down: bool, now: Instant, outputs: &mut Vec<Output>) {
        if down == (self.state == State::AdminDown) {
            return;
        }
        self.detect_at = None;
        self.echo.is_failing = false;
        if down {
            self.diagnostic = Diagnostic::AdministrativelyDown;
            self.change(State::AdminDown, now, outputs);
        } else {
            self.diagnostic = Diagnostic::None;
            self.remote = SILENT;
            self.change(State::Down, now, outputs);
        }
    }

    fn configure(&mut self, config: Config, now: Instant) {
        if config.echo != self.config.echo {
            self.tell_of_echo(now);
        }
        self.config = config;
        if self.state == State::Up {
            self.polling = true;
            // What is stricter on us holds at once (section 6.8.3).
            self.tx = self.tx.min(self.desired_tx());
            self.rx = self.rx.max(config.receive_interval);
        } else {
            self.tx = self.desired_tx();
            self.rx = config.receive_interval;
        }
        self.hasten(now);
    }

    /// How often we want to send, as we are.
    fn desired_tx(&self) -> Duration {
        match self.state {
            State::Up => self.config.transmit_interval,
            _ => self.config.transmit_interval.max(SLOW),
        }
    }

    /// How often we send: as we want, as they can.
    fn interval(&self) -> Duration {
        self.tx.max(self.remote.min_rx)
    }

    /// Brings the next packet forward if the interval has shrunk.
    fn hasten(&mut self, now: Instant) {
        let latest = now + self.interval();
        self.send_at = self.send_at.map(|at| at.min(latest));
    }

    fn send_due(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.send_at.is_none_or(|at| at > now) {
            return;
        }
        // Sections 6.8.7 and 6.6: they can take none, or want none.
        let quiet = self.remote.min_rx.is_zero()
            || (self.remote.demand
                && self.state == State::Up
                && self.remote.state == State::Up
                && !self.polling);
        if !quiet {
            outputs.push(Output::Send(self.packet(false)));
        }
        let interval = self.interval();
        self.send_at = Some(now + interval - interval * self.draw_percent() / 100);
    }

    /// Section 6.8.7: up to a quarter less, and at least a tenth if one missed packet is enough.
    fn draw_percent(&mut self) -> u32 {
        self.random =
            self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let drawn = (self.random >> 33) as u32;
        if self.config.multiplier == 1 { 10 + drawn % 16 } else { drawn % 26 }
    }

    fn packet(&self, is_final: bool) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.polling && !is_final,
            is_final,
            demand: false,
            multiplier: self.config.multiplier,
            my_discriminator: self.local,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: micros(self.desired_tx()),
            required_min_rx: micros(self.config.receive_interval),
            required_min_echo_rx: self.config.echo.filter(|_| self.echo.path).map_or(0, micros),
        }
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
