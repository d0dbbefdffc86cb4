//! What `deploy/` ships is run: the git hook, the steps of the CI workflow, the systemd unit, the bill of materials.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A git repository that holds the shipped configuration, with the program on its PATH and nobody's settings around.
struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        copy(&project().join("config"), &repository.path("config"));
        repository.commit("the shipped configuration");
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_outrigger")).parent().unwrap();
        let path = std::env::join_paths(
            std::iter::once(programs.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut command = Command::new(program);
        command.env_clear().env("PATH", path.unwrap()).current_dir(self.0.path());
        command.envs([("HOME", self.0.path().as_os_str()), ("GIT_CONFIG_NOSYSTEM", "1".as_ref())]);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ana").env(format!("GIT_{who}_EMAIL"), "ana@example.com");
        }
        command
    }

    fn git(&self, arguments: &[&str]) {
        let done = self.command("git").args(arguments).output().unwrap();
        assert!(done.status.success(), "git {arguments:?}: {}", said(&done));
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// Replaces a part of a file.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_git_hook_refuses_a_faulty_commit_and_shows_what_a_good_one_changes() {
    let repository = Repository::new();
    let hook = repository.path(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::copy(project().join("deploy/git/pre-commit"), &hook).unwrap();
    let commit = || {
        repository.git(&["add", "--all"]);
        repository.command("git").args(["commit", "--message", "an edit"]).output().unwrap()
    };

    repository.edit("config/webhooks/slack.toml", "\ntriggers = [", "\ntrigers = [");
    let refused = commit();
    assert!(!refused.status.success(), "{}", said(&refused));
    assert!(said(&refused).contains("did you mean `triggers`?"), "{}", said(&refused));

    // What is staged counts, not what lies in the folder.
    fs::write(repository.path("config/webhooks/broken.toml"), "x = ").unwrap();
    repository.edit("config/webhooks/slack.toml", "\ntrigers = [", "\ntriggers = [");
    repository.edit("config/webhooks/tickets.toml", "\"prod-*\"", "\"staging-*\"");
    repository.git(&["add", "config/webhooks/slack.toml", "config/webhooks/tickets.toml"]);
    let unstaged = repository.command("git").args(["commit", "--message", "an edit"]).output().unwrap();
    // The test in the file says that a production request is delivered, so the edit is a failed test.
    assert!(!unstaged.status.success() && said(&unstaged).contains("failed: tickets"), "{}", said(&unstaged));

    fs::remove_file(repository.path("config/webhooks/broken.toml")).unwrap();
    repository.edit("config/webhooks/tickets.toml", "\"staging-*\"", "\"prod-*\"");
    repository.edit("config/webhooks/tickets.toml", "\"queue\": \"access\"", "\"queue\": \"production\"");
    let taken = commit();
    assert!(taken.status.success(), "{}", said(&taken));
    assert!(said(&taken).contains("production"), "{}", said(&taken));

    fs::write(repository.path("README"), "nothing of the configuration").unwrap();
    let other = commit();
    assert!(other.status.success() && !said(&other).contains("tests passed"), "{}", said(&other));
}

#[test]
fn the_git_hook_takes_the_first_commit_of_a_configuration_and_its_removal_in_a_folder_with_a_blank() {
    for first in [false, true] {
        let repository = Repository(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        if !first {
            fs::write(repository.path("README"), "a project that gets webhooks").unwrap();
            repository.commit("before");
        }
        let hook = repository.path(".git/hooks/pre-commit");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::copy(project().join("deploy/git/pre-commit"), &hook).unwrap();
        copy(&project().join("config"), &repository.path("my webhooks"));
        for change in ["added", "changed", "removed"] {
            match change {
                "changed" => repository.edit("my webhooks/webhooks/slack.toml", "burst = 5", "burst = 4"),
                "removed" => fs::remove_dir_all(repository.path("my webhooks")).unwrap(),
                _ => {}
            }
            repository.git(&["add", "--all"]);
            let mut commit = repository.command("git");
            commit.env("OUTRIGGER_CONFIG", "my webhooks").env("TMPDIR", repository.path(".git"));
            let done = commit.args(["commit", "--message", change]).output().unwrap();
            assert!(done.status.success(), "{change}, first: {first}: {}", said(&done));
            assert_eq!(said(&done).contains("tests passed"), change != "removed", "{change}: {}", said(&done));
            let left = fs::read_dir(repository.path(".git")).unwrap().map(|entry| entry.unwrap().file_name());
            assert_eq!(left.filter(|name| name.to_string_lossy().starts_with("tmp.")).count(), 0, "{change}");
        }
    }
}

/// The shell text of a step of the workflow.
fn step(name: &str) -> String {
    let text = fs::read_to_string(project().join("deploy/ci/github-actions.yml")).unwrap();
    let (_, rest) = text.split_once(&format!("- name: {name}\n        run: |\n")).unwrap();
    let lines = rest.lines().take_while(|line| line.starts_with("          ") || line.is_empty());
    lines.map(|line| line.get(10..).unwrap_or_default()).fold(String::new(), |text, line| text + line + "\n")
}

#[test]
#[ignore = "needs jq, which tests/all installs"]
fn the_workflow_annotates_what_is_wrong_and_summarises_what_changes() {
    let repository = Repository::new();
    repository.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    let summary = repository.path("summary");
    let run = |name: &str| {
        let mut shell = repository.command("bash");
        shell.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &step(name)]);
        shell.env("GITHUB_BASE_REF", "main").env("GITHUB_STEP_SUMMARY", &summary).output().unwrap()
    };
    let clean = run("Faults, lints and tests");
    assert!(clean.status.success() && !said(&clean).contains("::"), "{}", said(&clean));

    repository.edit("config/webhooks/tickets.toml", "\"queue\": \"access\"", "\"queue\": \"production\"");
    let planned = run("What changes");
    assert!(planned.status.success(), "{}", said(&planned));
    let text = fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("```diff\n") && text.contains("production"), "{text}");

    repository.git(&["checkout", "--quiet", "--orphan", "empty"]);
    repository.git(&["rm", "--quiet", "-r", "-f", "--cached", "."]);
    repository.git(&["commit", "--quiet", "--allow-empty", "--message", "before there was a configuration"]);
    repository.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    let first = run("What changes");
    assert!(first.status.success(), "{}", said(&first));
    repository.git(&["update-ref", "refs/remotes/origin/main", "main"]);

    repository.edit("config/webhooks/slack.toml", "\ntriggers = [", "\ntrigers = [");
    let faulty = run("Faults, lints and tests");
    assert_eq!(faulty.status.code(), Some(78), "{}", said(&faulty));
    let annotation = "::error file=config/webhooks/slack.toml,line=";
    assert!(said(&faulty).contains(annotation), "{}", said(&faulty));
    assert_eq!(run("What changes").status.code(), Some(1), "a faulty side is no plan");
}

#[test]
#[ignore = "needs systemd-analyze, which tests/all installs"]
fn systemd_takes_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(project().join("deploy/systemd/outrigger.service")).unwrap();
    // A start with `config.on_invalid_webhook = "quarantine"` runs the others, and one with a failed test runs all.
    let before: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ExecStartPre=")).collect();
    assert_eq!(before, ["-/usr/local/bin/outrigger check"], "it tells; what a start refuses is for `run` to say");
    // The program is where the test has it.
    let unit = unit.replace("/usr/local/bin/outrigger", env!("CARGO_BIN_EXE_outrigger"));
    let path = folder.path().join("outrigger.service");
    fs::write(&path, unit).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&path).output().unwrap();
    let told = said(&verified);
    assert!(verified.status.success() && !told.contains("outrigger.service"), "{told}");
    // 1.5 of 10 is what a service that must use the network comes to; 10 has no protection at all.
    let exposure = |threshold: &str| {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--no-pager", threshold]).arg(&path).output().unwrap()
    };
    let rated = exposure("--threshold=16");
    assert!(rated.status.success(), "{}", said(&rated));
    assert!(!exposure("--threshold=1").status.success(), "the threshold decides");
}

#[test]
fn the_container_of_the_manifest_has_no_rights_that_it_does_not_need() {
    let text = fs::read_to_string(project().join("deploy/kubernetes/sidecar.yaml")).unwrap();
    let (_, container) = text.split_once("        - name: outrigger\n").unwrap();
    let (container, _) = container.split_once("      containers:\n").unwrap();
    for line in [
        "allowPrivilegeEscalation: false",
        "readOnlyRootFilesystem: true",
        "runAsNonRoot: true",
        "runAsUser: 65532",
        "seccompProfile: { type: RuntimeDefault }",
        "capabilities: { drop: [\"ALL\"] }",
        "mountPath: /run/secrets/outrigger, readOnly: true",
        "mountPath: /etc/outrigger, readOnly: true",
    ] {
        assert!(container.contains(line), "the container has no `{line}`");
    }
    assert!(text.contains("automountServiceAccountToken: false"), "it never speaks to the cluster's API");
    assert!(text.contains("defaultMode: 0440"), "secrets are for the group of the pod alone");
    assert!(text.contains("kind: NetworkPolicy"), "nobody but a scraper comes in");
}

#[test]
#[ignore = "needs jq and cargo-cyclonedx, which tests/all installs"]
fn the_bill_of_materials_names_all_that_the_program_is_built_of_with_licences() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made/outrigger.cdx.json");
    let run = |command: &mut Command| {
        let done = command.current_dir(project()).output().unwrap();
        assert!(done.status.success(), "{}", said(&done));
        String::from_utf8(done.stdout).unwrap()
    };
    run(Command::new("deploy/sbom").arg(&file));
    let bill: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(bill["metadata"]["component"]["name"], "outrigger");

    let tree = run(Command::new("cargo").args(["tree", "--locked", "--edges", "normal", "--prefix", "none"]));
    let built = tree.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    });
    let mut built: BTreeSet<(String, String)> = built.collect();
    assert!(built.remove(&("outrigger".to_owned(), env!("CARGO_PKG_VERSION").to_owned())), "{tree}");
    assert!(built.len() > 100, "{tree}");
    let mut named = BTreeSet::new();
    for component in bill["components"].as_array().unwrap() {
        let text = |key: &str| component[key].as_str().unwrap_or_default().to_owned();
        let licences = component["licenses"].as_array().map_or(0, Vec::len);
        assert!(licences > 0 && text("purl").starts_with("pkg:cargo/"), "{component}");
        assert!(component["hashes"][0]["content"].is_string(), "{component}");
        named.insert((text("name"), text("version")));
    }
    assert_eq!(named, built, "what is named, and what is built");

    // What depends on what is among them, and nothing tells of the machine.
    let references: BTreeSet<&str> =
        bill["components"].as_array().unwrap().iter().filter_map(|component| component["bom-ref"].as_str()).collect();
    let dependencies = bill["dependencies"].as_array().unwrap();
    assert_eq!(dependencies.len(), references.len() + 1);
    let on = dependencies.iter().filter_map(|dependency| dependency["dependsOn"].as_array()).flatten();
    assert!(on.clone().count() > references.len());
    assert!(on.filter_map(Value::as_str).all(|on| references.contains(on)));
    assert!(!bill.to_string().contains(project().to_str().unwrap()));
}
