//! What the shipped charts, kustomizations and manifests come to, by the real programs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Reads YAML documents, holds each against the published schemas of the oldest and the newest Kubernetes, and prints them as JSON.
/// The operator's own kind has no such schema; a test looks at its fields.
const VALIDATE: &str = r#"
import json, sys, yaml, kubernetes_validate
documents = [document for document in yaml.safe_load_all(sys.stdin) if document]
for document in documents:
    if document["kind"] != "PodMonitor":
        for version in ("1.29", "1.37"):
            kubernetes_validate.validate(document, version, strict=True)
json.dump(documents, sys.stdout)
"#;

pub(super) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of `deploy/`.
pub(super) fn shipped(path: &str) -> String {
    std::fs::read_to_string(project().join("deploy").join(path)).unwrap()
}

fn program(variable: &str) -> Command {
    let program =
        std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} names no program: tests/all sets it"));
    let mut command = Command::new(program);
    command.current_dir(project());
    command
}

pub(super) fn helm(arguments: &[&str]) -> Output {
    // What a user has set up for helm is not asked.
    let home = tempfile::tempdir().unwrap();
    program("OUTRIGGER_TEST_HELM").env("HOME", home.path()).args(arguments).output().unwrap()
}

/// The objects of a chart with these values.
#[track_caller]
pub(super) fn chart(folder: &Path, values: &str) -> Vec<Value> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values).unwrap();
    let (folder, file) = (folder.to_str().unwrap(), file.path().to_str().unwrap());
    let rendered = helm(&["template", "release", folder, "--values", file]);
    assert!(rendered.status.success(), "{values}: {}", String::from_utf8_lossy(&rendered.stderr));
    objects(&String::from_utf8(rendered.stdout).unwrap())
}

/// The objects of a kustomization.
#[track_caller]
pub(super) fn kustomization(folder: &Path) -> Vec<Value> {
    let rendered = program("OUTRIGGER_TEST_KUBECTL").arg("kustomize").arg(folder).output().unwrap();
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    objects(&String::from_utf8(rendered.stdout).unwrap())
}

/// An object in a file as a patch makes it, without a cluster.
#[track_caller]
pub(super) fn patched(file: &Path, patch: &str) -> Value {
    let mut kubectl = program("OUTRIGGER_TEST_KUBECTL");
    kubectl.args(["patch", "--local", "--type", "json", "--output", "json", "--patch", patch, "--filename"]).arg(file);
    let patched = kubectl.output().unwrap();
    assert!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stderr));
    serde_json::from_slice(&patched.stdout).unwrap()
}

/// The objects of a text in YAML, each valid.
#[track_caller]
pub(super) fn objects(yaml: &str) -> Vec<Value> {
    let validated = validate(yaml);
    assert!(validated.status.success(), "{}\n{yaml}", String::from_utf8_lossy(&validated.stderr));
    serde_json::from_slice(&validated.stdout).unwrap()
}

/// The same, with what is wrong on its standard error.
pub(super) fn validate(yaml: &str) -> Output {
    let mut python = program("OUTRIGGER_TEST_PYTHON");
    python.args(["-c", VALIDATE]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = python.spawn().unwrap();
    // What does not read to the end says why.
    let _ = running.stdin.take().unwrap().write_all(yaml.as_bytes());
    running.wait_with_output().unwrap()
}
