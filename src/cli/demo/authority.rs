//! A private certificate authority, made on the spot and kept in memory.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// How long a receiver's certificate is good for, in days.
const LIFETIME_DAYS: i64 = 90;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate itself was refused, for example because a name is not one.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused what was made.
    #[error("cannot use the certificate: {0}")]
    Tls(#[from] rustls::Error),
}

/// A certificate authority that nobody trusts until they are given [`Authority::ca_pem`].
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Makes a fresh authority with a key of its own.
    pub fn new() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        // Two authorities must differ by name: a client takes certificates of another one of the same name for forged.
        let name = format!("Outrigger local test authority {}", uuid::Uuid::now_v7());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// The certificate to trust, as PEM text.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// A TLS server for these host names or addresses that offers these protocols (`h2`, `http/1.1`) in this order.
    pub fn server_config(&self, names: &[&str], alpn: &[&str]) -> Result<rustls::ServerConfig, AuthorityError> {
        self.serve(&leaf(names)?, alpn)
    }

    fn serve(&self, params: &CertificateParams, alpn: &[&str]) -> Result<rustls::ServerConfig, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        tls(&certificate, &key, alpn)
    }
}

fn leaf(names: &[&str]) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, "Outrigger local test receiver");
    // What is told of it should look like what is told of others.
    let end = (Timestamp::now().to_zoned(TimeZone::UTC) + LIFETIME_DAYS.days()).date();
    params.not_after = date_time_ymd(i32::from(end.year()), end.month().unsigned_abs(), end.day().unsigned_abs());
    Ok(params)
}

fn tls(certificate: &rcgen::Certificate, key: &KeyPair, alpn: &[&str]) -> Result<rustls::ServerConfig, AuthorityError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(config)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
impl Authority {
    /// A server whose certificate has expired.
    pub(crate) fn expired_server_config(&self, names: &[&str]) -> rustls::ServerConfig {
        let mut params = leaf(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.serve(&params, &["http/1.1"]).unwrap()
    }

    /// A server whose certificate vouches for itself.
    pub(crate) fn self_signed_server_config(names: &[&str]) -> rustls::ServerConfig {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = leaf(names).unwrap().self_signed(&key).unwrap();
        tls(&certificate, &key, &["http/1.1"]).unwrap()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_refused() {
        let authority = Authority::new().unwrap();
        assert!(matches!(authority.server_config(&["naïve host"], &[]), Err(AuthorityError::Certificate(_))));
    }

    #[test]
    fn two_authorities_do_not_share_a_certificate() {
        let (one, other) = (Authority::new().unwrap(), Authority::new().unwrap());
        assert!(one.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
        assert_ne!(one.ca_pem(), other.ca_pem());
    }
}
