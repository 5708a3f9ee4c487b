//! What rustls has to know, out of PEM files.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The files of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of those who may vouch for a broker.
    pub ca: Option<String>,
    /// What the client shows, with those who vouch for it.
    pub cert: Option<String>,
    /// The private key of the first certificate.
    pub key: Option<String>,
}

/// What a client needs.
pub fn client_config(files: &TlsFiles) -> anyhow::Result<Arc<ClientConfig>> {
    let Some(ca) = &files.ca else {
        bail!("TLS needs --cafile: the certificates of those who may vouch for the broker");
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?);
    let config = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .with_context(|| format!("{cert} and {key}"))?,
        (None, None) => builder.with_no_client_auth(),
        _ => bail!("a certificate needs its key, and a key its certificate"),
    };
    Ok(Arc::new(config))
}

/// What a broker needs. With `client_ca` each client has to show a certificate of one of these.
pub fn server_config(
    cert: &str,
    key: &str,
    client_ca: Option<&str>,
) -> anyhow::Result<Arc<ServerConfig>> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        Some(path) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider());
            let verifier = verifier.build().with_context(|| path.to_owned())?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let config = builder
        .with_single_cert(certificates(cert)?, private_key(key)?)
        .with_context(|| format!("{cert} and {key}"))?;
    Ok(Arc::new(config))
}

/// The name that the certificate of a host has to have.
pub fn server_name(host: &str) -> anyhow::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no name for TLS"))
}

/// Whose certificate this is, as in `CN=meter-7`.
pub fn subject(certificate: &CertificateDer<'_>) -> anyhow::Result<String> {
    let (_rest, certificate) = x509_parser::parse_x509_certificate(certificate)?;
    Ok(certificate.subject().to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(path: &str) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).with_context(|| path.to_owned())?;
    }
    Ok(roots)
}

fn certificates(path: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read {path}"))?;
    ensure!(!certificates.is_empty(), "{path}: no certificate");
    Ok(certificates)
}

fn private_key(path: &str) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).with_context(|| format!("cannot read a key from {path}"))
}
