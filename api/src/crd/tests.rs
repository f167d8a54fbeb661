//! What every definition has to have.

use serde_json::Value;

use super::*;

fn each(mut look: impl FnMut(&str, &Value)) {
    for definition in all() {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        visit(schema, "", &mut |path, schema| look(&format!("{kind} {path}"), schema));
    }
}

#[test]
fn everything_is_bounded() {
    each(|path, schema| {
        let is_top = ["apiVersion", "kind"].iter().any(|top| path.ends_with(&format!(" {top}")));
        let is_number = |bound: &str| schema[bound].is_number();
        match schema["type"].as_str().unwrap_or_else(|| panic!("{path} has a type")) {
            "array" => assert!(is_number("maxItems"), "{path}"),
            "string" if !is_top => {
                let is_bounded = schema["enum"].is_array()
                    || is_number("maxLength")
                    || schema["format"] == "date-time";
                // Within a Speaker, the whole object has a limit that its writer keeps.
                assert!(is_bounded || path.starts_with("Speaker status"), "{path}");
            }
            "integer" => {
                let is_known = matches!(schema["format"].as_str(), None | Some("int32" | "int64"));
                assert!(is_known, "{path}: {schema}");
            }
            "object" if schema["additionalProperties"].is_object() => {
                assert!(is_number("maxProperties"), "{path}");
            }
            _ => {}
        }
    });
}

#[test]
fn every_field_is_described() {
    each(|path, schema| {
        let is_top = ["apiVersion", "kind", "metadata"]
            .iter()
            .any(|top| path.split(' ').nth(1) == Some(top));
        // Items that are texts are described by their list.
        let is_text_item = path.ends_with("[]") && schema["type"] == "string";
        let is_value = path.ends_with(".*");
        if is_top || is_text_item || is_value {
            return;
        }
        let text = schema["description"].as_str().unwrap_or_default();
        assert!(text.len() > 8 && text.ends_with(['.', ')']), "{path}: {text:?}");
    });
}

#[test]
fn every_rule_says_what_to_write() {
    for rule in all_rules() {
        let text = &rule.message;
        let helps = ["write", "has to be", "cannot change"].iter().any(|word| text.contains(word));
        assert!(helps && text.len() <= 200 && !text.contains('\n'), "{rule:?}");
    }
}

#[test]
fn no_column_shows_the_first_of_many_as_if_it_were_all() {
    for definition in definitions::all() {
        for column in &definition.columns {
            assert!(!column.path.contains("[*]"), "{}: {}", definition.kind, column.path);
        }
    }
}
