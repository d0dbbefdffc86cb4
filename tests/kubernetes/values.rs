//! The chart's values, as people read of them.

use std::fmt::Write as _;

use super::render::shipped;
use crate::docs::generated::hold_generated;

/// The values of a file as (path, default, sentence), by its layout: two blanks a level, and comments above each value.
fn values(text: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut comment = Vec::new();
    // Lines deeper than this belong to the value above.
    let mut inside: Option<usize> = None;
    for line in text.lines() {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let line = line.trim_start();
        if line.is_empty() || inside.is_some_and(|level| depth > level) {
            continue;
        }
        inside = None;
        if let Some(words) = line.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("`{line}` has no key"));
        path.truncate(depth);
        path.push(key);
        let sentence = std::mem::take(&mut comment).join(" ");
        if sentence.is_empty() {
            assert!(value.is_empty(), "{} has no sentence", path.join("."));
            continue;
        }
        inside = Some(depth);
        let value = match value.trim() {
            "" | "|" => "values.yaml".to_owned(),
            "\"\"" => String::new(),
            plain => format!("`{plain}`"),
        };
        found.push((path.join("."), value, sentence));
    }
    found
}

#[test]
fn the_guide_lists_every_value_of_the_chart_and_the_schema_knows_each() {
    let found = values(&shipped("helm/outrigger/values.yaml"));
    assert!(found.len() > 20, "{found:?}");
    let schema: serde_json::Value = serde_json::from_str(&shipped("helm/outrigger/values.schema.json")).unwrap();
    let mut table = String::from("\n| value | default | |\n|---|---|---|\n");
    for (path, default, sentence) in &found {
        let pointer = format!("/properties/{}", path.replace('.', "/properties/"));
        assert!(schema.pointer(&pointer).is_some(), "the schema does not know {path}");
        let _ = writeln!(table, "| `{path}` | {default} | {sentence} |");
    }
    hold_generated("docs/kubernetes.md", "values", &(table + "\n"));
}

#[test]
fn the_version_that_is_deployed_is_this_one() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, line) in [
        ("helm/outrigger/Chart.yaml", format!("appVersion: {version}\n")),
        ("kustomize/overlay/kustomization.yaml", format!("newTag: \"{version}\" }}\n")),
        ("kubernetes/sidecar.yaml", format!("image: outrigger:{version}\n")),
        ("kubernetes/sidecar-nats.yaml", format!("image: outrigger:{version}\n")),
        ("kubernetes/job.yaml", format!("image: outrigger:{version}\n")),
    ] {
        assert!(shipped(file).contains(&line), "{file} has no {line}");
    }
}
