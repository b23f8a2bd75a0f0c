//! The trusted certificates: the system's, and the private authorities that variables name.

use std::sync::OnceLock;

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::env::variable;
use crate::error::{Result, failed, refused};

/// The files in which systems keep their bundle (<https://go.dev/src/crypto/x509/root_linux.go>).
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The variables that name a bundle: the first replaces the system's, the others are added to it.
/// GitLab sets the second one if the runner has a private authority
/// (<https://docs.gitlab.com/runner/configuration/tls-self-signed/>). Bun, npm and wrangler read the third.
const VARIABLES: [&str; 3] = ["SSL_CERT_FILE", "CI_SERVER_TLS_CA_FILE", "NODE_EXTRA_CA_CERTS"];

/// Returns the certificates to trust by the variables of this process, which are read once. Mozilla's list if one names
/// no certificates.
#[must_use]
pub fn trusted_roots() -> RootCerts {
    static TRUSTED: OnceLock<RootCerts> = OnceLock::new();
    TRUSTED.get_or_init(|| roots(variable).unwrap_or(RootCerts::WebPki)).clone()
}

/// Returns the certificates to trust, by the variables that `get` knows. Without any file, Mozilla's list.
pub fn roots(get: impl Fn(&str) -> Option<String>) -> Result<RootCerts> {
    let [instead, beside @ ..] = VARIABLES.map(|name| get(name).map(|path| (name, path)));
    let mut found = Vec::new();
    match instead {
        Some((name, path)) => found.extend(read_certificates(name, &path)?),
        // We may not be able to parse the system's own file. It then counts as absent.
        None => found.extend(BUNDLES.iter().find_map(|path| read(path).ok()).unwrap_or_default()),
    }
    for (name, path) in beside.into_iter().flatten() {
        found.extend(read_certificates(name, &path)?);
    }
    Ok(if found.is_empty() { RootCerts::WebPki } else { RootCerts::from(found) })
}

fn read_certificates(variable: &str, path: &str) -> Result<Vec<Certificate<'static>>> {
    read(path).map_err(|error| {
        refused(format!("the variable {variable} names {path}: {error}")).hint(format!(
            "set {variable} to the path of a PEM file with the authority's certificates"
        ))
    })
}

fn read(path: &str) -> Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(path)?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(failed("it holds no certificate"));
    }
    Ok(found)
}
