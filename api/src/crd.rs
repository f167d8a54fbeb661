//! CustomResourceDefinitions of our own kinds, made from their Rust types.
//!
//! Descriptions are the documentation of the types; bounds and rules stand beside the fields
//! (`rules`). Rules are CEL and say what to write instead; no webhook has to be up for them.

mod definitions;
pub(crate) mod rules;

use kube::core::schema::StructuralSchemaRewriter;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::Kind;

/// What makes up one definition, beside its schema.
struct Definition {
    kind: Kind,
    description: &'static str,
    short_names: &'static [&'static str],
    spec: Option<Value>,
    status: Option<Value>,
    columns: Vec<Column>,
    /// Rules over the whole object, as API servers take them.
    rules: Option<Value>,
}

/// A column that `kubectl get` shows.
struct Column {
    name: &'static str,
    kind: &'static str,
    path: &'static str,
    description: &'static str,
    /// Only with `-o wide`.
    is_wide: bool,
}

impl Column {
    /// One that is always shown. Of a path with `[*]` the API server shows the first hit only.
    const fn new(
        name: &'static str,
        kind: &'static str,
        path: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, kind, path, description, is_wide: false }
    }

    const fn wide(self) -> Self {
        Self { is_wide: true, ..self }
    }

    fn object(&self) -> Value {
        let mut column = json!({
            "name": self.name,
            "type": self.kind,
            "jsonPath": self.path,
            "description": self.description,
        });
        if self.is_wide {
            column["priority"] = 1.into();
        }
        column
    }
}

/// Every definition, as an API server takes it.
pub fn all() -> Vec<Value> {
    definitions::all().iter().map(Definition::object).collect()
}

/// A CEL rule, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which kind has it.
    pub kind: String,
    /// The field, such as `spec.addresses[]`; empty for the whole object.
    pub path: String,
    /// What has to hold.
    pub rule: String,
    /// What whoever breaks it is told.
    pub message: String,
}

/// Every rule of every kind: for the documentation, and for the tests that break each.
pub fn all_rules() -> Vec<Rule> {
    let mut found = Vec::new();
    for definition in all() {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        visit(schema, "", &mut |path, schema| {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let text = |field: &str| rule[field].as_str().unwrap_or_default().to_owned();
                found.push(Rule {
                    kind: kind.to_owned(),
                    path: path.to_owned(),
                    rule: text("rule"),
                    message: text("message"),
                });
            }
        });
    }
    found
}

/// Shows a schema and all below it, each with its path: `spec.addresses[]`, `matchLabels.*`.
pub fn visit(schema: &Value, path: &str, each: &mut impl FnMut(&str, &Value)) {
    each(path, schema);
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        visit(field, &below(name), each);
    }
    if schema["items"].is_object() {
        visit(&schema["items"], &format!("{path}[]"), each);
    }
    if schema["additionalProperties"].is_object() {
        visit(&schema["additionalProperties"], &below("*"), each);
    }
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
        });
        if !required.is_empty() {
            root["required"] = required.into();
        }
        if let Some(rules) = &self.rules {
            root["x-kubernetes-validations"] = rules.clone();
        }
        let columns: Vec<Value> = self.columns.iter().map(Column::object).collect();
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
mod tests;
