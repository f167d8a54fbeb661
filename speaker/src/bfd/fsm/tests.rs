use super::*;

mod echo;

const MS: Duration = Duration::from_millis(1);

/// Two sessions, a path between them, and a clock.
struct Pair {
    start: Instant,
    now: Instant,
    ends: [Fsm; 2],
    /// Whether packets of each end arrive.
    open: [bool; 2],
    /// What each end did, and when.
    log: Vec<(Duration, usize, Output)>,
    /// Packets are this long under way.
    delay: Duration,
    underway: Vec<(Instant, usize, Packet)>,
    /// Whether echo packets of each end come back.
    returns: [bool; 2],
    echoes: Vec<(Instant, usize, Duration)>,
}

impl Pair {
    fn new(one: Config, other: Config) -> Pair {
        let start = Instant::now();
        let ends = [Fsm::new(one, 11, 1, start), Fsm::new(other, 22, 2, start)];
        let (open, log, underway) = ([true; 2], vec![], vec![]);
        let (returns, echoes) = ([true; 2], vec![]);
        Pair { start, now: start, ends, open, log, delay: MS, underway, returns, echoes }
    }

    fn input(&mut self, end: usize, input: Input) {
        for output in self.ends[end].handle(input, self.now) {
            self.log.push((self.now - self.start, end, output));
            if let Output::Send(packet) = output
                && self.open[end]
            {
                self.underway.push((self.now + self.delay, 1 - end, packet));
            }
            if let Output::SendEcho(sent) = output
                && self.returns[end]
            {
                self.echoes.push((self.now + 2 * self.delay, end, sent));
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let ticks = self.ends.iter().filter_map(Fsm::deadline);
            let arrivals = self.underway.iter().map(|(at, ..)| *at);
            let arrivals = arrivals.chain(self.echoes.iter().map(|(at, ..)| *at));
            let Some(next) = ticks.chain(arrivals).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            let (due, rest) = self.underway.drain(..).partition(|(at, ..)| *at <= self.now);
            self.underway = rest;
            let due: Vec<(Instant, usize, Packet)> = due;
            for (_, to, packet) in due {
                let packet = Packet::decode(&packet.encode()).expect("what is sent can be read");
                self.input(to, Input::Received(packet));
            }
            let (due, rest) = self.echoes.drain(..).partition(|(at, ..)| *at <= self.now);
            self.echoes = rest;
            let due: Vec<(Instant, usize, Duration)> = due;
            due.into_iter().for_each(|(_, to, sent)| self.input(to, Input::EchoReturned(sent)));
            self.input(0, Input::Tick);
            self.input(1, Input::Tick);
        }
        self.now = end;
    }

    fn states(&self) -> [State; 2] {
        [self.ends[0].state(), self.ends[1].state()]
    }

    /// Changes of an end since this time.
    fn changes(&self, end: usize, since: Duration) -> Vec<(State, Diagnostic)> {
        let of = self.log.iter().filter(|(at, one, _)| *one == end && *at >= since);
        of.filter_map(|(_, _, output)| match output {
            Output::Changed(state, diagnostic) => Some((*state, *diagnostic)),
            Output::Send(_) | Output::SendEcho(_) => None,
        })
        .collect()
    }

    /// Packets an end sent between these times: when, and what.
    fn sent(&self, end: usize, from: Duration, to: Duration) -> Vec<(Duration, Packet)> {
        let of = self.log.iter().filter(|(at, one, _)| *one == end && (from..to).contains(at));
        of.filter_map(|(at, _, output)| match output {
            Output::Send(packet) => Some((*at, *packet)),
            Output::Changed(..) | Output::SendEcho(_) => None,
        })
        .collect()
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }
}

fn fast(milliseconds: u32) -> Config {
    let interval = MS * milliseconds;
    Config { transmit_interval: interval, receive_interval: interval, ..Config::default() }
}

#[test]
fn two_ends_come_up_within_three_slow_intervals_and_stay_so() {
    let mut pair = Pair::new(fast(300), fast(100));
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.states(), [State::Up; 2]);
    pair.run(Duration::from_secs(3600));
    for end in [0, 1] {
        let states: Vec<State> =
            pair.changes(end, Duration::ZERO).into_iter().map(|(state, _)| state).collect();
        assert_eq!(states.last(), Some(&State::Up));
        assert!(states.len() <= 2, "{states:?}");
    }
}

/// What was seen to flap: an end that comes up announces a short interval, and goes on by the long
/// one it had, while the other side counts by the short one.
#[test]
fn an_end_that_comes_up_sends_by_the_short_interval_at_once() {
    let mut pair = Pair::new(fast(50), fast(50));
    pair.run(Duration::from_secs(10));
    let up = pair.log.iter().find(|(_, end, output)| {
        *end == 0 && *output == Output::Changed(State::Up, Diagnostic::None)
    });
    let at = up.unwrap().0;
    let sent = pair.sent(0, at, at + MS * 200);
    assert!(sent.len() >= 4, "{sent:?}");
}

#[test]
fn while_not_up_at_most_a_packet_a_second_is_sent() {
    let mut pair = Pair::new(fast(10), fast(10));
    pair.open = [false; 2];
    pair.run(Duration::from_secs(100));
    let sent = pair.sent(0, Duration::ZERO, Duration::from_secs(100));
    assert!((100..=134).contains(&sent.len()), "{}", sent.len());
    for two in sent.windows(2) {
        let gap = two[1].0 - two[0].0;
        assert!((MS * 750..=MS * 1_000).contains(&gap), "{gap:?}");
    }
}

#[test]
fn silence_is_noticed_after_the_detection_time_and_not_before() {
    let mut pair = Pair::new(fast(300), fast(100));
    pair.run(Duration::from_secs(5));
    // The slower of what one sends and the other takes, three times.
    assert_eq!(pair.ends[1].detection_time(), MS * 900);
    let cut = pair.elapsed();
    pair.open = [false, true];
    pair.run(MS * 2_000);
    let (at, ..) = pair
        .log
        .iter()
        .find(|(at, end, output)| {
            *at > cut
                && *end == 1
                && *output == Output::Changed(State::Down, Diagnostic::DetectionTimeExpired)
        })
        .unwrap();
    let noticed = *at - cut;
    assert!((MS * 600..=MS * 902).contains(&noticed), "{noticed:?}");
    // The other end still hears, and hears that it is not heard.
    let told = [(State::Down, Diagnostic::NeighborSignaledDown), (State::Init, Diagnostic::None)];
    assert_eq!(pair.changes(0, cut), told);
    pair.open = [true; 2];
    pair.run(Duration::from_secs(4));
    assert_eq!(pair.states(), [State::Up; 2]);
}

#[test]
fn intervals_vary_by_up_to_a_quarter_and_never_exceed_what_was_agreed() {
    for (multiplier, most) in [(3, 300), (1, 270)] {
        let config = Config { multiplier, ..fast(300) };
        let mut pair = Pair::new(config, config);
        pair.run(Duration::from_secs(60));
        let sent = pair.sent(0, Duration::from_secs(10), Duration::from_secs(60));
        let gaps: Vec<Duration> = sent.windows(2).map(|two| two[1].0 - two[0].0).collect();
        assert!(gaps.iter().all(|gap| (MS * 225..=MS * most).contains(gap)), "{gaps:?}");
        let different: std::collections::BTreeSet<_> = gaps.iter().collect();
        assert!(different.len() > 10, "no jitter: {different:?}");
    }
}

#[test]
fn a_change_of_intervals_is_polled_and_harms_nothing() {
    let mut pair = Pair::new(fast(300), fast(300));
    pair.run(Duration::from_secs(5));
    for milliseconds in [100, 1_000, 50, 300] {
        let before = pair.elapsed();
        pair.input(0, Input::Configure(fast(milliseconds)));
        pair.run(Duration::from_secs(5));
        let polls = pair.sent(0, before, pair.elapsed());
        assert!(polls.iter().any(|(_, packet)| packet.poll), "{milliseconds}");
        let answers = pair.sent(1, before, pair.elapsed());
        let finals = answers.iter().filter(|(_, packet)| packet.is_final);
        assert!(finals.count() >= 1);
        assert!(!polls.last().unwrap().1.poll, "the answer ends the poll");
        assert_eq!(pair.changes(0, before), []);
        assert_eq!(pair.changes(1, before), []);
        assert_eq!(pair.ends[1].detection_time(), MS * milliseconds.max(300) * 3);
    }
}

/// Section 6.8.3: a longer interval is used only when the other side knows.
#[test]
fn a_longer_interval_waits_for_the_answer() {
    let mut pair = Pair::new(fast(100), fast(100));
    pair.run(Duration::from_secs(5));
    pair.open = [true, false];
    let before = pair.elapsed();
    pair.input(0, Input::Configure(fast(2_000)));
    pair.run(MS * 250);
    let sent = pair.sent(0, before, pair.elapsed());
    assert!(sent.len() >= 2, "by the old interval: {sent:?}");
}

#[test]
fn an_operator_takes_it_down_and_lets_it_up_again() {
    let mut pair = Pair::new(fast(100), fast(100));
    pair.run(Duration::from_secs(5));
    let before = pair.elapsed();
    pair.input(0, Input::AdminDown(true));
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    assert_eq!(pair.changes(1, before), [(State::Down, Diagnostic::NeighborSignaledDown)]);
    assert_eq!(pair.ends[1].remote_state(), State::AdminDown);
    let last = pair.sent(0, before, pair.elapsed()).last().unwrap().1;
    assert_eq!(last.diagnostic, Diagnostic::AdministrativelyDown);
    pair.input(0, Input::AdminDown(false));
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.states(), [State::Up; 2]);
}

#[test]
fn a_passive_end_is_silent_until_spoken_to() {
    let passive = Config { passive: true, ..fast(100) };
    let mut pair = Pair::new(passive, passive);
    pair.run(Duration::from_secs(100));
    assert_eq!(pair.log, []);
    let mut pair = Pair::new(passive, fast(100));
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.states(), [State::Up; 2]);
    pair.open = [false; 2];
    pair.run(Duration::from_secs(5));
    let later = pair.elapsed();
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.sent(0, later, pair.elapsed()), [], "and again when it hears nothing");
}

#[test]
fn a_peer_that_can_take_none_is_sent_none() {
    let mut pair = Pair::new(fast(100), fast(100));
    pair.run(Duration::from_secs(5));
    let mut packet = pair.sent(1, Duration::from_secs(4), Duration::from_secs(5))[0].1;
    packet.required_min_rx = 0;
    pair.open = [false; 2];
    pair.underway.clear();
    pair.input(0, Input::Received(packet));
    let before = pair.elapsed();
    pair.run(MS * 250);
    assert_eq!(pair.sent(0, before, pair.elapsed()), []);
}

/// Whatever comes, and in whatever order: no panic, and the states are those of the RFC.
#[test]
fn any_packets_are_survived() {
    let mut random = 7_u64;
    let mut draw = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as u32
    };
    let start = Instant::now();
    let mut fsm = Fsm::new(fast(100), 11, 1, start);
    let mut now = start;
    let mut ups = 0;
    for _ in 0..100_000 {
        now += MS * (draw() % 400);
        let state = [State::AdminDown, State::Down, State::Init, State::Up][draw() as usize % 4];
        let interval = [0, 1, 50_000, 1_000_000, u32::MAX][draw() as usize % 5];
        let packet = Packet {
            diagnostic: Diagnostic::from(draw()),
            state,
            poll: draw() % 3 == 0,
            is_final: draw() % 3 == 0,
            demand: draw() % 5 == 0,
            multiplier: (draw() % 255 + 1) as u8,
            my_discriminator: draw() | 1,
            your_discriminator: 11,
            desired_min_tx: interval,
            required_min_rx: interval,
            required_min_echo_rx: interval,
        };
        let input = match draw() % 20 {
            0 => Input::AdminDown(draw() % 2 == 0),
            1 => Input::Configure(Config {
                echo: (draw() % 4 > 0).then(|| MS * (10 + draw() % 500)),
                ..fast(draw() % 2_000)
            }),
            2 => Input::EchoPath(draw() % 4 > 0),
            3 => Input::EchoReturned(MS * (draw() % 40_000_000)),
            4..8 => Input::Tick,
            _ => Input::Received(packet),
        };
        let outputs = fsm.handle(input, now);
        assert!(outputs.len() < 6, "{outputs:?}");
        ups += usize::from(fsm.state() == State::Up);
    }
    assert!(ups > 1_000, "{ups}");
}

impl From<u32> for Diagnostic {
    fn from(number: u32) -> Diagnostic {
        Diagnostic::Other((number % 32) as u8)
    }
}
