//! How servers' certificates are verified: the data plane has it, the program hands it over.
use coregate_planner::snapshot::{BackendTls, Tablet};
use coregate_protocol::auth::client::RsaEncrypt;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::{fmt, io};

/// What a connection to a server needs that is encrypted, or that sends a password under the
/// server's key.
pub trait TlsClient: fmt::Debug + Send + Sync {
    /// # Errors
    /// The mode cannot be used as things are configured: one sentence.
    fn config(&self, mode: BackendTls) -> Result<Arc<rustls::ClientConfig>, String>;
    /// The name that the server's certificate must bear.
    ///
    /// # Errors
    /// No certificate can bear it.
    fn server_name(&self, tablet: &Tablet) -> io::Result<ServerName<'static>>;
    /// Why TLS failed and what to do.
    fn explain(&self, tablet: &Tablet, error: &io::Error) -> String;
    /// For passwords of `caching_sha2_password` and `sha256_password` without TLS.
    fn rsa(&self) -> &(dyn RsaEncrypt + Sync);
}
