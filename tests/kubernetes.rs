//! The chart, the kustomization and the manifests: rendered by the real programs, valid for Kubernetes, and run as they say.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod pod;
mod render;
mod values;

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{PATIENCE, eventually};
use pod::{Pod, kind, list, named};
use render::{chart, helm, kustomization, objects, patched, project, shipped, validate};

/// A webhook, for values that are about something else.
const HOOK: &str = "webhooks: { hook.toml: 'url = \"https://hooks.example.com/in\"' }\n";
const NATS: &str = r#"
settings: |
  [spool]
  kind = "nats"
  servers = ["nats://nats-0.nats:4222"]
  replicas = 1
  user = "outrigger"
  password = "${file:/run/secrets/outrigger-nats/password}"
spool: { kind: nats }
workload: { kind: Deployment, replicas: 3 }
"#;
const MEMORY: &str = r"
spool: { kind: memory, size: 64Mi }
resources: { limits: { memory: 128Mi } }
workload: { kind: Deployment }
";
const CHANGED: &str = r#"
moreWebhooks: [others]
image: { repository: registry.example.com/outrigger, tag: "9.9" }
metricsAddress: "::"
metricsPort: 9999
settings: |
  metrics.per_webhook = false
  spool = { dead_letter_retention = "1d" }
shutdown: { delaySeconds: 5, graceSeconds: 100, reserveSeconds: 20 }
secretName: other
spool: { kind: emptyDir }
podMonitor: { enabled: true, interval: 15s, labels: { release: prometheus } }
webhooks:
  siem.toml: |
    url = "https://siem.example.com/in"
    body_file = "siem.json.hbs"
    [auth]
    bearer = { token = "${file:/run/secrets/outrigger/siem-token}" }
  siem.json.hbs: "   {\"id\":\n \n \"{{data.id}}\"}"
workload: { kind: Deployment, name: grants, port: 0 }
"#;
const JOB: &str = "spool: { kind: emptyDir }\nworkload: { kind: Job, name: access-review, port: 0 }\n";

/// Names that YAML takes for numbers and words of its own, and one that the sidecar has; a volume that is small; an image by its digest.
const ODD: &str = r#"
image: { tag: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" }
moreWebhooks: ["1"]
secretName: "2"
spool: { kind: emptyDir, size: 64Mi }
workload: { kind: Deployment, name: "3", image: "4" }
networkPolicy: { scrapersNamespace: "5" }
podMonitor: { enabled: true }
"#;
const INLINE: &str = r#"
settings: |
  spool = { kind = "nats", stream = "outrigger", servers = ["nats://nats-0.nats:4222"], replicas = 1 }
spool: { kind: nats, natsSecretName: "" }
workload: { kind: Job, name: outrigger }
"#;

/// The values that are shipped to begin with.
fn example() -> String {
    shipped("helm/outrigger/ci/example-values.yaml")
}

/// The objects of the chart, with the `ConfigMap` that stands for one of a user's own.
#[track_caller]
fn rendered(values: &str) -> Vec<Value> {
    let values = if values.contains("webhooks:") { values.to_owned() } else { format!("{HOOK}{values}") };
    let mut objects = chart(&folder(), &values);
    let data = json!({"siem.toml": "url = 'https://siem.example.com/other'", "second.toml": "url = 'https://siem.example.com/in'"});
    for name in ["others", "1"] {
        objects.push(json!({"kind": "ConfigMap", "metadata": {"name": name}, "data": data}));
    }
    objects
}

fn folder() -> std::path::PathBuf {
    project().join("deploy/helm/outrigger")
}

/// The one workload among objects.
fn workload(objects: &[Value]) -> &Value {
    let found: Vec<_> = objects.iter().filter(|object| object["spec"]["template"].is_object()).collect();
    assert_eq!(found.len(), 1, "{objects:?}");
    found[0]
}

#[test]
#[ignore = "needs helm and kubernetes-validate, which tests/all installs"]
fn the_chart_passes_its_linter_and_every_choice_is_valid_agrees_with_itself_and_is_ready() {
    let values = folder().join("ci/example-values.yaml");
    let linted = helm(&["lint", "--strict", folder().to_str().unwrap(), "--values", values.to_str().unwrap()]);
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
    for (values, runs_as) in [
        (example().as_str(), "StatefulSet"),
        ("", "StatefulSet"),
        (CHANGED, "Deployment"),
        (MEMORY, "Deployment"),
        (NATS, "Deployment"),
        (JOB, "Job"),
        (ODD, "Deployment"),
        (INLINE, "Job"),
    ] {
        let objects = rendered(values);
        let workload = workload(&objects);
        assert_eq!(workload["kind"], runs_as);
        let pod = Pod::of(workload, &objects);
        pod.hold();
        pod.hold_native();
        // A spool in NATS has tests of its own, with servers.
        if ![NATS, INLINE].contains(&values) {
            let mounted = pod.mount();
            let (mut process, _) = mounted.run();
            process.signal("TERM");
            assert!(process.wait(PATIENCE).success());
        }
    }
}

#[test]
#[ignore = "needs helm and kubernetes-validate, which tests/all installs"]
fn what_values_say_is_in_what_is_rendered() {
    let objects = rendered(CHANGED);
    let pod = Pod::of(workload(&objects), &objects);
    assert_eq!(pod.container["image"], "registry.example.com/outrigger:9.9");
    assert_eq!(pod.spec["terminationGracePeriodSeconds"], 125);
    assert_eq!(named(&pod.spec["volumes"], "outrigger-secrets")["secret"]["secretName"], "other");
    let text = "   {\"id\":\n \n \"{{data.id}}\"}\n";
    assert!(kind(&objects, "ConfigMap").iter().any(|map| map["data"]["siem.json.hbs"] == text), "{objects:?}");
    let [monitor] = kind(&objects, "PodMonitor")[..] else { panic!("one monitor was expected") };
    assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
    assert_eq!(monitor["metadata"], json!({"name": "release-outrigger", "labels": {"release": "prometheus"}}));
    let scraped = json!({
        "selector": {"matchLabels": {"app": "grants"}},
        "podMetricsEndpoints": [{"port": "metrics", "path": "/metrics", "interval": "15s"}],
    });
    assert_eq!(monitor["spec"], scraped);
    assert_eq!(workload(&objects)["spec"]["template"]["metadata"]["labels"]["app"], "grants", "it selects the pod");

    // Files of both ConfigMaps are in one folder, and the later one counts.
    let mounted = pod.mount();
    let text = |name: &str| fs::read_to_string(mounted.path("/etc/outrigger/webhooks").join(name)).unwrap();
    assert!(text("second.toml").contains("/in") && text("siem.toml").contains("/other"));

    let plain = rendered("");
    assert_eq!((kind(&plain, "PodMonitor").len(), kind(&plain, "NetworkPolicy").len()), (0, 1));
    assert!(!format!("{:?}", workload(&plain)).contains("checksum"), "an edit takes no rollout");
    assert_eq!(kind(&rendered("networkPolicy: { enabled: false }"), "NetworkPolicy").len(), 0);
    let memory = rendered(MEMORY);
    let spool = json!({"name": "outrigger-spool", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}});
    assert_eq!(named(&Pod::of(workload(&memory), &memory).spec["volumes"], "outrigger-spool"), &spool);
    let nats = rendered(NATS);
    assert!(!workload(&nats).to_string().contains("/var/lib/outrigger"), "nothing is written in the container");

    let odd = rendered(ODD);
    let image = "outrigger@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Pod::of(workload(&odd), &odd).container["image"], image);
    let named = |kind: &str, objects: &[Value]| self::kind(objects, kind)[0]["metadata"]["name"].clone();
    assert_eq!((named("Deployment", &odd), named("NetworkPolicy", &odd)), (json!("3"), json!("3")));
    assert_eq!(kind(&odd, "PodMonitor")[0]["spec"]["selector"], json!({"matchLabels": {"app": "3"}}));
    let parts = rendered("podMonitor: { enabled: true }\nworkload: { kind: none, name: grants }");
    assert_eq!(kind(&parts, "PodMonitor")[0]["spec"]["selector"], json!({"matchLabels": {"app": "grants"}}));
}

#[test]
#[ignore = "needs helm and kubernetes-validate, which tests/all installs"]
fn a_job_whose_spool_goes_with_its_pod_waits_for_deliveries_and_no_restart_of_its_sidecar_counts() {
    const PLAIN: &str = "http://127.0.0.1:8460/v1/events";
    let waits = format!("{PLAIN}?wait=1m");
    let memory = MEMORY.replace("Deployment", "Job");
    for (values, url) in [(JOB, waits.as_str()), (&memory, &waits), (INLINE, PLAIN), (NATS, PLAIN), ("", PLAIN)] {
        let objects = rendered(values);
        let pod = Pod::of(workload(&objects), &objects);
        let env = &named(&pod.spec["containers"], "service")["env"];
        assert_eq!(named(env, "WEBHOOK_URL")["value"], url, "{values}");
        pod.hold_job();
    }
    for job in objects(&shipped("kubernetes/job.yaml")) {
        let pod = Pod::of(&job, &[]);
        let env = &pod.spec["containers"].as_array().unwrap().last().unwrap()["env"];
        assert_eq!(named(env, "WEBHOOK_URL")["value"], waits);
        pod.hold_job();
    }
}

#[test]
#[ignore = "needs helm and kubernetes-validate, which tests/all installs"]
fn nats_lets_in_each_pod_whose_spool_it_has_and_no_other() {
    let servers = objects(&shipped("kubernetes/nats.yaml"));
    let [policy] = kind(&servers, "NetworkPolicy")[..] else { panic!("one policy was expected") };
    let client = list(&policy["spec"]["ingress"]).iter().find(|rule| rule["ports"] == json!([{"port": 4222}])).unwrap();
    let wanted = client["from"][0]["podSelector"]["matchLabels"].as_object().unwrap();
    let sidecar = objects(&shipped("kubernetes/sidecar-nats.yaml"));
    for (objects, let_in) in [
        (sidecar, true),
        (rendered(NATS), true),
        (rendered(INLINE), true),
        (rendered(""), false),
        (rendered(CHANGED), false),
    ] {
        let labels = &workload(&objects)["spec"]["template"]["metadata"]["labels"];
        assert_eq!(wanted.iter().all(|(key, value)| labels[key] == *value), let_in, "{labels}");
    }
    assert!(shipped("kubernetes/job.yaml").contains("label `outrigger-spool: nats`"));
}

#[test]
#[ignore = "needs helm, which tests/all installs"]
fn who_installs_the_chart_is_told_what_to_do_next() {
    let values = folder().join("ci/example-values.yaml");
    let (folder, values) = (folder(), values.to_str().unwrap().to_owned());
    let told = |more: &[&str]| {
        let install = ["install", "access", folder.to_str().unwrap(), "--dry-run=client", "--values", &values];
        let installed = helm(&[&install, more].concat());
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let text = String::from_utf8(installed.stdout).unwrap();
        text.split_once("\nNOTES:\n").unwrap().1.to_owned()
    };
    let service = told(&[]);
    assert!(service.contains("kubectl logs statefulset/access-service --container outrigger\n"), "{service}");
    assert!(service.ends_with("from the Secret outrigger, which is yours to make.\n"), "{service}");
    let parts = told(&["--set", "workload.kind=none,secretName="]);
    assert!(parts.contains("\"outrigger.container\"") && !parts.contains("Secret"), "{parts}");
}

#[test]
#[ignore = "needs helm, which tests/all installs"]
fn values_that_cannot_be_right_are_refused_with_what_to_do() {
    for (values, told) in [
        ("{}", "there is no webhook"),
        ("spool: { kind: disk }", "spool/kind"),
        ("spol: {}", "spol"),
        ("shutdown: { graceSeconds: 25s }", "shutdown/graceSeconds"),
        ("shutdown: { graceSeconds: 601 }", "shutdown/graceSeconds"),
        ("shutdown: { reserveSeconds: 0 }", "shutdown/reserveSeconds"),
        ("metricsPort: 80", "metricsPort"),
        ("metricsPort: 8461", "the port of ingest or of admin"),
        ("metricsPort: 8080\nworkload: { port: 8080 }", "share their ports"),
        ("metricsAddress: localhost", "metricsAddress"),
        ("webhooks: { a/b.toml: x }", "'a/b.toml' does not match"),
        ("workload: { kind: DaemonSet }", "workload/kind"),
        ("settings: { log: {} }", "settings"),
        ("settings: 'spool ='", "settings is no TOML"),
        ("workload: { name: a.b }", "workload/name"),
        ("workload: { name: 3 }", "workload/name"),
        ("workload: { name: a234567890b234567890c234567890d234567890e234567890f23 }", "workload/name"),
        ("image: { tag: 'sha256:123' }", "image/tag"),
        ("secretName: My_Secret", "secretName"),
        ("moreWebhooks: ['']", "moreWebhooks"),
        ("podMonitor: { enabled: true }\nworkload: { kind: none }", "set workload.name"),
        ("env: [{ name: OUTRIGGER_SHUTDOWN_GRACE, value: 60s }]", "set shutdown.graceSeconds"),
        ("env: [{ name: OUTRIGGER_SPOOL_MAX_BYTES, value: 1GiB }]", "set spool.size"),
        ("workload: { env: [{ name: WEBHOOK_URL, value: x }] }", "WEBHOOK_URL, which the chart sets"),
        ("spool: { size: 8Mi }", "set 16Mi or more"),
        ("spool: { size: 0Gi }", "spool/size"),
        ("settings: 'spool.max_bytes = \"1GiB\"'", "set spool.size"),
        ("spool: { kind: memory }\nworkload: { kind: Deployment }", "which is 96Mi; set 2112Mi or more"),
        (
            "spool: { kind: memory, size: 64Mi }\nresources: { limits: { memory: 127Mi } }\nworkload: { kind: Job }",
            "set 128Mi or more",
        ),
        (
            "spool: { kind: memory, size: 64Mi }\nresources: { limits: { memory: 134e6 } }\nworkload: { kind: Job }",
            "set 128Mi or more",
        ),
        (
            "spool: { kind: memory }\nresources: { limits: { memory: 2 gigs } }\nworkload: { kind: Job }",
            "is no quantity of bytes",
        ),
        ("workload: { kind: Deployment }", "set workload.kind to StatefulSet"),
        ("settings: \"[shutdown]\\ngrace = '60s'\\n\"", "set shutdown.graceSeconds"),
        ("settings: \"metrics.listen = '127.0.0.1:1'\\n\"", "set metricsAddress and metricsPort"),
        ("settings: \"[spool]\\nkind = 'nats'\\n\"", "set spool.kind to nats"),
        ("spool: { kind: nats }\nworkload: { kind: Deployment }", "settings does not say so"),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let hook = if values == "{}" || values.contains("webhooks") { "" } else { HOOK };
        fs::write(file.path(), format!("{hook}{values}")).unwrap();
        let values_file = file.path().to_str().unwrap();
        let refused = helm(&["template", "release", folder().to_str().unwrap(), "--values", values_file]);
        let said = String::from_utf8_lossy(&refused.stderr).replace("'/", "'");
        assert!(!refused.status.success() && said.contains(told), "{values}: {said}");
    }
}

#[test]
#[ignore = "needs helm and kubernetes-validate, which tests/all installs"]
fn a_chart_of_ones_own_takes_the_sidecar_into_its_pod() {
    let own = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = own.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // The files are those that docs/kubernetes.md shows.
    let guide = include_str!("../docs/kubernetes.md");
    let shown = |file: &str| {
        let (_, rest) = guide.split_once(&format!("```yaml\n# {file}\n")).unwrap_or_else(|| panic!("no {file}"));
        rest.split_once("```").unwrap().0.to_owned()
    };
    let repository = format!("file://{}", folder().display());
    write("Chart.yaml", &shown("Chart.yaml").replace("file://../outrigger/deploy/helm/outrigger", &repository));
    write("values.yaml", &shown("values.yaml"));
    write("templates/deployment.yaml", &shown("templates/deployment.yaml"));
    let built = helm(&["dependency", "build", own.path().to_str().unwrap()]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let objects = chart(own.path(), "");
    let workload = workload(&objects);
    assert_eq!(workload["metadata"]["name"], "grants");
    let pod = Pod::of(workload, &objects);
    pod.hold();
    pod.hold_native();
    assert_eq!(pod.spec["containers"][0]["name"], "grants");
    let (mut process, _) = pod.mount().run();
    process.signal("TERM");
    assert!(process.wait(PATIENCE).success());
}

#[test]
#[ignore = "needs kubectl and kubernetes-validate, which tests/all installs"]
fn the_kustomization_puts_the_sidecar_into_a_service_before_all_else() {
    let folder = project().join("deploy/kustomize");
    let base = kustomization(&folder.join("base"));
    assert_eq!(workload(&base)["spec"]["template"]["spec"]["initContainers"], Value::Null);
    let objects = kustomization(&folder.join("overlay"));
    let pod = Pod::of(workload(&objects), &objects);
    pod.hold();
    pod.hold_native();
    assert_eq!(pod.container["image"], "registry.example.com/outrigger:0.1.0");
    let maps = kind(&objects, "ConfigMap");
    assert!(
        maps.iter()
            .any(|map| map["metadata"]["name"] == "outrigger-webhooks" && map["data"]["tickets.toml"].is_string())
    );
    let (mut process, _) = pod.mount().run();
    process.signal("TERM");
    assert!(process.wait(PATIENCE).success());

    // Of a Deployment with init containers of its own the sidecar is the first, and one without the label is let be.
    let own = tempfile::Builder::new().tempdir_in(project().join("target")).unwrap();
    let service = shipped("kustomize/base/access-service.yaml")
        .replace("kind: StatefulSet", "kind: Deployment")
        .replace("  serviceName: access-service\n", "")
        .replace(
            "      containers:\n",
            "      initContainers:\n        - { name: migrate, image: migrate }\n      containers:\n",
        );
    let other = service.replace("access-service", "other").replace("outrigger: sidecar", "team: other");
    fs::write(own.path().join("service.yaml"), format!("{service}---\n{other}")).unwrap();
    let text = "resources: [service.yaml]\ncomponents: [../../deploy/kustomize/sidecar]\n";
    fs::write(own.path().join("kustomization.yaml"), text).unwrap();
    let objects = kustomization(own.path());
    let names = |object: &Value| {
        let containers = list(&object["spec"]["template"]["spec"]["initContainers"]);
        containers.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let of = |name: &str| objects.iter().find(|object| object["metadata"]["name"] == name).unwrap();
    assert_eq!(names(of("access-service")), ["outrigger", "migrate"]);
    assert_eq!(names(of("other")), ["migrate"]);
}

#[test]
#[ignore = "needs kubectl and kubernetes-validate, which tests/all installs"]
fn the_component_leaves_a_service_what_it_says_of_its_own_pod() {
    let own = tempfile::Builder::new().tempdir_in(project().join("target")).unwrap();
    let profile = json!({"type": "Localhost", "localhostProfile": "own.json"});
    let service = shipped("kustomize/base/access-service.yaml").replace(
        "      containers:\n",
        "      terminationGracePeriodSeconds: 300\n      securityContext:\n        fsGroup: 2000\n        runAsUser: 2000\n        \
         seccompProfile: { type: Localhost, localhostProfile: own.json }\n      containers:\n",
    );
    let text = "resources: [service.yaml]\ncomponents: [../../deploy/kustomize/sidecar]\n";
    fs::write(own.path().join("kustomization.yaml"), text).unwrap();
    // The second label is for those that keep their grace and their group.
    for (label, grace, group) in [("sidecar", 40, 65532), ("container", 300, 2000)] {
        let service = service.replace("outrigger: sidecar", &format!("outrigger: {label}"));
        fs::write(own.path().join("service.yaml"), service).unwrap();
        let objects = kustomization(own.path());
        let pod = Pod::of(workload(&objects), &objects);
        pod.hold_native();
        assert_eq!(pod.spec["terminationGracePeriodSeconds"], grace, "{label}");
        let context = json!({"fsGroup": group, "runAsUser": 2000, "seccompProfile": profile});
        assert_eq!(pod.spec["securityContext"], context, "{label}");
    }
}

#[test]
#[ignore = "needs kubernetes-validate, which tests/all installs"]
fn the_manifests_are_valid_and_say_what_the_chart_says() {
    let from_chart = rendered("");
    let from_chart = Pod::of(workload(&from_chart), &from_chart);
    let sidecar = objects(&shipped("kubernetes/sidecar.yaml"));
    let nats = objects(&shipped("kubernetes/sidecar-nats.yaml"));
    assert!(!objects(&shipped("kubernetes/nats.yaml")).is_empty());
    // The jobs take the configuration of sidecar.yaml.
    let mut jobs = objects(&shipped("kubernetes/job.yaml"));
    assert_eq!(kind(&jobs, "Job").len(), 2);
    jobs.extend(sidecar.iter().filter(|object| object["kind"] == "ConfigMap").cloned());
    let pods = [&sidecar, &nats, &jobs].into_iter().flat_map(|objects| {
        objects.iter().filter(|one| one["spec"]["template"].is_object()).map(move |one| Pod::of(one, objects))
    });
    let mut seen = 0;
    for pod in pods {
        pod.hold();
        if pod.spec["initContainers"].is_array() {
            pod.hold_native();
        }
        for same in ["args", "ports", "livenessProbe", "resources", "securityContext"] {
            assert_eq!(pod.container[same], from_chart.container[same], "{same}");
        }
        seen += 1;
    }
    assert_eq!(seen, 4);

    let wrong = shipped("kubernetes/sidecar.yaml").replace("runAsNonRoot: true", "runAsNonroot: true");
    let refused = validate(&wrong);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("runAsNonroot"));
}

#[test]
#[ignore = "needs helm, kubectl and kubernetes-validate, which tests/all installs"]
fn the_recipe_for_a_damaged_spool_asks_the_sidecar_to_recover_it() {
    let guide = include_str!("../docs/kubernetes.md");
    let (_, rest) = guide.split_once("--type json \\\n  --patch '").expect("a recipe");
    let patch = rest.split_once('\'').unwrap().0;
    let of_chart = rendered("");
    let own = [
        objects(&shipped("kubernetes/sidecar.yaml")),
        of_chart,
        kustomization(&project().join("deploy/kustomize/overlay")),
    ];
    for objects in own {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), workload(&objects).to_string()).unwrap();
        let patched = patched(file.path(), patch);
        let pod = Pod::of(&patched, &objects);
        assert_eq!(pod.container["args"].as_array().unwrap().last().unwrap(), "--recover");
        let (mut process, _) = pod.mount().run();
        let told = eventually(PATIENCE, || process.lines().iter().find(|line| line.contains("spool.sound")).cloned());
        assert!(told.is_some(), "{}", process.lines().join("\n"));
        process.signal("TERM");
        assert!(process.wait(PATIENCE).success());
    }
}

#[test]
#[ignore = "needs kubernetes-validate, which tests/all installs"]
fn the_container_of_a_job_waits_for_its_sidecar_and_ends_it_whether_it_succeeds_or_not() {
    let mut jobs = objects(&shipped("kubernetes/job.yaml"));
    jobs.extend(objects(&shipped("kubernetes/sidecar.yaml")).into_iter().filter(|one| one["kind"] == "ConfigMap"));
    let ordinary = jobs.iter().find(|one| one["metadata"]["name"] == "access-review-1-28").unwrap();
    let pod = Pod::of(ordinary, &jobs);
    assert_eq!(pod.spec["restartPolicy"], "Never");
    let main = named(&pod.spec["containers"], "access-review");
    assert_eq!(main["command"], json!(["/bin/sh", "-c"]));
    // The third time the sidecar never becomes ready.
    for (status, ready) in [(0, true), (3, true), (7, false)] {
        let mounted = pod.mount();
        let (mut sidecar, bound) = mounted.run();
        let programs = mounted.path("bin");
        fs::create_dir(&programs).unwrap();
        let program = programs.join("access-review");
        fs::write(&program, format!("#!/bin/sh\necho reviewed\nexit {status}\n")).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let script = main["args"][0].as_str().unwrap();
        for part in ["127.0.0.1:8461", "127.0.0.1:9460", "--retry 300"] {
            assert_eq!(script.matches(part).count(), 1, "{part}");
        }
        let metrics = if ready { &bound["metrics"] } else { "127.0.0.1:1" };
        let script = script.replace("127.0.0.1:8461", &bound["admin"]).replace("127.0.0.1:9460", metrics);
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("/bin/sh");
        let done = shell.args(["-c", &script.replace("--retry 300", "--retry 1")]).env("PATH", path).output().unwrap();
        let reviewed = if ready { "reviewed\n" } else { "" };
        assert_eq!(String::from_utf8_lossy(&done.stdout), format!("{reviewed}{{\"closing\":true}}\n"), "{done:?}");
        assert_eq!(done.status.code(), Some(status), "{done:?}");
        assert!(sidecar.wait(PATIENCE).success(), "a Job whose sidecar failed has failed");
    }
}
