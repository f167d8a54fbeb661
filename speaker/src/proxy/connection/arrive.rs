//! A new connection where settings matter: a PROXY header is read and taken away before anything else, and
//! once the listener is known, it is asked who may connect, and how many.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, getpeername, recv};
use vipgate_planner::Keepalive;

use super::{Connection, Context, Ending, Stage, Verdict};
use crate::proxy::door;
use crate::proxy::hello::Greeting;
use crate::proxy::keepalive;
use crate::proxy::proxy_protocol::{Addresses, read};
use crate::proxy::stats::ResetReason;
use crate::proxy::table::Entry;

/// An arrival under way.
#[derive(Debug)]
pub(in crate::proxy) struct Arrival {
    /// Whether a PROXY header comes first.
    header: bool,
    pub(in crate::proxy) began: Instant,
    /// By then the header has to be there.
    pub(in crate::proxy) deadline: Instant,
    /// The client will send no more.
    ended: bool,
}

impl Arrival {
    /// Of a connection that was accepted then.
    pub(in crate::proxy) fn new(header: bool, began: Instant, deadline: Instant) -> Self {
        Self { header, began, deadline, ended: false }
    }

    /// Notes an event of the client's socket.
    pub(super) fn event(&mut self, flags: EventFlags) {
        self.ended |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
    }
}

impl Connection {
    /// Begins: what has no header has arrived.
    pub(super) fn begin_arrival(&self) -> Verdict {
        match &self.stage {
            // The first edge comes at once if something is there.
            Stage::Arriving(arrival) if arrival.header => Verdict::Arm(arrival.deadline),
            _ => Verdict::Arrived,
        }
    }

    /// Looks for the PROXY header.
    pub(super) fn arrive(&mut self, context: &mut Context<'_>) -> Verdict {
        let Stage::Arriving(arrival) = &self.stage else { return Verdict::Wait };
        match take_header(self.client.as_fd(), context.buffer) {
            Ok(Some(addresses)) => {
                self.record().header = addresses;
                Verdict::Arrived
            }
            Ok(None) if arrival.ended => Verdict::End(Ending::Reset(ResetReason::ByClient)),
            Ok(None) => Verdict::Wait,
            Err(reason) => Verdict::End(Ending::Reset(reason)),
        }
    }

    /// It has arrived, and its client has to say what it wants. What came behind a header is there already.
    pub(in crate::proxy) fn begin_greeting(
        &mut self,
        mut greeting: Greeting,
        context: &mut Context<'_>,
    ) -> Verdict {
        let Stage::Arriving(arrival) = &self.stage else { return Verdict::Wait };
        greeting.goes_on_from(arrival.began, arrival.deadline, arrival.ended);
        let deadline = arrival.deadline;
        self.stage = Stage::Greeting(Box::new(greeting));
        match self.greet(context) {
            Verdict::Wait => Verdict::Arm(deadline),
            verdict => verdict,
        }
    }

    /// The client's address: by the PROXY header where there is one; looked up if nobody did so far.
    pub(in crate::proxy) fn client_address(&self) -> Option<IpAddr> {
        let known = self.record.as_ref().and_then(|record| record.client());
        known.or_else(|| peer(self.client.as_fd())).map(|client| client.ip())
    }

    /// Its listener is known: obeys the settings, or says why it is not let in. `inherited`: what its
    /// socket has from the listening one.
    pub(in crate::proxy) fn settle(
        &mut self,
        entry: &Entry,
        inherited: Option<Keepalive>,
        now: Instant,
    ) -> Result<(), ResetReason> {
        let settings = &entry.listener.settings;
        if let Stage::Greeting(greeting) = &mut self.stage {
            greeting.at_most(settings.handshake_timeout);
        }
        if let Some(record) = &mut self.record {
            record.tally = record.tally.take().zip(entry.log.clone()).map(|(mut tally, place)| {
                tally.place = place;
                tally
            });
        }
        if inherited != settings.keepalive {
            // Fails only on something that is no socket.
            let _ = keepalive::set(self.client.as_fd(), settings.keepalive);
        }
        if !entry.guarded {
            return Ok(());
        }
        let client = match door::looks(settings) {
            true => Some(self.client_address().ok_or(ResetReason::ByClient)?),
            false => None,
        };
        if client.is_some_and(|client| !entry.clients.may(client)) {
            return Err(ResetReason::NotAllowed);
        }
        let permit = entry.gate.enter(settings, client, now)?;
        let record = self.record();
        (record.permit, record.keepalive) = (permit, settings.keepalive);
        Ok(())
    }
}

/// The address of the other end; none if it is gone.
pub(in crate::proxy) fn peer(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    getpeername(socket).ok()??.try_into().ok()
}

/// Takes a whole header out of the socket. None if it is not there as a whole.
fn take_header(
    client: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<Option<Option<Addresses>>, ResetReason> {
    let most = buffer.len().min(read::MOST);
    let there = again(|| recv(client, &mut buffer[..most], RecvFlags::PEEK));
    let (length, addresses) = match there {
        Ok((_, 0)) => return Err(ResetReason::ByClient),
        Ok((_, there)) => match read::read(&buffer[..there]) {
            read::Verdict::NeedMore => return Ok(None),
            read::Verdict::Header(length, addresses) => (length, addresses),
            read::Verdict::Malformed => return Err(ResetReason::ProxyHeader),
        },
        Err(Errno::AGAIN) => return Ok(None),
        Err(_) => return Err(ResetReason::ByClient),
    };
    let mut left = length;
    while left > 0 {
        match again(|| recv(client, &mut buffer[..left], RecvFlags::empty())) {
            Ok((_, taken @ 1..)) => left -= taken,
            // It was all there a moment ago.
            Ok((_, 0)) | Err(_) => return Err(ResetReason::ByClient),
        }
    }
    Ok(Some(addresses))
}

fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}
