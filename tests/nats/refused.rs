//! What cannot work ends the start with what is wrong and what to do.

use std::fs;
use std::process::Command;

use crate::support::nats::Nats;
use crate::support::receiver::receiver;
use crate::support::sidecar::Builder;

use super::{builder, event, take};

/// Holds that the start fails and says all of these words.
#[track_caller]
fn refused(builder: Builder, words: &[&str]) {
    let ended = builder.write().run(&["run"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "`{word}` is not in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn a_server_that_lets_nobody_in_is_told_from_one_that_is_not_there() {
    let nats = Nats::one("authorization { user: me, password: hushed }");
    let target = receiver().start();
    refused(builder(&nats, &target), &["do not let us in", "`spool.password`"]);
    let other = |password: &str| {
        builder(&nats, &target).setting("spool.user = 'me'").setting(&format!("spool.password = '{password}'"))
    };
    refused(other("hush-wrong"), &["do not let us in"]);
    let sidecar = other("hushed").start();
    take(&sidecar, "AR-1");
    target.wait(1);
    drop((sidecar, nats));
    let nobody = crate::support::sidecar()
        .setting("spool.kind = 'nats'")
        .setting("spool.servers = ['nats://127.0.0.1:1']")
        .webhook("hook", "url = \"https://hooks.example.com/in\"\n");
    refused(nobody.without("spool.path"), &["127.0.0.1:1", "cannot be reached", "`spool.servers`"]);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn one_comes_in_by_the_seed_of_an_nkey_and_not_by_what_is_none() {
    let nats =
        Nats::one("authorization { users: [ { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ] }");
    let target = receiver().start();
    let with = |key: &str, text: &str| {
        let builder = builder(&nats, &target);
        let file = builder.dir().join("nats.secret");
        fs::write(&file, text).expect("a file in a temporary directory");
        builder.setting(&format!("spool.{key} = '{}'", file.display()))
    };
    let sidecar = with("nkey_file", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n").start();
    take(&sidecar, "AR-1");
    target.wait(1);
    refused(with("nkey_file", "SUAhush\n"), &["do not let us in", "`spool.nkey_file`"]);
    refused(with("credentials_file", "hush\n"), &["do not let us in", "`spool.credentials_file`", "no JWT and seed"]);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn a_server_without_jetstream_and_one_that_is_too_old_are_refused() {
    let target = receiver().start();
    let without = Nats::bare(crate::support::nats::program(), "");
    refused(builder(&without, &target), &["no JetStream", "-js"]);
    let nobodys = Nats::one("accounts { A { users: [ { user: a, password: a } ] } }\nno_auth_user: a");
    refused(builder(&nobodys, &target), &["no JetStream", "for this account"]);
    let old = std::env::var_os("OUTRIGGER_TEST_NATS_OLD").expect("OUTRIGGER_TEST_NATS_OLD names Debian's nats-server");
    let old = Nats::bare(old.into(), "jetstream { store_dir: 'DIR' }");
    refused(builder(&old, &target), &["version 2.9", "2.12 or later"]);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn a_user_who_may_look_and_not_write_is_told_so_at_the_start() {
    let nats = Nats::one(
        "authorization { users: [ { user: me, password: hushed, permissions: { publish: ['$JS.API.>'], subscribe: ['_INBOX.>'] } } ] }",
    );
    let target = receiver().start();
    let builder = builder(&nats, &target).setting("spool.user = 'me'").setting("spool.password = 'hushed'");
    refused(builder, &["the stream outrigger takes nothing", "let the user publish to `outrigger.>`", "Publish"]);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn fewer_servers_than_replicas_are_refused() {
    let nats = Nats::one("");
    let target = receiver().start();
    refused(builder(&nats, &target).setting("spool.replicas = 3"), &["cannot be made", "`spool.replicas`"]);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn events_that_are_larger_than_messages_are_refused_at_the_start_and_at_ingest() {
    let nats = Nats::one("max_payload: 65536");
    let target = receiver().start();
    refused(builder(&nats, &target), &["`ingest.max_body` is 983040", "ingest.max_body = 49152", "`max_payload`"]);
    let sidecar = builder(&nats, &target).setting("ingest.max_body = 49152").start();
    take(&sidecar, &"x".repeat(40_000));
    target.wait(1);
    // It is raised while the sidecar runs.
    let text = fs::read_to_string(sidecar.written().config().join("outrigger.toml")).expect("it was written");
    sidecar.written().replace("outrigger.toml", &text.replace("49152", "'1MiB'"));
    sidecar.wait_log("config.published");
    let answer = sidecar.post("/v1/events", &event(&"x".repeat(60_000)));
    assert_eq!((answer.status, answer.body.contains("max_payload")), (413, true), "{answer:?}");
    take(&sidecar, "AR-2");
    target.wait(2);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn tls_is_spoken_with_those_who_are_trusted_and_a_client_certificate_lets_in() {
    let target = receiver().start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let made = |name: &str| dir.path().join(name).display().to_string();
    let openssl = |arguments: &str| {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let ended = Command::new("openssl").args(words).current_dir(dir.path()).output().expect("openssl is there");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
    );
    fs::write(dir.path().join("server.ext"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    fs::write(dir.path().join("client.ext"), "extendedKeyUsage=clientAuth\n").expect("a file");
    for name in ["server", "client"] {
        openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.pem"
        ));
    }
    let nats = Nats::one(&format!(
        "tls {{ cert_file: '{}', key_file: '{}', ca_file: '{}', verify: true }}",
        made("server.pem"),
        made("server.key"),
        made("ca.pem")
    ));
    refused(builder(&nats, &target), &["TLS", "`spool.ca_file`"]);
    let trusting = || builder(&nats, &target).setting(&format!("spool.ca_file = '{}'", made("ca.pem")));
    refused(trusting(), &["127.0.0.1", "`spool.client_cert_file`"]);
    let sidecar = trusting()
        .setting(&format!("spool.client_cert_file = '{}'", made("client.pem")))
        .setting(&format!("spool.client_key_file = '{}'", made("client.key")))
        .start();
    take(&sidecar, "AR-1");
    target.wait(1);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn a_stream_in_a_domain_is_found_by_its_name() {
    let nats = Nats::bare(crate::support::nats::program(), "jetstream { store_dir: 'DIR', domain: leaf }");
    let target = receiver().start();
    let sidecar = builder(&nats, &target).setting("spool.domain = 'leaf'").start();
    take(&sidecar, "AR-1");
    target.wait(1);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "hook")], 0.0);
    refused(builder(&nats, &target).setting("spool.domain = 'other'"), &["no JetStream", "`spool.domain`"]);
}

#[test]
#[ignore = "needs a nats-server: tests/all"]
fn what_is_for_the_disk_alone_says_so() {
    let nats = Nats::one("");
    let target = receiver().start();
    let written = builder(&nats, &target).write();
    let ended = written.run(&["run", "--recover"]);
    assert!(ended.status.code() == Some(1) && ended.stderr.contains("spool on the disk"), "{ended:?}");
    let ended = written.run(&["dead-letters"]);
    assert!(ended.status.code() == Some(1) && ended.stderr.contains("--admin"), "{ended:?}");
}

#[test]
fn the_demo_leaves_what_waits_in_nats_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let copied = Command::new("cp").arg("-r").arg(&shipped).arg(dir.path().join("config")).status();
    assert!(copied.is_ok_and(|status| status.success()));
    let file = dir.path().join("config/outrigger.toml");
    let text = fs::read_to_string(&file).expect("it is shipped");
    let nats = text.replacen("kind = \"disk\"", "kind = \"nats\"\nservers = [\"nats://127.0.0.1:1\"]", 1);
    assert_ne!(nats, text);
    fs::write(&file, nats).expect("a file in a temporary directory");
    let ended = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["demo", "--config"])
        .arg(dir.path().join("config"))
        .output()
        .expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && said.contains("All went as it should"), "{said}");
    assert!(!said.contains("has no effect"), "{said}");
}
