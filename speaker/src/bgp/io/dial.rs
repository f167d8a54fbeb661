//! Making the connection to a peer.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::SockAddr;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::next_hops::{self, Surroundings};
use super::socket;
use crate::bgp::unnumbered;

/// Where a peer is, and how to get there.
#[derive(Clone)]
pub struct Target {
    /// Its address and port.
    pub address: Address,
    /// Our address; the kernel's choice when not given.
    pub source: Option<IpAddr>,
    /// Leave by this interface only.
    pub device: Option<String>,
    /// The device of the VRF that it is in: connections are made there, both ways.
    pub vrf: Option<String>,
    /// The key of TCP MD5 (RFC 2385).
    pub password: Option<Vec<u8>>,
    /// Refuse what crossed a router (RFC 5082). The peer must send TTL 255.
    pub ttl_security: bool,
}

/// A router says something every 10 s at least, but the attempt to connect ends then; the search
/// goes on in between.
const LISTEN: Duration = Duration::from_secs(9);
const SILENT: &str = "no router advertisement has come: check the cable, and that the router has \
                      this link as an unnumbered neighbour";
const UNSOUGHT: &str = "nobody looks for the router on the link any more";

/// The address of a peer.
#[derive(Clone, Debug)]
pub enum Address {
    /// This one; if link-local, with the index of the interface.
    At(SocketAddr),
    /// That of the router on a link, once it is found (`unnumbered`).
    Found {
        /// Where it is.
        neighbour: watch::Receiver<Option<SocketAddrV6>>,
        /// The port it listens on.
        port: u16,
    },
}

impl Address {
    /// Waits for the router, if it has not been heard yet.
    async fn find(&mut self) -> Result<SocketAddr, String> {
        match self {
            Address::At(address) => Ok(*address),
            Address::Found { neighbour, port } => {
                let found = timeout(LISTEN, neighbour.wait_for(Option::is_some)).await;
                let place = found.map_err(|_| SILENT)?.map_err(|_| UNSOUGHT)?;
                Ok(unnumbered::with_port(place.expect("it was waited for"), *port))
            }
        }
    }
}

impl Target {
    /// The device that its sockets are bound to.
    pub(super) fn bound_to(&self) -> Option<&str> {
        self.device.as_deref().or(self.vrf.as_deref())
    }
}

/// Without the password.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("address", &self.address)
            .field("source", &self.source)
            .field("device", &self.device)
            .field("vrf", &self.vrf)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("ttl_security", &self.ttl_security)
            .finish()
    }
}

/// A connection, and what was found out on the way.
pub(super) struct Dialed {
    pub(super) stream: TcpStream,
    pub(super) surroundings: Surroundings,
}

/// Connects. Why it failed is said in words.
pub(super) async fn dial(mut target: Target) -> Result<Dialed, String> {
    let peer = target.address.find().await?;
    let socket = prepare(&target, peer)?;
    let connected = socket.connect(peer).await;
    let stream = connected.map_err(|error| connecting(&error, peer))?;
    let local = stream.local_addr().map_err(|error| error.to_string())?;
    let surroundings = next_hops::look_around(local.ip(), peer.ip(), target.bound_to())
        .await
        .map_err(|error| format!("the addresses of this node cannot be listed: {error}"))?;
    Ok(Dialed { stream, surroundings })
}

fn prepare(target: &Target, peer: SocketAddr) -> Result<TcpSocket, String> {
    let words = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let socket = socket::open(peer).map_err(words("no socket"))?;
    if let Some(device) = target.bound_to() {
        let bound = socket.bind_device(Some(device.as_bytes()));
        bound.map_err(|error| format!("cannot use interface {device}: {error}"))?;
    }
    if target.ttl_security {
        socket::require_one_hop(&socket, peer).map_err(words("cannot check TTLs"))?;
    }
    if let Some(key) = &target.password {
        socket::sign(&socket, peer, key).map_err(words("cannot set the password (TCP MD5)"))?;
    }
    if let Some(source) = target.source {
        let bound = socket.bind(&SockAddr::from(SocketAddr::new(source, 0)));
        bound.map_err(|error| format!("sourceAddress {source} cannot be used: {error}"))?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

fn connecting(error: &io::Error, peer: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "{peer} refuses the connection: check that BGP runs there and has this node as a \
             neighbour"
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("{peer} cannot be reached: {error}; check the address and the routes to it")
        }
        _ => format!("{peer}: {error}"),
    }
}
