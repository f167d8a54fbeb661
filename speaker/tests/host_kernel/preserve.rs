//! Connections that come from the client's own address, between namespaces: a client, a node with a bridge, and
//! pods behind it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::{
    Announce, BackendSettings, BackendShare, ClientAddress, Endpoint, Listener, ListenerId, Plan,
    Service, Target, Vip,
};
use vipgate_speaker::access_log::{AccessLog, Log};
use vipgate_speaker::host::{self, Exposures, Host};
use vipgate_speaker::node::{self, Speaker};
use vipgate_speaker::proxy::{Config, NotPreserved, Proxy};
use vipgate_speaker::udp;

use crate::guard::neighbours;
use crate::netns::{Netns, eventually};
use crate::{exposing, ip};

const VIP: &str = "10.9.0.100";
const VIP6: &str = "2001:db8:9::100";
const CLIENT: &str = "10.9.0.2";
const CLIENT6: &str = "2001:db8:9::2";
const POD: &str = "10.8.0.2";
const POD6: &str = "fd08::2";
const NODE: &str = "10.8.0.1";
const NODE6: &str = "fd08::1";
const SOON: Duration = Duration::from_secs(10);

/// A client, a node, and two pods on a bridge of the node that send by it.
struct Site {
    node: Netns,
    client: Netns,
    _pod: Netns,
    other: Netns,
}

impl Site {
    fn new() -> Self {
        let (node, client) = neighbours();
        node.run("ip link add br0 type bridge");
        node.run(&format!("ip addr add {NODE}/24 dev br0"));
        node.run(&format!("ip addr add {NODE6}/64 dev br0 nodad"));
        node.run("ip link set br0 up");
        node.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        let pods = [(2, "one"), (3, "two")].map(|(number, name)| {
            let pod = Netns::new();
            node.run(&format!("ip link add {name} type veth peer name eth0 netns {}", pod.name));
            node.run(&format!("ip link set {name} master br0"));
            node.run(&format!("ip link set {name} up"));
            pod.run(&format!("ip addr add 10.8.0.{number}/24 dev eth0"));
            pod.run(&format!("ip addr add fd08::{number}/64 dev eth0 nodad"));
            pod.run("ip link set eth0 up");
            pod.run(&format!("ip route add default via {NODE}"));
            pod.run(&format!("ip -6 route add default via {NODE6}"));
            pod
        });
        let [pod, other] = pods;
        for (from, to) in [(&node, POD6), (&node, CLIENT6), (&pod, NODE6), (&other, NODE6)] {
            let reached = || from.succeeds(&format!("ping -c 1 -W 1 {to}"));
            eventually("it is reached", SOON, reached);
        }
        pod.inside(async || mirrors("[::]:80"));
        Self { node, client, _pod: pod, other }
    }

    /// Rules, routes and tables of ours on the node, as one text.
    fn traces(&self) -> String {
        [
            "ip rule",
            "ip -6 rule",
            "ip -4 route show table all",
            "ip -6 route show table all",
            "nft list ruleset",
        ]
        .map(|line| {
            let text = self.node.run(line);
            let ours = text.lines().filter(|line| {
                let signs =
                    ["proto 118", "table 118", "0x1000", "chain preserve", "socket transparent"];
                signs.iter().any(|sign| line.contains(sign))
            });
            ours.map(|line| format!("{}\n", line.trim())).collect::<String>()
        })
        .concat()
    }
}

/// A server that says who connects, in a line, and then sends back what it gets.
fn mirrors(at: &str) {
    let listener = TcpListener::bind(at).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || mirror(stream));
        }
    });
}

fn mirror(mut stream: TcpStream) -> std::io::Result<()> {
    let peer = stream.peer_addr()?.ip().to_canonical();
    writeln!(stream, "{peer}")?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.shutdown(Shutdown::Write),
            read => stream.write_all(&buffer[..read])?,
        }
    }
}

/// Connects from inside, sends so many bytes, and returns whom the server saw and how many came back.
fn ask(from: &Netns, to: SocketAddr, bytes: usize) -> (String, usize) {
    from.inside(async || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut sender = stream.try_clone().unwrap();
        let sending = thread::spawn(move || {
            sender.write_all(&vec![7; bytes]).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        sending.join().unwrap();
        let line = answer.iter().position(|byte| *byte == b'\n').expect("a line");
        let seen = String::from_utf8(answer[..line].to_vec()).unwrap();
        (seen, answer.len() - line - 1)
    })
}

fn seen(from: &Netns, to: &str, port: u16) -> String {
    ask(from, SocketAddr::new(ip(to), port), 1000).0
}

/// A listener to one endpoint, which is on this node or is not.
fn listener(bind: (&str, u16), endpoint: &str, here: Option<&str>) -> Listener {
    let bind = SocketAddr::new(ip(bind.0), bind.1);
    let endpoint = Endpoint(SocketAddr::new(ip(endpoint), 80));
    let route = ObjectRef { kind: Kind::TcpRoute, key: ObjectKey::new("default", "r") };
    let settings =
        BackendSettings { client_address: ClientAddress::Preserve, ..BackendSettings::default() };
    let share = BackendShare {
        backend: "Service default/s:80".to_owned(),
        weight: 1,
        endpoints: vec![endpoint],
        unusable: None,
        settings: settings.into(),
        preserved: here.map(|net| (endpoint, Some(net.parse().unwrap()))).into_iter().collect(),
    };
    Listener {
        id: ListenerId {
            gateway: ObjectKey::new("default", "gw"),
            set: None,
            name: format!("l{}", bind.port()),
            address: bind.ip(),
        },
        bind,
        service: Service::Tcp(Some(Arc::new(Target { route: route.clone(), shares: vec![share] }))),
        attached: [route].into(),
        settings: Arc::default(),
    }
}

/// Both VIPs, port 80 to an endpoint on this node, 81 to one that is elsewhere, 82 to one of the other family.
fn listeners() -> Vec<Listener> {
    let (net, net6) = (Some("10.8.0.0/24"), Some("fd08::/64"));
    vec![
        listener((VIP, 80), POD, net),
        listener((VIP6, 80), POD6, net6),
        listener((VIP, 81), POD, None),
        listener((VIP6, 81), POD6, None),
        listener((VIP, 82), POD6, net6),
    ]
}

fn exposures(preserve: bool) -> Exposures {
    let ports = [(80, 80), (81, 81), (82, 82)];
    let mut exposures = Exposures::from([exposing(VIP, &ports), exposing(VIP6, &ports)]);
    if preserve {
        exposures.values_mut().for_each(host::Exposure::preserve);
    }
    exposures
}

/// VIPs on the host, with rules or without.
async fn hold(host: &Host, preserve: bool) {
    let outcomes = host.set_vips(exposures(preserve)).await;
    assert!(outcomes.len() == 2 && outcomes.values().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(*host.preserving().borrow(), preserve);
}

/// An engine with these listeners.
fn proxy(listeners: &[Listener]) -> Proxy {
    let config = Config { workers: 2.try_into().unwrap(), ..Config::default() };
    let proxy = Proxy::start(config, Log::start(&AccessLog::default()).unwrap()).unwrap();
    for (id, outcome) in proxy.apply(listeners) {
        outcome.unwrap_or_else(|error| panic!("{id}: {error}"));
    }
    proxy
}

/// Connections that lost their address, by reason, of all listeners.
fn not_preserved(proxy: &Proxy) -> BTreeMap<NotPreserved, u64> {
    let mut sum = BTreeMap::new();
    for counted in proxy.snapshot().listeners.values() {
        for (why, count) in &counted.not_preserved {
            *sum.entry(*why).or_default() += count;
        }
    }
    sum
}

#[test]
fn an_endpoint_on_this_node_sees_the_client_and_one_elsewhere_the_node() {
    let site = Site::new();
    let clean = site.traces();
    assert_eq!(clean, "");
    site.node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, true).await;
        let proxy = proxy(&listeners());
        proxy.allow_preserving(true);
        for (vip, client, node) in [(VIP, CLIENT, NODE), (VIP6, CLIENT6, NODE6)] {
            // More than all buffers on the way hold, both ways.
            let to = SocketAddr::new(ip(vip), 80);
            assert_eq!(ask(&site.client, to, 8 << 20), (client.to_owned(), 8 << 20));
            assert_eq!(seen(&site.client, vip, 81), node, "elsewhere");
        }
        assert_eq!(not_preserved(&proxy), BTreeMap::new());
        // With the filter of reverse paths at its strictest, looking at marks.
        for name in ["rp_filter", "src_valid_mark"] {
            site.node.run(&format!("sysctl -qw net.ipv4.conf.all.{name}=1"));
            site.node.run(&format!("sysctl -qw net.ipv4.conf.br0.{name}=1"));
        }
        assert_eq!(seen(&site.client, VIP, 80), CLIENT, "rp_filter and src_valid_mark");
        assert_eq!(not_preserved(&proxy), BTreeMap::new());
        // The client's own connections to the pod go by as ever, and so do those of the pod.
        site.client.run(&format!("ip route add {POD} via 10.9.0.1"));
        assert_eq!(seen(&site.client, POD, 80), CLIENT);

        let installed = site.traces();
        for rule in ["117:", "118:", "local default dev lo", "chain preserve"] {
            assert_eq!(installed.matches(rule).count(), 2, "{rule}, of both families: {installed}");
        }
        assert!(installed.contains("socket transparent"), "{installed}");
        drop(proxy);
        host.shutdown().await.unwrap();
        assert_eq!(site.traces(), "");
    });
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let site = Site::new();
    site.node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, true).await;
        let proxy = proxy(&listeners());
        proxy.allow_preserving(true);
        let before = site.traces();
        site.client.inside(async || {
            for round in 0..1000_u32 {
                let vip = if round % 2 == 0 { VIP } else { VIP6 };
                let mut stream = TcpStream::connect((vip, 80)).unwrap();
                stream.set_read_timeout(Some(SOON)).unwrap();
                let client = if round % 2 == 0 { CLIENT } else { CLIENT6 };
                let mut line = vec![0; client.len() + 1];
                stream.read_exact(&mut line).unwrap();
                assert_eq!(line, format!("{client}\n").as_bytes());
                // Each in one of the ways to end.
                if round % 3 == 0 {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                } else if round % 3 == 1 {
                    stream.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
                }
            }
        });
        let open = || (proxy.snapshot().open, proxy.preserved());
        eventually("all are closed", SOON, || open() == (0, 0));
        let counted = proxy.snapshot();
        assert_eq!(counted.listeners.values().map(|l| l.accepted).sum::<u64>(), 1000);
        assert_eq!((not_preserved(&proxy), counted.panics), (BTreeMap::new(), 0));
        // Not in the node's kernel either, but for what TIME-WAIT keeps.
        let sockets = || site.node.run("ss -Htan state connected exclude time-wait");
        eventually("no socket is left", SOON, || sockets().trim().is_empty());
        assert_eq!(site.traces(), before);
        host.shutdown().await.unwrap();
    });
}

#[test]
fn without_what_it_takes_the_node_connects_and_it_is_counted() {
    let site = Site::new();
    site.node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, false).await;
        let proxy = proxy(&listeners());
        // Not even tried.
        assert_eq!(seen(&site.client, VIP, 80), NODE);
        assert_eq!(not_preserved(&proxy), [(NotPreserved::NoRules, 1)].into());
        // Tried in vain: it takes one client a time-out, and no other.
        proxy.allow_preserving(true);
        let waits: Vec<Duration> = (0..4)
            .map(|_| {
                let begin = Instant::now();
                assert_eq!(seen(&site.client, VIP, 80), NODE);
                begin.elapsed()
            })
            .collect();
        assert!(waits[0] >= Duration::from_secs(1), "{waits:?}");
        assert!(waits[1..].iter().all(|wait| *wait < Duration::from_millis(700)), "{waits:?}");
        let expected = [(NotPreserved::NoRules, 1), (NotPreserved::Unanswered, 4)];
        assert_eq!(not_preserved(&proxy), expected.into());
        let health = proxy.snapshot().endpoints;
        assert!(health.values().all(|one| !one.ejected), "{health:?}");

        // With the rules, what cannot be still is not: another family, and a neighbour of the endpoint.
        hold(&host, true).await;
        assert_eq!(seen(&site.client, VIP, 82), NODE6, "another family");
        assert_eq!(seen(&site.other, VIP6, 80), NODE6, "a neighbour");
        let counted = not_preserved(&proxy);
        assert_eq!(counted.get(&NotPreserved::OtherFamily), Some(&1), "{counted:?}");
        assert_eq!(counted.get(&NotPreserved::Neighbours), Some(&1), "{counted:?}");
        // The host itself is its own client.
        assert_eq!(seen(&site.node, VIP6, 80), NODE6);
        assert_eq!(not_preserved(&proxy), counted);
        assert_eq!(seen(&site.client, VIP6, 80), CLIENT6);
        drop(proxy);
        host.shutdown().await.unwrap();
    });
}

#[test]
fn without_the_capability_the_node_connects() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let site = Site::new();
    site.node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, true).await;
        // Of this thread, and of the workers that it starts.
        let had = capabilities(None).unwrap();
        let mut fewer = had;
        fewer.effective -= CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
        set_capabilities(None, fewer).unwrap();
        let proxy = proxy(&listeners());
        set_capabilities(None, had).unwrap();
        proxy.allow_preserving(true);
        assert_eq!(seen(&site.client, VIP, 80), NODE);
        assert_eq!(not_preserved(&proxy), [(NotPreserved::Refused, 1)].into());
        drop(proxy);
        host.shutdown().await.unwrap();
    });
}

#[test]
fn a_pod_of_the_hosts_network_is_never_reached_from_a_clients_address() {
    // Why the planner leaves it out: its answers would not come in.
    let site = Site::new();
    site.node.inside(async || {
        mirrors("10.8.0.1:88");
        let host = Host::start().await.unwrap();
        hold(&host, true).await;
        let mut listener = listener((VIP, 80), NODE, Some("192.0.2.0/24"));
        let Service::Tcp(Some(target)) = &mut listener.service else { panic!("TCP") };
        let endpoint = Endpoint("10.8.0.1:88".parse().unwrap());
        let mut changed = Target::clone(target);
        changed.shares[0].endpoints = vec![endpoint];
        changed.shares[0].preserved = [(endpoint, None)].into();
        *target = Arc::new(changed);
        let proxy = proxy(&[listener]);
        proxy.allow_preserving(true);
        let seen = seen(&site.client, VIP, 80);
        assert!(seen == NODE, "{seen}");
        assert_eq!(not_preserved(&proxy), [(NotPreserved::Unanswered, 1)].into());
        drop(proxy);
        host.shutdown().await.unwrap();
    });
}

/// The whole of a node: rules come with the plan that wants them, and stay for the connections that it made.
#[test]
fn a_plan_that_preserves_no_more_closes_nothing_and_its_rules_go_with_the_last_connection() {
    let site = Site::new();
    let plan = |preserve: bool| {
        let mut plan = Plan::default();
        for (vip, endpoint, net) in [(VIP, POD, "10.8.0.0/24"), (VIP6, POD6, "fd08::/64")] {
            let announce = Announce::Layer2(vec!["veth0".to_owned()]);
            plan.vips.insert(ip(vip), Vip::new(ip(vip), announce));
            let listener = listener((vip, 80), endpoint, preserve.then_some(net));
            plan.listeners.push(listener.into());
        }
        Arc::new(plan)
    };
    site.node.inside(async || {
        let speaker = Speaker::start(node::Config {
            node: "node".to_owned(),
            proxy: Config { workers: 2.try_into().unwrap(), ..Config::default() },
            udp: udp::Config::default(),
            access_log: AccessLog::default(),
            announce_every: Duration::from_secs(60),
            grouped: false,
            asking: vipgate_speaker::reach::Asking::Off,
        })
        .await
        .unwrap();
        let seen_becomes = async |vip: &str, expected: &str| {
            let begin = Instant::now();
            while !site.client.succeeds(&format!("ping -c 1 -W 1 {vip}"))
                || seen(&site.client, vip, 80) != expected
            {
                assert!(begin.elapsed() < SOON, "{vip} is not reached, or not from {expected}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        speaker.apply(plan(true));
        seen_becomes(VIP, CLIENT).await;
        seen_becomes(VIP6, CLIENT6).await;
        let mut standing = site.client.inside(async || TcpStream::connect((VIP, 80)).unwrap());
        standing.set_read_timeout(Some(SOON)).unwrap();
        let mut expect = |text: &str| {
            let mut heard = vec![0; text.len()];
            standing.read_exact(&mut heard).unwrap();
            assert_eq!(heard, text.as_bytes());
            standing.write_all(b"go on").unwrap();
        };
        expect(&format!("{CLIENT}\n"));

        speaker.apply(plan(false));
        seen_becomes(VIP, NODE).await;
        seen_becomes(VIP6, NODE6).await;
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            expect("go on");
        }
        assert_ne!(site.traces(), "", "the standing connection needs them");
        drop(standing);
        let begin = Instant::now();
        while !site.traces().is_empty() {
            assert!(begin.elapsed() < SOON, "{}", site.traces());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        speaker.apply(plan(true));
        seen_becomes(VIP, CLIENT).await;
        speaker.drain(Duration::from_secs(1)).await;
        assert_eq!(site.traces(), "");
    });
}

#[test]
fn rules_that_something_takes_away_come_back_and_those_of_a_crash_go() {
    let site = Site::new();
    let installed = |site: &Site| {
        let traces = site.traces();
        ["117:", "118:", "local default dev lo"]
            .iter()
            .all(|rule| traces.matches(rule).count() == 2)
    };
    let crashed = |site: &Site| {
        let mut child = site.node.spawn_test("preserve::child_holds", &[]);
        eventually("the rules are there", SOON, || installed(site));
        child.signal(Signal::KILL);
        child.0.wait().unwrap();
        assert!(installed(site), "a crash leaves them");
    };
    // The next start has no use for them.
    crashed(&site);
    site.node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, false).await;
        assert_eq!(site.traces(), "");
        hold(&host, true).await;
        assert!(installed(&site));
        for line in ["ip rule del pref 118", "ip -6 rule del pref 117", "ip route flush table 118"]
        {
            site.node.run(line);
            eventually("it is back", 2 * host::RENEWAL, || installed(&site));
        }
        hold(&host, false).await;
        assert_eq!(site.traces(), "", "nobody wants them any more");
        host.shutdown().await.unwrap();
    });
    // There is no next start.
    crashed(&site);
    let cleaned = site.node.inside(async || host::cleanup().await.unwrap());
    assert_eq!(cleaned.rules, ["ip -4", "ip -6"], "{cleaned:?}");
    assert_eq!(site.traces(), "");
}

#[test]
#[ignore = "run by rules_that_something_takes_away_come_back_and_those_of_a_crash_go in a process of its own"]
fn child_holds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::start().await.unwrap();
        hold(&host, true).await;
        std::future::pending::<()>().await;
    });
}
