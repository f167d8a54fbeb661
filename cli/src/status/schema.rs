//! The JSON Schema of `vipgate status -o json`, made from the types of the report; docs/status.schema.json is kept
//! to it.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::report::{SCHEMA_VERSION, StatusReport};

/// Of what is printed: a field that is left out where it says nothing is optional, and no other is.
fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<StatusReport>().to_value();
    schema["title"] = "vipgate status -o json".into();
    schema["properties"]["schemaVersion"]["const"] = SCHEMA_VERSION.into();
    schema
}

/// `BLESS=1` rewrites the file. Where a field goes or changes its meaning, the version is another one.
#[test]
fn the_docs_have_the_schema_of_the_types() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/status.schema.json");
    let text = format!("{:#}\n", schema());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    let there = std::fs::read_to_string(file).unwrap_or_default();
    assert!(there == text, "{file} is stale: BLESS=1 cargo test -p vipgate-cli --bins schema");
}

#[test]
fn what_is_always_there_is_required_and_every_field_is_explained() {
    let schema = schema();
    let required = schema["required"].as_array().unwrap();
    for field in ["schemaVersion", "version", "node", "problems", "vips", "objects"] {
        assert!(required.contains(&field.into()), "{field}: {required:?}");
    }
    let kinds = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for kind in kinds.filter(|kind| kind["type"] == "object") {
        for (name, field) in kind["properties"].as_object().unwrap() {
            assert!(field["description"].is_string(), "{name} of {}", kind["description"]);
        }
    }
}
