//! The container image without a container runtime: the root that the Dockerfile describes, read-only, as its user, on a network of
//! its own with nothing but loopback.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod image;
mod names;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use outrigger::cli::demo::receiver::Receiver;

use crate::support::process::{Ended, Process};
use crate::support::receiver::{AUTHORITY, RUNTIME};
use crate::support::{PATIENCE, eventually, http};
use image::{Image, below};

/// Asks for the test, where it can be run: as root.
const ASKED: &str = "OUTRIGGER_TEST_CHROOT";
/// Names the folder of the half that runs in its own namespaces.
const INSIDE: &str = "OUTRIGGER_TEST_CHROOT_FOLDER";
const NAME: &str = "hooks.partner.example";
const EVENT: &str = r#"{"event_type":"RequestCreated","event_time":1,"data":{"id":"AR-1"}}"#;

#[test]
#[ignore = "needs root, as which tests/all asks for it"]
fn the_image_delivers_by_name_over_tls_and_writes_nothing_but_its_spool() {
    let asked = std::env::var(ASKED).unwrap_or_default();
    assert_eq!(asked, "1", "{ASKED}=1 asks for this test, and root can run it");
    let folder = tempfile::tempdir().unwrap();
    let mut apart = Command::new("unshare");
    apart.args(["--net", "--mount", "sh", "-euc", "ip link set lo up && exec \"$@\"", "sh"]);
    apart.arg(std::env::current_exe().unwrap()).args(["--ignored", "--exact", "container::inside", "--nocapture"]);
    let ended = apart.env(INSIDE, folder.path()).output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    assert!(folder.path().join("done").exists(), "{said}");
}

#[test]
#[ignore = "is the half of the test above that runs apart"]
fn inside() {
    let Some(folder) = std::env::var_os(INSIDE).map(PathBuf::from) else { return };
    let image = Image::read(include_str!("../Dockerfile"));
    let container = Container::new(image, &folder);

    let tls = AUTHORITY.server_config(&[NAME], &["h2", "http/1.1"]).unwrap();
    let receiver = RUNTIME.block_on(Receiver::with_tls(tls)).unwrap();
    let port = receiver.addr().port();
    let asked = names::serve(NAME);
    container.configure(port);
    let before = container.mount();

    let checked = container.finish(&[&container.image.entrypoint[0], "check"]);
    assert!(checked.status.success() && checked.stdout.contains("1 webhook"), "{checked:?}");
    let health: Vec<&str> = container.image.health.iter().map(String::as_str).collect();
    assert_eq!(container.finish(&health).status.code(), Some(1), "nothing runs yet");

    let run: Vec<&str> =
        [&container.image.entrypoint, &container.image.command].into_iter().flatten().map(String::as_str).collect();
    let mut process = Process::spawn(&mut container.command(&run));
    let ready = eventually(PATIENCE, || {
        assert!(process.has_ended().is_none(), "{}", process.lines().join("\n"));
        container.finish(&health).status.success().then_some(())
    });
    assert!(ready.is_some(), "it is not healthy:\n{}", process.lines().join("\n"));
    let metrics = SocketAddr::from(([127, 0, 0, 1], container.image.port));
    assert_eq!(http::exchange(metrics, "GET", "/readyz", &[], b"").unwrap().status, 200);

    let taken =
        http::exchange(SocketAddr::from(([127, 0, 0, 1], 8460)), "POST", "/v1/events?wait=20s", &[], EVENT.as_bytes());
    let taken = taken.unwrap();
    assert!(taken.status == 200 && taken.body.contains("delivered"), "{taken:?}\n{}", process.lines().join("\n"));
    let recorded = receiver.recorded();
    assert_eq!((recorded.len(), recorded[0].host.as_str()), (1, format!("{NAME}:{port}").as_str()));
    assert_eq!(&recorded[0].body[..], br#"{"id":"AR-1"}"#);
    assert!(asked.load(Ordering::SeqCst) > 0, "the name was asked of the name server");

    process.signal("TERM");
    let ended = process.finish(PATIENCE);
    assert!(ended.status.success(), "{ended:?}");
    container.hold_written(&before);
    container.unmount();
    fs::write(folder.join("done"), "").unwrap();
}

/// A root with its mounts, below a folder: `root` is made, and `seen` is how the program sees it.
struct Container {
    image: Image,
    root: PathBuf,
    seen: PathBuf,
    config: PathBuf,
    spool: PathBuf,
}

/// What there is of each file below a folder: its kind and mode, size, owner and when it changed.
type Tree = BTreeMap<PathBuf, (u32, u64, u32, i64, i64)>;

fn tree(folder: &Path, found: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = path.symlink_metadata().unwrap();
        if about.is_dir() {
            tree(&path, found);
        }
        found.insert(path, (about.mode(), about.size(), about.uid(), about.ctime(), about.ctime_nsec()));
    }
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Container {
    fn new(image: Image, folder: &Path) -> Self {
        let [root, seen, config, spool] = ["root", "seen", "config", "spool"].map(|name| folder.join(name));
        for folder in [&root, &seen, &config, &spool] {
            fs::create_dir(folder).unwrap();
        }
        image.assemble(&root);
        // What a runtime puts into every root.
        fs::write(root.join("etc/resolv.conf"), "nameserver 127.0.0.1\noptions timeout:2\n").unwrap();
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        fs::create_dir(root.join("etc/outrigger")).unwrap();
        // A fresh volume takes over the owner that the image has at its place.
        let place = below(&root, &image.volume).metadata().unwrap();
        chown(&spool, Some(place.uid()), Some(place.gid())).unwrap();
        Self { image, root, seen, config, spool }
    }

    fn configure(&self, port: u16) {
        let settings =
            format!("[egress]\nallow_networks = [\"127.0.0.0/8\"]\nallow_ports = [{port}]\nca_file = \"ca.pem\"\n");
        fs::write(self.config.join("outrigger.toml"), settings).unwrap();
        fs::write(self.config.join("ca.pem"), AUTHORITY.ca_pem()).unwrap();
        fs::create_dir(self.config.join("webhooks")).unwrap();
        let hook = format!("url = \"https://{NAME}:{port}/in\"\nbody = '{{\"id\":\"{{{{data.id}}}}\"}}'\n");
        fs::write(self.config.join("webhooks/partner.toml"), hook).unwrap();
    }

    /// Mounts all as a runtime with a read-only root does, and gives what was there before anything ran.
    fn mount(&self) -> Tree {
        let mut before = Tree::new();
        tree(&self.root, &mut before);
        tree(&self.config, &mut before);
        let seen = self.seen.to_str().unwrap();
        let at = |path: &str| below(&self.seen, path).to_str().unwrap().to_owned();
        run("mount", &["--bind", self.root.to_str().unwrap(), seen]);
        run("mount", &["--bind", self.config.to_str().unwrap(), &at("/etc/outrigger")]);
        run("mount", &["-o", "remount,bind,ro", &at("/etc/outrigger")]);
        run("mount", &["--bind", self.spool.to_str().unwrap(), &at(&self.image.volume)]);
        run("mount", &["--bind", "/proc", &at("/proc")]);
        run("mount", &["-o", "remount,bind,ro", seen]);
        for path in ["/tmp/x", "/etc/outrigger/x", "/home/nonroot/x"] {
            let refused = fs::write(at(path), "").map_err(|error| error.kind());
            assert_eq!(refused, Err(ErrorKind::ReadOnlyFilesystem), "{path}");
        }
        before
    }

    fn unmount(&self) {
        run("umount", &["--recursive", self.seen.to_str().unwrap()]);
    }

    /// A command in it, as the image's user and with its variables alone.
    fn command(&self, words: &[&str]) -> Command {
        let (user, group) = self.image.user;
        let mut command = Command::new("chroot");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).envs(self.image.env.iter().cloned());
        command.arg(format!("--userspec={user}:{group}")).arg(format!("--groups={group}")).arg(&self.seen).args(words);
        command
    }

    fn finish(&self, words: &[&str]) -> Ended {
        Process::spawn(&mut self.command(words)).finish(PATIENCE)
    }

    /// Nothing but the spool was written, by the user of the image.
    fn hold_written(&self, before: &Tree) {
        let mut after = Tree::new();
        tree(&self.root, &mut after);
        tree(&self.config, &mut after);
        assert_eq!(&after, before);
        let mut spool = Tree::new();
        tree(&self.spool, &mut spool);
        assert!(!spool.is_empty(), "the spool is there");
        assert!(spool.values().all(|about| about.2 == self.image.user.0), "{spool:?}");
    }
}
