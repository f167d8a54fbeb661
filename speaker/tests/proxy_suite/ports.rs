//! A host that has no port left to connect from.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};
use vipgate_lab::Lab;
use vipgate_speaker::proxy::ResetReason;

use crate::ejection::health;
use crate::rig::{
    Backend, SOON, apply, assert_reset, at, counters, echo, eventually, listener, proxy, share,
};

/// Ports that a host has towards each endpoint.
const PORTS: u16 = 4;

/// A client that takes none of them.
fn client(number: u16, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::new(to.ip(), 50_000 + number).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Whether anything comes back.
fn is_answered(client: &mut TcpStream) -> bool {
    client.write_all(b"?").and_then(|()| client.read_exact(&mut [0])).is_ok()
}

#[test]
fn an_endpoint_is_not_to_blame_when_this_host_has_no_port_left() {
    let lab = Lab::new("ports").unwrap();
    let host = lab.node("host").unwrap();
    let range = format!("40000 {}", 40000 + PORTS - 1);
    host.sysctl("net.ipv4.ip_local_port_range", &range).unwrap();
    host.enter(|| {
        let bind = at("127.36.49.1:7000");
        let one = Backend::echo(at("127.36.49.2:7000"));
        let two = Backend::echo(at("127.36.49.3:7000"));
        let proxy = proxy();
        apply(&proxy, &[listener("l", bind, vec![share(1, &[one.address])])]);
        let asks = |number: u16| {
            let mut client = client(number, bind);
            echo(&mut client, b"a port is found");
            client
        };
        let mut clients: Vec<_> = (0..PORTS).map(asks).collect();

        let mut refused = client(100, bind);
        assert_reset(&mut refused);
        assert_eq!(counters(&proxy).resets[&ResetReason::OutOfPorts], 1);
        let said = health(&proxy, one.address);
        assert!(said.last_error.as_ref().unwrap().contains("ip_local_port_range"), "{said:?}");
        assert_eq!((said.failed, said.ejected), (0, false), "{said:?}");

        // Another endpoint is another chance, and nobody is passed over for it afterwards.
        apply(&proxy, &[listener("l", bind, vec![share(1, &[one.address, two.address])])]);
        clients.extend((PORTS..2 * PORTS).map(asks));
        assert_eq!((one.accepted(), two.accepted()), (PORTS.into(), PORTS.into()));
        clients.clear();
        // The kernel gives a port towards the same endpoint again after a second at the earliest.
        let mut number = 200;
        eventually("ports are free again", || {
            number += 1;
            is_answered(&mut client(number, bind))
        });
        assert!(!health(&proxy, one.address).ejected && !health(&proxy, two.address).ejected);
    });
}

/// The kernel has the same error for it, and there it is the endpoint that cannot be used from here.
#[test]
fn an_endpoint_of_a_family_that_this_host_does_not_have_is_passed_over() {
    let lab = Lab::new("family").unwrap();
    let host = lab.node("host").unwrap();
    host.sysctl("net.ipv6.conf.all.disable_ipv6", "1").unwrap();
    host.enter(|| {
        let bind = at("127.36.51.1:7000");
        let good = Backend::echo(at("127.36.51.2:7000"));
        let bad: SocketAddr = "[2001:db8::1]:7000".parse().unwrap();
        let proxy = proxy();
        apply(&proxy, &[listener("l", bind, vec![share(1, &[bad, good.address])])]);
        for number in 0..8 {
            echo(&mut client(number, bind), b"by the other one");
        }
        let said = health(&proxy, bad);
        assert!(said.ejected && said.failed >= 2, "{said:?}");
        assert!(!said.last_error.as_ref().unwrap().contains("ip_local_port_range"), "{said:?}");
    });
}
