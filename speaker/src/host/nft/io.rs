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

use super::NftError;
use super::ruleset::Table;
use super::wire::{Batch, messages};

/// `NFNLGRP_NFTABLES`, as a bit of the mask that `bind` takes.
const NFTABLES_GROUP: u32 = 1 << (7 - 1);
/// The kernel.
const KERNEL: (u32, u32) = (0, 0);
/// Between two tries to read from a socket that fails.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(200);
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

    /// Applies what `fill` puts into a transaction, all or nothing. `doing` completes the sentence
    /// "cannot ...".
    pub(super) fn commit(
        &mut self,
        doing: &'static str,
        fill: impl FnOnce(&mut Batch),
    ) -> Result<(), NftError> {
        let mut batch = Batch::new(self.sequence);
        fill(&mut batch);
        let (bytes, last) = batch.finish();
        self.sequence = last.wrapping_add(2);
        let (port, groups) = KERNEL;
        self.socket
            .send_to(&bytes, &SocketAddr::new(port, groups), 0)
            .map_err(|error| NftError::from_errno(doing, errno(&error), ""))?;
        self.answers(doing, last)
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

/// What was heard about a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) enum Disturbance {
    /// Something else changed it.
    Changed,
    /// So much changed in all tables that the kernel dropped notifications (ENOBUFS).
    Unknown,
}

/// Hears changes of the rule set.
pub(super) struct Listener(TokioSocket);

impl Listener {
    pub(super) fn open() -> Result<Self, NftError> {
        let open = || {
            let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
            socket.socket_mut().bind(&SocketAddr::new(0, NFTABLES_GROUP))?;
            Ok(Self(socket))
        };
        open().map_err(|error: io::Error| NftError::from_errno("watch", errno(&error), ""))
    }

    /// Waits until a socket other than `own_port` changed `table`, or may have. Safe to cancel.
    pub(super) async fn changed(&mut self, table: Table, own_port: u32) -> Disturbance {
        loop {
            match self.0.recv_from_full().await {
                Ok((datagram, _)) => {
                    let foreign = messages(&datagram).any(|message| {
                        message.port != own_port
                            && message.table().is_some_and(|(family, name)| {
                                family == table.family as u8 && name == table.name
                            })
                    });
                    if foreign {
                        return Disturbance::Changed;
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

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
