//! The TLS side of the client: what is trusted, what is spoken, and what a failure means to people.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};

use super::ClientError;

/// TLS 1.2 and 1.3 with the public roots and the certificates of `egress.ca_file`, offering HTTP/2 before HTTP/1.1.
pub(super) fn client_config(ca_pem: Option<&str>) -> Result<Arc<ClientConfig>, ClientError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_pem {
        trust(&mut roots, pem)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn trust(roots: &mut RootCertStore, pem: &str) -> Result<(), ClientError> {
    let mut count = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        count += 1;
        let certificate = certificate.map_err(|error| ClientError::Ca { count, why: error.to_string() })?;
        roots.add(certificate).map_err(|error| ClientError::Ca { count, why: error.to_string() })?;
    }
    if count == 0 {
        return Err(ClientError::NoCa);
    }
    Ok(())
}

/// What went wrong in a handshake, as the end of a sentence that begins with the host.
pub(super) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => explain_certificate(error).to_owned(),
        Error::NoCertificatesPresented => "presented no certificate".to_owned(),
        Error::InvalidMessage(_) => "does not speak TLS on this port".to_owned(),
        Error::AlertReceived(alert) => format!("refused the TLS handshake with the alert {alert:?}"),
        Error::PeerIncompatible(_) => {
            "has no TLS version or cipher suite in common with us (TLS 1.2 or later is spoken)".to_owned()
        }
        Error::NoApplicationProtocol => "speaks neither HTTP/2 nor HTTP/1.1 over TLS".to_owned(),
        other => format!("failed the TLS handshake ({other})"),
    }
}

fn explain_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "presented a certificate of an unknown issuer; a private authority is trusted by egress.ca_file"
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
    fn a_ca_file_without_a_certificate_is_refused() {
        assert!(matches!(client_config(Some("# nothing\n")), Err(ClientError::NoCa)));
    }

    #[test]
    fn a_broken_certificate_is_refused_with_its_number() {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(client_config(Some(pem)), Err(ClientError::Ca { count: 1, .. })));
    }

    #[test]
    fn a_good_certificate_is_taken_beside_the_public_roots() {
        let made = rcgen::generate_simple_self_signed(["private.example".to_owned()]).unwrap();
        assert!(client_config(Some(&made.cert.pem())).is_ok());
    }
}
