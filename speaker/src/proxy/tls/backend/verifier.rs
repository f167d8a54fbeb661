//! Whether a backend's certificate is right: its chain, its time, and one of the names that it may have.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use vipgate_planner::{BackendTls, SubjectName};
use webpki::EndEntityCert;

/// Names of a certificate that are shown.
const SHOWN: usize = 4;
/// Characters of each.
const LONGEST: usize = 80;

/// See the module.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Arc<RootCertStore>,
    /// One of them is enough; at least one.
    names: Vec<SubjectName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(
        tls: &BackendTls,
        roots: Arc<RootCertStore>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        // GEP-1897: names that are given are looked for instead of the server name, not besides.
        let names = match &*tls.subject_names {
            [] => vec![SubjectName::Hostname(tls.server_name.clone())],
            names => names.to_vec(),
        };
        Self { roots, names, algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let (roots, algorithms) = (&self.roots, self.algorithms.all);
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        let certificate =
            EndEntityCert::try_from(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if self.names.iter().any(|name| has(&certificate, name)) {
            return Ok(ServerCertVerified::assertion());
        }
        let error = OtherError(Arc::new(WrongName::of(&certificate, &self.names)));
        Err(CertificateError::Other(error).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate has a name.
fn has(certificate: &EndEntityCert<'_>, name: &SubjectName) -> bool {
    match name {
        // Character by character (RFC 3986 6.2.1), as SPIFFE wants it.
        SubjectName::Uri(uri) => certificate.valid_uri_names().any(|name| name == uri),
        // Any one name below, and the wildcard itself.
        SubjectName::Hostname(name) if name.starts_with("*.") => {
            let mut names = certificate.valid_dns_names();
            names.any(|shown| {
                let below = shown.split_once('.').map(|(_, below)| below);
                below.is_some_and(|below| below.eq_ignore_ascii_case(&name[2..]))
            })
        }
        // RFC 9525 6.3: a wildcard in the certificate stands for one label.
        SubjectName::Hostname(name) => ServerName::try_from(name.as_str())
            .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok()),
    }
}

/// A certificate has other names.
#[derive(Debug)]
pub(super) struct WrongName {
    wanted: Vec<String>,
    shown: Vec<String>,
}

impl WrongName {
    fn of(certificate: &EndEntityCert<'_>, names: &[SubjectName]) -> Self {
        let wanted = names.iter().map(|name| match name {
            SubjectName::Hostname(name) | SubjectName::Uri(name) => name.as_str(),
        });
        // What somebody else has written: for a line of a log, and not for more.
        let short = |name: &str| name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
        let shown = certificate.valid_dns_names().chain(certificate.valid_uri_names());
        Self {
            wanted: wanted.take(SHOWN).map(short).collect(),
            shown: shown.take(SHOWN).map(short).collect(),
        }
    }
}

impl fmt::Display for WrongName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.shown {
            [] => write!(f, "its certificate has no name")?,
            shown => write!(f, "its certificate is for {}", shown.join(", "))?,
        }
        write!(f, ", not for {}", self.wanted.join(" or "))
    }
}

impl std::error::Error for WrongName {}
