//! A real name server, dnsmasq, that knows a few names and asks nobody.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{Node, Process, Program, eventually};

const START_TIMEOUT: Duration = Duration::from_secs(10);
/// A query for the root's name servers: any answer shows that somebody is there.
const QUERY: [u8; 17] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

/// A running name server.
#[derive(Debug)]
pub struct Dnsmasq {
    process: Process,
}

/// Starts a name server on `node`, by UDP and TCP; on all addresses where `at` has none of its own. It
/// returns when it answers. `records` are options such as `--address=/who.lab/192.0.2.1`.
///
/// # Errors
/// When dnsmasq is not installed or does not come up; with what it logged.
pub fn dnsmasq(node: &Node, at: SocketAddr, records: &[&str]) -> Result<Dnsmasq> {
    let mut program = Program::new("dnsmasq")
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
        .args(["--pid-file=", "--user=root", "--log-facility=-", "--edns-packet-max=8192"])
        .arg(format!("--port={}", at.port()))
        .args(records);
    let mut probe = at;
    if at.ip().is_unspecified() {
        probe.set_ip(IpAddr::from([127, 0, 0, 1]));
    } else {
        program = program.arg("--bind-interfaces").arg(format!("--listen-address={}", at.ip()));
    }
    let server = Dnsmasq { process: node.spawn(program)? };
    eventually(START_TIMEOUT, || {
        let socket = node.enter(|| UdpSocket::bind((probe.ip(), 0)))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        socket.send_to(&QUERY, probe)?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        ensure!(length >= 12 && answer[2] & 0x80 != 0, "it says {:?}", &answer[..length]);
        Ok(())
    })
    .with_context(|| format!("dnsmasq on {at}\n{}", server.process.tail()))?;
    Ok(server)
}

impl Dnsmasq {
    /// The process, to kill or terminate it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
