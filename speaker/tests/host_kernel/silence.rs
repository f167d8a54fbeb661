//! The table `arp vipgate`: as `nft` prints it, and what the wire sees.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use vipgate_speaker::host::Host;

use crate::hold;
use crate::netns::{Netns, Running, eventually};

const VIP: &str = "10.9.0.100";

/// Hears the ARP packets that reach a namespace, by AF_PACKET: below every netfilter hook there.
struct Capture(Socket);

/// What an ARP packet (RFC 826) says.
#[derive(Debug, PartialEq, Eq)]
struct Arp {
    operation: u16,
    sender: Ipv4Addr,
    target: Ipv4Addr,
}

impl Capture {
    /// Hears from now on.
    fn start(netns: &Netns) -> Self {
        const ETH_P_ARP: u16 = 0x0806;
        let protocol = Protocol::from(i32::from(ETH_P_ARP.to_be()));
        let open = async || Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol));
        let socket = netns.inside(open).expect("needs CAP_NET_RAW");
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// What came since. A datagram that arrived proves that its ARP packets came before.
    fn finish(mut self) -> Vec<Arp> {
        let (mut seen, mut packet) = (Vec::new(), [0; 64]);
        while self.0.read(&mut packet).is_ok() {
            let address = |at| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
            seen.push(Arp {
                operation: u16::from_be_bytes([packet[6], packet[7]]),
                sender: address(14),
                target: address(24),
            });
        }
        seen
    }

    /// The senders of the requests for 10.9.0.2.
    fn askers(self) -> BTreeSet<String> {
        let requests = self.finish().into_iter();
        let for_the_peer =
            requests.filter(|arp| arp.operation == 1 && arp.target == Ipv4Addr::new(10, 9, 0, 2));
        for_the_peer.map(|arp| arp.sender.to_string()).collect()
    }
}

fn table(vips: &str, senders: &[(&str, &str)]) -> String {
    let mut rules = String::from("\t\tarp operation reply arp saddr ip @vips drop\n");
    for (link, sender) in senders {
        rules += &format!(
            "\t\toifname \"{link}\" arp operation request arp saddr ip @vips arp saddr ip set \
             {sender}\n"
        );
    }
    rules += "\t\tarp operation request arp saddr ip @vips arp saddr ip set 0.0.0.0\n";
    let elements = match vips {
        "" => String::new(),
        vips => format!("\t\telements = {{ {vips} }}\n"),
    };
    format!(
        "table arp vipgate {{\n\tset vips {{\n\t\ttype ipv4_addr\n{elements}\t}}\n\n\tchain out \
         {{\n\t\ttype filter hook output priority filter; policy accept;\n{rules}\t}}\n}}\n"
    )
}

#[test]
fn the_table_follows_vips_links_and_addresses() {
    let (node, _peer) = Netns::pair();
    node.run("nft add table ip foreign");
    let shown = || node.run("nft list table arp vipgate");
    node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP, "203.0.113.10", "2001:db8::1"]).await;
        let eth = ("veth0", "10.9.0.1");
        assert_eq!(shown(), table("10.9.0.100, 203.0.113.10", &[eth]));

        hold(&host, &[VIP]).await;
        assert_eq!(shown(), table(VIP, &[eth]));

        node.run("ip link add another type bridge");
        node.run("ip addr add 192.0.2.7/24 dev another");
        let two = table(VIP, &[("another", "192.0.2.7"), eth]);
        eventually("a rule for the new link", Duration::from_secs(1), || shown() == two);

        node.run("ip link del another");
        node.run("ip addr flush dev veth0");
        node.run("ip addr add 192.0.2.8/24 dev veth0");
        let moved = table(VIP, &[("veth0", "192.0.2.8")]);
        eventually("the new sender", Duration::from_secs(1), || shown() == moved);

        hold(&host, &[]).await;
        assert_eq!(shown(), table("", &[("veth0", "192.0.2.8")]));
        host.shutdown().await.unwrap();
    });
    assert_eq!(node.run("nft list ruleset"), "table ip foreign {\n}\n");
}

#[test]
fn a_flushed_table_is_back_within_100_ms() {
    let (node, _peer) = Netns::pair();
    node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP]).await;
        let before = node.run("nft list ruleset");
        let damages = [
            "nft flush ruleset",
            "nft delete element arp vipgate vips { 10.9.0.100 }",
            "nft flush chain arp vipgate out",
        ];
        let mut times = Vec::new();
        for damage in damages {
            node.run(damage);
            let whole = || node.run("nft list ruleset") == before;
            times.push(eventually(damage, Duration::from_secs(1), whole));
        }
        times.sort();
        eprintln!("put back after {times:?}, measured by running nft");
        assert!(times[1] < Duration::from_millis(100), "{times:?}");
        host.shutdown().await.unwrap();
    });
}

#[test]
fn the_kernel_does_not_answer_for_a_vip() {
    let (node, peer) = Netns::pair();
    // Exit code 0 needs an answer; -w is in seconds.
    let asked = |ip: &str| peer.succeeds(&format!("arping -q -c 1 -w 1 -i veth0 {ip}"));
    node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP, "203.0.113.10"]).await;
        assert!(!asked(VIP));
        assert!(!asked("203.0.113.10"), "also not one outside the subnet of the link");
        assert!(asked("10.9.0.1"), "the host's own address is not concerned");
        host.shutdown().await.unwrap();
    });
    // Control: without the table it does.
    node.run(&format!("ip addr add {VIP}/32 dev lo scope link noprefixroute"));
    assert!(asked(VIP));
}

/// Silence comes before the address and goes after it: not one answer slips out between.
#[test]
fn no_answer_slips_out_while_vips_come_and_go() {
    let (node, peer) = Netns::pair();
    let capture = Capture::start(&peer);
    let asking = format!("arping -q -i veth0 -W 0.0002 -c 10000 {VIP}");
    let mut asking = Running::start(&mut peer.command(&asking));
    let mut rounds = 0;
    node.inside(async || {
        let host = Host::start().await.unwrap();
        while asking.0.try_wait().unwrap().is_none() {
            hold(&host, &[VIP]).await;
            hold(&host, &[]).await;
            rounds += 1;
        }
        host.shutdown().await.unwrap();
    });
    let vip: Ipv4Addr = VIP.parse().unwrap();
    let answers = capture.finish().iter().filter(|arp| arp.sender == vip).count();
    assert_eq!(answers, 0, "in {rounds} rounds");
    assert!(rounds > 100, "{rounds}");
}

/// Sends a datagram from the VIP to the peer, which must arrive: so ARP found the peer.
fn send_from_vip(peer: &Netns) {
    let receiver = peer.inside(async || UdpSocket::bind("10.9.0.2:0").unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let sender = UdpSocket::bind((VIP, 0)).unwrap();
    sender.send_to(b"hello", receiver.local_addr().unwrap()).unwrap();
    let (_, source) = receiver.recv_from(&mut [0; 16]).expect("the datagram arrives");
    assert_eq!(source, sender.local_addr().unwrap());
}

#[test]
fn a_vip_is_never_the_sender_of_an_arp_request() {
    let (node, peer) = Netns::pair();
    peer.knows(VIP, &node);
    node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP]).await;
        let capture = Capture::start(&peer);
        send_from_vip(&peer);
        assert_eq!(capture.askers(), ["10.9.0.1".to_owned()].into());
        host.shutdown().await.unwrap();
    });
    // Control: without the table it is.
    node.run(&format!("ip addr add {VIP}/32 dev lo scope link noprefixroute"));
    node.run("ip neigh flush dev veth0");
    let capture = Capture::start(&peer);
    node.inside(async || send_from_vip(&peer));
    assert_eq!(capture.askers(), [VIP.to_owned()].into());
}

/// An unnumbered link has no address to send; the neighbour is found all the same.
#[test]
fn a_link_without_an_address_asks_as_a_probe_does() {
    let (node, peer) = Netns::pair();
    peer.knows(VIP, &node);
    node.run("ip addr flush dev veth0");
    node.run("ip route add 10.9.0.2 dev veth0");
    node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP]).await;
        let capture = Capture::start(&peer);
        send_from_vip(&peer);
        assert_eq!(capture.askers(), ["0.0.0.0".to_owned()].into());
        host.shutdown().await.unwrap();
    });
}
