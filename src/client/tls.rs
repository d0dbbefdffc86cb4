//! The TLS side of the client: what is trusted, what is spoken, and what a failure means to people.

use std::sync::Arc;

use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

use super::ClientError;
use crate::webhook::tls::{Authorities, Tls, TlsVersion};

/// What is offered to a target, the first it has is spoken.
const ALPN: [&[u8]; 2] = [b"h2", HTTP1];
pub(super) const HTTP1: &[u8] = b"http/1.1";

/// What a webhook's `[tls]` and `egress.ca_file` come to, offering HTTP/2 before HTTP/1.1. Key exchange is the hybrid of X25519 and
/// ML-KEM-768 where the receiver offers it, which keeps what is recorded today from the quantum computers of tomorrow.
pub fn tls_config(ca_pem: Option<&str>, tls: &Tls) -> Result<Arc<ClientConfig>, ClientError> {
    let mut roots = RootCertStore::empty();
    if tls.public_roots {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let shared = ca_pem.map(Authorities::parse).transpose().map_err(|error| ClientError::Ca(error.to_string()))?;
    for authorities in shared.iter().chain(tls.authorities.as_deref()) {
        for certificate in &authorities.certificates {
            roots.add(certificate.clone()).map_err(|error| ClientError::Tls(error.to_string()))?;
        }
    }
    let versions = match tls.min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12][..],
        TlsVersion::V1_3 => &[&TLS13][..],
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| ClientError::Tls(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &tls.client {
        Some(client) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&client.key)))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

/// The same, offering HTTP/1.1 alone. Sessions that began with either are resumed by both.
pub(super) fn http1_alone(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols.retain(|protocol| protocol == HTTP1);
    Arc::new(config)
}

/// What went wrong in a handshake, as the end of a sentence that begins with the host.
pub(super) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => explain_certificate(error).to_owned(),
        Error::NoCertificatesPresented => "presented no certificate".to_owned(),
        Error::InvalidMessage(_) => "does not speak TLS on this port".to_owned(),
        Error::AlertReceived(alert) if is_of_client_certificate(*alert) => {
            format!("does not accept our client certificate, or wants one: tls.client_cert_file (alert {alert:?})")
        }
        Error::AlertReceived(alert) => format!("refused the TLS handshake with the alert {alert:?}"),
        Error::PeerIncompatible(_) => {
            "has no TLS version or cipher suite in common with us (TLS 1.2 or later is spoken, or what tls.min_version says)".to_owned()
        }
        Error::NoApplicationProtocol => "speaks neither HTTP/2 nor HTTP/1.1 over TLS".to_owned(),
        other => format!("failed the TLS handshake ({other})"),
    }
}

/// Whether a receiver's alert is about who we say that we are.
fn is_of_client_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
    )
}

fn explain_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "presented a certificate of an unknown issuer; a private authority is trusted by egress.ca_file or tls.ca_file"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "presented a certificate that has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "presented a certificate that is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "presented a certificate for another name"
        }
        CertificateError::Revoked => "presented a certificate that is revoked",
        CertificateError::BadSignature => "presented a certificate with a bad signature",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "presented a certificate that is not meant for servers"
        }
        _ => "presented a certificate that cannot be accepted",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_refused_and_a_broken_one_with_its_number() {
        let config = |pem: &str| tls_config(Some(pem), &Tls::default()).map(|_| ()).unwrap_err().to_string();
        assert_eq!(config("# nothing\n"), "egress.ca_file holds no PEM certificate");
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = config(pem);
        assert!(error.starts_with("egress.ca_file holds a certificate that cannot be used, its number 1: "), "{error}");
    }

    #[test]
    fn a_good_certificate_is_taken_beside_the_public_roots() {
        let made = rcgen::generate_simple_self_signed(["private.example".to_owned()]).unwrap();
        assert!(tls_config(Some(&made.cert.pem()), &Tls::default()).is_ok());
    }
}
