//! Certificates of authorities: a ConfigMap with `ca.crt`, PEM.
//!
//! A bundle is taken whole or not at all: who writes one that is broken in the middle does not mean the
//! first half of it.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use vipgate_api::ObjectKey;
use vipgate_api::k8s::ConfigMap;

use crate::world::Shelf;

/// The key of a ConfigMap that a bundle is in.
pub(crate) const ENTRY: &str = "ca.crt";

/// Whether a reference is to a kind that holds bundles.
pub(crate) fn is_kind(group: &str, kind: &str) -> bool {
    group.is_empty() && kind == "ConfigMap"
}

/// The certificates in a ConfigMap, DER, each once and in their order; what is wrong if there are none.
pub(crate) fn find(
    key: &ObjectKey,
    config_maps: &Shelf<ConfigMap>,
) -> Result<Vec<Vec<u8>>, String> {
    let stored = config_maps
        .get(key)
        .ok_or_else(|| format!("ConfigMap {key} does not exist: check name and namespace"))?;
    read(&stored.object).map_err(|why| format!("ConfigMap {key}: {why}"))
}

fn read(map: &ConfigMap) -> Result<Vec<Vec<u8>>, String> {
    let text = map.data.as_ref().and_then(|data| data.get(ENTRY));
    let text =
        text.ok_or_else(|| format!("data has no {ENTRY}: put the certificate there, in PEM"))?;
    let mut roots: Vec<Vec<u8>> = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(text.as_bytes()).enumerate() {
        let certificate = certificate
            .map_err(|error| format!("{ENTRY} is not PEM ({error}): put certificates there"))?;
        webpki::anchor_from_trusted_cert(&certificate).map_err(|error| {
            format!("certificate {} in {ENTRY} cannot be used ({error})", index + 1)
        })?;
        if !roots.iter().any(|root| root[..] == certificate[..]) {
            roots.push(certificate.to_vec());
        }
    }
    match roots.is_empty() {
        true => Err(format!("{ENTRY} holds no certificate: put one there, in PEM")),
        false => Ok(roots),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pem(name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    }

    fn read_text(text: Option<&str>) -> Result<usize, String> {
        let data = text.map(|text| [(ENTRY.to_owned(), text.to_owned())].into());
        read(&ConfigMap { data, ..ConfigMap::default() }).map(|roots| roots.len())
    }

    #[test]
    fn a_bundle_is_taken_whole_or_not_at_all() {
        let (one, two) = (pem("one"), pem("two"));
        assert_eq!(read_text(Some(&one)), Ok(1));
        assert_eq!(read_text(Some(&format!("# ours\n{one}\n{two}{one}"))), Ok(2));
        let cut = &two[..two.len() / 2];
        let garbled = two.replace("MII", "AII");
        for (text, why) in [
            (None, "data has no ca.crt"),
            (Some(""), "holds no certificate"),
            (Some("not a certificate"), "holds no certificate"),
            (Some(&*format!("{one}{cut}")), "is not PEM"),
            (Some(&*format!("{one}{garbled}")), "certificate 2 in ca.crt cannot be used"),
        ] {
            let error = read_text(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
