//! Who is known to a cluster: three users by token, and service accounts by a key.
//!
//! The certificate of the API server is its own work (`--cert-dir`). All of it is made afresh for
//! each cluster, readable by its owner alone, and gone with the cluster.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;

use super::options::Places;
use crate::Result;

/// Users of this group may do everything, by what every API server has built in.
const EVERYTHING: &str = "system:masters";

pub(super) struct Credentials {
    admin: String,
    controllers: String,
    proxy: String,
}

impl Credentials {
    /// Makes and writes what the API server reads when it starts.
    pub(super) fn create(places: &Places) -> Result<Self> {
        let created = Self { admin: token()?, controllers: token()?, proxy: token()? };
        let Self { admin, controllers, proxy } = &created;
        // The rights of the last are bound to its name in every cluster.
        let users = format!(
            "{admin},admin,admin,{EVERYTHING}\n\
             {controllers},system:kube-controller-manager,controllers,{EVERYTHING}\n\
             {proxy},system:kube-proxy,proxy\n"
        );
        write_private(&places.tokens(), &users)?;
        write_private(&places.account_key(), &signing_key(random()?))?;
        Ok(created)
    }

    pub(super) fn admin_kubeconfig(&self, places: &Places) -> Result<PathBuf> {
        kubeconfig(places, "admin", &self.admin)
    }

    pub(super) fn controllers_kubeconfig(&self, places: &Places) -> Result<PathBuf> {
        kubeconfig(places, "controllers", &self.controllers)
    }

    pub(super) fn proxy_kubeconfig(&self, places: &Places) -> Result<PathBuf> {
        kubeconfig(places, "proxy", &self.proxy)
    }
}

/// Writes a kubeconfig (JSON is YAML) for the bearer of `token`; `name` is that of the file.
pub(super) fn kubeconfig(places: &Places, name: &str, token: &str) -> Result<PathBuf> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {
            "server": places.url(),
            "certificate-authority": places.authority(),
        }}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        "current-context": "lab",
    });
    let path = places.file(&format!("{name}.kubeconfig"));
    write_private(&path, &config.to_string())?;
    Ok(path)
}

fn token() -> Result<String> {
    Ok(random()?.iter().map(|octet| format!("{octet:02x}")).collect())
}

fn random() -> Result<[u8; 32]> {
    let mut octets = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(octets)
}

/// A private key of the curve P-256 (RFC 5915, without the optional public key) in PEM. A private
/// key of an elliptic curve is any number below the order of the curve, so random octets are one.
fn signing_key(mut number: [u8; 32]) -> String {
    // Below the order, which begins with 0xffffffff, and not zero.
    number[0] &= 0x7f;
    number[31] |= 1;
    // ECPrivateKey: a sequence of version 1, 32 octets …
    let mut der = vec![0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    der.extend(number);
    // … and as [0] the identifier of the curve, 1.2.840.10045.3.1.7.
    der.extend([0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
    let label = "EC PRIVATE KEY";
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests;
