//! What is on the wire between nodes: reachability, cuts, addresses, captures.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use vipgate_lab::{ArpOp, Lab, Link, Mac, Node, eventually};

const SECOND: Duration = Duration::from_secs(1);

type Cut = fn(&Link) -> Result<()>;

struct Pair {
    a: Node,
    b: Node,
    link_a: Link,
    link_b: Link,
}

fn pair(name: &str) -> Result<Pair> {
    let lab = Lab::new(name)?;
    let lan = lab.bridge("lan")?;
    let (a, b) = (lab.node("a")?, lab.node("b")?);
    let link_a = a.join(&lan, "10.77.0.1/24")?;
    let link_b = b.join(&lan, "10.77.0.2/24")?;
    Ok(Pair { a, b, link_a, link_b })
}

/// Sends a datagram from `from` to `to` (at `address`) and back.
fn ping(from: &Node, to: &Node, address: IpAddr) -> Result<()> {
    let server = to.enter(|| UdpSocket::bind((address, 0)))?;
    let any: SocketAddr = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }.parse()?;
    let client = from.enter(|| UdpSocket::bind(any))?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(SECOND / 2))?;
    }
    let mut buffer = [0; 16];
    client.send_to(b"ping", server.local_addr()?)?;
    let peer = receive(&server, &mut buffer)?;
    server.send_to(b"pong", peer)?;
    receive(&client, &mut buffer)?;
    ensure!(buffer.starts_with(b"pong"), "something else came: {buffer:?}");
    Ok(())
}

/// A system call with a timeout is not restarted by the kernel, even after a signal nobody handles.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<SocketAddr> {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other.map(|(_, peer)| peer),
        }
    }
}

fn unreachable(from: &Node, to: &Node, address: IpAddr) -> Result<()> {
    let Err(error) = ping(from, to, address) else { anyhow::bail!("{address} is reachable") };
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let expected =
        [ErrorKind::WouldBlock, ErrorKind::NetworkUnreachable, ErrorKind::HostUnreachable];
    ensure!(kind.is_some_and(|kind| expected.contains(&kind)), "fails otherwise: {error:?}");
    Ok(())
}

#[test]
fn two_nodes_reach_each_other_both_families() -> Result<()> {
    let Pair { a, b, link_a, link_b, .. } = pair("reach")?;
    ping(&a, &b, link_b.ip())?;
    link_a.add_address("fd77::1/64")?;
    link_b.add_address("fd77::2/64")?;
    ping(&a, &b, "fd77::2".parse()?)
}

#[test]
fn labs_with_the_same_addresses_do_not_meet() -> Result<()> {
    let one = pair("same")?;
    let other = pair("same")?;
    let capture = other.b.capture("eth0", "arp or udp")?;
    ping(&one.a, &one.b, one.link_b.ip())?;
    assert_eq!(capture.stop()?, []);
    Ok(())
}

#[test]
fn a_cut_link_stops_traffic_and_a_restored_one_resumes_it() -> Result<()> {
    let Pair { a, b, link_a, link_b, .. } = pair("cut")?;
    link_a.add_address("fd77::1/64")?;
    link_b.add_address("fd77::2/64")?;
    let v6: IpAddr = "fd77::2".parse()?;
    let cuts: [(&str, Cut); 3] =
        [("carrier", Link::cut), ("silent", Link::cut_silently), ("down", Link::down)];
    for (name, cut) in cuts {
        ping(&a, &b, link_b.ip())?;
        cut(&link_b)?;
        unreachable(&a, &b, link_b.ip()).map_err(|error| error.context(name))?;
        link_b.restore()?;
        eventually(5 * SECOND, || ping(&a, &b, link_b.ip()))
            .and_then(|()| eventually(5 * SECOND, || ping(&a, &b, v6)))
            .map_err(|error| error.context(format!("after {name}")))?;
    }
    Ok(())
}

#[test]
fn only_a_carrier_cut_shows_on_the_node() -> Result<()> {
    let Pair { b, link_b, .. } = pair("carrier")?;
    let shown = || b.run("ip", ["-o", "link", "show", "dev", "eth0"]);
    assert!(shown()?.contains("LOWER_UP"), "{}", shown()?);
    link_b.cut_silently()?;
    assert!(shown()?.contains("LOWER_UP"), "{}", shown()?);
    link_b.restore()?;
    link_b.cut()?;
    assert!(shown()?.contains("NO-CARRIER"), "{}", shown()?);
    Ok(())
}

#[test]
fn a_node_routes_between_its_links() -> Result<()> {
    let lab = Lab::new("route")?;
    let (west, east) = (lab.bridge("west")?, lab.bridge("east")?);
    let (a, router, b) = (lab.node("a")?, lab.node("router")?, lab.node("b")?);
    a.join(&west, "10.1.0.2/24")?;
    router.join(&west, "10.1.0.1/24")?;
    assert_eq!(router.join(&east, "10.2.0.1/24")?.name(), "eth1");
    let link_b = b.join(&east, "10.2.0.2/24")?;
    a.default_route("10.1.0.1")?;
    b.default_route("10.2.0.1")?;
    router.sysctl("net.ipv4.ip_forward", "0")?;
    unreachable(&a, &b, link_b.ip())?;
    router.sysctl("net.ipv4.ip_forward", "1")?;
    ping(&a, &b, link_b.ip())
}

#[test]
fn sysctls_of_the_host_are_refused() -> Result<()> {
    let node = Lab::new("sysctl")?.node("a")?;
    let error = node.sysctl("kernel.pid_max", "100").unwrap_err();
    assert!(error.to_string().contains("would change the host"), "{error}");
    Ok(())
}

#[test]
fn a_capture_shows_request_and_reply_with_their_macs() -> Result<()> {
    let Pair { a, b, link_a, link_b, .. } = pair("arp")?;
    assert_ne!(link_a.mac(), link_b.mac());
    let capture = b.capture("eth0", "arp")?;
    ping(&a, &b, link_b.ip())?;
    let arps: Vec<_> = capture.stop()?.iter().filter_map(|frame| frame.arp()).collect();
    let request = arps.iter().find(|arp| arp.op == ArpOp::Request).expect("a request");
    assert_eq!((request.eth_src, request.eth_dst), (link_a.mac(), Mac::BROADCAST));
    assert_eq!((request.sender_mac, request.target_mac), (link_a.mac(), Mac::ZERO));
    assert_eq!(IpAddr::from(request.sender_ip), link_a.ip());
    assert_eq!(IpAddr::from(request.target_ip), link_b.ip());
    let reply = arps.iter().find(|arp| arp.op == ArpOp::Reply).expect("a reply");
    assert_eq!((reply.eth_src, reply.eth_dst), (link_b.mac(), link_a.mac()));
    assert_eq!((reply.sender_mac, reply.target_mac), (link_b.mac(), link_a.mac()));
    assert_eq!(IpAddr::from(reply.sender_ip), link_b.ip());
    Ok(())
}

#[test]
fn a_capture_misses_nothing_from_its_start_to_its_stop() -> Result<()> {
    let Pair { a, link_b, b, .. } = pair("whole")?;
    // Known on both sides, so that each datagram is one frame.
    ping(&a, &b, link_b.ip())?;
    for round in 0..5 {
        let capture = b.capture("eth0", "udp port 9")?;
        let socket = a.enter(|| UdpSocket::bind("0.0.0.0:0"))?;
        for number in 0..200_u32 {
            socket.send_to(&number.to_be_bytes(), (link_b.ip(), 9))?;
        }
        let frames = capture.stop()?;
        let numbers: Vec<u32> = frames
            .iter()
            .map(|frame| u32::from_be_bytes(frame.bytes[42..46].try_into().expect("four octets")))
            .collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>(), "round {round}");
        assert!(frames.is_sorted_by_key(|frame| frame.at));
    }
    Ok(())
}

#[test]
fn a_capture_waits_for_one_frame_and_says_what_came_instead() -> Result<()> {
    let Pair { a, b, link_a, link_b, .. } = pair("wait")?;
    let capture = b.capture("eth0", "arp")?;
    ping(&a, &b, link_b.ip())?;
    let from_a = |mac| move |frame: &vipgate_lab::Frame| frame.eth_src() == mac;
    capture.wait_for(5 * SECOND, from_a(link_a.mac()))?;
    let error = capture.wait_for(SECOND / 10, from_a(Mac::BROADCAST)).unwrap_err();
    assert!(error.to_string().contains(&link_a.mac().to_string()), "{error}");
    Ok(())
}

#[test]
fn a_wrong_filter_is_an_error_with_tcpdumps_words() -> Result<()> {
    let Pair { a, .. } = pair("filter")?;
    let error = a.capture("eth0", "no such thing").unwrap_err();
    assert!(format!("{error:?}").contains("syntax error"), "{error:?}");
    Ok(())
}
