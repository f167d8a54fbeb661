//! What routes do: shares of backends, TLS that is passed through, datagrams.

use anyhow::ensure;

use crate::Result;
use crate::ground::Ground;
use crate::manifests::{self, Server};
use crate::wait::{SOON, eventually};

/// Connections by weight 3 to 1.
pub(crate) fn weights_count(ground: &Ground<'_>) -> Result<Option<String>> {
    const CALLS: u32 = 80;
    for name in ["heavy", "light"] {
        ground.servers(name, Server::Tcp, 1)?;
    }
    ground.apply(&manifests::gateway("shares", "protocol: TCP, port: 9000", None))?;
    let backends = [("heavy", 3000, 3), ("light", 3000, 1)];
    ground.apply(&manifests::route("TCPRoute", ("shares", "shares"), "", &backends))?;
    let mut notes = Vec::new();
    for vip in ground.gateway("shares")? {
        eventually(SOON, || ground.client().greeting(vip, 9000))?;
        let answers = ground.client().answers((vip, 9000), CALLS, "service")?;
        let heavy = answers.get("heavy").copied().unwrap_or_default();
        ensure!((52..=68).contains(&heavy), "3 to 1, of {CALLS}: {answers:?}");
        notes.push(format!("{vip}: {heavy} of {CALLS} by weight 3 of 4"));
    }
    Ok(Some(notes.join("; ")))
}

/// Each name leads to its own server, which presents its own certificate; a name that no route has leads nowhere.
pub(crate) fn tls_is_passed_through(ground: &Ground<'_>) -> Result<Option<String>> {
    let names = [("one", "one.example"), ("two", "two.example")];
    let mut certificates = Vec::new();
    for (server, name) in names {
        let (certificate, key) = ground.client().certificate(name)?;
        ground.apply(&manifests::secret(server, &certificate, &key))?;
        ground.servers(server, Server::Tls, 1)?;
        certificates.push(certificate);
    }
    let listener = "protocol: TLS, port: 443, tls: {mode: Passthrough}";
    ground.apply(&manifests::gateway("sni", listener, None))?;
    for (server, name) in names {
        let hostnames = format!("  hostnames: [{name}]\n");
        let route = manifests::route("TLSRoute", (server, "sni"), &hostnames, &[(server, 8443, 1)]);
        ground.apply(&route)?;
    }
    for vip in ground.gateway("sni")? {
        for ((_, name), certificate) in names.iter().zip(&certificates) {
            eventually(SOON, || {
                let presented = ground.client().presented(vip, 443, name)?;
                ensure!(presented == *certificate, "for {name} there is another: {presented}");
                Ok(())
            })?;
        }
        let presented = ground.client().presented(vip, 443, "three.example");
        ensure!(presented.is_err(), "for a name without route: {presented:?}");
    }
    Ok(None)
}

/// A datagram reaches the server, and its answer the client.
pub(crate) fn datagrams_pass(ground: &Ground<'_>) -> Result<Option<String>> {
    ground.servers("datagrams", Server::Udp, 1)?;
    ground.apply(&manifests::gateway("udp", "protocol: UDP, port: 5300", None))?;
    ground.apply(&manifests::route("UDPRoute", ("udp", "udp"), "", &[("datagrams", 8080, 1)]))?;
    for vip in ground.gateway("udp")? {
        eventually(SOON, || {
            let answer = ground.client().datagram(vip, 5300, "a word")?;
            ensure!(answer["request"] == "a word" && answer["service"] == "datagrams", "{answer}");
            Ok(())
        })?;
    }
    Ok(None)
}
