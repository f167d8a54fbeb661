//! TLS to backends (BackendTLSPolicy, GEP-1897): what a handshake needs, once for each way of speaking to
//! one, and shared by all connections; with it the sessions that are resumed.
//!
//! Whom to trust, where a policy says so by `wellKnownCACertificates: System`: what the host trusts
//! (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or where distributions have it), not a list that was compiled in. That
//! would age with the binary, and no administrator could add a CA to it or take one away.

mod explain;
mod verifier;

use std::sync::{Arc, Weak};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use vipgate_planner::BackendTls;

use self::verifier::Verifier;

pub(in crate::proxy) use self::explain::explain;

/// How backends are spoken to by TLS: those that some target wants.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    known: Vec<(Arc<BackendTls>, Weak<Secure>)>,
    /// Whom the host trusts; read when it is first asked for.
    host: Option<Arc<RootCertStore>>,
}

/// How one is.
#[derive(Debug)]
pub(crate) struct Secure {
    /// Or why there can be no handshake. Never without TLS then.
    terms: Result<(Arc<ClientConfig>, ServerName<'static>), String>,
}

impl Backends {
    /// What a handshake needs. Equal settings have the same for as long as a target wants them.
    pub(crate) fn secure(&mut self, tls: &Arc<BackendTls>) -> Arc<Secure> {
        let same = self.known.iter().find(|(known, _)| known == tls);
        let known = same.and_then(|(_, known)| known.upgrade());
        // What was not possible may be now: a file of the host's CAs may have come.
        if let Some(known) = known.filter(|known| known.terms.is_ok()) {
            return known;
        }
        let terms = self.terms(tls);
        if let Err(error) = &terms {
            tracing::error!(server_name = %tls.server_name, error, "TLS to a backend is not possible; \
                connections to it are reset");
        }
        let secure = Arc::new(Secure { terms });
        self.known.retain(|(known, _)| known != tls);
        self.known.push((Arc::clone(tls), Arc::downgrade(&secure)));
        secure
    }

    /// Forgets what no target wants any more.
    pub(crate) fn forget_unused(&mut self) {
        self.known.retain(|(_, secure)| secure.strong_count() > 0);
    }

    fn terms(
        &mut self,
        tls: &BackendTls,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
        let name = ServerName::try_from(tls.server_name.clone())
            .map_err(|error| format!("{}: {error}", tls.server_name))?;
        let roots = match &tls.roots {
            Some(roots) => Arc::new(given(roots)?),
            None => self.host()?,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Verifier::new(tls, roots, provider.signature_verification_algorithms);
        // Nothing is said by ALPN: what is inside is the client's business, and may be anything.
        // Sessions are remembered with the configuration: what was found of a backend ends with it.
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match &tls.certificate {
            Some(certificate) => {
                let (chain, key) = super::parts(certificate)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("Secret {}: {error}", certificate.secret))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok((Arc::new(config), name))
    }

    fn host(&mut self) -> Result<Arc<RootCertStore>, String> {
        if let Some(host) = &self.host {
            return Ok(Arc::clone(host));
        }
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of the CAs that this host trusts cannot be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(
                "no CA is known that this host trusts: install the package ca-certificates, \
                        or name a file of them in SSL_CERT_FILE"
                    .to_owned(),
            );
        }
        Ok(Arc::clone(self.host.insert(Arc::new(roots))))
    }
}

impl Secure {
    /// The client's side of a handshake, not yet begun.
    ///
    /// # Errors
    /// When there can be none; for people.
    pub(crate) fn begin(&self) -> Result<ClientConnection, String> {
        let (config, name) = self.terms.as_ref().map_err(Clone::clone)?;
        ClientConnection::new(Arc::clone(config), name.clone()).map_err(|error| error.to_string())
    }
}

fn given(roots: &[Vec<u8>]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let (_, ignored) =
        store.add_parsable_certificates(roots.iter().cloned().map(CertificateDer::from));
    if store.is_empty() {
        return Err(format!("none of the {ignored} certificates of CAs can be used"));
    }
    Ok(store)
}

#[cfg(test)]
mod tests;
