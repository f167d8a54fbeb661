//! On which ports a process can be reached.

use std::collections::BTreeSet;

use crate::Result;

/// A protocol of a container's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// `LISTEN` in `/proc/net/tcp` (include/net/tcp_states.h); an unconnected UDP socket has `CLOSE`.
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";

/// The ports that somebody listens on in the network namespace of process `pid`, on any address
/// but those of loopback.
pub(super) fn open(pid: u32) -> Result<BTreeSet<(Protocol, u16)>> {
    let mut found = BTreeSet::new();
    for (file, protocol, state) in [
        ("tcp", Protocol::Tcp, LISTENING),
        ("tcp6", Protocol::Tcp, LISTENING),
        ("udp", Protocol::Udp, UNCONNECTED),
        ("udp6", Protocol::Udp, UNCONNECTED),
    ] {
        // The files for IPv6 are not there without it.
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{file}"));
        let table = if file.ends_with('6') { table.unwrap_or_default() } else { table? };
        found.extend(ports(&table, state).map(|port| (protocol, port)));
    }
    Ok(found)
}

/// The local ports of those in `state`, of a table as in proc_pid_net(5).
fn ports<'a>(table: &'a str, state: &'a str) -> impl Iterator<Item = u16> + 'a {
    table.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_whitespace();
        let (address, port) = words.nth(1)?.split_once(':')?;
        let here = words.nth(1)? == state && !is_loopback(address);
        here.then(|| u16::from_str_radix(port, 16).ok())?
    })
}

/// Addresses are shown as numbers of the machine's byte order, 32 bits each.
fn is_loopback(address: &str) -> bool {
    let four = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
    let six = format!("{}{:08X}", "0".repeat(24), u32::from_ne_bytes([0, 0, 0, 1]));
    address == four || address == six
}

#[cfg(test)]
mod tests;
