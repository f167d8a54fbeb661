//! Whether a client may come in by its certificate (GEP-91).
//!
//! Always holds: who is let in with a certificate has its key, whatever the certificate is worth; where no
//! CA can be used nobody is let in.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use vipgate_planner::ClientValidation;

/// See the module.
#[derive(Debug)]
struct Clients {
    /// Absent where there is no CA.
    strict: Option<Arc<dyn ClientCertVerifier>>,
    /// Whether who fails is let in.
    optional: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What looks at the certificates of clients.
///
/// # Errors
/// When the roots cannot be used together.
pub(super) fn verifier(
    validation: &ClientValidation,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let algorithms = provider.signature_verification_algorithms;
    let mut roots = RootCertStore::empty();
    let ders = validation.roots.iter().cloned().map(CertificateDer::from);
    let (_, ignored) = roots.add_parsable_certificates(ders);
    if ignored > 0 {
        tracing::error!(ignored, "certificates of CAs for clients cannot be read");
    }
    let strict = if roots.is_empty() {
        None
    } else {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Some(builder.build().map_err(|error| error.to_string())?)
    };
    Ok(Arc::new(Clients { strict, optional: validation.optional, algorithms }))
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        !self.optional || self.strict.is_none()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.as_ref().map_or(&[], |strict| strict.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Some(strict) = &self.strict else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        match strict.verify_client_cert(end_entity, intermediates, now) {
            Err(error) if self.optional => {
                tracing::debug!(%error, "a client's certificate is wrong; it is served without");
                Ok(ClientCertVerified::assertion())
            }
            outcome => outcome,
        }
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
