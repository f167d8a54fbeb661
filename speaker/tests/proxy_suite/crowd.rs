//! A crowd of standing connections, which no change of configuration closes.
//!
//! Each connection has four files: its client's, two of the engine, its server's. So that thousands fit below
//! the limit, clients, engine and server are processes of their own.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use vipgate_planner::{
    AccessLog, BackendSettings, BackendShare, Balancing, ClientAddress, Keepalive, Listener,
    ListenerSettings, ProxyVersion, Rate, Service, Target,
};
use vipgate_speaker::host::raise_open_files;

use crate::child;
use crate::helper::{Helper, argument, say, told};
use crate::rig::{
    Backend, SOON, apply, at, connect, counters, echo, eventually, fetch, listener, proxy, route,
    share,
};
use crate::tls::counters_of;

/// Longest wait for the crowd to come, or to be asked.
const LONG: Duration = Duration::from_secs(120);

#[test]
fn a_thousand_changes_close_none_of_eight_thousand_connections() {
    child::run("crowd::child_crowd");
}

#[test]
#[ignore = "run by a_thousand_changes_close_none_of_eight_thousand_connections in a process of its own"]
fn child_crowd() {
    stand(44, 8000, 1000);
}

/// So many connections through so many changes, with traffic meanwhile.
fn stand(net: u8, crowd: usize, changes: u32) {
    raise_open_files();
    let (bind, server) = (at(&format!("127.36.{net}.1:7000")), at(&format!("127.36.{net}.2:7000")));
    let mut servers = Helper::start("crowd::child_server", &[("AT", server.to_string())]);
    assert_eq!(servers.hear(SOON), "listening");
    let proxy = proxy();
    let mut site = Site::new(net, bind, server);
    apply(&proxy, &site.listeners());
    let limit = proxy.snapshot().limit;
    assert!(limit >= crowd, "{limit} connections fit into the open files of this process");
    let arguments = [("TO", bind.to_string()), ("COUNT", crowd.to_string())];
    let mut clients = Helper::start("crowd::child_clients", &arguments);
    assert_eq!(clients.hear(LONG), "all are open");
    assert_eq!(counters(&proxy).open, crowd as u64);

    for _ in 0..changes {
        site.change();
        apply(&proxy, &site.listeners());
    }
    let resets = counters_of(&proxy, "crowd").resets;
    assert!(resets.is_empty(), "{resets:?}");
    clients.tell("enough");
    let said = clients.hear(LONG);
    println!("{said}");
    let [asked, alive] = said.split(' ').collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert_eq!(alive, crowd.to_string(), "each still echoes");
    assert!(asked.parse::<u32>().unwrap() > 0, "there was traffic meanwhile");
    let snapshot = proxy.snapshot();
    let counted = &snapshot.listeners[&site.listeners()[0].id];
    assert_eq!(counted.open, crowd as u64);
    assert_eq!((counted.accepted, snapshot.panics), (crowd as u64, 0));
    assert!(counted.resets.is_empty(), "{:?}", counted.resets);

    // Control: the changes were such as the engine follows. What comes now goes where the last one says.
    let last = Backend::says(at(&format!("127.36.{net}.3:7000")), "last");
    let target = Target { route: route("one"), shares: vec![share(1, &[last.address])] };
    let mut only = site.listeners().swap_remove(0);
    (only.service, only.settings) = (Service::Tcp(Some(Arc::new(target))), Arc::default());
    apply(&proxy, &[only]);
    assert_eq!(fetch(bind).unwrap(), b"last");
    eventually("that one has ended, and none of the others", || proxy.snapshot().open == crowd);
    drop(clients);
}

/// A configuration that changes at random, and always has the listener and the route of the crowd.
struct Site {
    net: u8,
    bind: SocketAddr,
    server: SocketAddr,
    random: Random,
    crowded: Listener,
    others: Vec<Listener>,
}

impl Site {
    fn new(net: u8, bind: SocketAddr, server: SocketAddr) -> Self {
        let mut crowded = listener("crowd", bind, vec![]);
        crowded.attached = [route("one"), route("two")].into();
        let target = Target { route: route("one"), shares: vec![share(1, &[server])] };
        crowded.service = Service::Tcp(Some(Arc::new(target)));
        Self { net, bind, server, random: Random(u64::from(net)), crowded, others: Vec::new() }
    }

    /// That of the crowd is the first.
    fn listeners(&self) -> Vec<Listener> {
        std::iter::once(&self.crowded).chain(&self.others).cloned().collect()
    }

    /// Changes one thing, or a few.
    fn change(&mut self) {
        for _ in 0..=self.random.below(2) {
            match self.random.below(6) {
                0 => self.crowded.settings = Arc::new(self.listener_settings()),
                1 => self.crowded.service = Service::Tcp(None),
                2 => self.change_attached(),
                3 => self.change_others(),
                _ => {
                    let name = ["one", "two"][self.random.below(2)];
                    let shares = (0..self.random.below(5)).map(|_| self.share()).collect();
                    let target = Target { route: route(name), shares };
                    self.crowded.service = Service::Tcp(Some(Arc::new(target)));
                }
            }
        }
    }

    /// More routes and fewer, but never without the crowd's.
    fn change_attached(&mut self) {
        let names = ["two", "three", "four"];
        self.crowded.attached = [route("one")].into();
        for name in &names[..self.random.below(4)] {
            self.crowded.attached.insert(route(name));
        }
    }

    fn change_others(&mut self) {
        if self.random.below(3) == 0 {
            self.others.clear();
            return;
        }
        let port = self.bind.port() + 1 + self.random.below(5) as u16;
        let bind = SocketAddr::new(self.bind.ip(), port);
        self.others.retain(|other| other.bind != bind);
        let shares = (0..self.random.below(3)).map(|_| self.share()).collect();
        self.others.push(listener(&format!("other-{port}"), bind, shares));
    }

    fn share(&mut self) -> BackendShare {
        let absent = |number: usize| at(&format!("127.36.{}.{}:7001", self.net, 10 + number));
        let pool = [self.server, absent(0), absent(1), absent(2)];
        let (first, weight) = (self.random.below(4), self.random.below(4) as u32);
        let endpoints = &pool[first..(first + self.random.below(3)).min(4)];
        BackendShare { settings: Arc::new(self.backend_settings()), ..share(weight, endpoints) }
    }

    fn backend_settings(&mut self) -> BackendSettings {
        let random = &mut self.random;
        let balancing = [
            Balancing::RoundRobin,
            Balancing::LeastConnections,
            Balancing::SourceHash,
            Balancing::Maglev,
        ];
        BackendSettings {
            balancing: balancing[random.below(4)],
            affinity: random.sometimes(Duration::from_secs(60)),
            proxy_protocol: random.sometimes(ProxyVersion::V2),
            client_address: [ClientAddress::Node, ClientAddress::Preserve][random.below(2)],
            connect_timeout: Duration::from_millis(100 + 100 * random.below(9) as u64),
            connect_tries: 1 + random.below(8) as u8,
            eject_after: random.sometimes(3),
            // `close_gone_after` is there to close connections.
            ..BackendSettings::default()
        }
    }

    fn listener_settings(&mut self) -> ListenerSettings {
        let random = &mut self.random;
        let second = Duration::from_secs(1);
        let net = |text: &str| vec![text.parse().unwrap()];
        ListenerSettings {
            proxy_from: random.sometimes(net("10.0.0.0/8")).unwrap_or_default(),
            allowed: random.sometimes(net("192.0.2.0/24")).unwrap_or_default(),
            denied: random.sometimes(net("127.0.0.0/8")).unwrap_or_default(),
            connections: random.sometimes(10),
            connections_per_source: random.sometimes(1),
            rate: random.sometimes(Rate { per_second: 1, burst: 1 }),
            // Longer than anybody here is silent.
            idle_timeout: random.sometimes(3600 * second),
            keepalive: random.sometimes(Keepalive { idle: second, interval: second, probes: 3 }),
            handshake_timeout: second,
            access_log: random.sometimes(AccessLog { one_of: 2 }),
            ..ListenerSettings::default()
        }
    }
}

/// A generator of numbers that are the same in every run (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn sometimes<T>(&mut self, value: T) -> Option<T> {
        (self.below(2) == 0).then_some(value)
    }
}

/// Echoes, on one thread, for any number of connections.
#[test]
#[ignore = "a helper"]
fn child_server() {
    raise_open_files();
    let at: SocketAddr = argument("AT");
    let listener = TcpListener::bind(at).unwrap();
    // All of the crowd come at once; the standard library has room for 128.
    rustix::net::listen(&listener, 4096).unwrap();
    listener.set_nonblocking(true).unwrap();
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    epoll::add(&epoll, &listener, EventData::new_u64(u64::MAX), EventFlags::IN).unwrap();
    thread::spawn(told);
    say("listening");
    let (mut streams, mut next) = (HashMap::new(), 0_u64);
    let (mut events, mut buffer) = (Vec::with_capacity(256), vec![0; 64 * 1024]);
    loop {
        events.clear();
        let room = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&epoll, room, None).unwrap();
        for event in &events {
            let event: &epoll::Event = event;
            let number = event.data.u64();
            if number == u64::MAX {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true).unwrap();
                    epoll::add(&epoll, &stream, EventData::new_u64(next), EventFlags::IN).unwrap();
                    streams.insert(next, stream);
                    next += 1;
                }
                continue;
            }
            let Some(stream) = streams.get_mut(&number) else { continue };
            match stream.read(&mut buffer) {
                Ok(read @ 1..) => stream.write_all(&buffer[..read]).unwrap(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => drop(streams.remove(&number)),
            }
        }
    }
}

/// Opens all, asks one after the other until it has been enough, then each once more.
#[test]
#[ignore = "a helper"]
fn child_clients() {
    raise_open_files();
    let (to, count): (SocketAddr, usize) = (argument("TO"), argument("COUNT"));
    let mut crowd: Vec<TcpStream> = (0..count).map(|_| connect(to)).collect();
    for (number, stream) in crowd.iter_mut().enumerate() {
        stream.set_nodelay(true).unwrap();
        echo(stream, &number.to_be_bytes());
    }
    say("all are open");
    let enough = Arc::new(AtomicBool::new(false));
    let hears = Arc::clone(&enough);
    thread::spawn(move || {
        assert_eq!(told(), "enough");
        hears.store(true, Relaxed);
        told();
    });
    let mut asked = 0;
    while !enough.load(Relaxed) {
        echo(&mut crowd[asked % count], &asked.to_be_bytes());
        asked += 1;
    }
    for (number, stream) in crowd.iter_mut().enumerate() {
        echo(stream, &number.to_be_bytes());
    }
    say(&format!("{asked} {}", crowd.len()));
    loop {
        thread::park();
    }
}
