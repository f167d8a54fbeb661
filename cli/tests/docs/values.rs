//! `docs/reference/chart-values.md`: what can be set in the chart, from the comments of its values.yaml,
//! its defaults and its schema.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{cell, hold, of_project};

const HEAD: &str = "# Values of the chart\n\n\
    Made from `charts/vipgate/values.yaml` and its schema; `make reference` makes it again. How it is installed: \
    [the chart](../../charts/README.md). A key that is not here is refused.\n";

/// A key with the comment above it.
struct Key {
    path: Vec<String>,
    said: String,
}

/// The keys of a values.yaml in its order; those of lists and of `{…}` are part of the default.
fn keys(text: &str) -> Vec<Key> {
    let (mut keys, mut path, mut said) = (Vec::new(), Vec::new(), String::new());
    let mut inside_list: Option<usize> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if trimmed.is_empty() {
            said.clear();
        } else if let Some(comment) = trimmed.strip_prefix('#') {
            match comment.strip_prefix("   ") {
                Some(example) => {
                    let _ = write!(said, "<br>`{}`", example.trim_start());
                }
                None => said.push_str(comment),
            }
        } else if trimmed.starts_with("- ") {
            inside_list = inside_list.or(Some(indent));
        } else if inside_list.is_none_or(|list| indent < list)
            && let Some((key, _)) = trimmed.split_once(':')
        {
            inside_list = None;
            path.truncate(indent / 2);
            path.push(key.to_owned());
            keys.push(Key { path: path.clone(), said: std::mem::take(&mut said) });
        }
    }
    keys
}

/// What the schema says of a key, with what it refers to.
fn schema_of(root: &Value, path: &[String]) -> Option<Value> {
    let mut at = root.clone();
    for key in path {
        let of_ref = at["$ref"].as_str().and_then(|name| root.pointer(name.strip_prefix('#')?));
        let own = at["properties"].get(key);
        at = own.or_else(|| of_ref?["properties"].get(key))?.clone();
    }
    let of_ref = at["$ref"].as_str().and_then(|name| root.pointer(name.strip_prefix('#')?));
    Some(of_ref.filter(|_| at.get("properties").is_none()).cloned().unwrap_or(at))
}

fn shape(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`"));
        return words.collect::<Vec<_>>().join(", ");
    }
    let least = schema["minimum"].as_i64().map(|least| format!(", at least {least}"));
    match schema["type"].as_str().unwrap_or_default() {
        "string" => "text".to_owned(),
        "integer" => format!("number{}", least.unwrap_or_default()),
        "array" => "list".to_owned(),
        other => other.to_owned(),
    }
}

fn page(text: &str, schema: &Value) -> Result<String> {
    let defaults: Value = serde_saphyr::from_str(text)?;
    let mut page = HEAD.to_owned();
    let mut section = None;
    for Key { path, said } in keys(text) {
        let name = path.join(".");
        let value = defaults.pointer(&format!("/{}", path.join("/"))).context(name.clone())?;
        let schema = schema_of(schema, &path).with_context(|| format!("schema of {name}"))?;
        let has_keys = value.as_object().is_some_and(|keys| !keys.is_empty())
            && schema["properties"].is_object()
            && keys(text)
                .iter()
                .any(|key| key.path.len() > path.len() && key.path.starts_with(&path));
        if section.as_ref() != path.first() {
            section = path.first().cloned();
            writeln!(page, "\n## {}\n", path[0])?;
            if has_keys && !said.is_empty() {
                writeln!(page, "{}\n", cell(&said))?;
            }
            writeln!(page, "| value | takes | default | meaning |\n|---|---|---|---|")?;
        }
        if has_keys {
            if path.len() > 1 && !said.is_empty() {
                writeln!(page, "| `{name}` | object | | {} |", cell(&said))?;
            }
            continue;
        }
        ensure!(!said.is_empty(), "values.yaml does not say what {name} is");
        let default = cell(&format!("`{value}`"));
        writeln!(page, "| `{name}` | {} | {default} | {} |", shape(&schema), cell(&said))?;
    }
    Ok(page)
}

#[test]
fn the_page_is_fresh() -> Result<()> {
    let text = std::fs::read_to_string(of_project("charts/vipgate/values.yaml"))?;
    let schema = std::fs::read_to_string(of_project("charts/vipgate/values.schema.json"))?;
    hold("docs/reference/chart-values.md", &page(&text, &serde_json::from_str(&schema)?)?)
}

#[test]
fn a_key_has_the_comment_above_it() {
    let text = "# The file.\n\n# Of a,\n# in two lines.\na:\n  b: 1\n  # Of c.\n  c:\n    - d: 2\n      e: 3\n\
                # Of f.\n#   f: {g: 4}\nf: {}\n";
    let found: Vec<(String, String)> =
        keys(text).into_iter().map(|key| (key.path.join("."), key.said)).collect();
    let expected = [
        ("a", " Of a, in two lines."),
        ("a.b", ""),
        ("a.c", " Of c."),
        ("f", " Of f.<br>`f: {g: 4}`"),
    ];
    assert_eq!(found, expected.map(|(path, said)| (path.to_owned(), said.to_owned())));
}
