//! BackendTLSPolicy: how backends are spoken to by TLS (GEP-1897).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PolicyTargetReference;
use crate::k8s::ObjectMeta;

/// TLS towards backends, in `v1` (and `v1alpha3`, which has the same form).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendTlsPolicy {
    /// Standard object metadata; namespaced.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: BackendTlsPolicySpec,
}

/// `BackendTLSPolicy.spec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicySpec {
    /// 1..=16 Services (or our Backends) of its own namespace; `sectionName` is the name of a port.
    pub target_refs: Vec<PolicyTargetReference>,
    /// How it is known that the backend is the right one.
    pub validation: BackendTlsValidation,
    /// Settings of implementations, up to 16; we have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// `BackendTLSPolicy.spec.validation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsValidation {
    /// Up to 8 objects of the policy's namespace with certificates (`ca.crt`, PEM): ConfigMaps by the core,
    /// anything else as far as it is known. Either these or `wellKnownCACertificates`.
    #[serde(default, rename = "caCertificateRefs", skip_serializing_if = "Vec::is_empty")]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// `System`: the certificates that the host trusts.
    #[serde(default, rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<String>,
    /// The server name that is asked for (SNI), and which the certificate has to have unless
    /// `subjectAltNames` says otherwise. No wildcard.
    pub hostname: String,
    /// Up to 5 names, of which the certificate has to have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// An object of the same namespace (`LocalObjectReference`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LocalObjectReference {
    /// API group; `""` is core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// `BackendTLSPolicy.spec.validation.subjectAltNames[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectAltName {
    /// Which of the two is written.
    #[serde(rename = "type")]
    pub kind: SubjectAltNameType,
    /// A DNS name, perhaps with `*.` in front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// A URI with scheme and authority, such as a SPIFFE ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// `type` of a [`SubjectAltName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubjectAltNameType {
    /// dNSName.
    Hostname,
    /// uniformResourceIdentifier.
    #[serde(rename = "URI")]
    Uri,
}
