//! Certificates that must not be accepted, and one authority that vouches for some of them.

use std::sync::{Arc, LazyLock};

use outrigger::cli::demo::authority::Authority;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::raw::Greeting;
use super::receiver::AUTHORITY;

static CARELESS: LazyLock<(Issuer<'static, KeyPair>, String)> = LazyLock::new(|| {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, "Careless test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).expect("a certificate").pem();
    (Issuer::new(params, key), pem)
});

/// The certificate of an authority that gives its own to certificates which are out of date, as PEM text.
pub(crate) fn careless_pem() -> &'static str {
    &CARELESS.1
}

/// One for 127.0.0.1 that was good in these years.
pub(crate) fn good_between(from: i32, until: i32) -> Greeting {
    let (mut params, key) = leaf();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    serve(&params.signed_by(&key, &CARELESS.0).expect("a certificate"), &key)
}

/// One for 127.0.0.1 that vouches for itself.
pub(crate) fn self_signed() -> Greeting {
    let (params, key) = leaf();
    serve(&params.self_signed(&key).expect("a certificate"), &key)
}

/// One for 127.0.0.1 by an authority that nobody knows.
pub(crate) fn unknown_issuer() -> Greeting {
    let authority = Authority::new().expect("an authority");
    Greeting::Tls(Arc::new(authority.server_config(&["127.0.0.1"], &["http/1.1"]).expect("a name")))
}

/// A good one for another name.
pub(crate) fn other_name() -> Greeting {
    Greeting::Tls(Arc::new(AUTHORITY.server_config(&["other.example"], &["http/1.1"]).expect("a name")))
}

fn leaf() -> (CertificateParams, KeyPair) {
    (CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name"), KeyPair::generate().expect("a key"))
}

fn serve(certificate: &rcgen::Certificate, key: &KeyPair) -> Greeting {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("they belong together");
    Greeting::Tls(Arc::new(config))
}
