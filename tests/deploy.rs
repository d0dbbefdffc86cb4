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
    // 252 knows no other type that waits for a start, and a reload says no before anything is reloaded.
    let types: Vec<&str> = unit.lines().filter(|line| line.starts_with("Type=")).collect();
    let reload: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ExecReload=")).collect();
    assert_eq!(
        (types, reload),
        (vec!["Type=notify"], vec!["/usr/local/bin/outrigger check", "/bin/kill -HUP $MAINPID"])
    );
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

/// A file of `deploy/`.
fn shipped(path: &str) -> String {
    fs::read_to_string(project().join("deploy").join(path)).unwrap()
}

#[test]
fn the_containers_of_the_manifests_have_no_rights_that_they_do_not_need() {
    for file in ["kubernetes/sidecar.yaml", "kubernetes/sidecar-nats.yaml"] {
        let text = shipped(file);
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
            assert!(container.contains(line), "the container of {file} has no `{line}`");
        }
        assert!(text.contains("automountServiceAccountToken: false"), "it never speaks to the cluster's API");
        assert!(text.contains("defaultMode: 0440"), "secrets are for the group of the pod alone");
        assert!(text.contains("kind: NetworkPolicy"), "nobody but a scraper comes in");
    }
    let nats = shipped("kubernetes/sidecar-nats.yaml");
    for absent in ["volumeClaimTemplates", "/var/lib/outrigger", "  readinessProbe:"] {
        assert!(!nats.contains(absent), "with its spool in NATS a pod has no `{absent}`");
    }
    let servers = shipped("kubernetes/nats.yaml");
    let (_, container) = servers.split_once("        - name: nats\n").unwrap();
    for line in ["readOnlyRootFilesystem: true", "runAsNonRoot: true", "drop: [\"ALL\"]", "ldm=1"] {
        assert!(container.contains(line), "the server's container has no `{line}`");
    }
    for line in ["replicas: 3", "maxUnavailable: 1", "publishNotReadyAddresses: true", "kind: NetworkPolicy"] {
        assert!(servers.contains(line), "the servers have no `{line}`");
    }
}

#[test]
fn what_is_composed_to_try_it_is_for_this_machine_alone_and_its_configuration_is_good() {
    let text = shipped("compose/compose.yaml");
    let count = |line: &str| text.matches(line).count();
    assert_eq!((count("read_only: true"), count("cap_drop: [ALL]"), count("no-new-privileges:true")), (2, 2, 2));
    assert_eq!((count("condition: service_healthy"), count("container_name:")), (3, 0));
    let published: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with("ports:")).collect();
    assert!(
        matches!(published[..], [line] if line.starts_with("ports: [\"127.0.0.1:") && !line.contains(',')),
        "{published:?}"
    );
    let mut check = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    check.args(["check", "--strict", "--config"]).arg(project().join("deploy/compose/config"));
    check.envs([("INGEST_TOKEN", "x"), ("NATS_PASSWORD", "x"), ("RECEIVER_URL", "https://receiver.example.com/in")]);
    let checked = check.output().unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
}

/// The part of a server's configuration that says who may do what.
fn authorization(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).skip_while(|line| *line != "authorization {").collect();
    let mut depth = 0_i32;
    let mut block = Vec::new();
    for line in lines {
        block.push(line);
        depth += i32::try_from(line.matches('{').count()).unwrap() - i32::try_from(line.matches('}').count()).unwrap();
        if depth == 0 {
            break;
        }
    }
    block.into_iter().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn the_user_of_the_shipped_servers_may_do_what_a_spool_needs() {
    use crate::support::nats::{Nats, program};
    use crate::support::{receiver, sidecar};

    let [composed, deployed] = ["compose/nats.conf", "kubernetes/nats.yaml"].map(|file| authorization(&shipped(file)));
    assert_eq!(composed, deployed);
    assert!(!deployed.contains("\">\""), "{deployed}");
    let mut test = Command::new(program());
    test.args(["-t", "-c"]).arg(project().join("deploy/compose/nats.conf"));
    let tested = test.envs([("SERVER_NAME", "nats-0"), ("NATS_PASSWORD", "tryout")]).output().unwrap();
    assert!(tested.status.success(), "{}", said(&tested));

    let nats = Nats::one(&deployed.replace("$NATS_PASSWORD", "tryout"));
    let target = receiver().respond(500).then(422).start();
    let hook = format!("url = {:?}\n[retry]\ninitial = \"20ms\"\n", target.url("/hook"));
    let sidecar = nats
        .spool(sidecar())
        .reaching(&target)
        .webhook("hook", &hook)
        .setting("spool.user = 'outrigger'")
        .setting("spool.password = 'tryout'")
        .start();
    // Appended, deferred, buried with its record, listed, replayed and delivered.
    let event = r#"{"event_type":"RequestCreated","event_time":1,"data":{"id":"AR-1"}}"#;
    let key = [("content-type", "application/json"), ("idempotency-key", "one")];
    for _ in 0..2 {
        assert_eq!(sidecar.post_with("/v1/events", &key, event.as_bytes()).status, 202);
    }
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "hook")], 1.0);
    let letters = sidecar.get("admin", "/api/v1/dead-letters").json();
    assert_eq!(letters["dead_letters"].as_array().map(Vec::len), Some(1), "{letters}");
    let replayed = sidecar.written().run(&[
        "dead-letters",
        "replay",
        "--all",
        "--admin",
        &format!("http://{}", sidecar.address("admin")),
    ]);
    assert!(replayed.status.success(), "{replayed:?}");
    target.wait(3);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    assert!(!nats.log(0).contains("Violation"), "{}", nats.log(0));
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
