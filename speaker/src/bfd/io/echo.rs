//! The frames of the echo function: of one link, and of one session.
//!
//! What always holds:
//! * a frame is sent back only if it comes from the station of a peer with echo and is for its address, and has
//!   crossed no router, with a TTL that got less, and as often as that peer was told and half as much again;
//! * the way to the other side is that of its last control packet, of this link and for our session: a router
//!   that gets another station is followed with the next one, which may be too late for the echoes.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::socket::SINGLE_HOP;
use crate::bfd::wire::echo::{Echo, Key};
use crate::bfd::wire::frame::{self, ECHO_PORT, Frame, Path};
use crate::l2::filter::{
    Instruction, JUMP_EQUAL, JUMP_GREATER_EQUAL, LOAD_HALF, LOAD_WORD, PACKET_TYPE, RETURN,
};
use crate::l2::socket::PacketSocket;

/// A frame with an echo packet has fewer bytes, whoever it is from; longer ones are dropped.
pub(super) const LONGEST: usize = 512;
const ETHERTYPE_IPV4: u16 = 0x0800;
/// For so long the peer's packets are returned after that has ended: it may not have heard of it yet.
const LINGER: Duration = Duration::from_secs(3);
/// So many frames may come back at once, as after a stall.
const BURST: u32 = 8;

/// The packet socket of a link.
#[derive(Debug)]
pub(super) struct Link(AsyncFd<PacketSocket>);

impl Link {
    /// Opens it on the link of this index.
    pub(super) fn open(index: u32) -> io::Result<Link> {
        let socket = PacketSocket::of_type(index, ETHERTYPE_IPV4)?;
        socket.set_filter(&filter())?;
        Ok(Link(socket.into_async()?))
    }

    /// Waits until there is something to receive.
    pub(super) async fn readable(&self) {
        if self.0.ready(Interest::READABLE).await.is_err() {
            // The runtime ends.
            std::future::pending::<()>().await;
        }
    }

    /// The length of a frame, if one waits. That the link was down meanwhile is said once, and is no frame.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Option<usize> {
        self.0.try_io(Interest::READABLE, |socket| socket.receive(buffer)).ok()
    }

    /// A frame that cannot be sent is as good as lost.
    fn send(&self, frame: &[u8]) {
        if let Err(error) = self.0.get_ref().send(frame) {
            tracing::debug!(%error, "BFD: echo not sent");
        }
    }
}

/// The echo function of a session, by the link that its peer is on.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) index: u32,
    link: Arc<Link>,
    key: Key,
    peer: Ipv4Addr,
    path: Option<Path>,
    /// How often the peer was told that it may send.
    interval: Duration,
    /// It has ended, and is there still until then.
    until: Option<Instant>,
    /// When as much will have been sent back as the peer was told, if nothing more is.
    at_rest: Instant,
}

impl Side {
    pub(super) fn new(
        index: u32,
        link: Arc<Link>,
        peer: Ipv4Addr,
        now: Instant,
    ) -> io::Result<Side> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let (key, interval) = (Key::new(&bytes), Duration::ZERO);
        Ok(Side { index, link, key, peer, path: None, interval, until: None, at_rest: now })
    }

    /// Goes on with this interval.
    pub(super) fn go_on(&mut self, interval: Duration) {
        (self.interval, self.until) = (interval, None);
    }

    /// Ends in a while.
    pub(super) fn end(&mut self, now: Instant) {
        self.until = self.until.or(Some(now + LINGER));
    }

    /// Whether the while is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Learns the way from a frame with a control packet for this session; whether it is another.
    pub(super) fn learn(&mut self, frame: &Frame<'_>) -> bool {
        let path = Path { ours: frame.to, theirs: frame.from, address: frame.destination };
        self.path.replace(path) != Some(path)
    }

    /// Whether there is a way.
    pub(super) fn has_path(&self) -> bool {
        self.path.is_some()
    }

    /// Whether it has ended, but for the peer's packets.
    pub(super) fn has_ended(&self) -> bool {
        self.until.is_some()
    }

    /// Whether a frame has a control packet of the peer.
    pub(super) fn is_told_by(&self, frame: &Frame<'_>) -> bool {
        (frame.port, frame.ttl, frame.source) == (SINGLE_HOP, frame::TTL, self.peer)
    }

    /// Sends an echo packet.
    pub(super) fn send(&self, echo: Echo) {
        if let Some(path) = &self.path {
            self.link.send(&frame::echo(path, &echo.encode(&self.key)));
        }
    }

    /// Whether a frame has an echo packet of this session, and when that was sent. The peer has forwarded it, or
    /// its daemon sent it back; it crossed no other router.
    pub(super) fn returned(&self, frame: &Frame<'_>, discriminator: u32) -> Option<Duration> {
        let ours = frame.port == ECHO_PORT
            && frame.ttl >= frame::TTL - 1
            && self.path.is_some_and(|path| path.address == frame.destination)
            && Echo::claimed(frame.payload) == Some(discriminator);
        let echo = ours.then(|| Echo::decode(frame.payload, &self.key)).flatten()?;
        Some(echo.sent)
    }

    /// Whether a frame is an echo packet of the peer, which is to go back.
    pub(super) fn is_theirs(&self, frame: &Frame<'_>) -> bool {
        frame.port == ECHO_PORT
            && frame.destination == self.peer
            && frame.ttl >= frame::TTL - 1
            && self.path.is_some_and(|path| path.theirs == frame.from)
    }

    /// Sends a frame back, as often as one each interval and half as much again.
    pub(super) fn send_back(&mut self, bytes: &mut [u8], now: Instant) {
        let distance = self.interval * 2 / 3;
        let from = self.at_rest.max(now);
        if from - now <= distance * (BURST - 1) {
            self.at_rest = from + distance;
            frame::turn_round(bytes);
            self.link.send(bytes);
        }
    }
}

const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_ANY: u16 = 0x45;

/// Passes IPv4 without options, not a fragment, of UDP, for us, to the port of echo packets or of control
/// packets, that crossed no router but one that returned it: nobody from elsewhere fills the socket.
fn filter() -> [Instruction; 17] {
    const DROP: u8 = 16;
    let step = |code, jt, jf, k| Instruction { code, jt, jf, k };
    let load = |code, at| step(code, 0, 0, at);
    // Instructions from here on, from the one after this.
    let unless = |place: u8, value| step(JUMP_EQUAL, 0, DROP - place - 1, value);
    [
        load(LOAD_WORD, PACKET_TYPE),
        unless(1, 0),
        load(LOAD_HALF, 12),
        unless(3, ETHERTYPE_IPV4.into()),
        load(LOAD_BYTE, 14),
        unless(5, 0x45),
        load(LOAD_BYTE, 23),
        unless(7, 17),
        load(LOAD_BYTE, 22),
        step(JUMP_GREATER_EQUAL, 0, DROP - 9 - 1, (frame::TTL - 1).into()),
        load(LOAD_HALF, 20),
        step(JUMP_IF_ANY, DROP - 11 - 1, 0, 0x3fff),
        load(LOAD_HALF, 36),
        step(JUMP_EQUAL, 1, 0, ECHO_PORT.into()),
        unless(14, SINGLE_HOP.into()),
        step(RETURN, 0, 0, LONGEST as u32),
        step(RETURN, 0, 0, 0),
    ]
}
