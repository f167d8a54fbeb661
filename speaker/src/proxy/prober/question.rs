//! One question to an endpoint: a connection; then a PROXY header, TLS, something that is sent, and an answer that begins as
//! expected, as far as a check asks for these.
//!
//! Whatever certificate is shown is fine: a check asks whether something answers, not who. (Nothing is sent
//! that is a secret.) No server name is asked for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use vipgate_planner::Check;

use crate::proxy::connect;
use crate::proxy::proxy_protocol::write::own;
use crate::proxy::socket;
use crate::proxy::tls::Socket;

/// See the module.
#[derive(Debug)]
pub(super) struct Question {
    socket: OwnedFd,
    connected: bool,
    /// What to do then, if more than that is asked.
    talk: Option<Box<Talk>>,
}

/// What is said on a connection.
#[derive(Debug)]
struct Talk {
    /// What comes before all else, TLS included.
    header: Vec<u8>,
    introduced: usize,
    line: Line,
    send: Vec<u8>,
    sent: usize,
    expect: Vec<u8>,
    heard: usize,
}

#[derive(Debug)]
enum Line {
    Plain,
    Tls(Box<ClientConnection>),
}

/// Why a question could not be asked.
#[derive(Debug)]
pub(super) struct Unasked {
    /// For a log.
    pub(super) text: String,
    /// This process or host has nothing left.
    pub(super) of_ours: bool,
}

impl Question {
    /// Whether it can be connected to.
    pub(super) fn whether_it_connects(address: SocketAddr) -> Result<Self, Unasked> {
        let socket = connect::start(address).map_err(|error| Unasked {
            text: error.to_string(),
            of_ours: connect::is_exhaustion(error) || connect::lacks_port(error, address),
        })?;
        Ok(Self { socket, connected: false, talk: None })
    }

    /// What a check asks.
    pub(super) fn of(address: SocketAddr, check: &Check) -> Result<Self, Unasked> {
        let header = check.proxy_protocol.map(own).unwrap_or_default();
        let says = !header.is_empty() || !check.send.is_empty();
        let talks = says || check.tls || !check.expect.is_empty();
        let talk = match talks {
            true => Some(Box::new(Talk {
                header,
                introduced: 0,
                line: match check.tls {
                    true => Line::Tls(Box::new(session(address)?)),
                    false => Line::Plain,
                },
                send: check.send.clone(),
                sent: 0,
                expect: check.expect.clone(),
                heard: 0,
            })),
            false => None,
        };
        Ok(Self { talk, ..Self::whether_it_connects(address)? })
    }

    /// What it waits for.
    pub(super) fn poll(&self) -> PollFd<'_> {
        let waits_for_room = match &self.talk {
            Some(talk) if self.connected && talk.is_introduced() => match &talk.line {
                Line::Plain => talk.sent < talk.send.len(),
                Line::Tls(tls) => tls.wants_write(),
            },
            _ => true,
        };
        let flags = if waits_for_room { PollFlags::OUT } else { PollFlags::IN };
        PollFd::new(&self.socket, flags)
    }

    /// Goes on as far as it can. The answer, when there is one.
    pub(super) fn go_on(&mut self) -> Option<Result<(), String>> {
        if !self.connected {
            match connect::outcome(&self.socket)? {
                Ok(()) => self.connected = true,
                Err(error) => return Some(Err(error.to_string())),
            }
        }
        let Some(talk) = &mut self.talk else { return Some(Ok(())) };
        match talk.go_on(self.socket.as_fd()) {
            Ok(()) => Some(Ok(())),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                None
            }
            Err(error) => Some(Err(error.to_string())),
        }
    }

    /// Ends it: with a reset, unless something was said and all went well.
    pub(super) fn close(mut self, well: bool) {
        match &mut self.talk {
            Some(talk) if well => {
                if let Line::Tls(tls) = &mut talk.line {
                    tls.send_close_notify();
                    // If there is no room for it, there is none.
                    let _ = tls.write_tls(&mut Socket(self.socket.as_fd()));
                }
            }
            _ => socket::reset(self.socket),
        }
    }
}

impl Talk {
    fn is_introduced(&self) -> bool {
        self.introduced == self.header.len()
    }

    /// Goes on as far as it can: `WouldBlock` where that is not to the end.
    fn go_on(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        while !self.is_introduced() {
            self.introduced += Socket(socket).write(&self.header[self.introduced..])?;
        }
        self.line.flush(socket)?;
        while self.sent < self.send.len() {
            self.sent += self.line.write(socket, &self.send[self.sent..])?;
        }
        self.line.flush(socket)?;
        let mut buffer = [0; 1024];
        while self.heard < self.expect.len() {
            let rest = &self.expect[self.heard..];
            let most = rest.len().min(buffer.len());
            let read = self.line.read(socket, &mut buffer[..most])?;
            if read == 0 {
                return Err(io::Error::other("the answer ends before what is expected"));
            }
            if buffer[..read] != rest[..read] {
                return Err(io::Error::other("the answer is another than is expected"));
            }
            self.heard += read;
        }
        Ok(())
    }
}

impl Line {
    /// Agrees on TLS, and has everything written that was.
    fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let Self::Tls(tls) = self else { return Ok(()) };
        loop {
            while tls.wants_write() {
                tls.write_tls(&mut Socket(socket))?;
            }
            if !tls.is_handshaking() {
                return Ok(());
            }
            receive(tls, socket)?;
        }
    }

    fn write(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain => Socket(socket).write(bytes),
            Self::Tls(tls) => tls.writer().write(bytes),
        }
    }

    fn read(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let Self::Tls(tls) = self else { return Socket(socket).read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => receive(tls, socket)?,
                outcome => return outcome,
            }
        }
    }
}

fn receive(tls: &mut ClientConnection, socket: BorrowedFd<'_>) -> io::Result<()> {
    if tls.read_tls(&mut Socket(socket))? == 0 && tls.is_handshaking() {
        return Err(io::Error::other("the TLS handshake was broken off"));
    }
    tls.process_new_packets().map(|_| ()).map_err(|error| {
        // The alert, as far as there is room.
        let _ = tls.write_tls(&mut Socket(socket));
        io::Error::other(error)
    })
}

fn session(address: SocketAddr) -> Result<ClientConnection, Unasked> {
    let provider = aws_lc_rs::default_provider();
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let builder = builder.dangerous();
            let builder = builder.with_custom_certificate_verifier(Arc::new(Anybody(schemes)));
            let config = Arc::new(builder.with_no_client_auth());
            ClientConnection::new(config, ServerName::from(address.ip()))
        })
        .map_err(|error| Unasked { text: error.to_string(), of_ours: false })
}

/// Takes every certificate.
#[derive(Debug)]
struct Anybody(Vec<SignatureScheme>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
