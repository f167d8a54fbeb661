//! Versions and ciphers that a listener agrees on.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ALL_VERSIONS, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};
use vipgate_planner::{TlsRange, TlsVersion};

/// What is left of what we have. A version without a cipher is off.
///
/// # Errors
/// When nothing is left.
pub(super) fn agreed(
    range: &TlsRange,
) -> Result<(CryptoProvider, Vec<&'static SupportedProtocolVersion>), String> {
    let mut provider = aws_lc_rs::default_provider();
    if !range.ciphers.is_empty() {
        let is_named = |suite: &SupportedCipherSuite| {
            name(suite).is_some_and(|name| range.ciphers.contains(&name))
        };
        provider.cipher_suites.retain(is_named);
    }
    let is_allowed = |version: &SupportedProtocolVersion| {
        range.min == TlsVersion::V1_2 || version.version == ProtocolVersion::TLSv1_3
    };
    let has_cipher = |version: &SupportedProtocolVersion| {
        provider.cipher_suites.iter().any(|suite| suite.version().version == version.version)
    };
    let versions: Vec<_> = ALL_VERSIONS
        .iter()
        .copied()
        .filter(|version| is_allowed(version) && has_cipher(version))
        .collect();
    if versions.is_empty() {
        return Err(format!(
            "of the ciphers {} none is one that we have and that belongs to an allowed version",
            range.ciphers.join(", ")
        ));
    }
    Ok((provider, versions))
}

/// The name of a cipher in the registry of IANA. rustls has another prefix for those of TLS 1.3.
fn name(suite: &SupportedCipherSuite) -> Option<String> {
    let name = suite.suite().as_str()?;
    Some(match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(min: TlsVersion, ciphers: &[&str]) -> Result<Vec<ProtocolVersion>, String> {
        let ciphers = ciphers.iter().map(|name| (*name).to_owned()).collect();
        let (_, versions) = agreed(&TlsRange { min, ciphers })?;
        Ok(versions.iter().map(|version| version.version).collect())
    }

    #[test]
    fn a_version_without_a_cipher_is_off() {
        use ProtocolVersion::{TLSv1_2, TLSv1_3};
        const NEW: &str = "TLS_AES_128_GCM_SHA256";
        const OLD: &str = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        assert_eq!(versions(TlsVersion::V1_2, &[]), Ok(vec![TLSv1_3, TLSv1_2]));
        assert_eq!(versions(TlsVersion::V1_3, &[]), Ok(vec![TLSv1_3]));
        assert_eq!(versions(TlsVersion::V1_2, &[OLD]), Ok(vec![TLSv1_2]));
        assert_eq!(versions(TlsVersion::V1_2, &[NEW]), Ok(vec![TLSv1_3]));
        assert_eq!(versions(TlsVersion::V1_2, &[NEW, OLD]), Ok(vec![TLSv1_3, TLSv1_2]));
        assert!(versions(TlsVersion::V1_3, &[OLD]).unwrap_err().contains(OLD));
        assert!(versions(TlsVersion::V1_2, &["TLS_RSA_WITH_NULL_MD5"]).is_err());
    }

    /// What people write is what IANA has, not what rustls calls it.
    #[test]
    fn all_that_we_have_can_be_named() {
        let provider = aws_lc_rs::default_provider();
        let names: Vec<_> =
            provider.cipher_suites.iter().map(|suite| name(suite).unwrap()).collect();
        assert!(names.contains(&"TLS_AES_256_GCM_SHA384".to_owned()), "{names:?}");
        assert!(names.contains(&"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".to_owned()));
        let (all, _) = agreed(&TlsRange { min: TlsVersion::V1_2, ciphers: names }).unwrap();
        assert_eq!(all.cipher_suites.len(), provider.cipher_suites.len());
    }
}
