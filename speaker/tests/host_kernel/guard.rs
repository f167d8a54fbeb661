//! The tables `ip vipgate` and `ip6 vipgate`: as `nft` prints them, and what gets through.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use vipgate_speaker::host::{Exposure, Exposures, Host};

use crate::netns::{Netns, eventually};
use crate::{exposing, ip};

const VIP: &str = "10.9.0.100";
const VIP6: &str = "2001:db8:9::100";

/// A node and its neighbour, of both families; the neighbour knows whose the VIPs are.
pub(crate) fn neighbours() -> (Netns, Netns) {
    let (node, client) = Netns::pair();
    for (netns, address) in [(&node, "2001:db8:9::1/64"), (&client, "2001:db8:9::2/64")] {
        netns.run(&format!("ip addr add {address} dev veth0 nodad"));
    }
    for netns in [&node, &client] {
        // A link asks for no neighbour before it knows that its own address is unique.
        let unsure = || netns.run("ip -6 addr show dev veth0 tentative");
        eventually("it is sure", Duration::from_secs(5), || unsure().is_empty());
    }
    client.knows(VIP, &node);
    client.knows(VIP6, &node);
    (node, client)
}

async fn expose(host: &Host, vips: &[(IpAddr, Exposure)]) {
    let outcomes = host.set_vips(vips.iter().cloned().collect::<Exposures>()).await;
    assert!(outcomes.len() == vips.len() && outcomes.values().all(Result::is_ok), "{outcomes:?}");
}

/// A daemon inside that says `greeting` to whoever connects, until the test ends.
async fn daemon(at: &str, greeting: &'static str) {
    let listener = TcpListener::bind(at).unwrap();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            // Whoever has gone needs no greeting.
            let _ = connection.write_all(greeting.as_bytes());
        }
    });
}

/// What a client inside hears there.
fn hears(netns: &Netns, to: &str, port: u16) -> Result<String, ErrorKind> {
    let to = SocketAddr::new(ip(to), port);
    let hear = async || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    netns.inside(hear).map_err(|error: std::io::Error| error.kind())
}

fn greeting(text: &str) -> Result<String, ErrorKind> {
    Ok(text.to_owned())
}

const REFUSED: Result<String, ErrorKind> = Err(ErrorKind::ConnectionRefused);

#[test]
fn a_daemon_of_the_host_does_not_answer_on_a_vip() {
    let (node, client) = neighbours();
    let pings = |to: &str, size: &str| {
        client.succeeds(&format!("ping -c 1 -W 2 -s {size} {to}"))
            && node.succeeds(&format!("ping -c 1 -W 2 -s {size} {to}"))
    };
    node.inside(async || {
        daemon("[::]:22", "sshd").await;
        let udp = [UdpSocket::bind("0.0.0.0:53").unwrap(), UdpSocket::bind("[::]:54").unwrap()];
        let host = Host::start().await.unwrap();
        expose(&host, &[exposing(VIP, &[(80, 80)]), exposing(VIP6, &[(80, 80)])]).await;
        daemon("[::]:80", "listener").await;
        for (vip, own) in [(VIP, "10.9.0.1"), (VIP6, "2001:db8:9::1")] {
            for from in [&client, &node] {
                assert_eq!(hears(from, vip, 22), REFUSED, "{vip}");
                assert_eq!(hears(from, vip, 80), greeting("listener"), "{vip}");
                assert_eq!(hears(from, own, 22), greeting("sshd"), "{own}");
            }
            assert!(pings(vip, "56"), "{vip}");
            // In more than one fragment.
            assert!(pings(vip, "4000"), "{vip}");
        }
        // Datagrams are refused at once as well.
        for (vip, port) in [(VIP, 53), (VIP6, 54)] {
            let refused = client.inside(async || {
                let any: IpAddr = if ip(vip).is_ipv4() { ip("0.0.0.0") } else { ip("::") };
                let socket = UdpSocket::bind((any, 0)).unwrap();
                socket.connect((ip(vip), port)).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                socket.send(b"question").unwrap();
                socket.recv(&mut [0; 16]).unwrap_err().kind()
            });
            assert_eq!(refused, ErrorKind::ConnectionRefused, "{vip}");
        }
        for socket in udp {
            socket.set_nonblocking(true).unwrap();
            assert!(socket.recv_from(&mut [0; 16]).is_err(), "the daemon heard it");
        }
        host.shutdown().await.unwrap();
        // Control: without the guard it answers.
        for (vip, prefix) in [(VIP, 32), (VIP6, 128)] {
            node.run(&format!("ip addr add {vip}/{prefix} dev lo"));
            assert_eq!(hears(&client, vip, 22), greeting("sshd"), "{vip}");
        }
    });
}

/// Guarded before it is there, guarded until it is gone: a daemon never gets a word in.
#[test]
fn no_connection_slips_through_while_vips_come_and_go() {
    let (node, client) = neighbours();
    node.inside(async || {
        daemon("0.0.0.0:22", "sshd").await;
        let host = Host::start().await.unwrap();
        // Refused connections show that the guard was hit, not only that nobody was there.
        let knocking = thread::spawn(move || client.inside(async || knock((ip(VIP), 22).into())));
        while !knocking.is_finished() {
            expose(&host, &[exposing(VIP, &[(80, 80)])]).await;
            expose(&host, &[]).await;
        }
        let (refused, heard) = knocking.join().unwrap();
        assert_eq!(heard, 0, "beside {refused} refusals");
        assert!(refused > 50, "{refused}");
        host.shutdown().await.unwrap();
    });
}

/// Tries to connect for three seconds: how often it was refused, and how often not.
fn knock(to: SocketAddr) -> (u32, u32) {
    let end = Instant::now() + Duration::from_secs(3);
    let (mut refused, mut heard) = (0, 0);
    while Instant::now() < end {
        match TcpStream::connect_timeout(&to, Duration::from_millis(2)) {
            Ok(_) => heard += 1,
            Err(error) => refused += u32::from(error.kind() == ErrorKind::ConnectionRefused),
        }
    }
    (refused, heard)
}

#[test]
fn a_port_that_a_daemon_has_on_all_addresses_is_served_at_another_one() {
    let (node, client) = neighbours();
    node.inside(async || {
        daemon("[::]:22", "sshd").await;
        daemon("[::]:40022", "git").await;
        let host = Host::start().await.unwrap();
        let ports = [(22, 40022)];
        expose(&host, &[exposing(VIP, &ports), exposing(VIP6, &ports)]).await;
        assert!(*host.redirects().borrow());
        for (vip, own) in [(VIP, "10.9.0.1"), (VIP6, "2001:db8:9::1")] {
            for from in [&client, &node] {
                assert_eq!(hears(from, vip, 22), greeting("git"), "{vip}");
                assert_eq!(hears(from, vip, 40022), REFUSED, "{vip}");
                assert_eq!(hears(from, own, 22), greeting("sshd"), "{own}");
            }
        }
        // No longer served.
        expose(&host, &[exposing(VIP, &[]), exposing(VIP6, &[])]).await;
        assert_eq!(hears(&client, VIP, 22), REFUSED);
        host.shutdown().await.unwrap();
        // Control: without us the daemon has it.
        node.run(&format!("ip addr add {VIP}/32 dev lo"));
        assert_eq!(hears(&client, VIP, 22), greeting("sshd"));
    });
}

/// What is served by UDP: from the neighbour and from here, in one packet and in fragments, at the port
/// itself and at another one.
#[test]
fn datagrams_reach_what_is_served_and_its_answers_come_back() {
    let (node, client) = neighbours();
    node.inside(async || {
        let host = Host::start().await.unwrap();
        for (served_at, tracked) in [(53, false), (40053, true)] {
            let exposing = |vip: &str| {
                let mut exposure = Exposure::default();
                exposure.udp(53, served_at);
                (ip(vip), exposure)
            };
            expose(&host, &[exposing(VIP), exposing(VIP6)]).await;
            assert_eq!(node.run("nft list ruleset").contains("map @own"), tracked);
            let sockets = [VIP, VIP6].map(|vip| echo((ip(vip), served_at).into()));
            for vip in [VIP, VIP6] {
                for from in [&client, &node] {
                    for length in [0, 5, 1472, 4000, 65_000] {
                        assert_eq!(echoed(from, (ip(vip), 53).into(), length), Ok(length), "{vip}");
                    }
                    // The same port of TCP, another one, and the one behind.
                    assert_eq!(hears(from, vip, 53), REFUSED, "{vip}");
                    assert_eq!(
                        echoed(from, (ip(vip), 54).into(), 5),
                        Err(ErrorKind::ConnectionRefused)
                    );
                    if tracked {
                        let inner = (ip(vip), served_at).into();
                        assert_eq!(echoed(from, inner, 5), Err(ErrorKind::ConnectionRefused));
                    }
                }
            }
            for (socket, vip) in sockets.iter().zip([VIP, VIP6]) {
                // The thread ends, and with it the socket.
                socket.send_to(b"end", (ip(vip), served_at)).unwrap();
            }
        }
        host.shutdown().await.unwrap();
    });
}

/// A socket inside on whose datagrams a thread answers, until one is `end`.
fn echo(at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(at).unwrap();
    let own = socket.try_clone().unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok((length, peer)) = own.recv_from(&mut buffer) {
            if &buffer[..length] == b"end" {
                return;
            }
            let _ = own.send_to(&buffer[..length], peer);
        }
    });
    socket
}

/// How long the answer is that a client inside gets to a datagram of some length.
fn echoed(netns: &Netns, to: SocketAddr, length: usize) -> Result<usize, ErrorKind> {
    let ask = async || {
        let any: IpAddr = if to.is_ipv4() { ip("0.0.0.0") } else { ip("::") };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send(&vec![7; length])?;
        socket.recv(&mut vec![0; 1 << 16])
    };
    netns.inside(ask).map_err(|error: std::io::Error| error.kind())
}

/// As kube-proxy and Docker do it, which may begin before us or after.
#[test]
fn who_rewrites_destinations_does_not_get_what_a_vip_serves() {
    for before in [true, false] {
        let (node, client) = neighbours();
        let steal = || {
            for (family, address, target, vip) in
                [("ip", "ip", "10.9.0.1", VIP), ("ip6", "ip6", "[2001:db8:9::1]", VIP6)]
            {
                let table = format!("nft add table {family} thief");
                node.run(&table);
                for (chain, hook) in [("pre", "prerouting"), ("out", "output")] {
                    let hook = format!("type nat hook {hook} priority -100 ;");
                    node.run(&format!("nft add chain {family} thief {chain} {{ {hook} }}"));
                    node.run(&format!(
                        "nft add rule {family} thief {chain} {address} daddr {vip} tcp dport \
                         {{ 80, 81 }} dnat to {target}:99"
                    ));
                }
            }
        };
        node.inside(async || {
            daemon("[::]:80", "listener").await;
            daemon("[::]:99", "thief").await;
            let host = Host::start().await.unwrap();
            if before {
                steal();
            }
            expose(&host, &[exposing(VIP, &[(80, 80)]), exposing(VIP6, &[(80, 80)])]).await;
            if !before {
                let nat = || node.run("nft list ruleset").contains("map @own");
                assert!(!nat(), "connections are tracked for nothing");
                steal();
                eventually("the rival is noticed", Duration::from_secs(1), nat);
            }
            for vip in [VIP, VIP6] {
                for from in [&client, &node] {
                    assert_eq!(hears(from, vip, 80), greeting("listener"), "{vip}");
                    // What no listener serves is the other's, as for a Service on a shared VIP.
                    assert_eq!(hears(from, vip, 81), greeting("thief"), "{vip}");
                }
            }
            host.shutdown().await.unwrap();
            // Control: without us the other has both.
            for (vip, prefix) in [(VIP, 32), (VIP6, 128)] {
                node.run(&format!("ip addr add {vip}/{prefix} dev lo"));
                assert_eq!(hears(&client, vip, 80), greeting("thief"), "{vip}");
            }
        });
    }
}

fn table(
    family: &str,
    address: &str,
    [vips, open, inner, own]: [&str; 4],
    tracked: bool,
) -> String {
    let place = format!("{address} . inet_proto . inet_service");
    let set = |kind: &str, name: &str, keys: &str, elements: &str| {
        let elements = match elements {
            "" => String::new(),
            elements => format!("\t\telements = {{ {elements} }}\n"),
        };
        format!("\t{kind} {name} {{\n\t\ttype {keys}\n{elements}\t}}\n\n")
    };
    let (icmp, control) = match family {
        "ip" => (
            "icmp",
            "echo-reply,\n\t\t\t     destination-unreachable,\n\t\t\t     echo-request,\n\t\t\t     \
             time-exceeded,\n\t\t\t     parameter-problem",
        ),
        _ => (
            "icmpv6",
            "destination-unreachable,\n\t\t\t     packet-too-big,\n\t\t\t     \
             time-exceeded,\n\t\t\t     parameter-problem,\n\t\t\t     \
             echo-request,\n\t\t\t     echo-reply,\n\t\t\t     \
             nd-router-solicit,\n\t\t\t     nd-router-advert,\n\t\t\t     \
             nd-neighbor-solicit,\n\t\t\t     nd-neighbor-advert,\n\t\t\t     nd-redirect",
        ),
    };
    let mut text = format!("table {family} vipgate {{\n");
    text += &set("set", "vips", address, vips);
    text += &set("set", "control", &format!("{icmp}_type"), control);
    text += &set("set", "open", &place, open);
    if tracked {
        text += &set("set", "inner", &place, inner);
        text += &set("map", "own", &format!("{place} : {address} . inet_service"), own);
    }
    let to = format!("{family} daddr . meta l4proto . th dport");
    text += "\tchain guard {\n\t\ttype filter hook input priority 110; policy accept;\n";
    text += &format!("\t\t{family} daddr != @vips accept\n");
    if tracked {
        text += "\t\tct direction reply accept\n";
        text += &format!("\t\tct status dnat {to} @inner accept\n");
    }
    if family == "ip6" {
        text += "\t\tfrag frag-off != 0 accept\n";
    }
    text += &format!("\t\t{to} @open accept\n");
    if !tracked {
        text += "\t\tiifname \"lo\" tcp flags & (syn | ack) != syn accept\n";
        let from = format!("{family} saddr . meta l4proto . th sport");
        text += &format!("\t\tiifname \"lo\" {from} @open accept\n");
    }
    text += &format!("\t\t{icmp} type @control accept\n");
    text += "\t\tmeta l4proto tcp reject with tcp reset\n\t\treject\n\t}\n";
    if tracked {
        for (chain, hook) in
            [("pre", "prerouting priority dstnat - 1"), ("from-here", "output priority -101")]
        {
            text += &format!(
                "\n\tchain {chain} {{\n\t\ttype nat hook {hook}; policy accept;\n\t\tfib daddr type \
                 local dnat {family} to {to} map @own\n\t}}\n"
            );
        }
    }
    text + "}\n"
}

#[test]
fn the_tables_follow_what_is_exposed() {
    let (node, _client) = neighbours();
    let shown = || {
        ["ip", "ip6"].map(|family| {
            let text = node.run(&format!("nft list table {family} vipgate"));
            // Older versions leave out what a refusal implies, and have another form for flags.
            text.replace("\treject with tcp", "\tmeta l4proto tcp reject with tcp")
                .replace("tcp flags != syn / syn,ack", "tcp flags & (syn | ack) != syn")
        })
    };
    node.inside(async || {
        let host = Host::start().await.unwrap();
        expose(&host, &[exposing(VIP, &[(80, 80)]), exposing(VIP6, &[(443, 443)])]).await;
        let four = table("ip", "ipv4_addr", [VIP, &format!("{VIP} . tcp . 80"), "", ""], false);
        let open = format!("{VIP6} . tcp . 443");
        let six = table("ip6", "ipv6_addr", [VIP6, &open, "", ""], false);
        assert_eq!(shown(), [four, six]);

        // Of one family, nothing is left; of the other, a port is served elsewhere.
        expose(&host, &[exposing(VIP6, &[(443, 443), (22, 40022)])]).await;
        let four = table("ip", "ipv4_addr", [""; 4], true);
        let inner = format!("{VIP6} . tcp . 40022");
        let own = format!(
            "{VIP6} . tcp . 22 : {VIP6} . 40022,\n\t\t\t     {VIP6} . tcp . 443 : {VIP6} . 443"
        );
        let six = table("ip6", "ipv6_addr", [VIP6, &open, &inner, &own], true);
        assert_eq!(shown(), [four, six]);
        host.shutdown().await.unwrap();
    });
    assert_eq!(node.run("nft list ruleset"), "");
}

#[test]
fn a_thousand_vips_with_five_ports_each_change_one_at_a_time() {
    let (node, client) = neighbours();
    let vips: Vec<String> = (0..1000).map(|n| format!("198.18.{}.{}", n / 250, n % 250)).collect();
    let ports =
        |first: u16| [0, 1, 2, 3, 4].map(|n| (first + n, if n == 4 { 40_000 } else { first + n }));
    client.run("ip route add 198.18.0.0/16 via 10.9.0.1");
    node.inside(async || {
        daemon("0.0.0.0:40000", "redirected").await;
        daemon("0.0.0.0:81", "direct").await;
        let host = Host::start().await.unwrap();
        let mut all: Vec<_> = vips.iter().map(|vip| exposing(vip, &ports(80))).collect();
        let start = Instant::now();
        expose(&host, &all).await;
        let first = start.elapsed();
        let rules = "nft -a list chain ip vipgate guard";
        let before = node.run(rules);
        all[500] = exposing(&vips[500], &ports(90));
        let start = Instant::now();
        expose(&host, &all).await;
        eprintln!(
            "1,000 VIPs with 5 ports each in {first:?}, one changed in {:?}",
            start.elapsed()
        );
        // The handle changes when a table is made anew.
        assert_eq!(node.run(rules), before);
        assert_eq!(node.run("nft list map ip vipgate own").matches("198.18.").count(), 10_000);
        assert_eq!(hears(&client, &vips[499], 81), greeting("direct"));
        assert_eq!(hears(&client, &vips[499], 84), greeting("redirected"));
        assert_eq!(hears(&client, &vips[500], 81), REFUSED);
        assert_eq!(hears(&client, &vips[500], 94), greeting("redirected"));

        // Restored after somebody flushed everything.
        node.run("nft flush ruleset");
        let whole = || {
            node.succeeds("nft list map ip vipgate own")
                && node.run("nft list map ip vipgate own").matches("198.18.").count() == 10_000
        };
        eventually("all is back", Duration::from_secs(20), whole);
        assert_eq!(hears(&client, &vips[999], 84), greeting("redirected"));
        host.shutdown().await.unwrap();
    });
}
