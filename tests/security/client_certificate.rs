//! Client certificates, shown to `openssl s_server`, which was made elsewhere and wants one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use super::{created, hook};
use crate::support::process::Process;
use crate::support::{PATIENCE, eventually, sidecar};

/// Files of an authority, a server's certificate and clients' certificates, made by `rcgen`.
struct Certificates {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    fn new(dir: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "Outrigger client test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        std::fs::write(dir.join("authority.pem"), pem).expect("a file");
        let made = Self { dir: dir.to_owned(), issuer: Issuer::new(params, key) };
        made.make("server", "127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
        made
    }

    /// `NAME.pem` and `NAME.key`, each replaced by a rename.
    fn make(&self, name: &str, common_name: &str, usage: ExtendedKeyUsagePurpose) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        for (file, text) in [("pem", certificate.pem()), ("key", key.serialize_pem())] {
            let fresh = self.dir.join("fresh");
            std::fs::write(&fresh, text).expect("a file");
            std::fs::rename(fresh, self.dir.join(format!("{name}.{file}"))).expect("a rename");
        }
    }

    /// A server that refuses who shows no certificate of the authority, and where it listens.
    fn serve(&self) -> (Process, SocketAddr) {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-Verify", "1", "-verify_return_error"]);
        command.args(["-cert", "server.pem", "-key", "server.key", "-CAfile", "authority.pem"]).current_dir(&self.dir);
        let process = Process::spawn(&mut command);
        let bound = eventually(PATIENCE, || {
            process.lines().iter().find_map(|line| line.strip_prefix("ACCEPT ")?.trim().parse().ok())
        });
        let bound = bound.unwrap_or_else(|| panic!("openssl does not listen: {:?}", process.lines()));
        (process, bound)
    }
}

/// Waits until the server has seen a client of this name.
#[track_caller]
fn wait_client(server: &Process, name: &str) {
    let seen = eventually(PATIENCE, || {
        server.lines().iter().any(|line| line.contains("CN") && line.contains(name)).then_some(())
    });
    assert!(seen.is_some(), "openssl has seen no {name}: {:#?}", server.lines());
}

#[test]
fn openssl_takes_our_certificate_and_the_next_one_without_a_restart() {
    let files = tempfile::tempdir().expect("a folder");
    let certificates = Certificates::new(files.path());
    certificates.make("client", "client-one.example", ExtendedKeyUsagePurpose::ClientAuth);
    let (server, bound) = certificates.serve();
    let dir = files.path().display();
    let tls = format!(
        "method = \"GET\"\n[tls]\nca_file = \"{dir}/authority.pem\"\npublic_roots = false\nclient_cert_file = \"{dir}/client.pem\"\nclient_key_file = \"{dir}/client.key\"\n"
    );
    let url = format!("https://{bound}/");
    let sidecar = sidecar()
        .setting(&format!("egress.allow_ports = [{}]", bound.port()))
        .webhook("shows", &hook(&url, &tls))
        .start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "shows"), ("outcome", "delivered")], 1.0);
    wait_client(&server, "client-one.example");
    let expiry = |name: &str| sidecar.metric(name, &[("webhook", "shows")]);
    for gauge in [
        "outrigger_client_certificate_expiry_timestamp_seconds",
        "outrigger_target_certificate_expiry_timestamp_seconds",
    ] {
        // rcgen's certificates end in 4096.
        assert!(expiry(gauge).is_some_and(|time| time > 4e9), "{gauge}: {:?}", expiry(gauge));
    }

    certificates.make("client", "client-two.example", ExtendedKeyUsagePurpose::ClientAuth);
    let posted = eventually(PATIENCE, || {
        assert_eq!(sidecar.post("/v1/events?wait=10s", &created("r-2")).status, 200);
        server.lines().iter().any(|line| line.contains("client-two.example")).then_some(())
    });
    assert!(posted.is_some(), "the new certificate is not shown: {:#?}\n{}", server.lines(), sidecar.log());
    sidecar.wait_metric("outrigger_attempts_total", &[("webhook", "shows"), ("outcome", "failed")], 0.0);
}

#[test]
fn a_server_that_wants_a_certificate_refuses_who_shows_none_and_the_log_says_what_to_set() {
    let files = tempfile::tempdir().expect("a folder");
    let certificates = Certificates::new(files.path());
    let (server, bound) = certificates.serve();
    let tls = format!("method = \"GET\"\n[tls]\nca_file = \"{}/authority.pem\"\n", files.path().display());
    let sidecar = sidecar()
        .setting(&format!("egress.allow_ports = [{}]", bound.port()))
        .webhook("bare", &hook(&format!("https://{bound}/"), &tls))
        .start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    sidecar.wait_metric_from("outrigger_attempt_failures_total", &[("webhook", "bare"), ("reason", "tls_error")], 1.0);
    let line = sidecar.wait_log("tls_error");
    assert!(line.contains("tls.client_cert_file"), "{line}");
    let refused = eventually(PATIENCE, || {
        server.lines().iter().any(|line| line.contains("peer did not return a certificate")).then_some(())
    });
    assert!(refused.is_some(), "{:#?}", server.lines());
}

#[test]
fn a_certificate_for_all_webhooks_is_that_of_the_defaults() {
    let files = tempfile::tempdir().expect("a folder");
    let certificates = Certificates::new(files.path());
    certificates.make("client", "client-of-all.example", ExtendedKeyUsagePurpose::ClientAuth);
    let (server, bound) = certificates.serve();
    let dir = files.path().display();
    let sidecar = sidecar()
        .setting(&format!("egress.allow_ports = [{}]", bound.port()))
        .setting(&format!("egress.ca_file = \"{dir}/authority.pem\""))
        .setting("defaults.tls.public_roots = false")
        .setting(&format!("defaults.tls.client_cert_file = \"{dir}/client.pem\""))
        .setting(&format!("defaults.tls.client_key_file = \"{dir}/client.key\""))
        .webhook("one", &hook(&format!("https://{bound}/"), "method = \"GET\""))
        .webhook("two", &hook(&format!("https://{bound}/"), "method = \"GET\"\ntls.min_version = \"1.3\""))
        .start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    for webhook in ["one", "two"] {
        sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", webhook), ("outcome", "delivered")], 1.0);
    }
    wait_client(&server, "client-of-all.example");
}
