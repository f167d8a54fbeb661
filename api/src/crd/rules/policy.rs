//! Rules of the policies. `vipgate/policy` checks the same in manifests.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::{LABEL, LABEL_SHAPE, NAME, conditions, list, rule, text};
use crate::gateway::PolicyStatus;

/// Most targets of one policy.
pub(crate) const MOST_TARGETS: usize = 16;

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
