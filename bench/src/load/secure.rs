//! A request inside TLS that ends at the proxy: a full handshake first.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::requests::{Answer, LENGTH, REQUEST, Talk};
use crate::identity;

/// See the module.
pub(super) struct Secure {
    tls: ClientConnection,
    answer: Answer,
}

impl Secure {
    /// On a connection that is to be made.
    pub(super) fn new(config: &Arc<ClientConfig>) -> Result<Self> {
        let tls = ClientConnection::new(Arc::clone(config), identity::name())?;
        Ok(Self { tls, answer: Answer::default() })
    }

    /// Writes what there is for the other side. Whether the socket took it.
    fn write(&mut self, stream: &mut TcpStream) -> Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("cannot write"),
            }
        }
        Ok(true)
    }
}

impl Talk for Secure {
    /// It goes behind the handshake.
    fn ask(&mut self, stream: &mut TcpStream) -> Result<()> {
        self.answer = Answer::default();
        self.tls.writer().write_all(&REQUEST)?;
        self.write(stream).map(drop)
    }

    fn go_on(&mut self, stream: &mut TcpStream) -> Result<bool> {
        let mut buffer = [0; 2 * LENGTH];
        while self.write(stream)? {
            match self.tls.read_tls(stream) {
                Ok(0) => ensure!(false, "closed before the answer"),
                Ok(_) => {
                    self.tls.process_new_packets()?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("cannot read"),
            }
            match self.tls.reader().read(&mut buffer) {
                Ok(read) => {
                    ensure!(read > 0, "closed before the answer");
                    if self.answer.add(&buffer[..read])? {
                        let kind = self.tls.handshake_kind();
                        ensure!(kind == Some(HandshakeKind::Full), "the handshake was {kind:?}");
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cannot read"),
            }
        }
        Ok(false)
    }

    fn part(&mut self, stream: &mut TcpStream) {
        self.tls.send_close_notify();
        // Whoever cannot be told any more sees the end of the connection.
        let _ = self.write(stream);
    }
}
