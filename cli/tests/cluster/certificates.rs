//! Certificates: copied for the speakers when they may be used, and no longer.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use vipgate_lab::{eventually, patience};

use crate::site::{SOON, Site, said};

pub(crate) const LISTENER: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: vipgate
  listeners:
  - name: tls
    protocol: HTTPS
    port: 443
    tls: {certificateRefs: [{name: web, namespace: certs}]}
";
pub(crate) const GRANT: &str = "apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: web, namespace: certs}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}]
  to: [{group: '', kind: Secret}]
";

/// A certificate for `web.example`, signed by itself, and its key.
pub(crate) struct Issued {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) fn issue() -> Issued {
    let made = rcgen::generate_simple_self_signed(vec!["web.example".to_owned()]).unwrap();
    Issued {
        der: made.cert.der().clone(),
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    }
}

/// A Secret with a certificate of its own.
pub(crate) fn secret(site: &Site, namespace: &str, name: &str) -> Issued {
    let issued = issue();
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    site.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indented(&issued.certificate),
        indented(&issued.key),
    ));
    issued
}

pub(crate) fn copies(site: &Site) -> anyhow::Result<Vec<Value>> {
    let list = site.cluster.get(["secrets", "--namespace=vipgate-system"])?;
    let all = list["items"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|secret| secret["metadata"]["name"] != "vipgate-group").collect())
}

#[test]
fn a_granted_certificate_is_copied_followed_and_withdrawn_within_a_second() {
    let site = Site::new("certs");
    site.apply_pool();
    site.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: certs}\n");
    secret(&site, "certs", "web");
    secret(&site, "certs", "private");
    let _controller = site.controller("one");
    site.apply(LISTENER);
    let resolved = |is: &str| {
        eventually(SOON, || {
            let web = site.get("gateway", "web")?;
            let conditions = &web["status"]["listeners"][0]["conditions"];
            ensure!(said(conditions, "ResolvedRefs").as_deref() == Some(is), "{conditions}");
            Ok(())
        })
        .unwrap();
    };
    resolved("False/RefNotPermitted");
    assert_eq!(copies(&site).unwrap(), Vec::<Value>::new());

    site.apply(GRANT);
    resolved("True/ResolvedRefs");
    let source =
        || site.cluster.get(["secret", "web", "--namespace=certs"]).unwrap()["data"].clone();
    let is_copied = || {
        let copies = copies(&site)?;
        ensure!(copies.len() == 1, "{} copies", copies.len());
        ensure!(copies[0]["data"] == source(), "an old copy");
        Ok(copies[0].clone())
    };
    let copy = eventually(SOON, is_copied).unwrap();
    assert_eq!(copy["metadata"]["annotations"]["vipgate.dev/source-name"], "web");
    assert_eq!(copy["metadata"]["annotations"]["vipgate.dev/source-namespace"], "certs");
    // A renewed one is copied again, a lost copy too.
    secret(&site, "certs", "web");
    eventually(SOON, is_copied).unwrap();
    let name = copy["metadata"]["name"].as_str().unwrap();
    site.cluster.kubectl(["delete", "secret", name, "--namespace=vipgate-system"]).unwrap();
    eventually(SOON, is_copied).unwrap();

    let withdrawn = || {
        let begun = Instant::now();
        eventually(SOON, || {
            ensure!(copies(&site)?.is_empty(), "it is still there");
            Ok(())
        })
        .unwrap();
        let took = begun.elapsed();
        assert!(took <= patience(Duration::from_secs(1)), "{took:?}");
    };
    let delete = |kind: &str, namespace: &str| {
        let namespace = format!("--namespace={namespace}");
        site.cluster.kubectl(["delete", kind, "web", &namespace]).unwrap();
    };
    delete("referencegrant", "certs");
    withdrawn();
    resolved("False/RefNotPermitted");
    site.apply(GRANT);
    eventually(SOON, is_copied).unwrap();
    delete("secret", "certs");
    withdrawn();
    resolved("False/InvalidCertificateRef");
    secret(&site, "certs", "web");
    eventually(SOON, is_copied).unwrap();
    // Nobody uses it any more.
    delete("gateway", "default");
    withdrawn();
    // The one that no listener names was never copied, and whatever else is there stays.
    let own = ["create", "secret", "generic", "vipgate-tls-own", "--namespace=vipgate-system"];
    site.cluster.kubectl(own).unwrap();
    site.apply(LISTENER);
    eventually(SOON, || {
        let copies = copies(&site)?;
        ensure!(copies.len() == 2, "{} Secrets", copies.len());
        Ok(())
    })
    .unwrap();
    delete("gateway", "default");
    eventually(SOON, || {
        let left = copies(&site)?;
        ensure!(left.len() == 1 && left[0]["metadata"]["name"] == "vipgate-tls-own", "{left:?}");
        Ok(())
    })
    .unwrap();
}
