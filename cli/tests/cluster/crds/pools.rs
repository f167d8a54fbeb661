//! What is wrong with a pool beside others no rule of its own can tell: the controller says it.

use anyhow::{Context, ensure};
use vipgate_lab::{Result, eventually};

use crate::site::{SOON, Site};

fn pool(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

pub(super) fn what_is_wrong_beside_others_is_a_condition(site: &Site) -> Result<()> {
    let controller = site.controller("a");
    let pools = [
        pool("default", "a", "{addresses: [10.77.0.200-10.77.0.207]}"),
        pool("default", "b", "{addresses: [10.77.0.204-10.77.0.211, '2001:db8::/64']}"),
        pool("default", "c", "{addresses: [10.77.0.201, 10.77.0.202]}"),
        pool("default", "d", "{addresses: [10.78.0.0/30], exclusions: [10.78.0.0-10.78.0.9]}"),
        pool("vipgate-system", "a", "{addresses: [10.79.0.0/24]}"),
    ];
    site.apply(&pools.join("---\n"));
    // Namespace, name, then the columns FREE, FREE IPV6 and REASON, then a part of the message.
    let expected = [
        ("default", "a", 8, 0, "Accepted", "its addresses are given out"),
        ("default", "b", 4, i64::MAX, "Overlapping", "10.77.0.204-10.77.0.207 is in a too"),
        ("default", "c", 0, 0, "Invalid", "all that it could give out is in a already"),
        ("default", "d", 0, 0, "Invalid", "no address is left"),
        ("vipgate-system", "a", 0, 0, "Invalid", "\"default\" has a pool of this name"),
    ];
    for (namespace, name, free, free_v6, reason, message) in expected {
        eventually(SOON, || {
            let pool = site.cluster.get(["pool", name, "--namespace", namespace])?;
            let status = &pool["status"];
            ensure!(status["availableIPv4"] == free, "{status}");
            ensure!(status["availableIPv6"] == free_v6, "{status}");
            let condition = &status["conditions"][0];
            ensure!(condition["type"] == "Accepted" && condition["reason"] == reason, "{status}");
            ensure!(condition["observedGeneration"] == pool["metadata"]["generation"], "{status}");
            let is_used = reason != "Invalid";
            ensure!(condition["status"] == if is_used { "True" } else { "False" }, "{status}");
            let text = condition["message"].as_str().map(str::to_owned);
            ensure!(text.context("a message")?.contains(message), "{status}");
            Ok(())
        })
        .with_context(|| format!("{namespace}/{name}\n{}", controller.tail()))?;
    }
    // What is mended is well again.
    site.apply(&pool("default", "d", "{addresses: [10.78.0.0/30], exclusions: [10.78.0.0]}"));
    let mended = site.condition("pool", "d", "Accepted", "True/Accepted");
    ensure!(mended["status"]["availableIPv4"] == 3, "{mended}");
    Ok(())
}
