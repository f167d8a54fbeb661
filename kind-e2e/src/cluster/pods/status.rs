//! What the player reports of a pod, as a kubelet would.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::spec::Container;

/// How far a pod is.
pub(super) enum Progress<'a> {
    /// Not all that it needs is there; why.
    Waiting(&'a str),
    /// Its processes run; whether it can be reached.
    Running {
        addresses: &'a [IpAddr],
        ready: bool,
        /// How often a process ended by itself.
        restarts: u32,
    },
}

/// A strategic patch of the pod's status. It holds for the pod of this `uid` only, not for one
/// that has its name later.
pub(super) fn patch(
    uid: &str,
    host: IpAddr,
    containers: &[Container<'_>],
    now: &Progress<'_>,
) -> Value {
    let (phase, ready, restarts, state) = match now {
        Progress::Waiting(why) => (
            "Pending",
            false,
            0,
            json!({"waiting": {"reason": "ContainerCreating", "message": why}}),
        ),
        Progress::Running { ready, restarts, .. } => {
            ("Running", *ready, *restarts, json!({"running": {}}))
        }
    };
    let running = phase == "Running";
    let containers: Vec<_> = containers
        .iter()
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": ready,
                "started": running,
                "restartCount": restarts,
                "state": state,
            })
        })
        .collect();
    let condition = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        json!({"type": kind, "status": status})
    };
    let mut status = json!({
        "phase": phase,
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "conditions": [
            condition("PodReadyToStartContainers", running),
            condition("Initialized", true),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ],
        "containerStatuses": containers,
    });
    if let Progress::Running { addresses, .. } = now {
        status["podIP"] = json!(addresses.first());
        status["podIPs"] = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    }
    json!({"metadata": {"uid": uid}, "status": status})
}
