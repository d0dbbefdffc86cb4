//! Whom we believe, by which name, and how the keys are exchanged: against receivers of our own making over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outrigger::cli::demo::authority::Authority;
use outrigger::client::{Client, Limits, Routes};
use outrigger::config::Egress;
use outrigger::delivery::{Failure, Reason};
use outrigger::webhook::tls::{Authorities, Tls, TlsVersion};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ProtocolVersion, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::support::PATIENCE;
use crate::support::receiver::RUNTIME;

/// What a connection came to: the group of its key exchange, its version, and the name that was asked for.
type Spoken = (Option<rustls::NamedGroup>, Option<ProtocolVersion>, Option<String>);

/// A receiver with these groups and versions, whose certificate is for these names; what connections came to is told.
struct Server {
    addr: SocketAddr,
    spoken: mpsc::UnboundedReceiver<Spoken>,
    ca: String,
}

fn serve(
    names: &[&str],
    groups: Vec<&'static dyn SupportedKxGroup>,
    versions: &[&'static SupportedProtocolVersion],
) -> Server {
    let authority = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&authority).expect("a certificate").pem();
    let issuer = rcgen::Issuer::new(params, authority);
    let key = rcgen::KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let leaf = rcgen::CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("a certificate");
    let provider = CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(leaf.pem().as_bytes()).expect("PEM")],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("PEM"),
        )
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (told, spoken) = mpsc::unbounded_channel();
    let addr = RUNTIME.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let session = stream.get_ref().1;
                let group = session.negotiated_key_exchange_group().map(SupportedKxGroup::name);
                let name = session.server_name().map(str::to_owned);
                let _ = told.send((group, session.protocol_version(), name));
                let service = service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(Empty::<Bytes>::new().boxed()))
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        addr
    });
    Server { addr, spoken, ca }
}

impl Server {
    fn trusting(&self) -> Tls {
        let authorities = Some(Arc::new(Authorities::parse(&self.ca).expect("a certificate")));
        Tls { authorities, ..Tls::default() }
    }

    /// Sends one request to `hooks.example`, which is this server.
    fn send(&self, tls: &Tls, egress: &Egress) -> Result<u16, Failure> {
        let routes = Routes { hosts: [("hooks.example".to_owned(), self.addr)].into(), ..Routes::default() };
        let client = Client::new(egress, tls, routes).expect("a client");
        let limits = Limits { timeout: PATIENCE, response_bytes_max: 1000 };
        let request = http::Request::post("https://hooks.example/x").body(Full::new(Bytes::new())).expect("a request");
        RUNTIME.block_on(client.send(request, limits)).map(|answer| answer.status.as_u16())
    }
}

const ALL_VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn a_receiver_that_offers_the_post_quantum_hybrid_is_spoken_to_by_it() {
    let groups = vec![kx_group::X25519, kx_group::SECP256R1, kx_group::X25519MLKEM768];
    let mut server = serve(&["hooks.example"], groups, ALL_VERSIONS);
    assert_eq!(server.send(&server.trusting(), &Egress::default()), Ok(200));
    let (group, version, name) = server.spoken.try_recv().expect("a connection");
    assert_eq!(group, Some(rustls::NamedGroup::X25519MLKEM768));
    assert_eq!((version, name.as_deref()), (Some(ProtocolVersion::TLSv1_3), Some("hooks.example")));

    let mut server = serve(&["hooks.example"], vec![kx_group::X25519], ALL_VERSIONS);
    assert_eq!(server.send(&server.trusting(), &Egress::default()), Ok(200));
    assert_eq!(
        server.spoken.try_recv().expect("a connection").0,
        Some(rustls::NamedGroup::X25519),
        "where it is not offered"
    );
}

#[test]
fn versions_before_the_lowest_that_is_allowed_are_not_spoken() {
    let mut old = serve(&["hooks.example"], aws_lc_rs::default_provider().kx_groups, &[&rustls::version::TLS12]);
    assert_eq!(old.send(&old.trusting(), &Egress::default()), Ok(200));
    assert_eq!(old.spoken.try_recv().expect("a connection").1, Some(ProtocolVersion::TLSv1_2));
    let strict = Tls { min_version: TlsVersion::V1_3, ..old.trusting() };
    let failure = old.send(&strict, &Egress::default()).expect_err("it speaks 1.2 alone");
    assert_eq!(failure.reason, Reason::TlsError, "{failure:?}");
    assert!(old.spoken.try_recv().is_err());
}

#[test]
fn the_name_that_is_asked_for_and_expected_can_be_another_than_the_hosts() {
    let mut server = serve(&["inner.example"], aws_lc_rs::default_provider().kx_groups, ALL_VERSIONS);
    let failure = server.send(&server.trusting(), &Egress::default()).expect_err("it has another name");
    assert!(failure.detail.contains("a certificate for another name"), "{failure:?}");
    let named = Tls { server_name: Some("inner.example".try_into().expect("a name")), ..server.trusting() };
    assert_eq!(server.send(&named, &Egress::default()), Ok(200));
    assert_eq!(server.spoken.try_recv().expect("a connection").2.as_deref(), Some("inner.example"));
}

#[test]
fn only_whom_the_configuration_names_is_trusted() {
    let server = serve(&["hooks.example"], aws_lc_rs::default_provider().kx_groups, ALL_VERSIONS);
    let other = Authority::new().expect("an authority");
    let egress = |pem: &str| Egress { ca_pem: Some(pem.to_owned()), ..Egress::default() };
    let none = Tls { public_roots: false, ..Tls::default() };
    for (tls, egress, trusted) in [
        (Tls::default(), Egress::default(), false),
        (Tls::default(), egress(&server.ca), true),
        (none.clone(), egress(&server.ca), true),
        (none.clone(), egress(other.ca_pem()), false),
        (Tls { public_roots: false, ..server.trusting() }, Egress::default(), true),
        (Tls { public_roots: false, ..server.trusting() }, egress(other.ca_pem()), true),
    ] {
        let answer = server.send(&tls, &egress);
        match answer {
            Ok(status) => assert!(trusted && status == 200, "{tls:?}"),
            Err(failure) => {
                assert!(!trusted, "{tls:?}: {failure:?}");
                assert!(failure.detail.contains("unknown issuer"), "{failure:?}");
            }
        }
    }
}
