//! The multicast groups of a link in which its IPv6 addresses are asked for.
//!
//! A solicitation goes to the solicited-node group of its target. A packet socket alone would see it
//! only where the interface and every switch let all multicast through: the interface filters by group
//! address, and a switch that snoops on MLD forwards a group only to ports with a member. So the group is
//! joined as any program does it: the kernel opens the interface's filter and speaks MLD, also when a
//! router asks again or the link comes back. It does not answer solicitations by that: it has no such
//! address on the link.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use socket2::{Domain, Protocol, Socket, Type};

use super::ndp::solicited_node;

/// Memberships of one link. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Groups {
    index: u32,
    /// A socket has room for a few hundred memberships (`net.core.optmem_max`); then there is another.
    sockets: Vec<Socket>,
    /// The socket of each group.
    joined: BTreeMap<Ipv6Addr, usize>,
}

impl Groups {
    /// None yet, on the link with this kernel index.
    pub(super) fn new(index: u32) -> Groups {
        Groups { index, sockets: Vec::new(), joined: BTreeMap::new() }
    }

    /// Is in the groups of these addresses, and in no others. What fails is tried again with the next call.
    pub(super) fn follow(&mut self, addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
        let wanted: BTreeSet<Ipv6Addr> = addresses
            .iter()
            .filter_map(|address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(solicited_node(*address)),
            })
            .collect();
        let left: Vec<Ipv6Addr> =
            self.joined.keys().filter(|group| !wanted.contains(*group)).copied().collect();
        for group in left {
            if let Some(socket) = self.joined.remove(&group) {
                // It fails where the interface is gone, and the membership with it.
                let _gone = self.sockets[socket].leave_multicast_v6(&group, self.index);
            }
        }
        let mut result = Ok(());
        for group in wanted {
            if !self.joined.contains_key(&group) {
                match self.join(&group) {
                    Ok(socket) => drop(self.joined.insert(group, socket)),
                    Err(error) => result = Err(error),
                }
            }
        }
        result
    }

    /// Joins with the first socket that has room.
    fn join(&mut self, group: &Ipv6Addr) -> io::Result<usize> {
        for (number, socket) in self.sockets.iter().enumerate() {
            match socket.join_multicast_v6(group, self.index) {
                Ok(()) => return Ok(number),
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let socket = Socket::new(Domain::IPV6, Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
        socket.join_multicast_v6(group, self.index)?;
        self.sockets.push(socket);
        Ok(self.sockets.len() - 1)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}
