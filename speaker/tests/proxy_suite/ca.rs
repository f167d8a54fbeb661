//! A certificate authority of a test, and what it issues.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use vipgate_api::ObjectKey;
use vipgate_planner::{BackendTls, Certificate};

use crate::tls::Issued;

/// See the module.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    /// One of this name.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, DER.
    pub(crate) fn root(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// The same as a file has it.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these DNS names.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    /// The same with changes.
    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.0).unwrap().der().clone();
        let certificate = Certificate {
            secret: ObjectKey::new("default", "issued"),
            names,
            chain: vec![der.to_vec()],
            key: key.serialize_der(),
        };
        Issued { certificate: Arc::new(certificate), der }
    }

    /// What trusts it alone.
    pub(crate) fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add(CertificateDer::from(self.root())).unwrap();
        store
    }

    /// A server that asks for a certificate of this authority.
    pub(crate) fn server(&self, own: &Issued) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(self.store());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![own.der.clone()], key(own));
        Arc::new(config.unwrap())
    }

    /// How a backend is spoken to that has a certificate of this authority for this name.
    pub(crate) fn to(&self, server_name: &str) -> BackendTls {
        BackendTls {
            server_name: server_name.to_owned(),
            subject_names: Vec::new(),
            roots: Some(vec![self.root()]),
            certificate: None,
        }
    }
}

/// The key of a certificate.
pub(crate) fn key(issued: &Issued) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(issued.certificate.key.clone()).unwrap()
}
