//! That an installation works at all.

use std::collections::BTreeMap;

use anyhow::ensure;

use crate::Result;
use crate::ground::Ground;
use crate::manifests::{self, Server};
use crate::wait::{SOON, eventually};

const LISTENER: &str = "protocol: TCP, port: 8080";

/// A Gateway with a TCPRoute gets a VIP that answers, on each family, and gives it back.
pub(crate) fn gateway_answers(ground: &Ground<'_>) -> Result<Option<String>> {
    ground.servers("echo", Server::Tcp, 1)?;
    let gateway = manifests::gateway("smoke", LISTENER, None);
    ground.apply(&gateway)?;
    ground.apply(&manifests::route("TCPRoute", ("smoke", "smoke"), "", &[("echo", 3000, 1)]))?;
    let vips = ground.gateway("smoke")?;
    for vip in &vips {
        eventually(SOON, || ground.client().greeting(*vip, 8080))?;
        let answers = ground.client().answers((*vip, 8080), 5, "service")?;
        ensure!(answers == BTreeMap::from([("echo".to_owned(), 5)]), "{answers:?}");
        // Only what a listener asks for is open on a VIP.
        ensure!(!ground.client().connects(*vip, 8081)?, "{vip}: port 8081 is open");
    }
    ground.delete(&gateway)?;
    for vip in vips {
        eventually(SOON, || {
            ensure!(!ground.client().connects(vip, 8080)?, "{vip} still answers");
            ensure!(
                ground.get(&["virtualip", &vip.to_string()]).is_err(),
                "{vip} is still claimed"
            );
            Ok(())
        })?;
    }
    Ok(None)
}

/// A Service of type LoadBalancer gets a VIP that leads to all its pods, by kube-proxy, and gives it back.
pub(crate) fn service_answers(ground: &Ground<'_>) -> Result<Option<String>> {
    ground.servers("pair", Server::Tcp, 2)?;
    let service = manifests::service("smoke", "pair");
    ground.apply(&service)?;
    let vips = ground.service("smoke")?;
    for vip in &vips {
        eventually(SOON, || {
            let pods = ground.client().answers((*vip, 80), 12, "pod")?;
            ensure!(pods.len() == 2, "of two pods there answer {pods:?}");
            Ok(())
        })?;
    }
    ground.delete(&service)?;
    for vip in vips {
        eventually(SOON, || {
            ensure!(!ground.client().connects(vip, 80)?, "{vip} still answers");
            Ok(())
        })?;
    }
    Ok(None)
}
