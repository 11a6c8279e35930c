//! TLS towards database servers: whose certificates are believed, by MySQL's `ssl-mode` (manual,
//! "Command Options for Encrypted Connections"). Made once at start; cores and control plane share
//! it.
use crate::error::StartError;
use crate::tls::{provider, read_chain, read_key};
use coregate_planner::snapshot::{BackendTls, Tablet};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// PEM files for connections to servers.
#[derive(Debug, Clone, Default)]
pub struct BackendTlsFiles {
    /// Certificates of the authorities that sign servers' certificates.
    pub ca: Option<PathBuf>,
    /// Our own certificate, for servers that demand one, and its key.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// One configuration for each way of verifying.
#[derive(Debug, Clone)]
pub struct BackendTlsConfig {
    /// `preferred` and `required` encrypt and believe any certificate.
    unverified: Arc<ClientConfig>,
    verified: Option<Verified>,
}

#[derive(Debug, Clone)]
struct Verified {
    ca: PathBuf,
    chain: Arc<ClientConfig>,
    chain_and_name: Arc<ClientConfig>,
}

impl BackendTlsConfig {
    /// # Errors
    /// A file is missing or is not what it should be; the sentence names it.
    pub fn load(files: &BackendTlsFiles) -> Result<Self, StartError> {
        let identity = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => Some((read_chain(cert)?, read_key(key)?)),
            (None, None) => None,
            _ => {
                let why = "a certificate for servers needs its key, and the key its certificate";
                return Err(StartError::Tls(why.into()));
            }
        };
        let config = |verifier: Arc<dyn ServerCertVerifier>| {
            let builder = ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(|e| StartError::Tls(e.to_string()))?
                .dangerous()
                .with_custom_certificate_verifier(verifier);
            let config = match &identity {
                None => builder.with_no_client_auth(),
                Some((chain, key)) => builder
                    .with_client_auth_cert(chain.clone(), key.clone_key())
                    .map_err(|e| {
                        StartError::Tls(format!(
                            "the certificate for servers and its key cannot be used: {e}"
                        ))
                    })?,
            };
            Ok::<_, StartError>(Arc::new(config))
        };
        let verified = match &files.ca {
            None => None,
            Some(ca) => {
                let roots = Arc::new(read_roots(ca)?);
                let chain = ChainOnly { roots: Arc::clone(&roots), provider: provider() };
                let name = WebPkiServerVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|e| StartError::Tls(format!("{}: {e}", ca.display())))?;
                Some(Verified {
                    ca: ca.clone(),
                    chain: config(Arc::new(chain))?,
                    chain_and_name: config(name)?,
                })
            }
        };
        Ok(Self { unverified: config(Arc::new(NoVerification(provider())))?, verified })
    }

    /// # Errors
    /// The mode verifies certificates, and there are none of an authority to do it with.
    pub fn of_mode(&self, mode: BackendTls) -> Result<Arc<ClientConfig>, StartError> {
        let verified = || {
            self.verified.as_ref().ok_or_else(|| {
                StartError::Tls(format!(
                    "ssl-mode {} needs the certificate of the authority that signs the servers' \
                        ones: name its file in \
                     backend_tls.ca, or with ssl-ca in --upstream",
                    mode_name(mode)
                ))
            })
        };
        match mode {
            BackendTls::VerifyCa => verified().map(|v| Arc::clone(&v.chain)),
            BackendTls::VerifyIdentity => verified().map(|v| Arc::clone(&v.chain_and_name)),
            BackendTls::Disabled | BackendTls::Preferred | BackendTls::Required => {
                Ok(Arc::clone(&self.unverified))
            }
        }
    }

    /// Why a connection to a server failed: which check of its certificate, and what to do.
    pub fn explain(&self, tablet: &Tablet, error: &io::Error) -> String {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(tls) = tls else { return error.to_string() };
        let rustls::Error::InvalidCertificate(why) = tls else { return format!("TLS: {tls}") };
        let mode = mode_name(tablet.tls);
        let ca = self
            .verified
            .as_ref()
            .map_or_else(String::new, |v| v.ca.display().to_string());
        match why {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "ssl-mode {mode}: the server's certificate is not for {:?} ({why}); connect by \
                        a name that is in it, or use verify_ca",
                    tablet.server_name
                )
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "ssl-mode {mode}: no authority in {ca} has signed the server's certificate \
                    ({why}); name the one that has"
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("ssl-mode {mode}: the server's certificate has expired ({why}); renew it")
            }
            _ => format!("ssl-mode {mode}: the server's certificate is refused: {why}"),
        }
    }
}

/// The name that the server's certificate must bear; where no name is verified, anything that TLS
/// can carry.
pub fn server_name(tablet: &Tablet) -> io::Result<ServerName<'static>> {
    let bare = tablet
        .server_name
        .trim_start_matches('[')
        .trim_end_matches(']');
    match ServerName::try_from(bare.to_owned()) {
        Ok(name) => Ok(name),
        Err(_) if tablet.tls != BackendTls::VerifyIdentity => {
            Ok(ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST)))
        }
        Err(_) => Err(io::Error::other(format!(
            "ssl-mode verify_identity: {bare:?} is not a name that a certificate can bear; use \
                verify_ca"
        ))),
    }
}

fn mode_name(mode: BackendTls) -> &'static str {
    match mode {
        BackendTls::Disabled => "disabled",
        BackendTls::Preferred => "preferred",
        BackendTls::Required => "required",
        BackendTls::VerifyCa => "verify_ca",
        BackendTls::VerifyIdentity => "verify_identity",
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, StartError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate).map_err(|e| {
            StartError::Tls(format!("{}: not an authority's certificate: {e}", path.display()))
        })?;
    }
    Ok(roots)
}

/// `required`: encrypts, and does not look at the certificate.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

/// `verify_ca`: signed by one of ours, whatever name it bears.
#[derive(Debug)]
struct ChainOnly {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

/// The handshake's own signatures are checked in every mode.
macro_rules! signatures {
    ($provider:tt) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.$provider.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.$provider.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.$provider
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    signatures!(0);
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!(provider);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_wrong_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let missing = dir.path().join("missing.pem");
        let text = path("text.pem", "hello");
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).expect("made");
        let (cert, key) =
            (path("c.pem", &made.cert.pem()), path("k.pem", &made.signing_key.serialize_pem()));
        let other = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).expect("made");
        let other_key = path("o.pem", &other.signing_key.serialize_pem());
        let load = |ca: Option<&PathBuf>, cert: Option<&PathBuf>, key: Option<&PathBuf>| {
            let files = BackendTlsFiles { ca: ca.cloned(), cert: cert.cloned(), key: key.cloned() };
            BackendTlsConfig::load(&files).map_err(|e| e.to_string())
        };
        let refused = |result: Result<BackendTlsConfig, String>, part: &str| {
            let error = result.expect_err("refused");
            assert!(error.contains(part), "{error}");
        };
        refused(load(Some(&missing), None, None), "missing.pem");
        refused(load(Some(&text), None, None), "text.pem: there is no certificate in it");
        refused(load(None, Some(&cert), None), "needs its key");
        refused(load(None, Some(&cert), Some(&text)), "text.pem");
        refused(load(None, Some(&cert), Some(&other_key)), "cannot be used");
        let full = load(Some(&cert), Some(&cert), Some(&key)).expect("right files");
        assert!(full.of_mode(BackendTls::VerifyIdentity).is_ok());
        let none = load(None, None, None).expect("no files");
        assert!(none.of_mode(BackendTls::Required).is_ok());
        let error = none
            .of_mode(BackendTls::VerifyCa)
            .expect_err("no authority")
            .to_string();
        assert!(error.contains("backend_tls.ca"), "{error}");
    }
}
