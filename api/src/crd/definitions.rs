//! The definitions: what each kind is called, and what `kubectl get` shows of it.
//!
//! The category `vipgate` has all of them (`kubectl get vipgate -A`). They are not in `all`: that is
//! for what runs in a namespace, and nine of the kinds are configuration, two belong to no namespace.

mod bgp;
mod policy;

use super::{Column, Definition, rules, schema};
use crate::Kind;
use crate::vipgate::{
    BackendSpec, IpAddressPoolSpec, IpAddressPoolStatus, L2AdvertisementSpec, SpeakerStatus,
    VirtualIpSpec,
};

pub(super) fn all() -> [Definition; 11] {
    [
        pool(),
        l2_advertisement(),
        bgp::peer(),
        bgp::advertisement(),
        bgp::bfd_profile(),
        bgp::community(),
        backend(),
        policy::listener(),
        policy::backend(),
        virtual_ip(),
        speaker(),
    ]
}

const AGE: Column =
    Column::new("Age", "date", ".metadata.creationTimestamp", "Since when it exists.");

fn pool() -> Definition {
    Definition {
        kind: Kind::IpAddressPool,
        description: "Addresses that may be given to Gateways and Services, and to which. A pool is \
            enough for a working address: one that no advertisement selects is announced by ARP.",
        short_names: &["pool", "pools"],
        spec: Some(schema::<IpAddressPoolSpec>()),
        status: Some(schema::<IpAddressPoolStatus>()),
        columns: vec![
            Column::new(
                "Auto Assign",
                "boolean",
                ".spec.autoAssign",
                "Whether addresses are chosen from it without naming it.",
            ),
            Column::new(
                "Avoid Buggy IPs",
                "boolean",
                ".spec.avoidBuggyIPs",
                "Whether .0 and .255 are kept back.",
            ),
            Column::new("Addresses", "string", ".spec.addresses", "What it offers."),
            Column::new(
                "Used",
                "integer",
                ".status.assignedIPv4",
                "IPv4 addresses that are given out.",
            ),
            Column::new(
                "Free",
                "integer",
                ".status.availableIPv4",
                "IPv4 addresses that are left.",
            ),
            Column::new(
                "Accepted",
                "string",
                r#".status.conditions[?(@.type=="Accepted")].status"#,
                "Whether the pool is used.",
            ),
            AGE,
            Column::new(
                "Used IPv6",
                "integer",
                ".status.assignedIPv6",
                "IPv6 addresses that are given out.",
            )
            .wide(),
            Column::new(
                "Free IPv6",
                "integer",
                ".status.availableIPv6",
                "IPv6 addresses that are left.",
            )
            .wide(),
            Column::new(
                "Exclusions",
                "string",
                ".spec.exclusions",
                "What of it is never given out.",
            )
            .wide(),
            Column::new(
                "Reason",
                "string",
                r#".status.conditions[?(@.type=="Accepted")].reason"#,
                "Why it is accepted or not.",
            )
            .wide(),
            Column::new(
                "Message",
                "string",
                r#".status.conditions[?(@.type=="Accepted")].message"#,
                "Why, for people.",
            )
            .wide(),
        ],
        rules: None,
    }
}

fn l2_advertisement() -> Definition {
    Definition {
        kind: Kind::L2Advertisement,
        description: "Announces the addresses of the selected pools on the selected nodes and \
            interfaces by ARP.",
        short_names: &["l2adv", "l2advs"],
        spec: Some(schema::<L2AdvertisementSpec>()),
        status: None,
        columns: vec![
            Column::new("IPAddressPools", "string", ".spec.ipAddressPools", "Pools by name."),
            Column::new(
                "IPAddressPool Selectors",
                "string",
                ".spec.ipAddressPoolSelectors",
                "Pools by label.",
            ),
            Column::new("Interfaces", "string", ".spec.interfaces", "Where it is announced."),
            AGE,
            Column::new(
                "Node Selectors",
                "string",
                ".spec.nodeSelectors",
                "Which nodes may announce.",
            )
            .wide(),
        ],
        rules: None,
    }
}

fn backend() -> Definition {
    Definition {
        kind: Kind::Backend,
        description: "Servers outside of the cluster, for backendRefs of routes: group vipgate.dev, \
            kind Backend.",
        short_names: &["vgbackend", "vgbackends"],
        spec: Some(schema::<BackendSpec>()),
        status: None,
        columns: vec![
            Column::new(
                "First Address",
                "string",
                ".spec.endpoints[0].address",
                "Address of the first endpoint.",
            ),
            Column::new(
                "First Hostname",
                "string",
                ".spec.endpoints[0].hostname",
                "DNS name of the first endpoint.",
            ),
            Column::new("Port", "integer", ".spec.endpoints[0].port", "Its port."),
            AGE,
            Column::new("Endpoints", "string", ".spec.endpoints", "All endpoints.").wide(),
        ],
        rules: None,
    }
}

fn virtual_ip() -> Definition {
    Definition {
        kind: Kind::VirtualIp,
        description: "The claim on one address: who has it. Written by the controller alone; speakers \
            serve and announce what stands here and nothing else.",
        short_names: &["vip", "vips"],
        spec: Some(schema::<VirtualIpSpec>()),
        status: None,
        columns: vec![
            Column::new("Address", "string", ".spec.address", "The address."),
            Column::new("Kind", "string", ".spec.users[0].kind", "What has it: the first user."),
            Column::new("Namespace", "string", ".spec.users[0].namespace", "Its namespace."),
            Column::new("User", "string", ".spec.users[0].name", "Its name."),
            Column::new(
                "Shared With",
                "string",
                ".spec.users[1].name",
                "The second user, where it is shared.",
            ),
            Column::new("Pool", "string", ".spec.pool", "The pool that it came from."),
            Column::new(
                "Published",
                "boolean",
                ".spec.published",
                "Whether it was found free and stands in statuses.",
            ),
            AGE,
            Column::new("Origin", "string", ".spec.origin", "Whether it was asked for.").wide(),
            Column::new("Users", "string", ".spec.users", "All users, with their ports.").wide(),
        ],
        rules: Some(rules::named_after_its_address()),
    }
}

fn speaker() -> Definition {
    Definition {
        kind: Kind::Speaker,
        description: "What one node really serves and announces. Written by its speaker alone.",
        short_names: &["spk"],
        spec: None,
        status: Some(schema::<SpeakerStatus>()),
        columns: vec![
            Column::new(
                "Serving",
                "integer",
                ".status.serving",
                "VIPs that are on the node and announced.",
            ),
            Column::new(
                "Standby",
                "integer",
                ".status.standby",
                "VIPs that another speaker serves, and this one would take over.",
            ),
            Column::new(
                "Not Serving",
                "integer",
                ".status.notServing",
                "VIPs of the plan that are not.",
            ),
            Column::new(
                "Failed Listener",
                "string",
                ".status.failedListeners[0].name",
                "The first listener that is not served in full.",
            ),
            Column::new("Error", "string", ".status.errors[0]", "What went wrong last."),
            AGE,
            Column::new(
                "Failure",
                "string",
                ".status.failedListeners[0].message",
                "What is amiss with that listener.",
            )
            .wide(),
            Column::new("VIPs", "string", ".status.vips", "Every VIP with its state.").wide(),
        ],
        rules: None,
    }
}
