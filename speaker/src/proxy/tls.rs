//! What TLS needs here: the configuration of a handshake, and sockets as the engine uses them.
//!
//! That with clients is in this file, with [`clients`] (whose certificates are looked at) and [`range`]
//! (what is agreed on); that with backends in [`backend`].

pub(crate) mod backend;
mod clients;
mod range;

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use vipgate_planner::{Certificate, Termination, TlsRange};

/// What a handshake with a certificate needs.
///
/// Sessions are resumed by tickets, whose keys live with the configuration: all workers share them,
/// nothing is stored per session, and what a certificate authenticated ends with it. So does what was
/// found of a client's certificate: other roots are another configuration, and who comes with a ticket
/// of the old one is looked at again.
///
/// # Errors
/// When certificate and key cannot be used; the planner has checked them, so the text is for a log.
pub(super) fn config(
    certificate: &Certificate,
    end: &Termination,
    range: &TlsRange,
) -> Result<Arc<ServerConfig>, String> {
    let (chain, key) = parts(certificate)?;
    let (provider, versions) = range::agreed(range)?;
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?;
    let builder = match &end.clients {
        Some(validation) => {
            builder.with_client_cert_verifier(clients::verifier(validation, provider)?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| error.to_string())?;
    config.alpn_protocols = end.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// A certificate and its key as rustls takes them.
type Parts = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn parts(certificate: &Certificate) -> Result<Parts, String> {
    let chain = certificate.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::try_from(certificate.key.clone()).map_err(str::to_owned)?;
    Ok((chain, key))
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
        Ok(again(|| send(self.0, bytes, SendFlags::NOSIGNAL))?)
    }

    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        let none = &mut SendAncillaryBuffer::default();
        Ok(again(|| sendmsg(self.0, records, none, SendFlags::NOSIGNAL))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn again(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}
