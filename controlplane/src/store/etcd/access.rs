//! How etcd is reached: TLS, with its own authority and perhaps a certificate of ours, and who logs
//! in.
use crate::Error;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// What else than its members must be known of an etcd.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EtcdAccess {
    /// PEM file: certificates of the authorities that sign the members' ones.
    pub ca: Option<PathBuf>,
    /// Our own certificate, where etcd wants one (`--client-cert-auth`), and its key.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Where etcd has `auth enable`.
    pub user: Option<String>,
    pub password: Option<String>,
}

impl fmt::Debug for EtcdAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ca, cert, key, user, password: _ } = self;
        f.debug_struct("EtcdAccess")
            .field("ca", ca)
            .field("cert", cert)
            .field("key", key)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

impl EtcdAccess {
    /// What the environment says: `COREGATE_ETCD_USER` and `_PASSWORD`, over TLS also `_CA`,
    /// `_CERT` and `_KEY`. What is given already stays.
    pub(super) fn or_environment(self, tls: bool) -> Self {
        let text = |name: &str| {
            std::env::var(format!("COREGATE_ETCD_{name}"))
                .ok()
                .filter(|value| !value.is_empty())
        };
        let path = |name: &str| text(name).filter(|_| tls).map(PathBuf::from);
        Self {
            ca: self.ca.or_else(|| path("CA")),
            cert: self.cert.or_else(|| path("CERT")),
            key: self.key.or_else(|| path("KEY")),
            user: self.user.or_else(|| text("USER")),
            password: self.password.or_else(|| text("PASSWORD")),
        }
    }

    /// `tls`: the members are reached by https.
    pub(super) fn check(&self, tls: bool) -> Result<(), String> {
        let files = self.ca.is_some() || self.cert.is_some() || self.key.is_some();
        match () {
            () if tls && self.ca.is_none() => Err(
                "etcd over TLS needs the certificate of the authority that signs its members': \
                    name its file in topology.ca, \
                     or in COREGATE_ETCD_CA"
                    .to_owned(),
            ),
            () if files && !tls => {
                Err("ca, cert and key are for etcd over TLS: write https://HOST:PORT (in URLs \
                    etcds://)"
                    .to_owned())
            }
            () if self.cert.is_some() != self.key.is_some() => {
                Err("a certificate for etcd needs its key, and the key its certificate".to_owned())
            }
            () if self.user.is_some() != self.password.is_some() => {
                Err("etcd's user needs a password, and the password a user (topology.user, \
                    topology.password or \
                     COREGATE_ETCD_PASSWORD)"
                    .to_owned())
            }
            () => Ok(()),
        }
    }

    /// Reads the files.
    pub(super) fn connector(&self) -> Result<TlsConnector, Error> {
        let fail = |path: &Path, why: String| Error::Config(format!("{}: {why}", path.display()));
        let chain = |path: &Path| -> Result<Vec<CertificateDer<'static>>, Error> {
            let found: Vec<_> = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect)
                .map_err(|e| fail(path, e.to_string()))?;
            if found.is_empty() {
                return Err(fail(path, "there is no certificate in it".to_owned()));
            }
            Ok(found)
        };
        let mut roots = RootCertStore::empty();
        if let Some(ca) = &self.ca {
            for certificate in chain(ca)? {
                roots
                    .add(certificate)
                    .map_err(|e| fail(ca, e.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::Config(e.to_string()))?
            .with_root_certificates(roots);
        let config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let secret =
                    PrivateKeyDer::from_pem_file(key).map_err(|e| fail(key, e.to_string()))?;
                builder
                    .with_client_auth_cert(chain(cert)?, secret)
                    .map_err(|e| fail(cert, e.to_string()))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_said() {
        let path = |name: &str| Some(PathBuf::from(name));
        let text = |text: &str| Some(text.to_owned());
        let plain = EtcdAccess::default;
        assert_eq!(plain().check(false), Ok(()));
        assert_eq!(
            EtcdAccess { user: text("u"), password: text("p"), ..plain() }.check(false),
            Ok(())
        );
        assert_eq!(EtcdAccess { ca: path("ca"), ..plain() }.check(true), Ok(()));
        for (access, tls, part) in [
            (plain(), true, "topology.ca"),
            (EtcdAccess { ca: path("ca"), ..plain() }, false, "https://"),
            (EtcdAccess { ca: path("ca"), cert: path("c"), ..plain() }, true, "needs its key"),
            (EtcdAccess { user: text("u"), ..plain() }, false, "needs a password"),
        ] {
            let error = access.check(tls).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let access = EtcdAccess { password: text("secret"), ca: path("/nowhere"), ..plain() };
        assert!(!format!("{access:?}").contains("secret"));
        assert!(matches!(access.connector(), Err(Error::Config(why)) if why.contains("/nowhere")));
    }
}
