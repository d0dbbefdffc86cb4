//! A pod with the sidecar in it: what must agree in it, and the sidecar as its mounts and arguments make it run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use outrigger::config::{Listen, Settings, Source, load_settings};
use serde_json::{Value, json};

use crate::support::process::Process;
use crate::support::volume::AtomicWriter;
use crate::support::{PATIENCE, eventually, http};

/// What Kubernetes needs between the end of the sidecar's grace and its own.
const RESERVE: Duration = Duration::from_secs(5);
const SECRETS: &str = "/run/secrets";

/// A pod, its sidecar, and the objects that were rendered with it.
pub(super) struct Pod<'o> {
    pub(super) spec: &'o Value,
    pub(super) container: &'o Value,
    workload: &'o Value,
    objects: &'o [Value],
}

/// Its configuration on the disk, laid out below a folder as the mounts lay it out in the container.
pub(super) struct Mounted {
    root: tempfile::TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn named<'v>(among: &'v Value, name: &str) -> &'v Value {
    let found: Vec<_> = list(among).iter().filter(|one| one["name"] == name).collect();
    assert_eq!(found.len(), 1, "`{name}` in {among}");
    found[0]
}

/// `500Mi` in bytes.
fn bytes(quantity: &Value) -> u64 {
    let quantity = text(quantity);
    let (number, unit) = quantity.split_at(quantity.len() - 2);
    let shift = [("Ki", 10), ("Mi", 20), ("Gi", 30)].iter().find(|(name, _)| *name == unit).unwrap().1;
    number.parse::<u64>().unwrap() << shift
}

/// The objects of a kind.
pub(super) fn kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

impl<'o> Pod<'o> {
    /// The pod of a workload that has the sidecar among its init containers, or among its containers.
    pub(super) fn of(workload: &'o Value, objects: &'o [Value]) -> Self {
        let spec = &workload["spec"]["template"]["spec"];
        let native = &spec["initContainers"];
        let container = named(if native.is_array() { native } else { &spec["containers"] }, "outrigger");
        Self { spec, container, workload, objects }
    }

    /// Holds all that must agree in it.
    pub(super) fn hold(&self) {
        let Self { spec, container, .. } = self;
        let rights = json!({
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        });
        assert_eq!(container["securityContext"], rights);
        assert_eq!(spec["automountServiceAccountToken"], false, "it never speaks to the cluster's API");
        assert_eq!(spec["securityContext"]["fsGroup"], 65532, "secrets and claims are for the sidecar's group");

        let mounted = self.mount();
        let settings = mounted.settings();
        self.hold_probes(&settings);
        self.hold_times(&settings);
        self.hold_spool(&settings);
        mounted.check();
    }

    /// It is native, starts before all else, and ends after it.
    pub(super) fn hold_native(&self) {
        assert_eq!(self.spec["initContainers"][0]["name"], "outrigger", "others may post from their start");
        assert_eq!(self.container["restartPolicy"], "Always");
        assert_ne!(self.container["startupProbe"], Value::Null, "the others wait for it by this probe");
    }

    /// No restart of the sidecar counts in a Job's `backoffLimit`.
    pub(super) fn hold_job(&self) {
        let never = (self.workload["kind"] == "Job").then_some("Never");
        assert_eq!(self.spec["restartPolicy"].as_str(), never);
    }

    fn hold_probes(&self, settings: &Settings) {
        let Listen::Tcp(metrics) = &settings.metrics.listen else { panic!("{:?} is no port", settings.metrics.listen) };
        assert!(metrics.ip().is_unspecified(), "probes come from the node");
        let ports = &self.container["ports"];
        assert_eq!((list(ports).len(), &named(ports, "metrics")["containerPort"]), (1, &json!(metrics.port())));
        for (probe, path) in [("startupProbe", "/readyz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
            let probe = &self.container[probe];
            if probe.is_object() {
                assert_eq!(probe["httpGet"], json!({"path": path, "port": "metrics"}));
            }
        }
        let startup = &self.container["startupProbe"];
        assert!(startup.is_object() && self.container["livenessProbe"].is_object());
        let waits = startup["periodSeconds"].as_u64().unwrap() * startup["failureThreshold"].as_u64().unwrap();
        assert!(waits >= 300, "a start that reads a spool that holds much is not ended for it");
        for private in [&settings.ingest.listen, &settings.admin.listen] {
            assert!(matches!(private, Listen::Tcp(address) if address.ip().is_loopback()), "{private:?}");
        }
        for policy in kind(self.objects, "NetworkPolicy") {
            let scraped = &policy["spec"]["ingress"][0]["ports"];
            assert_eq!(scraped, &json!([{"port": metrics.port()}]));
            let labels = &self.workload["spec"]["template"]["metadata"]["labels"];
            let selected = policy["spec"]["podSelector"]["matchLabels"].as_object().unwrap();
            assert!(!selected.is_empty() && selected.iter().all(|(key, value)| labels[key] == *value), "{policy}");
        }
    }

    /// The pod's grace has room for that of the sidecar.
    fn hold_times(&self, settings: &Settings) {
        let pod = Duration::from_secs(self.spec["terminationGracePeriodSeconds"].as_u64().unwrap());
        let own = settings.shutdown.delay + settings.shutdown.grace;
        assert!(own + RESERVE <= pod, "{pod:?} is too short for {own:?}");
    }

    /// The volume has room for the spool; memory counts in the limit.
    fn hold_spool(&self, settings: &Settings) {
        let mount =
            list(&self.container["volumeMounts"]).iter().find(|mount| mount["mountPath"] == "/var/lib/outrigger");
        let Some(mount) = mount else {
            assert!(format!("{:?}", settings.spool.place).starts_with("Nats"), "the spool has no volume");
            assert_eq!(self.container["readinessProbe"], Value::Null, "NATS that is away takes no service with it");
            return;
        };
        let name = text(&mount["name"]);
        let claims = list(&self.workload["spec"]["volumeClaimTemplates"]);
        let claim = claims.iter().find(|claim| claim["metadata"]["name"] == name);
        let size = match claim {
            Some(claim) => &claim["spec"]["resources"]["requests"]["storage"],
            None => &named(&self.spec["volumes"], name)["emptyDir"]["sizeLimit"],
        };
        // With it lies its journal, and the damaged file that `--recover` keeps.
        assert!(
            bytes(size) >= 2 * settings.spool.bytes_max,
            "{size} has no room for twice {}",
            settings.spool.bytes_max
        );
        if claim.is_none() && named(&self.spec["volumes"], name)["emptyDir"]["medium"] == "Memory" {
            let limit = bytes(&self.container["resources"]["limits"]["memory"]);
            assert!(limit >= bytes(size) + (64 << 20), "{limit} bytes have no room for the spool and the process");
        }
    }

    /// The text of each file that a volume shows, by its name; a secret's are those that the configuration names.
    fn files(&self, volume: &Value, wanted: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let config_map = |name: &Value| {
            let maps = kind(self.objects, "ConfigMap");
            let found = maps.iter().find(|map| map["metadata"]["name"] == *name);
            let data = found.unwrap_or_else(|| panic!("there is no ConfigMap {name}"))["data"].as_object().unwrap();
            data.iter().map(|(key, value)| (key.clone(), text(value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        if volume["secret"].is_object() {
            assert_eq!(volume["secret"]["defaultMode"], 0o440, "secrets are for the group of the pod alone");
            return wanted.clone();
        }
        if volume["configMap"].is_object() {
            return config_map(&volume["configMap"]["name"]);
        }
        let sources = list(&volume["projected"]["sources"]);
        assert!(!sources.is_empty(), "{volume} has no files");
        sources.iter().flat_map(|source| config_map(&source["configMap"]["name"])).collect()
    }

    /// Lays the volumes out as the kubelet does. Secrets lie below the same folder, and the files say so.
    pub(super) fn mount(&self) -> Mounted {
        let root = tempfile::tempdir().unwrap();
        let below = |path: &str| root.path().join(path.trim_start_matches('/'));
        let config: Vec<String> = kind(self.objects, "ConfigMap")
            .iter()
            .flat_map(|map| map["data"].as_object().unwrap().values().map(|value| text(value).to_owned()))
            .collect();
        let mut mounts: Vec<&Value> = list(&self.container["volumeMounts"]).iter().collect();
        mounts.sort_by_key(|mount| text(&mount["mountPath"]).len());
        for mount in mounts {
            let path = text(&mount["mountPath"]);
            assert_eq!(mount["subPath"], Value::Null, "a file mounted by subPath never changes");
            if path == "/var/lib/outrigger" {
                continue;
            }
            assert_eq!(mount["readOnly"], true, "{mount}");
            let folder = below(path);
            fs::create_dir_all(&folder).unwrap();
            let wanted = config.iter().flat_map(|text| references(text, path));
            let wanted = wanted.map(|key| (key, "https://hooks.example.com/in".to_owned())).collect();
            let files = self.files(named(&self.spec["volumes"], text(&mount["name"])), &wanted);
            let here = below(SECRETS);
            let files: BTreeMap<_, _> =
                files.into_iter().map(|(name, text)| (name, text.replace(SECRETS, here.to_str().unwrap()))).collect();
            let files = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            AtomicWriter::new(folder).write(&files);
        }
        let args = list(&self.container["args"]).iter().map(text).map(|arg| match arg {
            "/etc/outrigger" => below(arg).to_str().unwrap().to_owned(),
            arg => arg.to_owned(),
        });
        let args = args.collect();
        let env = list(&self.container["env"]).iter();
        let env = env.map(|one| (text(&one["name"]).to_owned(), text(&one["value"]).to_owned())).collect();
        Mounted { root, args, env }
    }
}

/// The keys of the Secret behind a mount that a text names.
fn references(text: &str, mount: &str) -> Vec<String> {
    let parts = text.split("${file:").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    parts.filter_map(|path| path.strip_prefix(mount)?.strip_prefix('/').map(str::to_owned)).collect()
}

impl Mounted {
    fn folder(&self) -> PathBuf {
        self.root.path().join("etc/outrigger")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.env_clear().envs(self.env.iter().cloned()).args(args).current_dir(self.root.path());
        command
    }

    /// What the process would go by.
    fn settings(&self) -> Settings {
        let env: BTreeMap<String, String> = self.env.iter().cloned().collect();
        let source = Source { env: Arc::new(move |name| env.get(name).cloned()), ..Source::new(self.folder()) };
        load_settings(&source).expect("outrigger.toml has no fault")
    }

    /// The files are good with their secrets, and without.
    fn check(&self) {
        let folder = self.folder();
        let with = self.command(&["check", "--strict", "--config", folder.to_str().unwrap()]).output().unwrap();
        assert!(with.status.success(), "{}", String::from_utf8_lossy(&with.stdout));
        fs::rename(self.root.path().join("run"), self.root.path().join("gone")).unwrap();
        let without = ["check", "--strict", "--placeholders", "--config", folder.to_str().unwrap()];
        let without = self.command(&without).output().unwrap();
        fs::rename(self.root.path().join("gone"), self.root.path().join("run")).unwrap();
        assert!(without.status.success(), "{}", String::from_utf8_lossy(&without.stdout));
    }

    /// Runs the container's command, but for addresses and the spool's place, until it is ready: the process, and where it listens.
    pub(super) fn run(&self) -> (Process, BTreeMap<String, String>) {
        let mut command = self.command(&[]);
        command.args(&self.args).env("OUTRIGGER_SPOOL_PATH", self.root.path().join("spool"));
        for listener in ["ingest", "admin", "metrics"] {
            command.args([&format!("--listen-{listener}"), "127.0.0.1:0"]);
        }
        let mut process = Process::spawn(&mut command);
        let bound = eventually(PATIENCE, || {
            let lines = process.lines();
            let bound: BTreeMap<_, _> =
                lines.iter().filter_map(|line| line.split_once(" listens on http://")).collect();
            let all =
                (bound.len() == 3).then(|| bound.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect());
            assert!(all.is_some() || process.has_ended().is_none(), "{}", lines.join("\n"));
            all
        });
        let bound: BTreeMap<String, String> = bound.unwrap_or_else(|| panic!("{}", process.lines().join("\n")));
        let ready = http::exchange(bound["metrics"].parse().unwrap(), "GET", "/readyz", &[], b"").unwrap();
        assert_eq!(ready.status, 200);
        (process, bound)
    }

    /// A file below its root, to look at or to change.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        Path::new(self.root.path()).join(path.trim_start_matches('/'))
    }
}
