//! TLS that ends here: handshake on the client's side, plain bytes on the backend's.
//!
//! rustls does the protocol, without any I/O of its own; this moves bytes between it and the two
//! sockets. At most one buffer's worth waits in each direction: what one side does not take stops the
//! reading on the other. An orderly end (`close_notify`) becomes the end of the stream to the backend
//! and the other way round; an end without it is a truncation (RFC 8446 6.1) and resets both.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use vipgate_planner::Certificate;

/// Reads per turn; then the other connections of the worker come first.
const READS_PER_TURN: usize = 8;

/// What a handshake with a certificate needs. ALPN has `http/1.1` only: what is inside goes to
/// the backend as it comes, and nothing tells whether that one speaks HTTP/2.
///
/// # Errors
/// When certificate and key cannot be used; the planner has checked them, so the text is for a log.
pub(super) fn config(certificate: &Certificate) -> Result<Arc<ServerConfig>, String> {
    let chain = certificate.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::try_from(certificate.key.clone()).map_err(str::to_owned)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing to do until the next event of either socket.
    Waiting,
    /// The turn's budget is used up; there may be more.
    More,
    /// Both directions ended in order.
    Finished,
    /// The client failed, or broke the protocol.
    ClientFailed,
    /// The backend failed.
    ServerFailed,
}

/// Both directions of a connection whose client speaks TLS.
#[derive(Debug)]
pub(super) struct TlsPump {
    tls: ServerConnection,
    /// What the backend has not taken yet.
    leftover: Vec<u8>,
    client_readable: bool,
    client_full: bool,
    server_readable: bool,
    server_full: bool,
    /// The client's orderly end was passed on.
    up_done: bool,
    /// The backend's end was passed on.
    down_done: bool,
}

impl TlsPump {
    /// Goes on with a handshake.
    pub(super) fn new(mut tls: ServerConnection) -> Self {
        // What waits in it is bounded by what is read at once.
        tls.set_buffer_limit(None);
        Self {
            tls,
            leftover: Vec::new(),
            client_readable: true,
            client_full: false,
            server_readable: true,
            server_full: false,
            up_done: false,
            down_done: false,
        }
    }

    /// Notes an event of the client's socket.
    pub(super) fn client_event(&mut self, flags: EventFlags) {
        self.client_readable |= !flags.difference(EventFlags::OUT).is_empty();
        self.client_full &= !flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP);
    }

    /// Notes an event of the backend's socket.
    pub(super) fn server_event(&mut self, flags: EventFlags) {
        self.server_readable |= !flags.difference(EventFlags::OUT).is_empty();
        self.server_full &= !flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP);
    }

    /// Moves what can be moved now; adds the plain bytes.
    pub(super) fn run(
        &mut self,
        client: BorrowedFd<'_>,
        server: BorrowedFd<'_>,
        buffer: &mut [u8],
        (bytes_in, bytes_out): (&mut u64, &mut u64),
    ) -> Progress {
        for _ in 0..READS_PER_TURN {
            let up = match self.up(client, server, buffer, bytes_in) {
                Ok(moved) => moved,
                Err(failed) => return failed,
            };
            let down = match self.down(client, server, buffer, bytes_out) {
                Ok(moved) => moved,
                Err(failed) => return failed,
            };
            if self.up_done && self.down_done && self.leftover.is_empty() && !self.tls.wants_write()
            {
                // Fails only when the client is gone, which is what it had said.
                let _ = shutdown(client, Shutdown::Write);
                return Progress::Finished;
            }
            if !up && !down {
                return Progress::Waiting;
            }
        }
        Progress::More
    }

    /// Client to backend. Whether anything moved.
    fn up(
        &mut self,
        client: BorrowedFd<'_>,
        server: BorrowedFd<'_>,
        buffer: &mut [u8],
        moved: &mut u64,
    ) -> Result<bool, Progress> {
        let mut any = false;
        if !self.leftover.is_empty() && !self.server_full {
            let rest = std::mem::take(&mut self.leftover);
            self.give(server, &rest)?;
            any = true;
        }
        if self.leftover.is_empty() && self.client_readable && self.tls.wants_read() {
            match self.tls.read_tls(&mut Socket(client)) {
                // The end, or what is read below says that there was none.
                Ok(0) => self.client_readable = false,
                Ok(_) => any = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.client_readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => any = true,
                Err(_) => return Err(Progress::ClientFailed),
            }
            if self.tls.process_new_packets().is_err() {
                // The alert that says what was wrong.
                let _ = self.tls.write_tls(&mut Socket(client));
                return Err(Progress::ClientFailed);
            }
        }
        while self.leftover.is_empty() && !self.up_done {
            match self.tls.reader().read(buffer) {
                Ok(0) => {
                    self.up_done = true;
                    any = true;
                    shutdown(server, Shutdown::Write).map_err(|_| Progress::ServerFailed)?;
                }
                Ok(read) => {
                    *moved += read as u64;
                    any = true;
                    self.give(server, &buffer[..read])?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(Progress::ClientFailed),
            }
        }
        Ok(any)
    }

    /// Backend to client. Whether anything moved.
    fn down(
        &mut self,
        client: BorrowedFd<'_>,
        server: BorrowedFd<'_>,
        buffer: &mut [u8],
        moved: &mut u64,
    ) -> Result<bool, Progress> {
        let mut any = self.flush(client)?;
        if self.tls.wants_write() || self.tls.is_handshaking() || self.down_done {
            return Ok(any);
        }
        if self.server_readable {
            match recv(server, &mut *buffer, RecvFlags::empty()) {
                Ok((_, 0)) => {
                    self.down_done = true;
                    self.tls.send_close_notify();
                    any = true;
                }
                Ok((_, read)) => {
                    *moved += read as u64;
                    any = true;
                    let written = self.tls.writer().write_all(&buffer[..read]);
                    written.map_err(|_| Progress::ClientFailed)?;
                }
                Err(Errno::AGAIN) => self.server_readable = false,
                Err(Errno::INTR) => any = true,
                Err(_) => return Err(Progress::ServerFailed),
            }
        }
        any |= self.flush(client)?;
        Ok(any)
    }

    /// Writes what TLS has for the client. Whether anything moved.
    fn flush(&mut self, client: BorrowedFd<'_>) -> Result<bool, Progress> {
        let mut any = false;
        while self.tls.wants_write() && !self.client_full {
            match self.tls.write_tls(&mut Socket(client)) {
                Ok(_) => any = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.client_full = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Progress::ClientFailed),
            }
        }
        Ok(any)
    }

    /// Writes to the backend, and keeps what it does not take.
    fn give(&mut self, server: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Progress> {
        let taken = match Socket(server).write(bytes) {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return Err(Progress::ServerFailed),
        };
        if taken < bytes.len() {
            self.server_full = true;
            self.leftover = bytes[taken..].to_vec();
        }
        Ok(())
    }
}

/// A socket as rustls reads and writes it.
pub(super) struct Socket<'a>(pub(super) BorrowedFd<'a>);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, read) = recv(self.0, buffer, RecvFlags::empty())?;
        Ok(read)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(self.0, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
