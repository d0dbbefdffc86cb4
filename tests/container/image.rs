//! What the Dockerfile's last stage describes: its root file system, and how it is run.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What stands for the base: the test takes its files from this machine.
const BASE: &str = "gcr.io/distroless/cc-debian12:nonroot";
/// The libraries that it has.
const LIBRARIES: [&str; 5] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1"];
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// A `COPY` from the first stage.
struct Copied {
    from: String,
    to: String,
    owner: Option<(u32, u32)>,
}

/// The last stage.
pub(super) struct Image {
    copies: Vec<Copied>,
    pub(super) user: (u32, u32),
    pub(super) volume: String,
    pub(super) env: Vec<(String, String)>,
    pub(super) port: u16,
    pub(super) health: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) command: Vec<String>,
}

fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn ids(text: &str) -> (u32, u32) {
    let (user, group) = text.split_once(':').expect("a user and a group");
    (user.parse().expect("a number"), group.parse().expect("a number"))
}

impl Image {
    /// Reads the last stage. An instruction that nothing is known of is a fault of this reader.
    pub(super) fn read(dockerfile: &str) -> Self {
        let (_, stage) = dockerfile.rsplit_once("\nFROM ").expect("a last stage");
        let mut lines = stage.lines();
        assert_eq!(lines.next(), Some(BASE), "the test's stand-in is for this base");
        let (mut copies, mut env, mut volumes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut user, mut port, mut health, mut entrypoint, mut command) = (None, None, None, None, None);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            assert!(!line.ends_with('\\'), "{line} goes on in the next line");
            let (instruction, rest) = line.split_once(' ').expect("an instruction and more");
            match instruction {
                "COPY" => {
                    let (flags, paths): (Vec<&str>, Vec<&str>) =
                        rest.split(' ').partition(|word| word.starts_with("--"));
                    let [from, to] = paths[..] else { panic!("{line}") };
                    assert!(flags.contains(&"--from=build"), "{line}");
                    let owner = flags.iter().find_map(|flag| flag.strip_prefix("--chown=")).map(ids);
                    copies.push(Copied { from: from.to_owned(), to: to.to_owned(), owner });
                }
                "USER" => user = Some(ids(rest)),
                "VOLUME" => volumes.extend(words(rest)),
                "ENV" => {
                    let (name, value) = rest.split_once('=').expect("a name and a value");
                    env.push((name.to_owned(), value.to_owned()));
                }
                "EXPOSE" => port = Some(rest.parse().expect("one port")),
                "HEALTHCHECK" => health = Some(words(rest.split_once("CMD ").expect("a command").1)),
                "ENTRYPOINT" => entrypoint = Some(words(rest)),
                "CMD" => command = Some(words(rest)),
                _ => panic!("the test knows nothing of {instruction}"),
            }
        }
        let [volume] = <[String; 1]>::try_from(volumes).expect("one volume");
        let (user, port) = (user.expect("USER"), port.expect("EXPOSE"));
        let (health, entrypoint, command) =
            (health.expect("HEALTHCHECK"), entrypoint.expect("ENTRYPOINT"), command.expect("CMD"));
        Self { copies, user, volume, env, port, health, entrypoint, command }
    }

    /// Makes its root: the base's files, and what the stage copies.
    pub(super) fn assemble(&self, root: &Path) {
        let binary = Path::new(env!("CARGO_BIN_EXE_outrigger"));
        base(root, binary);
        for Copied { from, to, owner } in &self.copies {
            let to = below(root, to);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            match from.as_str() {
                "/src/target/release/outrigger" => drop(fs::copy(binary, &to).expect("a copy")),
                // What the first stage makes of nothing: an empty folder.
                "/spool" => fs::create_dir(&to).expect("a folder"),
                _ => panic!("the test does not know what {from} is"),
            }
            if let Some((user, group)) = owner {
                chown(&to, Some(*user), Some(*group)).expect("an owner");
            }
        }
    }
}

pub(super) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// What the base holds, as far as the program could use it.
fn base(root: &Path, binary: &Path) {
    for folder in ["etc/ssl/certs", "usr/lib", "proc", "dev", "tmp", "home/nonroot"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    for name in ["lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(name)).expect("a folder");
        symlink(format!("usr/{name}"), root.join(name)).expect("a link");
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("a mode");
    for library in libraries(binary) {
        let to = below(root, library.to_str().expect("a path"));
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(&library, to).expect("a library");
    }
    fs::copy(Path::new("/").join(CERTIFICATES), root.join(CERTIFICATES)).expect("root certificates");
    let passwd = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n";
    fs::write(root.join("etc/passwd"), passwd).expect("a file");
    fs::write(root.join("etc/group"), "root:x:0:\nnonroot:x:65532:\n").expect("a file");
    fs::write(root.join("etc/nsswitch.conf"), "hosts: files dns\n").expect("a file");
}

/// The loader and the libraries that a program is linked with; one that the base lacks is a fault.
fn libraries(binary: &Path) -> Vec<PathBuf> {
    let told = Command::new("ldd").arg(binary).output().expect("ldd");
    let told = String::from_utf8(told.stdout).expect("a text");
    let paths = told.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let paths: Vec<PathBuf> = paths.collect();
    assert!(paths.len() >= 3, "{told}");
    for path in &paths {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(name.starts_with("ld-linux") || LIBRARIES.contains(&name), "the base has no {name}");
    }
    paths
}

#[test]
fn the_last_stage_runs_as_a_user_without_a_name_on_the_port_of_the_probes() {
    let image = Image::read(include_str!("../../Dockerfile"));
    assert_eq!((image.user, image.port, image.volume.as_str()), ((65532, 65532), 9460, "/var/lib/outrigger"));
    assert_eq!((image.entrypoint.len(), image.command.as_slice()), (1, ["run".to_owned()].as_slice()));
    assert_eq!(image.health, [image.entrypoint[0].as_str(), "healthcheck"]);
    assert!(image.copies.iter().any(|copied| copied.to == image.entrypoint[0]), "what is run is there");
}

#[test]
fn the_first_stage_has_the_compiler_of_the_project_and_copies_what_there_is() {
    let (first, _) = include_str!("../../Dockerfile").rsplit_once("\nFROM ").expect("two stages");
    assert!(first.contains(&format!("\nFROM rust:{}-bookworm AS build\n", env!("CARGO_PKG_RUST_VERSION"))), "{first}");
    let lines = first.lines().filter_map(|line| Some(line.strip_prefix("COPY ")?.rsplit_once(' ')?.0));
    let copied: Vec<&str> = lines.flat_map(|paths| paths.split(' ')).collect();
    for path in ["Cargo.toml", "Cargo.lock", "src"] {
        assert!(copied.contains(&path), "{path} is not among {copied:?}");
    }
    for path in copied {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "there is no {path}");
    }
}
