//! Who holds a port: looked up in /proc, to name it in an error or to whoever asks.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// States of sockets in /proc/net: of TCP one that listens, of UDP one without a peer.
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The address and port it listens on; the address may be the wildcard.
    pub listens_on: SocketAddr,
    /// Name and process id, when this process may see them.
    pub process: Option<(String, u32)>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((name, pid)) => write!(f, "{name} (pid {pid})")?,
            None => f.write_str("another process")?,
        }
        write!(f, ", which listens on {}", self.listens_on)
    }
}

/// The listening socket that keeps `wanted` from being bound.
pub(super) fn of(wanted: SocketAddr) -> Option<Holder> {
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        let (listens_on, inode) =
            table.lines().skip(1).filter_map(listening).find(|(held, _)| collide(*held, wanted))?;
        Some(Holder { listens_on, process: process_with(inode) })
    })
}

/// The sockets of TCP that listen on a port, on whichever address of this network namespace.
///
/// # Errors
/// When /proc does not say.
pub fn listeners_on(port: u16) -> io::Result<Vec<Holder>> {
    holders(["/proc/net/tcp", "/proc/net/tcp6"], LISTENING, port)
}

/// The sockets of UDP that receive on a port what anybody sends.
///
/// # Errors
/// When /proc does not say.
pub fn receivers_on(port: u16) -> io::Result<Vec<Holder>> {
    holders(["/proc/net/udp", "/proc/net/udp6"], UNCONNECTED, port)
}

fn holders(tables: [&str; 2], state: &str, port: u16) -> io::Result<Vec<Holder>> {
    let mut found = Vec::new();
    for table in tables {
        let table = match fs::read_to_string(table) {
            // A kernel without IPv6 has no table of it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && table.ends_with('6') => {
                continue;
            }
            table => table?,
        };
        let sockets = table.lines().skip(1).filter_map(|line| in_state(line, state));
        let on_port = sockets.filter(|(held, _)| held.port() == port);
        found.extend(
            on_port.map(|(listens_on, inode)| Holder { listens_on, process: process_with(inode) }),
        );
    }
    Ok(found)
}

pub(crate) fn collide(held: SocketAddr, wanted: SocketAddr) -> bool {
    let same_address = held.ip() == wanted.ip() || held.ip().to_canonical() == wanted.ip();
    // A socket on `::` takes IPv4, too, unless it said otherwise, which /proc does not tell.
    let wildcard = held.ip().is_unspecified() && (held.is_ipv6() || wanted.is_ipv4());
    held.port() == wanted.port() && (same_address || wildcard)
}

/// Address and inode of a line of /proc/net/tcp or tcp6, if it is a listening socket.
fn listening(line: &str) -> Option<(SocketAddr, u64)> {
    in_state(line, LISTENING)
}

fn in_state(line: &str, wanted: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    if state != wanted {
        return None;
    }
    Some((socket_address(local)?, fields.nth(5)?.parse().ok()?))
}

/// `0100007F:1F90`: 32-bit words in the host's byte order, then the port.
pub(crate) fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Vec<u8> = (0..address.len() / 8)
        .map(|word| u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok())
        .collect::<Option<Vec<u32>>>()?
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    let address = if let Ok(bytes) = <[u8; 4]>::try_from(words.as_slice()) {
        IpAddr::V4(Ipv4Addr::from(bytes))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.as_slice()).ok()?))
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

/// The process that has the socket open.
pub(crate) fn process_with(inode: u64) -> Option<(String, u32)> {
    let link = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        fs::read_dir(entry.path().join("fd"))
            .ok()?
            .flatten()
            .find(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == link.as_str()))?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some((name.trim().to_owned(), pid))
    })
}

#[cfg(test)]
mod tests;
