//! What the client of the demo sees.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipgate_lab::Node;

/// How long a connection or its greeting may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes the client's kernel ask on the wire, and returns the MAC that answered.
pub(super) fn who_has(client: &Node, vip: IpAddr) -> Result<String> {
    forget(client)?;
    // Any packet makes the kernel ask; whether the port answers does not matter.
    let _ = client.enter(|| TcpStream::connect_timeout(&(vip, 9).into(), PATIENCE));
    let neighbour = neighbour(client, vip)?;
    let words: Vec<&str> = neighbour.split_whitespace().collect();
    let mac = words.iter().position(|word| *word == "lladdr").and_then(|at| words.get(at + 1));
    Ok((*mac.with_context(|| format!("nobody answered for {vip}: {neighbour:?}"))?).to_owned())
}

/// Fails when somebody answers for the VIP.
pub(super) fn nobody_has(client: &Node, vip: IpAddr) -> Result<()> {
    forget(client)?;
    let connected = client.enter(|| TcpStream::connect_timeout(&(vip, 9).into(), PATIENCE));
    let refused = connected.is_err_and(|error| error.kind() != ErrorKind::ConnectionRefused);
    let neighbour = neighbour(client, vip)?;
    ensure!(refused && !neighbour.contains("lladdr"), "{vip} is still answered for: {neighbour}");
    Ok(())
}

/// Connects and reads the line that the server says first.
pub(super) fn greeting(client: &Node, to: SocketAddr) -> Result<String> {
    greeting_within(client, to, PATIENCE)
}

/// The same, by somebody of less patience.
pub(super) fn greeting_within(client: &Node, to: SocketAddr, within: Duration) -> Result<String> {
    let stream = client
        .enter(|| TcpStream::connect_timeout(&to, within))
        .with_context(|| format!("no connection to {to}"))?;
    stream.set_read_timeout(Some(within * 5))?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .with_context(|| format!("no greeting from {to}"))?;
    ensure!(!line.is_empty(), "{to} closed the connection without a greeting");
    Ok(line.trim_end().to_owned())
}

/// Sends a datagram from a port of its own, and returns the line that the server's answer begins with.
pub(super) fn answer(client: &Node, to: SocketAddr) -> Result<String> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = client.enter(|| UdpSocket::bind((any, 0)))?;
    client.enter(|| socket.connect(to))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"who is there?")?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).with_context(|| format!("no answer from {to}"))?;
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn forget(client: &Node) -> Result<()> {
    client.run("ip", ["neigh", "flush", "all"]).map(drop)
}

fn neighbour(client: &Node, vip: IpAddr) -> Result<String> {
    client.run("ip", ["neigh", "show", &vip.to_string()])
}
