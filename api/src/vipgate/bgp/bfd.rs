//! BFDProfile: how fast a lost path to a router is noticed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fault;
use crate::k8s::ObjectMeta;

/// Settings of BFD sessions, for BGPPeers that name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BfdProfile {
    /// Standard object metadata; namespaced, but the namespace has no meaning.
    pub metadata: ObjectMeta,
    /// The settings.
    #[serde(default)]
    pub spec: BfdProfileSpec,
}

/// The settings. A path counts as lost when nothing came for `detectMultiplier` of the router's times the
/// interval that both agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BfdProfileSpec {
    /// How often packets are taken, in milliseconds.
    #[schemars(range(min = 10, max = 60_000))]
    pub receive_interval: u32,
    /// How often packets are sent, in milliseconds, if the router can take them.
    #[schemars(range(min = 10, max = 60_000))]
    pub transmit_interval: u32,
    /// How many packets of ours may be missed.
    #[schemars(range(min = 2, max = 255))]
    pub detect_multiplier: u32,
    /// Send nothing until the router does.
    pub passive_mode: bool,
    /// Of BGPPeers with `ebgpMultiHop`: the least TTL of packets that are taken.
    #[schemars(range(min = 1, max = 254))]
    pub minimum_ttl: u32,
    /// Whether packets are sent that the router's forwarding is to return, and its own are returned. Of IPv4
    /// routers on the node's own network; of others there is no echo (RFC 5881).
    pub echo_mode: bool,
    /// With `echoMode`: how often such packets are sent and returned, in milliseconds, if the router can take
    /// them.
    #[schemars(range(min = 10, max = 60_000))]
    pub echo_interval: u32,
}

impl Default for BfdProfileSpec {
    fn default() -> Self {
        Self {
            receive_interval: 300,
            transmit_interval: 300,
            detect_multiplier: 3,
            passive_mode: false,
            minimum_ttl: 254,
            echo_mode: false,
            echo_interval: 50,
        }
    }
}

impl BfdProfileSpec {
    /// What is wrong with it.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (field, value, least, most) in [
            ("receiveInterval", self.receive_interval, 10, 60_000),
            ("transmitInterval", self.transmit_interval, 10, 60_000),
            ("detectMultiplier", self.detect_multiplier, 2, 255),
            ("minimumTtl", self.minimum_ttl, 1, 254),
            ("echoInterval", self.echo_interval, 10, 60_000),
        ] {
            if !(least..=most).contains(&value) {
                let message = format!("must be a number from {least} to {most}, not {value}");
                faults.push(Fault::new(format!("spec.{field}"), message));
            }
        }
        faults
    }
}
