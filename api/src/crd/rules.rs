//! What API servers check of our fields beyond their types: bounds, and rules in CEL.
//!
//! Each function is the schema of a field, for `#[schemars(schema_with)]`. Rules stand at the item
//! that they are about, so that a refusal has its index; each says what to write instead. Bounds are
//! there because the API server multiplies the cost of rules by them and refuses definitions that
//! could become too dear. Where standalone mode checks the same (`manifest/validate`), both agree.

pub(crate) mod bgp;
pub(crate) mod policy;

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Entries of `addresses`, `exclusions`: a person writes some, a program may write many.
pub(crate) const MOST_RANGES: usize = 256;
/// Names of pools, namespaces or interfaces in one list.
const MOST_NAMES: usize = 256;
/// Selectors of one kind.
const MOST_SELECTORS: usize = 32;
/// Requirements of one selector; labels as well as expressions.
const MOST_REQUIREMENTS: usize = 16;
/// Values of one requirement.
const MOST_VALUES: usize = 32;
/// What only programs write is bounded by the size of an object; this is beyond it.
pub(crate) const MANY: usize = 65_536;

/// The longest name of an object.
const NAME: usize = 253;
/// The longest name of a namespace.
const LABEL: usize = 63;
/// Two IPv6 addresses in full, a dash, and some blanks.
const RANGE: usize = 95;

/// RFC 1123: what names of namespaces look like; joined by dots, names of objects.
const LABEL_SHAPE: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
/// What names and values of labels look like.
const VALUE_SHAPE: &str = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?";

/// A rule and what it says to whoever breaks it.
fn rule(rule: impl Into<String>, message: &str) -> Value {
    json!({"rule": rule.into(), "message": message})
}

/// Texts of a list.
fn text(longest: usize, rules: &[Value]) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": longest, "x-kubernetes-validations": rules})
}

fn list(least: usize, most: usize, items: Value) -> Schema {
    let mut schema = json_schema!({"type": "array", "maxItems": most, "items": items});
    if least > 0 {
        schema.insert("minItems".to_owned(), least.into());
    }
    schema
}

/// The schema of a field that is one value.
fn whole(value: Value) -> Schema {
    Schema::try_from(value).expect("a schema is an object")
}

/// `IPAddressPool.spec.addresses`.
pub(crate) fn addresses(_: &mut SchemaGenerator) -> Schema {
    list(1, MOST_RANGES, range())
}

/// `IPAddressPool.spec.exclusions`.
pub(crate) fn exclusions(_: &mut SchemaGenerator) -> Schema {
    list(0, MOST_RANGES, range())
}

/// A CIDR, two addresses or one, as [`AddressRange`](crate::vipgate::AddressRange) reads them.
fn range() -> Value {
    // What an API server counts as bounded is what it can trace to the field or to a literal, so the
    // ends are written out wherever they are needed.
    const FIRST: &str = "self.split('-', 2)[0].trim()";
    const LAST: &str = "self.split('-', 2)[1].trim()";
    const NO_RANGE: &str = "!self.contains('-') || self.contains('/') || \
        !self.split('-', 2).all(end, isIP(end.trim()))";
    // Beside them, addresses that are possible but useless are the planner's to leave out.
    const NEVER: &str = "['0.0.0.0/8', '224.0.0.0/3', '::/128', 'ff00::/8']";
    let families = format!("ip({FIRST}).family() == ip({LAST}).family()");
    let usable = format!(
        "self.contains('/') ? !isCIDR(self) || !{NEVER}.exists(net, cidr(net).containsCIDR(self) || \
         cidr(self).containsCIDR(net)) : self.split('-', 2).all(end, !isIP(end.trim()) || \
         !{NEVER}.exists(net, cidr(net).containsIP(end.trim())))"
    );
    let mut order = rule(
        format!("{NO_RANGE} || !({families}) || {}", not_above(FIRST, LAST)),
        "the first address of the range is above the last: write the lower one first",
    );
    order["messageExpression"] = format!(
        "'the first address of the range is above the last: write ' + {LAST} + '-' + {FIRST}"
    )
    .into();
    let rules = [
        rule(
            "self.contains('/') ? isCIDR(self) : self.split('-', 2).all(end, isIP(end.trim()))",
            "write a CIDR (192.0.2.0/24), a range (192.0.2.10-192.0.2.20) or one address \
             (192.0.2.10); IPv6 likewise",
        ),
        rule(
            format!("{NO_RANGE} || {families}"),
            "both ends of a range have to be of one family: write IPv4 and IPv6 as two entries",
        ),
        order,
        rule(
            usable,
            "no host can have addresses of 0.0.0.0/8, 224.0.0.0/3, ::/128 or ff00::/8: write a range \
             without them",
        ),
    ];
    text(RANGE, &rules)
}

/// Whether an address is not above another of its family, in CEL, which compares no addresses, but
/// knows what a network contains. So: the longest network of whole 16 bits that both are in, then bit
/// by bit the longest of all; the next bit is 0 in the lower one, where the network one bit longer
/// begins with the same address.
fn not_above(low: &str, high: &str) -> String {
    let lengths: Vec<String> = (0..=128).map(|length| format!("'/{length}'")).collect();
    let lengths = format!("[{}]", lengths.join(","));
    let network = |bits: &str| format!("cidr({low} + {lengths}[{bits}])");
    let (common, longer) = (network("16 * k + b"), network("16 * k + b + 1"));
    format!(
        "[[0,1,2,3,4,5,6,7].filter(i, (i < 2 || self.contains(':')) && cidr({low} + \
         ['/16','/32','/48','/64','/80','/96','/112','/128'][i]).containsIP({high})).size()].all(k, \
         k == (self.contains(':') ? 8 : 2) || [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15].exists(b, \
         {common}.containsIP({high}) && !{longer}.containsIP({high}) && \
         {common}.masked().ip() == {longer}.masked().ip()))"
    )
}

/// Names of IPAddressPools.
pub(crate) fn names(_: &mut SchemaGenerator) -> Schema {
    list(0, MOST_NAMES, name("an IPAddressPool"))
}

/// The name of an object of a kind.
fn name(kind: &str) -> Value {
    let message = format!("write the metadata.name of {kind}: lower-case letters, digits, - and .");
    let shape = format!(r"self.matches('^{LABEL_SHAPE}(\\.{LABEL_SHAPE})*$')");
    text(NAME, &[rule(shape, &message)])
}

/// Names of namespaces.
pub(crate) fn namespaces(_: &mut SchemaGenerator) -> Schema {
    let rule = rule(
        format!("self.matches('^{LABEL_SHAPE}$')"),
        "write the name of a namespace: lower-case letters, digits and -, at most 63",
    );
    list(0, MOST_NAMES, text(LABEL, &[rule]))
}

/// Names of network interfaces; the kernel's rule (`dev_valid_name`).
pub(crate) fn interfaces(_: &mut SchemaGenerator) -> Schema {
    list(0, MOST_NAMES, interface_name())
}

/// One of them.
pub(crate) fn interface(_: &mut SchemaGenerator) -> Schema {
    whole(interface_name())
}

fn interface_name() -> Value {
    let rule = rule(
        r"bytes(self).size() <= 15 && self.matches('^[^/:\\s]+$') && self != '.' && self != '..'",
        "write the name of a network interface as `ip link` shows it, such as eth0: at most 15 bytes, \
         without blank, slash or colon",
    );
    text(LABEL, &[rule])
}

/// `metav1.LabelSelector`s.
pub(crate) fn selectors(_: &mut SchemaGenerator) -> Schema {
    list(0, MOST_SELECTORS, selector())
}

/// `L2Advertisement.spec.preferredNodeSelectors`.
pub(crate) fn preferences(_: &mut SchemaGenerator) -> Schema {
    let mut preference = selector();
    preference["description"] = "Which nodes, by label.".into();
    list(
        0,
        MOST_SELECTORS,
        json!({
            "type": "object",
            "description": "Nodes that are preferred.",
            "required": ["weight", "preference"],
            "properties": {
                "weight": {"description": "How much.", "type": "integer", "minimum": 1, "maximum": 100},
                "preference": preference,
            },
        }),
    )
}

fn selector() -> Value {
    let value = || {
        json!({"type": "string", "maxLength": LABEL, "x-kubernetes-validations": [rule(
            format!("self.matches('^({VALUE_SHAPE})?$')"),
            "write the value of a label: letters, digits, -, _ and ., a letter or digit first and last",
        )]})
    };
    let shape = format!(r"matches('^({LABEL_SHAPE}(\\.{LABEL_SHAPE})*/)?{VALUE_SHAPE}$')");
    let key =
        rule(format!("self.{shape}"), "write the key of a label, such as app or example.com/app");
    let keys = rule(
        format!("self.all(key, key.size() <= 317 && key.{shape})"),
        "write keys of labels, such as app or example.com/app",
    );
    let operators = rule(
        "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
        "write at least one of values with the operators In and NotIn, none with Exists and DoesNotExist",
    );
    let expression = json!({
        "type": "object",
        "description": "What one label of the object has to be like.",
        "required": ["key", "operator"],
        "properties": {
            "key": {"description": "Key of the label.", "type": "string", "minLength": 1, "maxLength": 317, "x-kubernetes-validations": [key]},
            "operator": {"description": "In, NotIn: whether the value is among `values`. Exists, DoesNotExist: whether \
                there is such a label.", "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
            "values": {"description": "Values of the label.", "type": "array", "maxItems": MOST_VALUES, "items": value()},
        },
        "x-kubernetes-validations": [operators],
    });
    json!({
        "type": "object",
        "description": "Objects whose labels are so; all that is given has to match. An empty selector \
            selects everything.",
        "properties": {
            "matchLabels": {"description": "Labels and their values.", "type": "object", "maxProperties": MOST_REQUIREMENTS,
                "additionalProperties": value(), "x-kubernetes-validations": [keys]},
            "matchExpressions": {"description": "Requirements.", "type": "array", "maxItems": MOST_REQUIREMENTS, "items": expression},
        },
    })
}

/// `Backend.spec.endpoints[].address`.
pub(crate) fn endpoint_address(_: &mut SchemaGenerator) -> Schema {
    let form = rule(
        "isIP(self)",
        "write an IP address (192.0.2.10, 2001:db8::10); the port goes into `port`, a name into \
         `hostname`",
    );
    let host = rule(
        "!isIP(self) || !ip(self).isUnspecified() && !['224.0.0.0/4', 'ff00::/8'].exists(net, \
         cidr(net).containsIP(self))",
        "write the address of a host: this one is unspecified or multicast",
    );
    json_schema!({"type": "string", "minLength": 2, "maxLength": 45, "x-kubernetes-validations": [form, host]})
}

/// `Backend.spec.endpoints[].hostname`.
pub(crate) fn endpoint_hostname(_: &mut SchemaGenerator) -> Schema {
    let form = rule(
        format!(
            r"self.matches('^{LABEL_SHAPE}(\\.{LABEL_SHAPE})*$') && self.split('.').all(label, label.size() <= {LABEL})"
        ),
        "write a DNS name in full (db.example.com): lower-case letters, digits, - and ., at most 63 between \
         dots, no dot at the end; the port goes into `port`",
    );
    let name = rule(
        r"!self.matches('(^|\\.)[0-9]+$')",
        "no DNS name ends in a number: write an address as `address`",
    );
    json_schema!({"type": "string", "minLength": 1, "maxLength": NAME, "x-kubernetes-validations": [form, name]})
}

/// One of `Backend.spec.endpoints`.
pub(crate) fn address_or_hostname() -> Value {
    json!([rule(
        "has(self.address) != has(self.hostname)",
        "an endpoint has either an `address` or a `hostname`: write one of the two",
    )])
}

/// `Backend.spec.endpoints`: the items are those of the type.
pub(crate) fn endpoints_once() -> Value {
    json!([rule(
        "self.all(one, self.exists_one(other, has(one.address) == has(other.address) && \
         has(one.hostname) == has(other.hostname) && (!has(one.address) || one.address == other.address) && \
         (!has(one.hostname) || one.hostname == other.hostname) && one.port == other.port))",
        "an endpoint stands here twice: write each address or name, and port, once",
    )])
}

/// `VirtualIP.spec.address`.
pub(crate) fn claimed_address(_: &mut SchemaGenerator) -> Schema {
    let form = rule(
        "isIP(self) && ip.isCanonical(self)",
        "write an IP address in its shortest form (RFC 5952): 192.0.2.10, 2001:db8::10",
    );
    let fixed = rule(
        "self == oldSelf",
        "spec.address cannot change: delete the VirtualIP and create another",
    );
    json_schema!({"type": "string", "minLength": 2, "maxLength": 45, "x-kubernetes-validations": [form, fixed]})
}

/// A user of an address, as an [`ObjectRef`](crate::ObjectRef).
pub(crate) fn claimant(_: &mut SchemaGenerator) -> Schema {
    reference(&["Gateway", "Service"])
}

/// An object that a plan is made from, as an [`ObjectRef`](crate::ObjectRef).
pub(crate) fn source(_: &mut SchemaGenerator) -> Schema {
    reference(&["Gateway", "ListenerSet", "BGPPeer"])
}

/// A reference to an object in a namespace.
fn reference(kinds: &[&str]) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["kind", "namespace", "name"],
        "properties": {
            "kind": {"description": "Its kind.", "type": "string", "enum": kinds},
            "namespace": {"description": "Its namespace.", "type": "string", "minLength": 1, "maxLength": LABEL},
            "name": {"description": "Its name.", "type": "string", "minLength": 1, "maxLength": NAME},
        },
    })
}

/// `metav1.Condition`s, with the bounds that the Gateway API gives them.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    let condition = json!({
        "type": "object",
        "description": "A statement about the object, with the reason for it.",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": {"description": "What the statement is about.", "type": "string", "minLength": 1, "maxLength": 316},
            "status": {"description": "Whether it holds.", "type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"description": "Why, for programs.", "type": "string", "minLength": 1, "maxLength": 1024},
            "message": {"description": "Why, for people: what to write instead.", "type": "string", "maxLength": 32768},
            "lastTransitionTime": {"description": "Since when it has this status.", "type": "string", "format": "date-time"},
            "observedGeneration": {"description": "The `metadata.generation` that it is about.", "type": "integer",
                "format": "int64", "minimum": 0},
        },
    });
    let mut schema = list(0, 16, condition);
    schema.insert("x-kubernetes-list-type".to_owned(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".to_owned(), json!(["type"]));
    schema
}

/// Of a whole VirtualIP.
pub(crate) fn named_after_its_address() -> Value {
    json!([rule(
        "self.spec.address.contains(':') ? self.metadata.name.matches('^([0-9a-f]{4}-){7}[0-9a-f]{4}$') && \
         ip(self.metadata.name.replace('-', ':')) == ip(self.spec.address) : self.metadata.name == self.spec.address",
        "metadata.name has to be the canonical form of spec.address: IPv4 dotted (192.0.2.10), IPv6 as \
         all eight groups of four hex digits joined by - (2001-0db8-0000-0000-0000-0000-0000-0001)",
    )])
}
