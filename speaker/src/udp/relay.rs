//! The way of datagrams through a worker, in both directions.
//!
//! Always holds: nothing goes to a client but what its endpoint sent to its session's socket, and nothing is
//! sent that was not received; the datagrams of a flow keep their order.

use std::mem;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;

use super::batch::{Batch, CAPACITY, DISCARD, Piece, To};
use super::sessions::Flow;
use super::stats::{DropReason, EndReason, Shard};
use super::table::Port;
use super::worker::Worker;

/// Sessions that one run of datagrams may begin: the endpoint of each refused what came before.
const BEGINNINGS: usize = 3;
/// Reads of a socket whose endpoint refused.
const LAST_READS: usize = 32;

impl Worker {
    /// Reads a port once, and forwards what clients sent.
    pub(super) fn receive(&mut self, number: u32) {
        let Some(port) = self.port(number).cloned() else { return };
        let Some(socket) = port.sockets.get(self.index) else { return };
        let mut batch = mem::take(&mut self.inbound);
        batch.clear();
        match batch.receive::<CAPACITY>(socket.as_fd()) {
            Ok(()) => self.forward_all(number, &port, &batch),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => tracing::debug!(worker = self.index, %error, "a port cannot be read"),
        }
        self.inbound = batch;
    }

    fn forward_all(&mut self, number: u32, read: &Port, batch: &Batch) {
        self.adopt_table();
        // The listener may have gone between the client's sending and now, and the number be another's.
        let port = self.port(number).filter(|port| Arc::ptr_eq(&port.sockets, &read.sockets));
        let Some(port) = port.cloned() else { return };
        self.count_overruns(number, &port, batch.pieces());
        let joined = batch.pieces().iter().filter(|piece| piece.segment > 0).count();
        if joined > 0 {
            self.shared.stats.joined.fetch_add(joined as u64, Relaxed);
        }
        for run in runs(batch.pieces(), |piece| (piece.peer, piece.tag)) {
            if batch.pieces()[run.start].tag != DISCARD {
                self.forward(number, &port, batch, run);
            }
        }
    }

    /// What the socket had to drop, as it says with the next datagram.
    fn count_overruns(&mut self, number: u32, port: &Port, pieces: &[Piece]) {
        let Some(now) = pieces.iter().map(|piece| piece.overrun).max().filter(|now| *now > 0)
        else {
            return;
        };
        let before = self.overruns.insert(number, now).unwrap_or(0);
        let lost = u64::from(now.wrapping_sub(before));
        port.stats.shard(self.index).dropped(DropReason::Overrun, lost);
    }

    /// Forwards a run of datagrams of one client, in one go if all is well.
    fn forward(&mut self, number: u32, port: &Port, batch: &Batch, mut run: Range<usize>) {
        let flow = Flow { port: number, client: batch.pieces()[run.start].peer };
        let shard = port.stats.shard(self.index);
        let (datagrams, bytes) = sum(&batch.pieces()[run.clone()]);
        shard.datagrams_in.fetch_add(datagrams, Relaxed);
        shard.bytes_in.fetch_add(bytes, Relaxed);
        let mut beginnings = 0;
        while !run.is_empty() {
            let slot = match self.session_of(&flow) {
                Some(slot) => Ok(slot),
                None if beginnings == BEGINNINGS => Err(DropReason::Unreachable),
                None => {
                    beginnings += 1;
                    self.begin(port, flow)
                }
            };
            let slot = match slot {
                Ok(slot) => slot,
                Err(reason) => return shard.dropped(reason, sum(&batch.pieces()[run]).0),
            };
            let Some((_, session)) = self.sessions.get(slot) else { return };
            let socket = session.socket.as_fd();
            let (sent, error) = batch.send(socket, run.clone(), To::Connected, &mut self.offload);
            let passed = &batch.pieces()[run.start..run.start + sent];
            if let Some(tally) = self.sessions.get_mut(slot).and_then(|one| one.tally.as_mut()) {
                tally.bytes_up += sum(passed).1;
            }
            run.start += sent;
            match error {
                None => {}
                // The kernel tells of an ICMP error instead of sending: nothing of this was sent.
                Some(error) if is_refusal(error) => self.lose(slot, error),
                Some(error) => {
                    drop_piece(shard, &batch.pieces()[run.start], error);
                    run.start += 1;
                }
            }
        }
        if let Some(slot) = self.sessions.find(&flow)
            && self.sessions.hear_client(slot, self.now)
        {
            self.equip(slot);
        }
    }

    /// Reads what an endpoint sent, to be sent to its client by [`Worker::flush`].
    pub(super) fn relay(&mut self, slot: u32) {
        match self.take_answers(slot) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => {
                // What it sent before is in the queue behind the error.
                for _ in 0..LAST_READS {
                    if self.take_answers(slot).is_err() {
                        break;
                    }
                }
                self.lose(slot, error);
            }
        }
    }

    fn take_answers(&mut self, slot: u32) -> Result<(), Errno> {
        if self.outbound.is_full() {
            self.flush();
        }
        let (flow, session) = self.sessions.get(slot).ok_or(Errno::AGAIN)?;
        let (flow, endpoint, socket) = (*flow, session.endpoint, session.socket.as_fd());
        let before = self.outbound.pieces().len();
        match session.equipped {
            // Mostly there is one answer, and looking for another has its price.
            false => self.outbound.receive::<1>(socket)?,
            true => self.outbound.receive::<CAPACITY>(socket)?,
        }
        let mut foreign = 0;
        for place in before..self.outbound.pieces().len() {
            let piece = self.outbound.piece_mut(place);
            // Between its bind and its connect, anybody could send to the socket.
            if piece.tag == DISCARD || piece.peer != endpoint {
                foreign += piece.datagrams();
                piece.tag = DISCARD;
            } else {
                (piece.peer, piece.tag) = (flow.client, flow.port);
            }
        }
        let answers = &self.outbound.pieces()[before..];
        let overrun = answers.iter().map(|piece| piece.overrun).max().unwrap_or_default();
        let answered = answers.iter().any(|piece| piece.tag != DISCARD);
        if let Some(session) = self.sessions.get_mut(slot) {
            let mut lost = 0;
            if overrun != 0 {
                lost = overrun.wrapping_sub(mem::replace(&mut session.overrun, overrun));
            }
            let shard = session.stats().shard(self.index);
            shard.dropped(DropReason::Foreign, foreign);
            shard.dropped(DropReason::Overrun, lost.into());
            if let Some(tally) = &mut session.tally {
                let answers = answers.iter().filter(|piece| piece.tag != DISCARD);
                tally.bytes_down += answers.map(|piece| piece.len as u64).sum::<u64>();
            }
        }
        if answered {
            self.hear_endpoint(slot);
        }
        Ok(())
    }

    fn hear_endpoint(&mut self, slot: u32) {
        match self.sessions.hear_endpoint(slot, self.now) {
            1 => {
                if let Some((_, session)) = self.sessions.get(slot) {
                    session.health.connected();
                }
            }
            2 => self.equip(slot),
            _ => {}
        }
    }

    /// Ends a session whose endpoint cannot be reached; what its client sends next begins another.
    fn lose(&mut self, slot: u32, error: Errno) {
        if let Some((_, session)) = self.sessions.get(slot) {
            session.health.failed(error);
            self.end(slot, EndReason::Refused);
        }
    }

    /// Sends to clients what was read of their endpoints, from the port that they speak to.
    pub(super) fn flush(&mut self) {
        if self.outbound.pieces().is_empty() {
            return;
        }
        let mut batch = mem::take(&mut self.outbound);
        for run in runs(batch.pieces(), |piece| piece.tag) {
            let number = batch.pieces()[run.start].tag;
            if number != DISCARD
                && let Some(port) = self.port(number).cloned()
            {
                self.answer(&port, &batch, run);
            }
        }
        batch.clear();
        self.outbound = batch;
    }

    fn answer(&mut self, port: &Port, batch: &Batch, mut run: Range<usize>) {
        let Some(socket) = port.sockets.get(self.index) else { return };
        let shard = port.stats.shard(self.index);
        while !run.is_empty() {
            let (sent, error) =
                batch.send(socket.as_fd(), run.clone(), To::Peer, &mut self.offload);
            let (datagrams, bytes) = sum(&batch.pieces()[run.start..run.start + sent]);
            shard.datagrams_out.fetch_add(datagrams, Relaxed);
            shard.bytes_out.fetch_add(bytes, Relaxed);
            run.start += sent;
            if let Some(error) = error {
                drop_piece(shard, &batch.pieces()[run.start], error);
                run.start += 1;
            }
        }
    }
}

/// Pieces in a row that have something in common.
fn runs<K: PartialEq>(
    pieces: &[Piece],
    of: impl Fn(&Piece) -> K,
) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    pieces.chunk_by(move |a, b| of(a) == of(b)).map(move |run| {
        next += run.len();
        next - run.len()..next
    })
}

/// Datagrams and bytes of some pieces.
fn sum(pieces: &[Piece]) -> (u64, u64) {
    pieces.iter().fold((0, 0), |(datagrams, bytes), piece| {
        (datagrams + piece.datagrams(), bytes + piece.len as u64)
    })
}

/// Whether an error is about the endpoint, which then is to be left.
fn is_refusal(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNREFUSED
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::PROTO
            | Errno::OPNOTSUPP
            | Errno::ADDRNOTAVAIL
    )
}

fn drop_piece(shard: &Shard, piece: &Piece, error: Errno) {
    let reason = match error {
        Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => DropReason::Full,
        Errno::MSGSIZE => DropReason::TooLong,
        _ => DropReason::NotSent,
    };
    shard.dropped(reason, piece.datagrams());
}
