//! The definitions of the kinds that are about BGP.

use super::{AGE, Column, Definition, schema};
use crate::Kind;
use crate::vipgate::{BfdProfileSpec, BgpAdvertisementSpec, BgpPeerSpec, BgpStatus, CommunitySpec};

const ACCEPTED: Column = Column::new(
    "Accepted",
    "string",
    r#".status.conditions[?(@.type=="Accepted")].status"#,
    "Whether it is followed as it is written.",
);
const RESOLVED: Column = Column::new(
    "Resolved",
    "string",
    r#".status.conditions[?(@.type=="ResolvedRefs")].status"#,
    "Whether all that it names is there.",
);
const MESSAGE: Column = Column::new(
    "Message",
    "string",
    r#".status.conditions[?(@.status!="True")].message"#,
    "What is wrong, and what to write instead.",
)
.wide();

pub(super) fn peer() -> Definition {
    Definition {
        kind: Kind::BgpPeer,
        description: "A router that the selected nodes have a BGP session with.",
        short_names: &["bgpp"],
        spec: Some(schema::<BgpPeerSpec>()),
        status: Some(schema::<BgpStatus>()),
        columns: vec![
            Column::new("Address", "string", ".spec.peerAddress", "Address of the router."),
            Column::new("Interface", "string", ".spec.interface", "The link that it is on."),
            Column::new("ASN", "integer", ".spec.peerASN", "AS number of the router."),
            Column::new("BFD Profile", "string", ".spec.bfdProfile", "How the path is watched."),
            Column::new(
                "Multi Hops",
                "boolean",
                ".spec.ebgpMultiHop",
                "Whether it may be behind routers.",
            ),
            ACCEPTED,
            RESOLVED,
            AGE,
            MESSAGE,
            Column::new("My ASN", "integer", ".spec.myASN", "AS number of the nodes.").wide(),
            Column::new(
                "Dynamic ASN",
                "string",
                ".spec.dynamicASN",
                "Which AS it may be of, where it is not known beforehand.",
            )
            .wide(),
            Column::new(
                "Node Selectors",
                "string",
                ".spec.nodeSelectors",
                "Which nodes speak with it.",
            )
            .wide(),
        ],
        rules: None,
    }
}

pub(super) fn advertisement() -> Definition {
    Definition {
        kind: Kind::BgpAdvertisement,
        description: "Announces the addresses of the selected pools to routers. A pool that is selected \
            by one of these and by no L2Advertisement is not announced by ARP.",
        short_names: &["bgpadv", "bgpadvs"],
        spec: Some(schema::<BgpAdvertisementSpec>()),
        status: Some(schema::<BgpStatus>()),
        columns: vec![
            Column::new("IPAddressPools", "string", ".spec.ipAddressPools", "Pools by name."),
            Column::new(
                "IPAddressPool Selectors",
                "string",
                ".spec.ipAddressPoolSelectors",
                "Pools by label.",
            ),
            Column::new("Peers", "string", ".spec.peers", "To which routers."),
            ACCEPTED,
            RESOLVED,
            AGE,
            MESSAGE,
            Column::new("Node Selectors", "string", ".spec.nodeSelectors", "Which nodes announce.")
                .wide(),
            Column::new("Communities", "string", ".spec.communities", "With which communities.")
                .wide(),
        ],
        rules: None,
    }
}

pub(super) fn bfd_profile() -> Definition {
    Definition {
        kind: Kind::BfdProfile,
        description: "How fast a lost path to a router is noticed, for BGPPeers that name it.",
        short_names: &["bfdp"],
        spec: Some(schema::<BfdProfileSpec>()),
        status: Some(schema::<BgpStatus>()),
        columns: vec![
            Column::new(
                "Passive Mode",
                "boolean",
                ".spec.passiveMode",
                "Whether the router begins.",
            ),
            Column::new(
                "Transmit Interval",
                "integer",
                ".spec.transmitInterval",
                "How often packets are sent, in milliseconds.",
            ),
            Column::new(
                "Receive Interval",
                "integer",
                ".spec.receiveInterval",
                "How often packets are taken, in milliseconds.",
            ),
            Column::new(
                "Multiplier",
                "integer",
                ".spec.detectMultiplier",
                "How many packets may be missed.",
            ),
            ACCEPTED,
            AGE,
            MESSAGE,
        ],
        rules: None,
    }
}

pub(super) fn community() -> Definition {
    Definition {
        kind: Kind::Community,
        description: "Names for communities, for BGPAdvertisements.",
        short_names: &["bgpcom"],
        spec: Some(schema::<CommunitySpec>()),
        status: Some(schema::<BgpStatus>()),
        columns: vec![
            Column::new(
                "First Name",
                "string",
                ".spec.communities[0].name",
                "The first of the names.",
            ),
            Column::new("Value", "string", ".spec.communities[0].value", "What it means."),
            ACCEPTED,
            AGE,
            MESSAGE,
            Column::new("Communities", "string", ".spec.communities", "All names.").wide(),
        ],
        rules: None,
    }
}
