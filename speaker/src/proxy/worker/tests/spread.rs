//! Two workers of one engine, turned by hand, of which the first has two busy connections.

use std::io::{Read, Write};

use super::*;

struct Rig {
    first: Worker,
    second: Worker,
    control: Control,
    /// Both connections: the client's end and the server's.
    ends: Vec<(TcpStream, TcpStream)>,
}

/// Both connections are open, belong to the first worker and wait for another turn.
fn rig() -> Rig {
    let config = Config { workers: 2.try_into().unwrap(), ..Config::default() };
    let log = Log::start(&AccessLog::default()).unwrap();
    let shared = Arc::new(Shared::new(config).unwrap());
    let mut first = Worker::new(0, Arc::clone(&shared), log.logger()).unwrap();
    let mut second = Worker::new(1, shared, log.logger()).unwrap();
    let server = TcpListener::bind("127.39.0.8:0").unwrap();
    let (mut control, bind) = (Control::new(None), free_address());
    apply(&mut control, &first, listener_to(server.local_addr().unwrap(), "r", bind));
    first.adopt_table();
    second.adopt_table();
    let mut events = Vec::with_capacity(16);
    let mut ends = Vec::new();
    for count in 1..=2 {
        let client = TcpStream::connect(bind).unwrap();
        let is_open = |worker: &Worker| {
            worker.connections.iter().filter(|(_, one)| one.is_open()).count() == count
        };
        while !is_open(&first) {
            assert!(first.round(&mut events));
        }
        let served = server.accept().unwrap().0;
        for end in [&client, &served] {
            end.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        }
        ends.push((client, served));
    }
    let mut rig = Rig { first, second, control, ends };
    rig.busy();
    rig
}

impl Rig {
    fn busy(&mut self) {
        self.first.again.clear();
        for (slot, connection) in &mut self.first.connections {
            connection.queued = true;
            self.first.again.push_back(ConnectionId::new(slot, connection.generation));
        }
    }

    /// The second worker falls asleep, or wakes.
    fn turns_over(&self) {
        self.first.shared.spread.turns_over(1);
    }

    /// The first worker looks, so much later.
    fn looks_after(&mut self, milliseconds: u64) {
        self.first.now += Duration::from_millis(milliseconds);
        self.first.even_out();
    }

    /// Connections that each has, and counts as open.
    fn has(&self) -> [(usize, u64); 2] {
        let one = self.first.connections.iter().next();
        let open = |worker: usize| {
            one.map_or(0, |(_, connection)| connection.shard(worker).open.load(Relaxed))
        };
        [&self.first, &self.second].map(|worker| (worker.connections.len(), open(worker.index)))
    }

    fn hands_over(&mut self) {
        self.turns_over();
        self.looks_after(0);
        self.looks_after(5);
    }
}

/// Only to one that has slept for long, without a break; and what was handed over goes on there.
#[test]
fn a_worker_that_sleeps_for_long_gets_one_of_several() {
    let mut rig = rig();
    rig.looks_after(10);
    rig.looks_after(10);
    assert_eq!(rig.has(), [(2, 2), (0, 0)], "nobody sleeps");
    rig.turns_over();
    rig.looks_after(0);
    rig.looks_after(1);
    assert_eq!(rig.has(), [(2, 2), (0, 0)], "it has not slept for long");
    rig.turns_over();
    rig.turns_over();
    rig.looks_after(5);
    assert_eq!(rig.has(), [(2, 2), (0, 0)], "it was awake meanwhile");
    rig.looks_after(5);
    assert_eq!(rig.has(), [(1, 1), (0, 1)], "one is on its way");
    rig.looks_after(10);
    rig.looks_after(10);
    assert_eq!(rig.has(), [(1, 1), (0, 1)], "the last one stays");

    rig.second.take_over();
    assert_eq!(rig.has(), [(1, 1), (1, 1)]);
    let mut events = Vec::with_capacity(16);
    let Rig { first, second, ends, .. } = &mut rig;
    for (client, served) in ends.iter_mut() {
        client.write_all(b"up").unwrap();
        served.write_all(b"down").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        served.shutdown(std::net::Shutdown::Write).unwrap();
    }
    for worker in [first, second] {
        while !worker.connections.is_empty() {
            assert!(worker.round(&mut events));
        }
    }
    for (client, served) in ends {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        served.read_to_string(&mut text).unwrap();
        assert_eq!(text, "downup");
    }
    assert_eq!(rig.first.shared.open.load(Relaxed), 0);
}

/// The table that it arrives with may have no place for it.
#[test]
fn what_was_published_on_its_way_is_obeyed() {
    let mut rig = rig();
    rig.hands_over();
    rig.control.apply(&[], &rig.first.shared);
    rig.second.adopt_table();
    rig.second.take_over();
    assert_eq!(rig.second.connections.len(), 0);
    let client = &mut rig.ends[0].0;
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(rig.first.shared.open.load(Relaxed), 1);
}

/// A worker ends with an empty inbox, and then gets nothing any more.
#[test]
fn a_worker_that_has_ended_gets_nothing() {
    let mut rig = rig();
    assert!(rig.first.shared.spread.close(1));
    rig.hands_over();
    assert_eq!(rig.has(), [(2, 2), (0, 0)], "it stays");
    let mut events = Vec::with_capacity(16);
    for (client, served) in &mut rig.ends {
        client.write_all(b"x").unwrap();
        served.set_nonblocking(true).unwrap();
        while served.read(&mut [0; 1]).is_err() {
            assert!(rig.first.round(&mut events), "and goes on");
        }
    }
}

#[test]
fn a_worker_does_not_end_before_it_has_looked_at_what_came() {
    let mut rig = rig();
    rig.hands_over();
    assert!(!rig.first.shared.spread.close(1));
    rig.second.take_over();
    assert!(rig.first.shared.spread.close(1));
    assert_eq!(rig.second.connections.len(), 1);
}
