//! Rules of the policies. `vipgate/policy` checks the same in manifests.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{LABEL, LABEL_SHAPE, NAME, conditions, list, rule, text, whole};
use crate::gateway::PolicyStatus;
use crate::vipgate::policy::check::{self, MOST_BYTES, MOST_NETWORKS, MOST_TARGETS, Span};
use crate::vipgate::{CIPHER_SUITES, TLS_VERSIONS};

/// The longest duration: four numbers of five digits, each with its unit.
const DURATION: usize = 28;
/// An IPv6 address in full, and the length of a prefix.
const NETWORK: usize = 49;

/// `ListenerPolicy.spec.targetRefs`.
pub(crate) fn listener_targets(_: &mut SchemaGenerator) -> Schema {
    let known =
        "self.group == 'gateway.networking.k8s.io' && self.kind in ['Gateway', 'ListenerSet']";
    targets(
        true,
        rule(
            known,
            "write `group: gateway.networking.k8s.io` and `kind: Gateway` or `kind: ListenerSet`",
        ),
    )
}

/// `BackendPolicy.spec.targetRefs`.
pub(crate) fn backend_targets(_: &mut SchemaGenerator) -> Schema {
    let known = "self.group == 'gateway.networking.k8s.io' ? self.kind in ['TCPRoute', 'TLSRoute', \
                 'UDPRoute', 'HTTPRoute'] : self.group == '' && self.kind == 'Service' || \
                 self.group == 'vipgate.dev' && self.kind == 'Backend'";
    targets(
        false,
        rule(
            known,
            "write a TCPRoute, TLSRoute, UDPRoute or HTTPRoute (group gateway.networking.k8s.io), a \
             Service (group \"\") or a Backend (group vipgate.dev)",
        ),
    )
}

fn targets(sections: bool, known: Value) -> Schema {
    let shape = format!(r"self.matches('^{LABEL_SHAPE}(\\.{LABEL_SHAPE})*$')");
    let named = |what: &str| {
        let message = format!("write the {what}: lower-case letters, digits, - and .");
        text(NAME, &[rule(shape.clone(), &message)])
    };
    let described = |text: &str, mut schema: Value| {
        schema["description"] = text.into();
        schema
    };
    let mut target = json!({
        "type": "object",
        "description": "An object of the policy's namespace.",
        "required": ["group", "kind", "name"],
        "properties": {
            "group": {"description": "API group; empty for the core.", "type": "string", "maxLength": NAME},
            "kind": {"description": "Its kind.", "type": "string", "minLength": 1, "maxLength": LABEL},
            "name": described("Its name.", named("metadata.name of the object")),
        },
        "x-kubernetes-validations": [known],
    });
    let same = "one.group == other.group && one.kind == other.kind && one.name == other.name";
    let same = match sections {
        true => {
            target["properties"]["sectionName"] = described(
                "The listener that is meant; all when absent.",
                named("name of a listener"),
            );
            format!(
                "{same} && (has(one.sectionName) ? has(other.sectionName) && one.sectionName == \
                 other.sectionName : !has(other.sectionName))"
            )
        }
        false => same.to_owned(),
    };
    let mut schema = list(1, MOST_TARGETS, target);
    let once = rule(
        format!("self.all(one, self.exists_one(other, {same}))"),
        "a target stands here twice: write each once",
    );
    schema.insert("x-kubernetes-validations".to_owned(), json!([once]));
    schema
}

/// Lists of CIDRs.
pub(crate) fn networks(_: &mut SchemaGenerator) -> Schema {
    let rule = rule(
        "isCIDR(self)",
        "write CIDRs such as 192.0.2.0/24 or 2001:db8::/32; one address is 192.0.2.7/32",
    );
    list(1, MOST_NETWORKS, text(NETWORK, &[rule]))
}

/// A duration of GEP-2257, as [`duration`](crate::gateway::duration) reads it.
fn span(span: Span) -> Schema {
    let Span { least, most, .. } = span;
    let unit = if span.whole { "h|m|s" } else { "h|m|s|ms" };
    let zero = if span.or_zero { "duration(self) == duration('0s') || " } else { "" };
    let form = format!(
        "self.matches('^([0-9]{{1,5}}({unit})){{1,4}}$') && ({zero}duration(self) >= duration('{least}') && \
         duration(self) <= duration('{most}'))"
    );
    whole(text(DURATION, &[rule(form, &span.words())]))
}

/// `ListenerPolicy.spec.idleTimeout`.
pub(crate) fn idle_timeout(_: &mut SchemaGenerator) -> Schema {
    span(check::IDLE)
}

/// `ListenerPolicy.spec.handshakeTimeout`.
pub(crate) fn handshake_timeout(_: &mut SchemaGenerator) -> Schema {
    span(check::HANDSHAKE)
}

/// Times of `ListenerPolicy.spec.tcpKeepalive`.
pub(crate) fn keepalive(_: &mut SchemaGenerator) -> Schema {
    span(check::KEEPALIVE)
}

/// `BackendPolicy.spec.sessionAffinity.timeout`.
pub(crate) fn affinity_timeout(_: &mut SchemaGenerator) -> Schema {
    span(check::AFFINITY)
}

/// `BackendPolicy.spec.connect.timeout`.
pub(crate) fn connect_timeout(_: &mut SchemaGenerator) -> Schema {
    span(check::CONNECT)
}

/// `BackendPolicy.spec.healthCheck.interval`.
pub(crate) fn check_interval(_: &mut SchemaGenerator) -> Schema {
    span(check::CHECK_INTERVAL)
}

/// `BackendPolicy.spec.healthCheck.timeout`.
pub(crate) fn check_timeout(_: &mut SchemaGenerator) -> Schema {
    span(check::CHECK_TIMEOUT)
}

/// `BackendPolicy.spec.goneEndpoints.closeAfter`.
pub(crate) fn close_after(_: &mut SchemaGenerator) -> Schema {
    span(check::CLOSE_AFTER)
}

/// `ListenerPolicy.spec.tls.minVersion`.
pub(crate) fn tls_version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": TLS_VERSIONS})
}

/// `ListenerPolicy.spec.tls.cipherSuites`.
pub(crate) fn cipher_suites(_: &mut SchemaGenerator) -> Schema {
    let mut schema = list(1, CIPHER_SUITES.len(), json!({"type": "string", "enum": CIPHER_SUITES}));
    schema.insert("x-kubernetes-list-type".to_owned(), "set".into());
    schema
}

/// Of `ListenerPolicy.spec.tls`.
pub(crate) fn suites_of_version() -> Value {
    let newest: Vec<String> = CIPHER_SUITES[..3].iter().map(|suite| format!("'{suite}'")).collect();
    let rule = rule(
        format!(
            "!has(self.minVersion) || self.minVersion != '1.3' || !has(self.cipherSuites) || \
             self.cipherSuites.exists(suite, suite in [{}])",
            newest.join(", ")
        ),
        check::NO_SUITE_OF_1_3,
    );
    json!([rule])
}

/// Bytes of a health check.
pub(crate) fn base64(_: &mut SchemaGenerator) -> Schema {
    let form = "self.matches('^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$')";
    let rule = rule(form, "write base64, or plain text into the field without `Bytes`");
    whole(text(MOST_BYTES / 3 * 4, &[rule]))
}

/// Of `BackendPolicy.spec.healthCheck`.
pub(crate) fn health_check() -> Value {
    let said = ["interval", "timeout", "port", "send", "sendBytes", "expect", "expectBytes"];
    let none = said.map(|field| format!("!has(self.{field})")).join(" && ");
    json!([
        rule("!has(self.send) || !has(self.sendBytes)", "write one of send and sendBytes"),
        rule("!has(self.expect) || !has(self.expectBytes)", "write one of expect and expectBytes"),
        rule(format!("!has(self.type) || self.type != 'None' || {none}"), check::NOTHING_IS_ASKED),
    ])
}

/// `status.ancestors`, as in the Gateway API.
pub(crate) fn ancestors(generator: &mut SchemaGenerator) -> Schema {
    let mut said = conditions(generator).to_value();
    said["description"] =
        "Accepted: whether it is followed as it is written. PartiallyInvalid, where a part \
        of it counts for nothing."
            .into();
    said["minItems"] = 1.into();
    said["maxItems"] = 8.into();
    let ancestor = json!({
        "type": "object",
        "description": "What a policy comes to for one ancestor.",
        "required": ["ancestorRef", "controllerName", "conditions"],
        "properties": {
            "ancestorRef": {
                "type": "object",
                "description": "A Gateway that the target belongs to; the target itself where there is none.",
                "required": ["name"],
                "properties": {
                    "group": {"description": "Its API group; empty for the core.", "type": "string", "maxLength": NAME},
                    "kind": {"description": "Its kind.", "type": "string", "minLength": 1, "maxLength": LABEL},
                    "namespace": {"description": "Its namespace.", "type": "string", "minLength": 1, "maxLength": LABEL},
                    "name": {"description": "Its name.", "type": "string", "minLength": 1, "maxLength": NAME},
                    "sectionName": {"description": "A part of it.", "type": "string", "minLength": 1, "maxLength": NAME},
                    "port": {"description": "A port of it.", "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535},
                },
            },
            "controllerName": {"description": "Who says it.", "type": "string", "minLength": 1, "maxLength": NAME},
            "conditions": said,
        },
    });
    let mut schema = list(0, PolicyStatus::MOST_ANCESTORS, ancestor);
    schema.insert("x-kubernetes-list-type".to_owned(), "atomic".into());
    schema
}
