//! The tools that people and machines edit with, and everything that the configuration refers to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use outrigger::cli::demo::authority::Authority;

use crate::support::receiver::AUTHORITY;
use crate::support::{receiver, sidecar};

use super::{EVENT, definition, delivers, edit_until_live, reloads, shell, wait_in_force, wait_reload};

/// The editor to try instead of the one that is found; `tests/all` sets it.
const VIM_VARIABLE: &str = "OUTRIGGER_TEST_VIM";

/// Where vim is: what the variable says, or a usual name.
fn vim() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(VIM_VARIABLE) {
        return Some(named.into());
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    ["vim.tiny", "vim"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|vim| vim.is_file())
}

#[test]
#[ignore = "needs vim, which tests/all installs"]
fn an_edit_in_vim_goes_live_however_it_keeps_its_backup() {
    let vim = vim().unwrap_or_else(|| panic!("vim is not here, and {VIM_VARIABLE} does not say where it is"));
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "m0.")).start();
    let file = sidecar.written().config().join("webhooks/hook.toml");
    // As it comes, in place, and by a fresh file under the old name.
    let ways = ["set nocompatible", "set backup backupcopy=yes", "set backup backupcopy=no", "set nowritebackup"];
    for (number, way) in ways.iter().enumerate() {
        let (old, new) = (format!("m{number}\\."), format!("m{}.", number + 1));
        edit_until_live(&sidecar, &target, &new, || {
            let mut edit = Command::new(&vim);
            edit.args([
                "-N",
                "-u",
                "NONE",
                "-i",
                "NONE",
                "-es",
                "-c",
                way,
                "-c",
                &format!("%s/{old}/{new}/"),
                "-c",
                "wq",
            ]);
            let edited = edit.arg(&file).status();
            assert!(edited.is_ok_and(|status| status.success()), "{way}");
        });
    }
    wait_in_force(&sidecar, 1.0);
}

#[test]
fn a_checkout_of_another_branch_goes_live_and_one_without_webhooks_keeps_all() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "one")).start();
    let config = sidecar.written().config();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]).args(arguments);
        let done = git.current_dir(&config).env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("git is here");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "--quiet", "--initial-branch", "one"]);
    git(&["add", "webhooks"]);
    git(&["commit", "--quiet", "-m", "one"]);
    git(&["checkout", "--quiet", "-b", "none"]);
    git(&["rm", "--quiet", "-r", "webhooks"]);
    git(&["commit", "--quiet", "-m", "none"]);
    wait_in_force(&sidecar, 0.0);
    delivers(&sidecar, &target, "one");
    git(&["checkout", "--quiet", "-b", "two"]);
    fs::create_dir_all(config.join("webhooks")).expect("a folder");
    for name in ["renamed.toml", "manual.toml"] {
        let triggers = if name == "manual.toml" { "triggers = ['Manual']\n" } else { "" };
        fs::write(config.join("webhooks").join(name), format!("{triggers}{}", definition(&target, "two")))
            .expect("a write");
    }
    git(&["add", "webhooks"]);
    git(&["commit", "--quiet", "-m", "two"]);
    sidecar.wait_metric("outrigger_config_webhooks", &[("status", "active")], 2.0);
    for _ in 0..3 {
        for (branch, count) in [("one", 1.0), ("two", 2.0)] {
            git(&["checkout", "--quiet", branch]);
            sidecar.wait_metric("outrigger_config_webhooks", &[("status", "active")], count);
            wait_in_force(&sidecar, 1.0);
            delivers(&sidecar, &target, branch);
        }
        git(&["checkout", "--quiet", "none"]);
        wait_in_force(&sidecar, 0.0);
        delivers(&sidecar, &target, "two");
    }
}

#[test]
fn a_rotated_authority_is_trusted_and_what_waited_is_delivered() {
    let target = receiver().start();
    let other = Authority::new().expect("an authority");
    let builder = sidecar().reaching(&target);
    let ca_file = builder.dir().join("rotated.pem");
    fs::write(&ca_file, other.ca_pem()).expect("a file");
    let sidecar = builder
        .setting(&format!("egress.ca_file = '{}'", ca_file.display()))
        .webhook("hook", &format!("{}[retry]\ninitial = '10ms'\nmax_interval = '100ms'\n", definition(&target, "x")))
        .start();
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    let refused = [("webhook", "hook"), ("reason", "tls_error")];
    sidecar.wait_metric_from("outrigger_attempt_failures_total", &refused, 1.0);
    assert_eq!(target.count(), 0);
    fs::write(&ca_file, format!("{}{}", other.ca_pem(), AUTHORITY.ca_pem())).expect("a write");
    target.wait(1);
    // A file that holds none is refused, and what was trusted stays so.
    let before = reloads(&sidecar, "refused");
    fs::write(&ca_file, "no certificate\n").expect("a write");
    wait_reload(&sidecar, "refused", before);
    delivers(&sidecar, &target, "x");
}

#[test]
fn a_sample_of_a_kind_is_watched_as_all_files_are_that_are_referred_to() {
    let target = receiver().start();
    let builder = sidecar().reaching(&target);
    let sample = builder.dir().join("sample.json");
    fs::write(&sample, "{\"type\": \"started\"}").expect("a file");
    let sidecar = builder
        .setting("kinds.deployment.type = '$.type'")
        .setting(&format!("kinds.deployment.sample = '{}'", sample.display()))
        .webhook("hook", &format!("kind = 'deployment'\n{}", definition(&target, "x")))
        .start();
    wait_reload(&sidecar, "unchanged", 0.0);
    let before = reloads(&sidecar, "refused");
    fs::write(&sample, "{\"type\": ").expect("a write");
    wait_reload(&sidecar, "refused", before);
    sidecar.wait_log("outrigger.toml:");
    let before = reloads(&sidecar, "published");
    fs::write(&sample, "{\"type\": \"started\", \"service\": \"shop\"}").expect("a write");
    wait_reload(&sidecar, "published", before);
    wait_in_force(&sidecar, 1.0);
}

#[test]
fn a_stream_editor_that_replaces_the_file_goes_live() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &definition(&target, "m0.")).start();
    let file = sidecar.written().config().join("webhooks/hook.toml");
    for number in 1..4 {
        let marker = format!("m{number}.");
        let script = Path::new("s/m[0-9]\\./").display().to_string() + &marker + "/";
        edit_until_live(&sidecar, &target, &marker, || shell("sed -i \"$1\" \"$2\"", &[Path::new(&script), &file]));
    }
}
