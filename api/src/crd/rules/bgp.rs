//! Rules of the kinds that are about BGP. `vipgate/bgp` checks the same in manifests.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::{LABEL, MOST_NAMES, NAME, list, name, rule, text, whole};
use crate::vipgate::well_known_names;

/// The longest text of an IP address.
const ADDRESS: usize = 45;
/// The longest text of a time: three numbers of five digits and their units.
const TIME: usize = 18;
/// The longest password of TCP MD5.
const PASSWORD: usize = 80;
/// Most communities of one advertisement.
const MOST_COMMUNITIES: usize = 64;

/// A time of whole seconds, as [`seconds`](crate::vipgate::seconds) reads it.
const SECONDS: &str = "matches('^(0|([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?)$')";

/// An AS number.
pub(crate) fn asn(_: &mut SchemaGenerator) -> Schema {
    number(1)
}

/// `BGPAdvertisement.spec.localPref`.
pub(crate) fn local_pref(_: &mut SchemaGenerator) -> Schema {
    number(0)
}

/// A number of 32 bits. (In JSON of API servers that is none of `int32`.)
fn number(least: u32) -> Schema {
    whole(json!({"type": "integer", "format": "int64", "minimum": least, "maximum": u32::MAX}))
}

/// `BGPPeer.spec.peerAddress`.
pub(crate) fn peer_address(_: &mut SchemaGenerator) -> Schema {
    address(
        "write an IP address (192.0.2.1, 2001:db8::1); the interface of a link-local one goes into \
         `interface`, and names are not resolved",
        "write the address of a router: this one is unspecified or multicast",
    )
}

/// `BGPPeer.spec.sourceAddress`.
pub(crate) fn source_address(_: &mut SchemaGenerator) -> Schema {
    address(
        "write an IP address of the node (192.0.2.2, 2001:db8::2)",
        "write an address of the node: this one is unspecified or multicast",
    )
}

fn address(form: &str, host: &str) -> Schema {
    let is_host = "!isIP(self) || !ip(self).isUnspecified() && !['224.0.0.0/4', 'ff00::/8'].exists(net, \
                   cidr(net).containsIP(self))";
    let rules = [rule("isIP(self)", form), rule(is_host, host)];
    whole(text(ADDRESS, &rules))
}

/// `BGPPeer.spec.routerID`.
pub(crate) fn router_id(_: &mut SchemaGenerator) -> Schema {
    let is_id = "isIP(self) && ip(self).family() == 4 && !ip(self).isUnspecified()";
    whole(text(
        ADDRESS,
        &[rule(is_id, "write it in the form of an IPv4 address, such as 192.0.2.1")],
    ))
}

/// `BGPPeer.spec.holdTime`.
pub(crate) fn hold_time(_: &mut SchemaGenerator) -> Schema {
    let form = rule(
        format!("self.{SECONDS} && duration(self) <= duration('65535s')"),
        "write whole seconds up to 65535, such as 90s or 1m30s",
    );
    let enough = rule(
        format!(
            "!self.{SECONDS} || duration(self) == duration('0s') || duration(self) >= duration('3s')"
        ),
        "write 0s for ever, or at least 3s",
    );
    whole(text(TIME, &[form, enough]))
}

/// Another time of a BGPPeer.
pub(crate) fn some_seconds(_: &mut SchemaGenerator) -> Schema {
    let form = format!(
        "self.{SECONDS} && duration(self) >= duration('1s') && duration(self) <= duration('65535s')"
    );
    whole(text(TIME, &[rule(form, "write whole seconds from 1 to 65535, such as 30s or 1m30s")]))
}

/// `BGPPeer.spec.bfdProfile`.
pub(crate) fn bfd_profile(_: &mut SchemaGenerator) -> Schema {
    whole(name("a BFDProfile"))
}

/// `BGPAdvertisement.spec.peers`.
pub(crate) fn peers(_: &mut SchemaGenerator) -> Schema {
    list(0, MOST_NAMES, name("a BGPPeer"))
}

/// `BGPPeer.spec.password`, which MetalLB has: it would be pruned without a word, and the session be
/// without a password.
pub(crate) fn no_password(_: &mut SchemaGenerator) -> Schema {
    let rule = rule(
        "false",
        "passwords do not stand in objects that everybody may read: put it into a Secret of type \
         kubernetes.io/basic-auth and write passwordSecret",
    );
    whole(text(PASSWORD, &[rule]))
}

const STANDARD: &str =
    "self.matches('^[0-9]{1,5}:[0-9]{1,5}$') && self.split(':').all(n, int(n) <= 65535)";
const LARGE: &str = "self.matches('^large:[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$') && \
                     self.split(':').all(n, n == 'large' || int(n) <= 4294967295)";

/// `BGPAdvertisement.spec.communities`.
pub(crate) fn communities(_: &mut SchemaGenerator) -> Schema {
    let rule = rule(
        format!("!self.contains(':') || {STANDARD} || {LARGE}"),
        "write two numbers up to 65535 (65001:100), `large:` and three up to 4294967295 \
         (large:64500:1:2), or a name",
    );
    list(0, MOST_COMMUNITIES, text(NAME, &[rule]))
}

/// `Community.spec.communities[].value`.
pub(crate) fn community_value(_: &mut SchemaGenerator) -> Schema {
    let rule = rule(
        format!("{STANDARD} || {LARGE}"),
        "write two numbers up to 65535 (65001:100), or `large:` and three up to 4294967295 \
         (large:64500:1:2)",
    );
    whole(text(LABEL, &[rule]))
}

/// `Community.spec.communities[].name`.
pub(crate) fn community_name(_: &mut SchemaGenerator) -> Schema {
    let known: Vec<String> = well_known_names().map(|name| format!("'{name}'")).collect();
    let rules = [
        rule("!self.contains(':')", "write a name without colon"),
        rule(
            format!("!(self in [{}])", known.join(", ")),
            "write another name: this one is a well-known community already",
        ),
    ];
    whole(text(NAME, &rules))
}

/// `Community.spec.communities`: the items are those of the type.
pub(crate) fn names_once() -> Value {
    json!([rule(
        "self.all(one, self.exists_one(other, one.name == other.name))",
        "a name stands here twice: write each name once",
    )])
}

/// Of the spec of a BGPAdvertisement.
pub(crate) fn whole_addresses() -> Value {
    json!([rule(
        "(!has(self.serviceSelectors) || self.serviceSelectors.size() == 0) && \
         (!has(self.gatewaySelectors) || self.gatewaySelectors.size() == 0) || \
         (!has(self.aggregationLength) || self.aggregationLength == 32) && \
         (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128)",
        "a shorter prefix has the addresses of others, too: write no aggregationLength with \
         serviceSelectors or gatewaySelectors",
    )])
}

/// Of the spec of a BGPPeer.
pub(crate) fn peer() -> Value {
    const INTERNAL: &str = "(has(self.peerASN) && self.peerASN == self.myASN || has(self.dynamicASN) && \
                            self.dynamicASN == 'internal')";
    const MULTI_HOP: &str = "has(self.ebgpMultiHop) && self.ebgpMultiHop";
    json!([
        rule(
            "has(self.peerASN) != has(self.dynamicASN)",
            "write one of peerASN and dynamicASN: the AS number of the router, or external or internal \
             where it is not known beforehand",
        ),
        rule(
            "has(self.peerAddress) || has(self.interface)",
            "write peerAddress, or interface for whoever is the router there",
        ),
        rule(
            "!has(self.vrf) || !has(self.interface)",
            "write one of vrf and interface: an interface is in its VRF anyway",
        ),
        rule(
            "!has(self.peerAddress) || !isIP(self.peerAddress) || \
             cidr('fe80::/10').containsIP(self.peerAddress) == has(self.interface)",
            "write interface beside a link-local peerAddress, and beside no other",
        ),
        rule(
            "!has(self.sourceAddress) || has(self.peerAddress) && (!isIP(self.sourceAddress) || \
             !isIP(self.peerAddress) || ip(self.sourceAddress).family() == \
             ip(self.peerAddress).family())",
            "write sourceAddress beside a peerAddress of the same family only",
        ),
        rule(
            format!(
                "!has(self.localASN) || !{INTERNAL} && !(has(self.peerASN) && self.peerASN == \
                 self.localASN)"
            ),
            "write localASN for a router of another AS only",
        ),
        rule(
            format!("!({MULTI_HOP}) || has(self.peerAddress) && !{INTERNAL}"),
            "write ebgpMultiHop for a router of another AS only, and beside peerAddress",
        ),
        rule(
            format!("!({MULTI_HOP}) || !has(self.ttlSecurity) || !self.ttlSecurity"),
            "write one of ttlSecurity and ebgpMultiHop: what may cross routers has no TTL of 255",
        ),
        rule(
            format!(
                "!has(self.keepaliveTime) || !self.keepaliveTime.{SECONDS} || has(self.holdTime) && \
                 !self.holdTime.{SECONDS} || duration(self.keepaliveTime) <= (has(self.holdTime) ? \
                 duration(self.holdTime) : duration('90s'))"
            ),
            "write a keepaliveTime of at most a third of holdTime (90s unless said), or none",
        ),
    ])
}
