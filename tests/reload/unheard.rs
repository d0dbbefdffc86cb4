//! Changes that no event tells of: the poll finds them.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::{receiver, sidecar};

use super::asked::second_name;
use super::{definition, delivers, edit_until_live, wait_reload};

/// How often the poll looks here.
const POLL: &str = "config.poll = '100ms'";

#[test]
fn an_edit_under_a_name_that_nobody_watches_goes_live() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).setting(POLL).webhook("hook", &definition(&target, "start")).start();
    let unheard = second_name(&sidecar, "hook.toml");
    for marker in ["first", "second", "third"] {
        edit_until_live(&sidecar, &target, marker, || {
            fs::write(&unheard, definition(&target, marker)).expect("a write");
        });
    }
}

#[test]
fn a_folder_far_above_the_files_that_is_replaced_goes_live() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).setting(POLL).webhook("hook", &definition(&target, "start")).start();
    // Nothing that is watched changes when `deep/a` does: neither the link's folder nor the one that it leads to.
    let deep = sidecar.written().dir().join("deep");
    let release = |name: &str, marker: &str| {
        let folder = deep.join(name).join("b/webhooks");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("hook.toml"), definition(&target, marker)).expect("a write");
    };
    release("a", "linked");
    let webhooks = sidecar.written().config().join("webhooks");
    edit_until_live(&sidecar, &target, "linked", || {
        fs::remove_dir_all(&webhooks).expect("a removal");
        symlink("../deep/a/b/webhooks", &webhooks).expect("a link");
    });
    for marker in ["next1", "next2"] {
        release(marker, marker);
        edit_until_live(&sidecar, &target, marker, || {
            fs::rename(deep.join("a"), deep.join(format!("old-{marker}"))).expect("a rename");
            fs::rename(deep.join(marker), deep.join("a")).expect("a rename");
        });
        // What is watched now is what stands there now.
        let edited = format!("{marker}-edited");
        edit_until_live(&sidecar, &target, &edited, || release("a", &edited));
    }
}

#[test]
fn without_a_watcher_the_poll_and_requests_still_reload() {
    // In a namespace of its own the process may have no watcher at all.
    let none = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"";
    let wrap = ["unshare", "--user", "--map-root-user", "sh", "-euc", none, "sh"];
    let possible = Command::new(wrap[0]).args(&wrap[1..]).arg("true").status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("this system gives out no namespaces: not tried");
        return;
    }
    let target = receiver().start();
    let definition = |marker: &str| definition(&target, marker);
    let sidecar = sidecar().reaching(&target).setting(POLL).webhook("hook", &definition("start")).start_by(&wrap);
    sidecar.wait_log("files cannot be watched");
    delivers(&sidecar, &target, "start");
    let file = sidecar.written().config().join("webhooks/hook.toml");
    edit_until_live(&sidecar, &target, "polled", || fs::write(&file, definition("polled")).expect("a write"));
    sidecar.written().replace("outrigger.toml", &{
        let text = fs::read_to_string(sidecar.written().config().join("outrigger.toml")).expect("it was written");
        text.replace(POLL, "config.poll = 0")
    });
    wait_reload(&sidecar, "published", 2.0);
    fs::write(&file, definition("asked")).expect("a write");
    sidecar.signal("HUP");
    wait_reload(&sidecar, "published", 3.0);
    delivers(&sidecar, &target, "asked");
    let told = sidecar.log().matches("files cannot be watched").count();
    assert_eq!(told, 1, "it is told once");
}
