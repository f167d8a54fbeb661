//! What TLS needs here: the configuration of a handshake, and sockets as the engine uses them.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use vipgate_planner::Certificate;

/// What a handshake with a certificate needs.
///
/// Sessions are resumed by tickets, whose keys live with the configuration: all workers share them,
/// nothing is stored per session, and what a certificate authenticated ends with it.
///
/// # Errors
/// When certificate and key cannot be used; the planner has checked them, so the text is for a log.
pub(super) fn config(
    certificate: &Certificate,
    alpn: &[String],
) -> Result<Arc<ServerConfig>, String> {
    let chain = certificate.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::try_from(certificate.key.clone()).map_err(str::to_owned)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = alpn.iter().map(|name| name.clone().into_bytes()).collect();
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
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
