//! `docs/crds.md` says what our kinds are made of, and is made from the code.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use vipgate_api::crd;

const HEAD: &str = "# Custom resources\n\n\
    The kinds of `vipgate.dev/v1alpha1`, made from their Rust types (`api/src/vipgate/`). To make this page again: \
    `BLESS=1 cargo test -p vipgate-api --test crds`; the definitions in the chart: \
    `BLESS=1 cargo test -p vipgate-cli --bins crds`.\n\n\
    `vipgate crds` prints the definitions. `kubectl get vipgate --all-namespaces` shows all objects. Where MetalLB has a \
    kind or a field, it has the same name and meaning here.\n\n\
    What is *checked* the API server refuses an object for, with these words; and it refuses values outside of the bounds \
    and unknown words. What it cannot check (that pools do not overlap, that a name exists) is said by conditions: see \
    [in-a-cluster.md](in-a-cluster.md).\n";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for definition in crd::all() {
        kind(&mut page, &definition).expect("text can be appended to");
    }
    page
}

fn kind(page: &mut String, definition: &Value) -> std::fmt::Result {
    let (names, version) = (&definition["spec"]["names"], &definition["spec"]["versions"][0]);
    let name = text(&names["kind"]);
    let schema = &version["schema"]["openAPIV3Schema"];
    let short: Vec<String> = list(&names["shortNames"]).map(code).collect();
    let scope = match text(&definition["spec"]["scope"]) {
        "Cluster" => "in no namespace",
        _ => "in a namespace",
    };
    writeln!(page, "\n## {name}\n\n{}\n", cell(text(&schema["description"])))?;
    writeln!(page, "`{}`, {scope}; short: {}.\n", text(&names["plural"]), short.join(", "))?;

    writeln!(page, "| field | type | default | meaning |\n|---|---|---|---|")?;
    for part in ["spec", "status"] {
        fields(page, &schema["properties"][part], part)?;
    }

    let of_kind = crd::all_rules().into_iter().filter(|rule| rule.kind == name);
    let mut rules: Vec<(String, String)> =
        of_kind.map(|rule| (place(&rule.path), cell(&rule.message))).collect();
    rules.sort_by_key(|(place, _)| place.starts_with("…"));
    let mut seen = BTreeSet::new();
    rules.retain(|rule| seen.insert(rule.clone()));
    if !rules.is_empty() {
        writeln!(page, "\n| checked | words of the refusal |\n|---|---|")?;
        for (place, message) in rules {
            writeln!(page, "| `{place}` | {message} |")?;
        }
    }

    writeln!(page, "\n| column of `kubectl get` | shows |\n|---|---|")?;
    for column in list(&version["additionalPrinterColumns"]) {
        let wide = if column["priority"] == 1 { ", with `-o wide`" } else { "" };
        let description = cell(text(&column["description"]));
        writeln!(page, "| {}{wide} | {description} |", text(&column["name"]))?;
    }
    Ok(())
}

/// Where a rule stands, with all selectors as one.
fn place(path: &str) -> String {
    match path.split_once("electors[].") {
        None if path.is_empty() => "metadata.name".to_owned(),
        None => path.to_owned(),
        Some((_, below)) => format!("…Selectors[].{below}"),
    }
}

/// The rows of all fields below one.
fn fields(page: &mut String, schema: &Value, path: &str) -> std::fmt::Result {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let default = match &field["default"] {
            _ if list(&schema["required"]).any(|required| required == name) => "*required*".into(),
            Value::Null => String::new(),
            default => format!("`{default}`"),
        };
        let description = cell(text(&field["description"]));
        writeln!(page, "| `{path}` | {} | {default} | {description} |", shape(field))?;
        // What selectors are made of stands in the documentation of Kubernetes.
        let of = |field: &Value| field["properties"]["matchLabels"].is_object();
        let is_selector = of(field) || of(&field["items"]);
        match text(&field["type"]) {
            _ if is_selector => {}
            "array" => fields(page, &field["items"], &format!("{path}[]"))?,
            _ => fields(page, field, &path)?,
        }
    }
    Ok(())
}

/// What a value looks like, with its bounds.
fn shape(schema: &Value) -> String {
    let bounds = |least: &str, most: &str| match (schema[least].as_i64(), schema[most].as_i64()) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (None, Some(most)) => format!(", at most {most}"),
        (Some(least), None) => format!(", at least {least}"),
        (None, None) => String::new(),
    };
    match text(&schema["type"]) {
        _ if schema["enum"].is_array() => {
            list(&schema["enum"]).map(code).collect::<Vec<_>>().join(", ")
        }
        "array" if schema["items"]["properties"]["matchLabels"].is_object() => {
            format!("list of label selectors{}", bounds("minItems", "maxItems"))
        }
        "object" if schema["properties"]["matchLabels"].is_object() => "label selector".to_owned(),
        "array" => format!("list of {}{}", shape(&schema["items"]), bounds("minItems", "maxItems")),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        "string" => "text".to_owned(),
        "integer" => format!("number{}", bounds("minimum", "maximum")),
        other => other.to_owned(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn code(value: &Value) -> String {
    format!("`{}`", text(value))
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[test]
fn the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/crds.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let fresh = written == page();
    assert!(fresh, "docs/crds.md is stale: BLESS=1 cargo test -p vipgate-api --test crds");
}
