//! Our CRDs: what an API server takes and what it refuses, with words that help.

use anyhow::Context;
use vipgate_lab::Result;

use crate::site::Site;

fn pool(spec: &str) -> String {
    object("IPAddressPool", "p", spec)
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

fn vip(name: &str, address: &str) -> String {
    let spec = format!(
        "{{address: '{address}', pool: p, origin: Chosen, users: \
         [{{kind: Gateway, namespace: default, name: web, ports: [{{protocol: TCP, port: 80}}]}}]}}"
    );
    object("VirtualIP", name, &spec)
}

#[test]
fn what_is_right_is_taken_and_what_is_wrong_is_refused_with_what_to_write() -> Result<()> {
    let site = Site::bare("crds")?;
    site.install_chart();
    let canonical = "2001-0db8-0000-0000-0000-0000-0000-0001";
    let good = [
        pool(
            "{addresses: [192.0.2.0/24, 192.0.3.1-192.0.3.9, 192.0.4.1, '2001:db8::/120', '2001:db8:1::1 - 2001:db8:1::9']}",
        ),
        pool("{addresses: [192.0.2.0/24], exclusions: [192.0.2.1, 192.0.2.4/30]}"),
        object("L2Advertisement", "l2", "{interfaces: [eth0, bond0.100]}"),
        object(
            "Backend",
            "b",
            "{endpoints: [{address: 192.0.2.1, port: 1}, {address: '2001:db8::1', port: 65535}]}",
        ),
        vip("192.0.2.1", "192.0.2.1"),
        vip(canonical, "2001:db8::1"),
    ];
    for manifest in good {
        site.cluster.apply(&manifest).with_context(|| manifest.clone())?;
    }
    let bad = [
        (pool("{addresses: []}"), "should have at least 1 items"),
        (pool("{addresses: [192.0.2.0/33]}"), "write CIDRs"),
        (pool("{addresses: [192.0.2.1-x]}"), "write CIDRs"),
        (pool("{addresses: ['192.0.2.1-2001:db8::1']}"), "ranges of one family"),
        (pool("{addresses: [some]}"), "write CIDRs"),
        (pool("{addresses: [192.0.2.0/24], exclusions: [me]}"), "spec.exclusions: write CIDRs"),
        (
            object("L2Advertisement", "l3", "{interfaces: [an-interface-too-long]}"),
            "names of network interfaces",
        ),
        (
            object("Backend", "c", "{endpoints: [{address: web.example, port: 1}]}"),
            "not an IP address: write one",
        ),
        (
            object("Backend", "c", "{endpoints: [{address: 192.0.2.1, port: 0}]}"),
            "greater than or equal to 1",
        ),
        (vip("192.0.2.2", "192.0.2.3"), "canonical form"),
        (vip("2001-db8--1", "2001:db8::1"), "canonical form"),
        (vip("2001-0db8-0000-0000-0000-0000-0000-0002", "2001:db8::1"), "canonical form"),
        (vip("192.0.2.1", "192.0.2.9"), "cannot change"),
        (
            object(
                "VirtualIP",
                "192.0.2.7",
                "{address: 192.0.2.7, pool: p, origin: Chosen, users: []}",
            ),
            "should have at least 1 items",
        ),
    ];
    for (manifest, expected) in bad {
        let refused = site.cluster.apply(&manifest).err();
        let text = refused.map(|error| format!("{error:#}")).with_context(|| manifest.clone())?;
        assert!(text.contains(expected), "{manifest}\n{text}");
    }
    Ok(())
}
