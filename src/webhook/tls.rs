//! How a target is spoken to over TLS: who is trusted, who we are, which name and version are asked for.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::secret::Secret;

/// `[tls]` of a webhook, above `[defaults.tls]`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whether the public roots are trusted beside `ca_file`.
    pub public_roots: bool,
    /// `ca_file`, beside the certificates of `egress.ca_file`.
    pub authorities: Option<Arc<Authorities>>,
    /// What is shown to a receiver that asks who we are.
    pub client: Option<Arc<ClientCertificate>>,
    /// The name that is asked for and expected in the certificate; the URL's host where there is none.
    pub server_name: Option<ServerName<'static>>,
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
}

/// What two webhooks share when they speak TLS in the same way, and with it their connections.
pub type Identity = [u8; 32];

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl Default for Tls {
    fn default() -> Self {
        Self { public_roots: true, authorities: None, client: None, server_name: None, min_version: TlsVersion::V1_2 }
    }
}

/// Two that speak TLS in the same way are equal.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Tls {
    /// A SHA-256 over all that decides how TLS is spoken.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let mut context = Context::new(&SHA256);
        context.update(&[u8::from(self.public_roots), u8::from(self.min_version == TlsVersion::V1_3)]);
        let name = self.server_name.as_ref().map(ServerName::to_str).unwrap_or_default();
        let authorities = self.authorities.as_ref().map_or(&[][..], |authorities| &authorities.digest);
        let client = self.client.as_ref().map_or(&[][..], |client| &client.digest);
        // Each part after its length, so that what is hashed can be read in one way only.
        let mut part = |bytes: &[u8]| {
            context.update(&bytes.len().to_be_bytes());
            context.update(bytes);
        };
        for bytes in [name.as_bytes(), authorities, client] {
            part(bytes);
        }
        finished(context)
    }

    /// The same towards another host, whose certificate has its own name.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        Self { server_name: None, ..self.clone() }
    }
}

/// Certificates that are trusted beside others.
pub struct Authorities {
    /// As they stand in the file.
    pub certificates: Vec<CertificateDer<'static>>,
    digest: Identity,
}

/// Why certificates cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// There is none.
    #[error("holds no PEM certificate")]
    None,
    /// One is no good; counted from 1.
    #[error("holds a certificate that cannot be used, its number {count}: {why}")]
    Bad {
        /// Which one.
        count: usize,
        /// What the reader of certificates says.
        why: String,
    },
}

impl Authorities {
    /// Reads PEM text.
    pub fn parse(pem: &str) -> Result<Self, AuthoritiesError> {
        let mut certificates = Vec::new();
        for (index, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
            let bad = |why: String| AuthoritiesError::Bad { count: index + 1, why };
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            RootCertStore::empty().add(certificate.clone()).map_err(|error| bad(error.to_string()))?;
            certificates.push(certificate);
        }
        let digest = digest(&certificates);
        if certificates.is_empty() { Err(AuthoritiesError::None) } else { Ok(Self { certificates, digest }) }
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

/// A client certificate with its chain and private key.
pub struct ClientCertificate {
    /// Chain and key, ready to sign with.
    pub key: Arc<CertifiedKey>,
    /// When the certificate expires.
    pub not_after: Timestamp,
    digest: Identity,
}

/// Why a certificate and a key cannot be shown to receivers. No word of the key is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientCertificateError {
    /// No certificate in the one file.
    #[error("holds no PEM certificate")]
    NoCertificate,
    /// A certificate that cannot be read.
    #[error("holds a certificate that cannot be read")]
    BadCertificate,
    /// No key in the other file.
    #[error("holds no PEM private key (PKCS#8, PKCS#1 or SEC1, not encrypted)")]
    NoKey,
    /// A key of a kind that is not supported.
    #[error("holds a private key that cannot be used (RSA of 2048 bits or more, ECDSA P-256, P-384, P-521 or Ed25519)")]
    BadKey,
    /// A key of another certificate.
    #[error("holds the key of another certificate")]
    Mismatch,
}

impl ClientCertificateError {
    /// Whether the certificate's file is at fault, and not the key's.
    #[must_use]
    pub const fn is_of_certificate(&self) -> bool {
        matches!(self, Self::NoCertificate | Self::BadCertificate)
    }
}

impl ClientCertificate {
    /// Reads a chain, the client's own certificate first, and its key.
    pub fn parse(chain_pem: &str, key_pem: &Secret) -> Result<Self, ClientCertificateError> {
        use ClientCertificateError::{BadCertificate, BadKey, Mismatch, NoCertificate, NoKey};
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| BadCertificate)?;
        let not_after = expiry(chain.first().ok_or(NoCertificate)?).ok_or(BadCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.expose().as_bytes()).map_err(|_| NoKey)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(key).map_err(|_| BadKey)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| Mismatch)?;
        let digest = digest(&key.cert);
        Ok(Self { key: Arc::new(key), not_after, digest })
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// A SHA-256 over certificates, each after its length, so that what is hashed can be read in one way only.
fn digest(certificates: &[CertificateDer<'_>]) -> Identity {
    let mut context = Context::new(&SHA256);
    for certificate in certificates {
        context.update(&certificate.len().to_be_bytes());
        context.update(certificate);
    }
    finished(context)
}

fn finished(context: Context) -> Identity {
    let mut identity = Identity::default();
    identity.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    identity
}

/// When a certificate expires; `None` when it cannot be read.
#[must_use]
pub fn expiry(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    fn made() -> (String, Secret) {
        let made = rcgen::generate_simple_self_signed(["client.example".to_owned()]).unwrap();
        (made.cert.pem(), Secret::new(made.signing_key.serialize_pem()))
    }

    #[test]
    fn a_certificate_and_its_key_belong_together() {
        let ((chain, key), (_, other)) = (made(), made());
        let good = ClientCertificate::parse(&chain, &key).unwrap();
        assert!(good.not_after > Timestamp::UNIX_EPOCH);
        assert!(!format!("{good:?}").contains("PRIVATE"));
        let error = |chain: &str, key: &Secret| ClientCertificate::parse(chain, key).unwrap_err();
        assert_eq!(error(&chain, &other), ClientCertificateError::Mismatch);
        assert_eq!(error("", &key), ClientCertificateError::NoCertificate);
        assert_eq!(error(&chain, &Secret::new(chain.clone())), ClientCertificateError::NoKey);
        let noise = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(error(noise, &key), ClientCertificateError::BadCertificate);
        let noise = Secret::new("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned());
        assert_eq!(error(&chain, &noise), ClientCertificateError::BadKey);
    }

    #[test]
    fn authorities_are_certificates_and_the_bad_one_is_named() {
        let (pem, _) = made();
        assert_eq!(Authorities::parse(&format!("{pem}{pem}")).unwrap().certificates.len(), 2);
        assert_eq!(Authorities::parse("# nothing\n").unwrap_err(), AuthoritiesError::None);
        let bad = format!("{pem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(matches!(Authorities::parse(&bad), Err(AuthoritiesError::Bad { count: 2, .. })));
    }

    #[test]
    fn whatever_changes_how_tls_is_spoken_changes_the_identity() {
        let (pem, _) = made();
        let ((chain, key), (other, other_key)) = (made(), made());
        let plain = Tls::default();
        let others = [
            Tls { public_roots: false, ..plain.clone() },
            Tls { authorities: Some(Arc::new(Authorities::parse(&pem).unwrap())), ..plain.clone() },
            Tls { client: Some(Arc::new(ClientCertificate::parse(&chain, &key).unwrap())), ..plain.clone() },
            Tls { client: Some(Arc::new(ClientCertificate::parse(&other, &other_key).unwrap())), ..plain.clone() },
            Tls { server_name: Some("other.example".try_into().unwrap()), ..plain.clone() },
            Tls { min_version: TlsVersion::V1_3, ..plain.clone() },
        ];
        let mut identities: Vec<Identity> = others.iter().map(Tls::identity).collect();
        identities.push(plain.identity());
        identities.sort_unstable();
        identities.dedup();
        assert_eq!(identities.len(), others.len() + 1);
        assert_eq!(others[4].elsewhere().identity(), plain.identity());
    }
}
