//! The two netfilter sockets: one commits transactions, one hears what others change.
//!
//! Committing does not wait: the kernel works a transaction off within `send`, and its answers lie
//! in the receive queue when that returns. So the calls are plain functions, and cheap enough for
//! the host thread.

use std::io;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, AsyncSocketExt, Socket, SocketAddr, TokioSocket};
use rustix::io::Errno;
use socket2::{SockFilter, SockRef};

use super::ruleset::{Change, Family};
use super::wire::{Batch, dump_of_chains, messages};
use super::{NAME, NftError};

/// `NFNLGRP_NFTABLES`, as a bit of the mask that `bind` takes.
const NFTABLES_GROUP: u32 = 1 << (7 - 1);
/// The kernel.
const KERNEL: (u32, u32) = (0, 0);
/// Between two tries to read from a socket that fails.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(200);
/// A socket may send 200 KiB at once, whatever its privileges; a message has at most 64 KiB.
const TRANSACTION_BYTES: usize = 120 * 1024;
/// Room for every answer to a transaction: failed messages answer one each.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// Commits transactions.
#[derive(Debug)]
pub(super) struct Committer {
    socket: Socket,
    /// Netlink port, which names this socket as the cause in notifications.
    pub(super) port: u32,
    sequence: u32,
}

impl Committer {
    pub(super) fn open() -> Result<Self, NftError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            let port = socket.bind_auto()?.port_number();
            socket.set_non_blocking(true)?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            Ok(Self { socket, port, sequence: 1 })
        };
        open().map_err(|error: io::Error| NftError::from_errno("open", errno(&error), ""))
    }

    /// Applies the changes: as one transaction, all or nothing, while they fit into one. `doing`
    /// completes the sentence "cannot ...".
    pub(super) fn commit(
        &mut self,
        doing: &'static str,
        changes: &[Change<'_>],
    ) -> Result<(), NftError> {
        let mut batch = Batch::new(self.sequence);
        for change in changes {
            if batch.len() > TRANSACTION_BYTES {
                self.send(doing, batch)?;
                batch = Batch::new(self.sequence);
            }
            batch.change(change);
        }
        self.send(doing, batch)
    }

    fn send(&mut self, doing: &'static str, batch: Batch) -> Result<(), NftError> {
        let (bytes, last) = batch.finish();
        self.sequence = last.wrapping_add(2);
        self.send_bytes(doing, &bytes)?;
        self.answers(doing, last)
    }

    fn send_bytes(&self, doing: &'static str, bytes: &[u8]) -> Result<(), NftError> {
        let (port, groups) = KERNEL;
        let sent = self.socket.send_to(bytes, &SocketAddr::new(port, groups), 0);
        sent.map(drop).map_err(|error| NftError::from_errno(doing, errno(&error), ""))
    }

    /// Whether there is a chain of type `nat` in a table that is not ours.
    pub(super) fn foreign_nat(&mut self) -> Result<bool, NftError> {
        const DOING: &str = "look for others beside";
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.send_bytes(DOING, &dump_of_chains(sequence))?;
        let mut found = false;
        let mut buffer = Vec::with_capacity(RECEIVE_BUFFER);
        loop {
            buffer.clear();
            // A dump goes on with each call, and nothing is left when its end was read.
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(found),
                Err(error) => return Err(NftError::from_errno(DOING, errno(&error), "")),
            }
            for message in messages(&buffer) {
                if let Some(errno) = message.answer().and_then(|answer| answer.error) {
                    return Err(NftError::from_errno(DOING, errno, ""));
                }
                found |= message.nat_chain().is_some_and(|table| table != NAME);
            }
        }
    }

    fn answers(&self, doing: &'static str, last: u32) -> Result<(), NftError> {
        let (mut held, mut refused) = (false, None);
        let mut buffer = Vec::with_capacity(RECEIVE_BUFFER);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(NftError::from_errno(doing, errno(&error), "")),
            }
            for message in messages(&buffer) {
                let Some(answer) = message.answer() else { continue };
                match answer.error {
                    // The last message may be fine while the transaction fails for another.
                    None => held |= message.sequence == last,
                    Some(errno) => refused = refused.or(Some((errno, answer.text))),
                }
            }
        }
        match refused {
            Some((errno, text)) => Err(NftError::from_errno(doing, errno, &text)),
            None if held => Ok(()),
            None => Err(NftError::Unanswered { doing }),
        }
    }
}

/// What was heard of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) enum Disturbance {
    /// Something else changed a table of ours.
    Changed,
    /// Something else begins to rewrite destinations.
    Rival,
    /// So much changed in all tables that the kernel dropped notifications (ENOBUFS).
    Unknown,
}

/// Hears how others change the rule set.
pub(super) struct Listener(TokioSocket);

impl Listener {
    /// Listens to what all sockets but the one on `own_port` do.
    pub(super) fn open(own_port: u32) -> Result<Self, NftError> {
        let open = || {
            let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
            SockRef::from(socket.socket_ref()).attach_filter(&all_but(own_port))?;
            socket.socket_mut().bind(&SocketAddr::new(0, NFTABLES_GROUP))?;
            Ok(Self(socket))
        };
        open().map_err(|error: io::Error| NftError::from_errno("watch", errno(&error), ""))
    }

    /// Waits until something changed a table of ours, or may have, or, if `rivals_wanted`, a chain
    /// of type `nat` came. Safe to cancel.
    pub(super) async fn next(&mut self, rivals_wanted: bool) -> Disturbance {
        loop {
            match self.0.recv_from_full().await {
                Ok((datagram, _)) => {
                    let ours = |(family, name): (u8, String)| {
                        name == NAME && Family::ALL.iter().any(|ours| *ours as u8 == family)
                    };
                    if messages(&datagram).filter_map(|message| message.table()).any(ours) {
                        return Disturbance::Changed;
                    }
                    let nat = messages(&datagram).any(|message| message.nat_chain().is_some());
                    if rivals_wanted && nat {
                        return Disturbance::Rival;
                    }
                }
                Err(error) => {
                    // Whatever it is, it must not make the caller spin.
                    if errno(&error) != Errno::NOBUFS {
                        tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    }
                    return Disturbance::Unknown;
                }
            }
        }
    }
}

/// A BPF program that drops what `port` caused. Our own large changes would otherwise overrun the
/// listener, which then could not tell whether something else was among them.
fn all_but(port: u32) -> [SockFilter; 4] {
    /// `BPF_LD | BPF_W | BPF_ABS`: loads four bytes as a big-endian number.
    const LOAD_WORD: u16 = 0x20;
    /// `BPF_JMP | BPF_JEQ | BPF_K`: skips so many instructions if equal, so many if not.
    const JUMP_IF_EQUAL: u16 = 0x15;
    /// `BPF_RET | BPF_K`: keeps that many bytes.
    const RETURN: u16 = 0x06;
    /// Of `nlmsg_pid`, which in a notification is the port that asked for the change. The messages
    /// of a datagram all come from one transaction.
    const PORT_OFFSET: u32 = 12;
    [
        SockFilter::new(LOAD_WORD, 0, 0, PORT_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from_be_bytes(port.to_ne_bytes())),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
