//! The certificate that every proxy shows, made anew for each run: P-256, signed by itself, for one name.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// The name on it, which clients ask for.
pub(crate) const NAME: &str = "bench.example.com";

/// The certificate and its key, as files that each proxy can read.
pub(crate) struct Identity {
    directory: TempDir,
    /// PEM.
    pub(crate) certificate: String,
    /// PEM.
    pub(crate) key: String,
}

impl Identity {
    /// Makes one.
    pub(crate) fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let identity = Self { directory: TempDir::new()?, certificate, key };
        fs::write(identity.certificate(), &identity.certificate)?;
        fs::write(identity.key(), &identity.key)?;
        fs::write(identity.both(), [identity.certificate.as_str(), &identity.key].concat())?;
        Ok(identity)
    }

    /// File of the certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// File of the key.
    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    /// File of both, as HAProxy wants it.
    pub(crate) fn both(&self) -> PathBuf {
        self.directory.path().join("both.pem")
    }
}

/// What a client needs that trusts the certificate in this file: TLS 1.3 with one cipher and one group, so that all
/// proxies do the same work, and no session is resumed.
pub(crate) fn client(certificate: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(certificate)
        .with_context(|| format!("cannot read {}", certificate.display()))?;
    roots.add(certificate)?;
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name, as rustls takes it.
pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("it is a name")
}
