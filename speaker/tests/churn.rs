//! Endpoints that come and go at a thousand a second among ten thousand routes: how long until they are obeyed, and
//! what that takes. `docs/performance.md` has the figures.
//!
//! What a node of a cluster does with them is done here in one process: objects come by a channel, are taken in
//! a bunch at a time, planned, and the plan is applied to the proxy, which listens for real. Neither the API server
//! nor what is said of it is part of it.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test has no public items, and may panic")]

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use vipgate_api::vipgate::{PortUse, Transport};
use vipgate_api::{Age, Kind, Object, ObjectKey, ObjectRef};
use vipgate_planner::planner::Role;
use vipgate_planner::{Claim, Claims, Origin, Planner, VipUser};
use vipgate_speaker::access_log::{AccessLog, Log};
use vipgate_speaker::proxy::{Config, Proxy};

const GATEWAYS: usize = 1_000;
/// Listeners of each Gateway, with a route each.
const LISTENERS: usize = 10;
const ROUTES: usize = GATEWAYS * LISTENERS;
const PORT: u16 = 20_000;
const PER_SECOND: u32 = 1_000;
/// Events that are taken in together, as a speaker does.
const TOGETHER: usize = 256;

fn object(document: Value) -> Object {
    let kind = document["kind"].as_str().unwrap();
    let kind = Kind::ALL.into_iter().find(|one| one.name() == kind).unwrap();
    Object::from_json(kind, document).unwrap()
}

fn metadata(letter: &str, index: usize) -> Value {
    json!({"name": format!("{letter}{index}"), "namespace": "default"})
}

fn vip(gateway: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x7f4c_0001 + u32::try_from(gateway).unwrap())
}

fn slice(route: usize, server: u16) -> Object {
    let mut metadata = metadata("s", route);
    metadata["labels"] = json!({"kubernetes.io/service-name": format!("s{route}")});
    object(json!({"kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
        "ports": [{"port": server}], "endpoints": [{"addresses": ["127.0.0.1"]}]}))
}

/// A speaker's planner that knows all of it.
fn planner(server: u16) -> Planner {
    let mut planner = Planner::in_role(Role::Speaker);
    let mut add = |document: Value| planner.apply(object(document), Age::default());
    add(json!({"kind": "GatewayClass", "metadata": {"name": "vipgate"},
        "spec": {"controllerName": "vipgate.dev/gateway-controller"}}));
    let listener = |at: usize| json!({"name": format!("l{at}"), "protocol": "TCP", "port": usize::from(PORT) + at});
    let listeners: Vec<_> = (0..LISTENERS).map(listener).collect();
    for gateway in 0..GATEWAYS {
        add(json!({"kind": "Gateway", "metadata": metadata("g", gateway),
            "spec": {"gatewayClassName": "vipgate", "listeners": listeners}}));
    }
    for route in 0..ROUTES {
        let parent = json!({"name": format!("g{}", route / LISTENERS),
            "sectionName": format!("l{}", route % LISTENERS)});
        add(json!({"kind": "TCPRoute", "metadata": metadata("r", route), "spec": {
            "parentRefs": [parent],
            "rules": [{"backendRefs": [{"name": format!("s{route}"), "port": 80}]}]}}));
        add(json!({"kind": "Service", "metadata": metadata("s", route),
            "spec": {"ports": [{"port": 80}]}}));
    }
    for route in 0..ROUTES {
        planner.apply(slice(route, server), Age::default());
    }
    let ports =
        |at: usize| PortUse { protocol: Transport::Tcp, port: PORT + u16::try_from(at).unwrap() };
    let claim = |gateway: usize| {
        let object =
            ObjectRef::new(Kind::Gateway, ObjectKey::new("default", format!("g{gateway}")));
        let user = VipUser { object, ports: (0..LISTENERS).map(ports).collect(), terms: None };
        let claim = Claim {
            pool: "loopback".to_owned(),
            users: vec![user],
            origin: Origin::Chosen,
            published: true,
        };
        (vip(gateway).into(), claim)
    };
    planner.set_claims(Claims((0..GATEWAYS).map(claim).collect()));
    planner
}

/// A server that says which it is.
fn server(name: u8) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, &[name]);
        }
    });
    port
}

fn answer(route: usize) -> u8 {
    let port = PORT + u16::try_from(route % LISTENERS).unwrap();
    let mut stream = TcpStream::connect(SocketAddr::from((vip(route / LISTENERS), port))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut name = [0];
    stream.read_exact(&mut name).unwrap();
    name[0]
}

/// CPU time of the process so far, and its memory in KiB.
fn used() -> (f64, u64) {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let spent = tasks.map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let first = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
        first.unwrap_or_default() / 1e9
    });
    let spent = spent.sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (spent, line.trim().trim_end_matches(" kB").parse().unwrap())
}

#[test]
#[ignore = "takes a minute, and a quiet machine to mean anything"]
fn long_endpoints_come_and_go() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit })
        .unwrap();
    let seconds = std::env::var("VIPGATE_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds: u32 = seconds.unwrap_or(60);
    let servers = [server(b'a'), server(b'b')];
    let mut planner = planner(servers[0]);
    let config = Config { workers: 2.try_into().unwrap(), ..Config::default() };
    let proxy = Proxy::start(config, Log::start(&AccessLog::default()).unwrap()).unwrap();
    let start = Instant::now();
    let plan = planner.run().plan;
    for (id, outcome) in proxy.apply(&plan.listeners) {
        outcome.unwrap_or_else(|error| panic!("{id}: {error}"));
    }
    println!("planned and bound: {:?}", start.elapsed());
    assert_eq!(answer(0), b'a');

    let (events, incoming) = mpsc::sync_channel::<(Instant, Object)>(16 * 1024);
    let begin = Instant::now();
    let writer = thread::spawn(move || {
        let mut moved = vec![false; ROUTES];
        for event in 0..PER_SECOND * seconds {
            let due = begin + Duration::from_secs(1) / PER_SECOND * event;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // A walk that comes by every route.
            let route = (event as usize * 7_919) % ROUTES;
            moved[route] = !moved[route];
            events.send((due, slice(route, servers[usize::from(moved[route])]))).unwrap();
        }
        moved
    });
    let (cpu, mut memory) = (used().0, Vec::new());
    let (mut stale, mut runs) = (Vec::new(), 0_u32);
    while let Ok(first) = incoming.recv() {
        let mut since = vec![first.0];
        planner.apply(first.1, Age::default());
        for (at, object) in incoming.try_iter().take(TOGETHER) {
            since.push(at);
            planner.apply(object, Age::default());
        }
        let plan = planner.run().plan;
        proxy.apply(&plan.listeners);
        let now = Instant::now();
        stale.extend(since.into_iter().map(|at| now.saturating_duration_since(at)));
        runs += 1;
        if memory.len() < (begin.elapsed().as_secs() / 5) as usize {
            memory.push(used().1);
        }
    }
    let (took, spent) = (begin.elapsed().as_secs_f64(), used().0 - cpu);
    let moved = writer.join().unwrap();
    stale.sort_unstable();
    let at = |part: f64| stale[((stale.len() - 1) as f64 * part) as usize];
    println!("{} changes in {took:.1} s, {runs} plans", stale.len());
    println!("stale: p50 {:?}, p99 {:?}, worst {:?}", at(0.5), at(0.99), at(1.0));
    println!("CPU: {:.3} of a core", spent / took);
    println!("memory in KiB, every 5 s: {memory:?}");
    for route in (0..ROUTES).step_by(97) {
        let expected = if moved[route] { b'b' } else { b'a' };
        assert_eq!(answer(route), expected, "route {route}");
    }
    assert!(at(0.99) < Duration::from_millis(500), "p99: {:?}", at(0.99));
}
