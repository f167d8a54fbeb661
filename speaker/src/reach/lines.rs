//! What visits go out by: for each address of ours, on each link, that VIPs are asked for from, a packet socket and a
//! TCP port that is bound and nothing else, so that nobody on this host uses it.
//!
//! They stay until the link or the address changes, or nobody is asked for from there. So VIPs of two networks on one
//! link do not take each other's answers away.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::select_all;
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vipgate_planner::{Link, MacAddr};

use super::roster::Roster;
use super::wire;
use crate::l2::socket::PacketSocket;

/// The name of a link, and an address of ours there.
pub(super) type Place = (String, IpAddr);

/// See the module.
#[derive(Default)]
pub(super) struct Lines(BTreeMap<Place, Line>);

/// The socket of an address of ours.
pub(super) struct Line {
    index: u32,
    mac: MacAddr,
    /// The port that is kept.
    port: u16,
    socket: AsyncFd<PacketSocket>,
    _kept: Socket,
}

impl Lines {
    /// Where a VIP is asked for on a link, and from which station, address and port; opened, if it is not yet.
    ///
    /// # Errors
    /// The link has nothing to ask from, or those of the sockets.
    pub(super) fn toward(
        &mut self,
        link: &Link,
        vip: IpAddr,
    ) -> io::Result<(Place, (MacAddr, IpAddr, u16))> {
        let address = source(link, vip);
        let address = address.ok_or_else(|| other(link, "has no address that suits"))?;
        let place = (link.name.clone(), address);
        if self.0.get(&place).is_some_and(|line| !line.suits(link)) {
            self.0.remove(&place);
        }
        let line = match self.0.entry(place.clone()) {
            Entry::Occupied(line) => line.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(Line::open(link, address)?),
        };
        Ok((place, (line.mac, address, line.port)))
    }

    pub(super) fn get(&self, place: &Place) -> Option<&Line> {
        self.0.get(place)
    }

    /// Closes those that would not be opened now.
    pub(super) fn keep(&mut self, links: &[Link], roster: &Roster) {
        self.0.retain(|(name, address), line| {
            let link = links.iter().find(|link| link.name == *name && line.suits(link));
            link.is_some_and(|link| {
                roster.iter().any(|(vip, target)| {
                    target.links.contains(name) && source(link, *vip) == Some(*address)
                })
            })
        });
    }

    /// Waits until something can be read, and says where; for ever without a socket.
    pub(super) async fn readable(&self) -> Place {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let ready = self.0.iter().map(|(place, line)| {
            Box::pin(async move {
                // An error is cleared by reading, too.
                drop(line.socket.readable().await);
                place.clone()
            })
        });
        select_all(ready).await.0
    }
}

impl Line {
    fn open(link: &Link, address: IpAddr) -> io::Result<Self> {
        let mac = link.mac.ok_or_else(|| other(link, "has no Ethernet address"))?;
        let kept = Socket::new(Domain::for_address((address, 0).into()), Type::STREAM, None)?;
        kept.bind(&SocketAddr::new(address, 0).into())?;
        let port = kept.local_addr()?.as_socket().map(|bound| bound.port());
        let port = port.ok_or_else(|| other(link, "gave no port"))?;
        let ether_type = wire::ether_type(address);
        let socket = PacketSocket::of_type(link.index, ether_type)?;
        socket.set_filter(&wire::filter(ether_type, port))?;
        let socket = socket.into_async()?;
        Ok(Self { index: link.index, mac, port, socket, _kept: kept })
    }

    /// Whether the link is still the one that it was opened on.
    fn suits(&self, link: &Link) -> bool {
        self.index == link.index && Some(self.mac) == link.mac
    }

    /// The port of ours that is answered.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn send(&self, frame: &[u8]) {
        // As good as lost on the wire: it is sent again, or the other side gives up by itself.
        if let Err(error) = self.socket.get_ref().send(frame) {
            tracing::debug!(%error, "a question for a VIP of another node was not sent");
        }
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// `EWOULDBLOCK` when there is none.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| socket.receive(buffer))
    }
}

/// The address of a link that is in one network with the VIP.
fn source(link: &Link, vip: IpAddr) -> Option<IpAddr> {
    link.addresses.iter().find(|network| network.contains(&vip)).map(|network| network.addr())
}

fn other(link: &Link, why: &str) -> io::Error {
    io::Error::other(format!("{} {why}", link.name))
}

#[cfg(test)]
mod tests;
