//! Certificates for one test each.

#![expect(clippy::unwrap_used, reason = "a test without certificates fails")]

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::file;

/// Somebody who vouches for others.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The file with its certificate.
    pub file: String,
}

/// The files of somebody who is vouched for.
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            file: file(folder, &format!("{name}.pem"), &pem),
        }
    }

    /// Vouches for a host, or for a client of that name.
    pub fn vouch(&self, folder: &Path, name: &str) -> Identity {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity {
            cert: file(folder, &format!("{name}.cert.pem"), &pem),
            key: file(folder, &format!("{name}.key.pem"), &key.serialize_pem()),
        }
    }
}
