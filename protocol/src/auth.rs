//! Logging in, in both roles.
//!
//! The methods are pure functions; [`server`] and [`client`] are the conversations around them.

pub mod client;
pub mod ed25519;
pub mod native;
pub mod server;
pub mod sha2;

mod crypt;

/// Names of the authentication methods.
pub mod plugin {
    /// SHA-1 challenge and response, since 4.1.
    pub const NATIVE: &[u8] = b"mysql_native_password";
    /// SHA-256, with a cache on the server; the default since 8.0.
    pub const CACHING_SHA2: &[u8] = b"caching_sha2_password";
    /// The password as it is; only on a secure connection.
    pub const CLEAR: &[u8] = b"mysql_clear_password";
    /// MariaDB's Ed25519 signature.
    pub const ED25519: &[u8] = b"client_ed25519";
}

/// The password as methods send it in full: with a NUL behind it.
fn with_nul(password: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    let mut text = zeroize::Zeroizing::new(Vec::with_capacity(password.len() + 1));
    text.extend_from_slice(password);
    text.push(0);
    text
}
