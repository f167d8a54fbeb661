//! CustomResourceDefinitions of our own kinds, made from their Rust types.
//!
//! Descriptions are the documentation of the types, bounds and rules stand beside the fields. Rules
//! are CEL and say what to write instead; no webhook has to be up for them.

use kube::core::schema::StructuralSchemaRewriter;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::Kind;
use crate::vipgate::{
    BackendSpec, IpAddressPoolSpec, IpAddressPoolStatus, L2AdvertisementSpec, SpeakerStatus,
    VirtualIpSpec,
};

/// A printer column: name, type, JSONPath.
type Column = (&'static str, &'static str, &'static str);

/// What makes up one definition, beside its schema.
struct Definition {
    kind: Kind,
    description: &'static str,
    short_names: &'static [&'static str],
    spec: Option<Value>,
    status: Option<Value>,
    columns: &'static [Column],
    /// Rules over the whole object.
    rules: &'static [(&'static str, &'static str)],
}

const AGE: Column = ("Age", "date", ".metadata.creationTimestamp");

/// Every definition, as an API server takes it.
pub fn all() -> Vec<Value> {
    definitions().iter().map(Definition::object).collect()
}

fn definitions() -> [Definition; 5] {
    [
        Definition {
            kind: Kind::IpAddressPool,
            description: "Addresses that may be given to Gateways and Services, and to which. A pool is \
                enough for a working address: one that no L2Advertisement selects is announced by ARP.",
            short_names: &["pool", "pools"],
            spec: Some(schema::<IpAddressPoolSpec>()),
            status: Some(schema::<IpAddressPoolStatus>()),
            columns: &[
                ("Auto Assign", "boolean", ".spec.autoAssign"),
                ("Avoid Buggy IPs", "boolean", ".spec.avoidBuggyIPs"),
                ("Addresses", "string", ".spec.addresses"),
                ("Free IPv4", "integer", ".status.availableIPv4"),
                AGE,
            ],
            rules: &[],
        },
        Definition {
            kind: Kind::L2Advertisement,
            description: "Announces the addresses of the selected pools on the selected nodes and \
                interfaces by ARP.",
            short_names: &["l2adv"],
            spec: Some(schema::<L2AdvertisementSpec>()),
            status: None,
            columns: &[
                ("Pools", "string", ".spec.ipAddressPools"),
                ("Interfaces", "string", ".spec.interfaces"),
                AGE,
            ],
            rules: &[],
        },
        Definition {
            kind: Kind::Backend,
            description: "Servers outside of the cluster, for backendRefs of routes: group vipgate.dev, \
                kind Backend.",
            short_names: &[],
            spec: Some(schema::<BackendSpec>()),
            status: None,
            columns: &[("Endpoints", "string", ".spec.endpoints[*].address"), AGE],
            rules: &[],
        },
        Definition {
            kind: Kind::VirtualIp,
            description: "The claim on one address: who has it. Written by the controller alone; \
                speakers serve and announce what stands here and nothing else.",
            short_names: &["vip", "vips"],
            spec: Some(schema::<VirtualIpSpec>()),
            status: None,
            columns: &[
                ("Address", "string", ".spec.address"),
                ("Pool", "string", ".spec.pool"),
                ("Users", "string", ".spec.users[*].name"),
                ("Published", "boolean", ".spec.published"),
                AGE,
            ],
            rules: &[(
                "self.spec.address.contains(':') ? self.metadata.name.matches('^([0-9a-f]{4}-){7}[0-9a-f]{4}$') && \
                 ip(self.metadata.name.replace('-', ':')) == ip(self.spec.address) : self.metadata.name == self.spec.address",
                "metadata.name has to be the canonical form of spec.address: IPv4 dotted (192.0.2.10), \
                 IPv6 as all eight groups of four hex digits joined by - \
                 (2001-0db8-0000-0000-0000-0000-0000-0001)",
            )],
        },
        Definition {
            kind: Kind::Speaker,
            description: "What one node really serves and announces. Written by its speaker alone.",
            short_names: &[],
            spec: None,
            status: Some(schema::<SpeakerStatus>()),
            columns: &[
                ("VIPs", "string", ".status.vips[*].address"),
                ("States", "string", ".status.vips[*].state"),
                AGE,
            ],
            rules: &[],
        },
    ]
}

impl Definition {
    fn object(&self) -> Value {
        let kind = self.kind;
        let (plural, singular) = (kind.plural(), kind.name().to_ascii_lowercase());
        let mut properties = json!({
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
        });
        let mut required = Vec::new();
        if let Some(spec) = &self.spec {
            properties["spec"] = spec.clone();
            required.push("spec");
        }
        if let Some(status) = &self.status {
            properties["status"] = status.clone();
        }
        let mut root = json!({
            "description": self.description,
            "type": "object",
            "properties": properties,
            "required": required,
        });
        if !self.rules.is_empty() {
            root["x-kubernetes-validations"] = rules(self.rules);
        }
        let columns: Vec<Value> = (self.columns.iter())
            .map(|(name, kind, path)| json!({"name": name, "type": kind, "jsonPath": path}))
            .collect();
        let mut version = json!({
            "name": kind.versions()[0],
            "served": true,
            "storage": true,
            "additionalPrinterColumns": columns,
            "schema": {"openAPIV3Schema": root},
        });
        if self.status.is_some() {
            version["subresources"] = json!({"status": {}});
        }
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{}", kind.group())},
            "spec": {
                "group": kind.group(),
                "names": {
                    "kind": kind.name(),
                    "plural": plural,
                    "singular": singular,
                    "shortNames": self.short_names,
                    "categories": ["vipgate"],
                },
                "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
                "versions": [version],
            },
        })
    }
}

/// CEL rules, each with what to write instead.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}

/// The rule of a list of ranges of addresses.
pub(crate) fn ranges(field: &str) -> Value {
    let rule = "self.all(a, a.contains('/') ? isCIDR(a) : a.contains('-') ? \
        a.split('-').size() == 2 && isIP(a.split('-')[0].trim()) && isIP(a.split('-')[1].trim()) && \
        ip(a.split('-')[0].trim()).family() == ip(a.split('-')[1].trim()).family() : isIP(a))";
    let message = format!(
        "{field}: write CIDRs (192.0.2.0/24), ranges of one family (192.0.2.10-192.0.2.20) or single \
         addresses"
    );
    rules(&[(rule, message.as_str())])
}

/// The schema of a type in the form that API servers take: inlined, structural, bounded.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let settings = settings.with_transform(Kubernetes).with_transform(StructuralSchemaRewriter);
    let mut value = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("title");
    }
    value
}

/// What API servers do not know, or warn about.
#[derive(Clone, Debug)]
struct Kubernetes;

impl Transform for Kubernetes {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let unknown_format =
            |format: &Value| format.as_str().is_some_and(|f| f.starts_with("uint"));
        if schema.get("format").is_some_and(unknown_format) {
            schema.remove("format");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_and_text_in_a_spec_is_bounded() {
        fn check(path: &str, schema: &Value) {
            match schema["type"].as_str() {
                Some("array") => {
                    // Selectors are the API server's own type, which has no bounds.
                    let bounded = schema["maxItems"].is_number();
                    assert!(bounded || path.contains("matchExpressions"), "{path}");
                    check(&format!("{path}[]"), &schema["items"]);
                }
                Some("integer") => assert_ne!(schema["format"], "uint16", "{path}"),
                _ => {}
            }
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                check(&format!("{path}.{name}"), field);
            }
        }
        for definition in definitions() {
            check(definition.kind.name(), definition.spec.as_ref().unwrap_or(&Value::Null));
        }
    }
}
