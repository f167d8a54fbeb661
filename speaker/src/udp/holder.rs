//! Who holds a port of UDP: looked up in /proc, only to name it in an error.

use std::fs;
use std::net::SocketAddr;

use crate::proxy::Holder;
use crate::proxy::holder::{collide, process_with, socket_address};

/// `TCP_CLOSE`, which is what a socket of UDP is in that is not connected.
const UNCONNECTED: &str = "07";

/// The socket that keeps `wanted` from being bound.
pub(super) fn of(wanted: SocketAddr) -> Option<Holder> {
    ["/proc/net/udp", "/proc/net/udp6"].into_iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        let (listens_on, inode) =
            table.lines().skip(1).filter_map(bound).find(|(held, _)| collide(*held, wanted))?;
        Some(Holder { listens_on, process: process_with(inode) })
    })
}

/// Address and inode of a line of /proc/net/udp or udp6, if anybody can send to the socket.
fn bound(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    if state != UNCONNECTED {
        return None;
    }
    Some((socket_address(local)?, fields.nth(5)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn only_sockets_that_anybody_can_send_to_count() {
        let line = "  300: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0";
        assert_eq!(bound(line), Some(("0.0.0.0:53".parse().unwrap(), 4711)));
        assert_eq!(bound(&line.replace(" 07 ", " 01 ")), None);
    }

    #[test]
    fn a_socket_of_this_process_is_found() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let holder = of(address).unwrap();
        assert_eq!(holder.listens_on, address);
        assert_eq!(holder.process.unwrap().1, std::process::id());
    }
}
