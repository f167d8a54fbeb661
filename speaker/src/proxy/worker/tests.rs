//! What the loop does when a connection misbehaves; the rest is shown over real sockets in
//! `tests/proxy_suite`.

mod spread;

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::{BackendShare, Endpoint, Listener, ListenerId, Service, Target};

use super::{Connection, ConnectionId, Place, Shared, Verdict, Worker};
use crate::access_log::{AccessLog, Log};
use crate::proxy::config::Config;
use crate::proxy::connect::Dial;
use crate::proxy::connection::Owner;
use crate::proxy::control::Control;
use crate::proxy::stats::{ListenerStats, ResetReason};
use crate::proxy::table::{Endpoints, Forward};
use crate::proxy::timer::Timers;

/// A worker that the test turns by hand.
fn worker() -> Worker {
    let config = Config { workers: 1.try_into().unwrap(), ..Config::default() };
    let log = Log::start(&AccessLog::default()).unwrap();
    Worker::new(0, Arc::new(Shared::new(config).unwrap()), log.logger()).unwrap()
}

fn route_named(name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::TcpRoute, key: ObjectKey::new("default", name) }
}

/// All to one server.
fn target(route: &str, server: SocketAddr) -> Target {
    let share = BackendShare {
        backend: "Service default/s:1".to_owned(),
        weight: 1,
        endpoints: vec![Endpoint(server)],
        unusable: None,
        settings: Arc::default(),
        preserved: Default::default(),
    };
    Target { route: route_named(route), shares: vec![share] }
}

/// A connection of that worker to a server that accepts, and the client's end of it.
fn connection(worker: &mut Worker, server: SocketAddr) -> (ConnectionId, TcpStream) {
    let listener = TcpListener::bind("127.39.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    let forward = Arc::new(Forward::new(&target("r", server), &mut Endpoints::new(None)));
    let stats = Arc::new(ListenerStats::new(1));
    let route = Some(stats.route(&forward.route));
    let dial = Dial::new(forward, 0, 0, Instant::now());
    let owner = Owner { place: Place::Listener(0), stats };
    let id = worker
        .begin(|generation| Connection::dialling(accepted.into(), generation, owner, dial, route));
    (id, client)
}

/// Each of a hundred panics closes the connection that it met and nothing else.
#[test]
fn a_panic_closes_its_connection_and_not_the_worker() {
    let server = TcpListener::bind("127.39.0.2:0").unwrap();
    let address = server.local_addr().unwrap();
    let mut worker = worker();
    let (bystander, _client) = connection(&mut worker, address);
    for round in 0..100 {
        let (id, mut client) = connection(&mut worker, address);
        let stats = Arc::clone(&worker.connections[id.slot as usize].owner.stats);
        worker.handle(id, |_, _| panic!("injected"));
        assert_eq!(worker.connections.len(), 1, "round {round}");
        assert_eq!(stats.total().resets[&ResetReason::Panic], 1);
        let error = client.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!(worker.shared.stats.panics.load(Relaxed), 100);
    assert_eq!(worker.shared.open.load(Relaxed), 1);
    let mut handled = false;
    worker.handle(bystander, |_, _| {
        handled = true;
        Verdict::Wait
    });
    assert!(handled);
}

/// Events that are left over from a connection do not reach the next user of its slot.
#[test]
fn a_stale_event_matches_nothing() {
    let server = TcpListener::bind("127.39.0.3:0").unwrap();
    let address = server.local_addr().unwrap();
    let mut worker = worker();
    let (old, _client) = connection(&mut worker, address);
    worker.end_where(|_| Some(ResetReason::ListenerGone));
    let (new, _other) = connection(&mut worker, address);
    assert_eq!((old.slot, worker.connections.len()), (new.slot, 1));
    assert_ne!(old, new);
    worker.handle(old, |_, _| panic!("handled for a connection that is gone"));
    assert_eq!(worker.shared.stats.panics.load(Relaxed), 0);
}

/// A listener with one route. Nobody is there; the worker is not turned, so it never learns that.
fn listener(route: &str, bind: SocketAddr) -> Listener {
    listener_to("127.39.0.6:9".parse().unwrap(), route, bind)
}

/// A listener with one route, to one server.
fn listener_to(server: SocketAddr, route: &str, bind: SocketAddr) -> Listener {
    Listener {
        id: ListenerId {
            gateway: ObjectKey::new("default", "gw"),
            set: None,
            name: "l".to_owned(),
            address: bind.ip(),
        },
        bind,
        service: Service::Tcp(Some(Arc::new(target(route, server)))),
        attached: [route_named(route)].into(),
        settings: Arc::default(),
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.39.0.5:0").unwrap().local_addr().unwrap()
}

fn apply(control: &mut Control, worker: &Worker, listener: Listener) {
    for outcome in control.apply(&[listener.into()], &worker.shared).into_values() {
        outcome.unwrap();
    }
}

/// A client that connects after `apply` returned is forwarded by the new table, also by a worker
/// that was about to accept with the old one.
#[test]
fn accepting_looks_for_a_newer_table() {
    let (mut worker, mut control, bind) = (worker(), Control::new(None), free_address());
    apply(&mut control, &worker, listener("old", bind));
    worker.adopt_table();
    apply(&mut control, &worker, listener("new", bind));
    let _client = TcpStream::connect(bind).unwrap();
    worker.accept(0);
    let (_, connection) = worker.connections.iter().next().unwrap();
    assert_eq!(connection.route.as_ref().unwrap().route.key.name, "new");
}

/// Clients that are queued when the drain begins are served, also by a worker that has not seen
/// the listener before; later ones are refused.
#[test]
fn a_drain_takes_the_accept_queue_along() {
    for seen in [true, false] {
        let (mut worker, mut control, bind) = (worker(), Control::new(None), free_address());
        apply(&mut control, &worker, listener("r", bind));
        if seen {
            worker.adopt_table();
        }
        let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(bind).unwrap()).collect();
        // The last acknowledgement of a handshake may take a moment under load.
        std::thread::sleep(Duration::from_millis(100));
        let table = control.drain(Instant::now() + Duration::from_secs(10));
        worker.shared.table.publish(table);
        worker.adopt_table();
        assert_eq!(worker.connections.len(), clients.len());
        assert!(TcpStream::connect(bind).is_err());
    }
}

/// The time-out of an attempt that has succeeded, unnoticed by a worker that fell behind, is none.
#[test]
fn a_late_worker_does_not_time_out_what_is_connected() {
    let server = TcpListener::bind("127.39.0.7:0").unwrap();
    let mut worker = worker();
    let (id, _client) = connection(&mut worker, server.local_addr().unwrap());
    server.accept().unwrap();
    worker.now += Duration::from_secs(2);
    worker.fire_timers();
    let connection = &worker.connections[id.slot as usize];
    assert_eq!(connection.deadline(), None, "it is open");
    server.set_nonblocking(true).unwrap();
    assert!(server.accept().is_err(), "connected twice");
}

/// A deadline that no connection has any more neither fires nor keeps the worker from sleeping.
#[test]
fn stale_deadlines_are_dropped() {
    let server = TcpListener::bind("127.39.0.4:0").unwrap();
    let mut worker = worker();
    let (_id, _client) = connection(&mut worker, server.local_addr().unwrap());
    assert!(worker.sleep_at_most().is_some(), "the connect time-out is armed");
    worker.end_where(|_| Some(ResetReason::ListenerGone));
    assert!(worker.sleep_at_most().is_none());
}

#[test]
fn deadlines_fire_in_order_and_not_early() {
    let mut timers = Timers::default();
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    for (ms, slot) in [(30, 3), (10, 1), (20, 2)] {
        timers.arm(at(ms), ConnectionId::new(slot, 0));
    }
    assert_eq!(timers.due(at(9)), None);
    assert_eq!(timers.due(at(25)), Some((at(10), ConnectionId::new(1, 0))));
    assert_eq!(timers.due(at(25)), Some((at(20), ConnectionId::new(2, 0))));
    assert_eq!(timers.due(at(25)), None);
    assert_eq!(timers.next(|_| Some(at(30))), Some(at(30)));
    assert_eq!(timers.next(|_| None), None);
}
