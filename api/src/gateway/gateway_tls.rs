//! `Gateway.spec.tls`: whose certificates clients have to show (GEP-91), and which one backends are
//! shown (GEP-3155).

use serde::{Deserialize, Serialize};

use super::gateway_kind::CertificateRef;

/// `Gateway.spec.tls`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayTls {
    /// The Gateway as client of backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendTls>,
    /// The Gateway as server of clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend: Option<FrontendTls>,
}

/// `Gateway.spec.tls.backend` (GEP-3155).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// The certificate that backends are shown which ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<CertificateRef>,
}

/// `Gateway.spec.tls.frontend` (GEP-91).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTls {
    /// For every listener that ends TLS, unless its port is named.
    pub default: ClientTls,
    /// For the listeners of single ports, in place of the default; up to 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_port: Vec<PortTls>,
}

/// `Gateway.spec.tls.frontend.perPort[]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortTls {
    /// The port, unique in the list.
    pub port: u16,
    /// What is asked of its clients.
    pub tls: ClientTls,
}

/// What is asked of clients that speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientTls {
    /// How their certificates are checked; they need none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<FrontendValidation>,
}

/// How the certificates of clients are checked (`FrontendTLSValidation`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendValidation {
    /// 1..=16 objects with certificates that a client's has to go back to.
    #[serde(default)]
    pub ca_certificate_refs: Vec<CaCertificateRef>,
    /// Whom it lets in.
    #[serde(default)]
    pub mode: FrontendValidationMode,
}

/// A reference to an object with certificates of authorities (`ObjectReference`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaCertificateRef {
    /// API group; `""` is the core group.
    pub group: String,
    /// Kind; every controller reads ConfigMaps.
    pub kind: String,
    /// Name.
    pub name: String,
    /// The namespace of whoever refers to it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Whom a check of certificates lets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontendValidationMode {
    /// Whoever shows a certificate that is right.
    #[default]
    AllowValidOnly,
    /// Everybody: the certificate is asked for, and none or a wrong one does no harm.
    AllowInsecureFallback,
}
