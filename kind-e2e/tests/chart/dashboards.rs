//! Dashboards: whole, and true to the metrics there are.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use vipgate_lab::cluster::template_chart;

use super::alerts::{is_documented, metrics_in};
use super::values::CHART;

fn dashboards() -> Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(Path::new(CHART).join("files/dashboards"))? {
        let path = entry?.path();
        let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
        all.push((name, serde_json::from_str(&std::fs::read_to_string(&path)?)?));
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(all)
}

#[test]
fn every_panel_asks_for_something_that_there_is() -> Result<()> {
    let all = dashboards()?;
    assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["overview", "vip"]);
    for (name, board) in &all {
        let panels = board["panels"].as_array().context("panels")?;
        let ids: BTreeSet<i64> = panels.iter().filter_map(|panel| panel["id"].as_i64()).collect();
        assert_eq!(ids.len(), panels.len(), "{name}: every panel has an id of its own");
        for panel in panels.iter().filter(|panel| panel["type"] != "row") {
            let title = panel["title"].as_str().context("a title")?;
            let targets = panel["targets"].as_array().context("targets")?;
            assert!(!targets.is_empty(), "{name}: {title} asks for nothing");
            for target in targets {
                let expression = target["expr"].as_str().context("an expression")?;
                let metrics = metrics_in(expression);
                assert!(!metrics.is_empty() || expression.contains("up{job="), "{expression}");
                for metric in metrics {
                    assert!(is_documented(metric)?, "{name}: {title}: no page has {metric}");
                }
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{name}: {title}");
            }
        }
        // Nothing overlaps, and nothing is off the grid.
        let places = panels.iter().map(|panel| {
            let at = |field: &str| panel["gridPos"][field].as_i64().unwrap_or(-1);
            (at("x"), at("y"), at("w"), at("h"))
        });
        let places: Vec<_> = places.collect();
        for (index, (x, y, w, h)) in places.iter().enumerate() {
            assert!(*x >= 0 && x + w <= 24, "{name}: panel {index}");
            for (other_x, other_y, other_w, other_h) in &places[index + 1..] {
                let apart = x + w <= *other_x || other_x + other_w <= *x;
                assert!(apart || y + h <= *other_y || other_y + other_h <= *y, "{name}: {index}");
            }
        }
    }
    Ok(())
}

/// What Grafana's sidecar is given is the file, byte for byte.
#[test]
fn each_comes_in_a_config_map() -> Result<()> {
    let on = ["--set", "monitoring.enabled=true", "--show-only", "templates/dashboards.yaml"];
    let rendered = template_chart("vipgate-system", &on)?;
    for (name, board) in dashboards()? {
        let key = format!("  vipgate-{name}.json: |\n");
        let after = rendered.split_once(&key).with_context(|| format!("no {key}"))?.1;
        let lines = after.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
        let text: Vec<&str> = lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
        assert_eq!(serde_json::from_str::<Value>(&text.join("\n"))?, board);
    }
    assert_eq!(rendered.matches("grafana_dashboard: \"1\"").count(), 2);
    Ok(())
}
