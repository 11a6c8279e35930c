//! TLS as a transformer of bytes: rustls never touches a socket.
use crate::error::StartError;
use crate::ring::Buf;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Plain bytes handed on at once; bounds the memory of one connection.
const CHUNK: usize = 64 << 10;

/// A record holds so many plain bytes at most (RFC 8446, 5.1)...
const RECORD_MAX: usize = 16 << 10;

/// ...and is so much longer on the wire at most: header, TLS 1.2's nonce, tag, and TLS 1.3's
/// content type.
const RECORD_OVERHEAD: usize = 32;

/// Where the server certificate comes from.
#[derive(Debug, Clone)]
pub enum TlsSource {
    /// PEM files; `client_ca` asks clients for certificates.
    Files { cert: PathBuf, key: PathBuf },
    /// Made at start, for `coregate local` and for trying things out: encrypts, but proves nothing.
    SelfSigned,
}

impl TlsSource {
    /// Reads what it names: a mistake shows before anything has started.
    ///
    /// # Errors
    /// As at the start.
    pub fn check(&self) -> Result<(), StartError> {
        server_config(self).map(drop)
    }
}

/// aws-lc's cryptography, but ring's ciphers on processors where these are the faster ones.
/// Measured in `docs/decisions/0020-ciphers.md`.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if has_wide_aes_without_avx512() {
        provider.cipher_suites = rustls::crypto::ring::DEFAULT_CIPHER_SUITES.to_vec();
    }
    Arc::new(provider)
}

/// aws-lc has AES-GCM over several blocks at once for AVX-512 only, ring for AVX2, too.
fn has_wide_aes_without_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
        && is_x86_feature_detected!("avx2")
        && !is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Builds the configuration for clients of ours.
///
/// # Errors
/// A file cannot be read, or certificate and key do not belong together.
pub(crate) fn server_config(source: &TlsSource) -> Result<Arc<ServerConfig>, StartError> {
    let (chain, key) = match source {
        TlsSource::Files { cert, key } => (read_chain(cert)?, read_key(key)?),
        TlsSource::SelfSigned => self_signed()?,
    };
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| StartError::Tls(format!("certificate and key cannot be used: {e}")))?;
    Ok(Arc::new(config))
}

/// All certificates of a PEM file; at least one.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(|certs| certs.collect::<Result<Vec<_>, _>>())
        .map_err(|e| StartError::Tls(format!("cannot read {}: {e}", path.display())))?;
    if chain.is_empty() {
        let why = "there is no certificate in it; PEM is wanted, -----BEGIN CERTIFICATE-----";
        return Err(StartError::Tls(format!("{}: {why}", path.display())));
    }
    Ok(chain)
}

pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, StartError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|e| StartError::Tls(format!("cannot read {}: {e}", path.display())))
}

fn self_signed() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), StartError> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made =
        rcgen::generate_simple_self_signed(names).map_err(|e| StartError::Tls(e.to_string()))?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|e| StartError::Tls(e.to_owned()))?;
    Ok((vec![made.cert.der().clone()], key))
}

/// The most bytes that `plain` ones become on the wire, so that room for them is taken once.
pub(crate) fn wire_len(plain: usize) -> usize {
    plain + plain.div_ceil(RECORD_MAX) * RECORD_OVERHEAD
}

/// One connection's TLS.
pub(crate) struct Tls(Connection);

impl Tls {
    pub(crate) fn server(config: &Arc<ServerConfig>) -> io::Result<Self> {
        let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        connection.set_buffer_limit(None);
        Ok(Self(Connection::Server(connection)))
    }

    pub(crate) fn client(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let mut connection =
            ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        connection.set_buffer_limit(None);
        Ok(Self(Connection::Client(connection)))
    }

    /// Takes bytes from the wire; plain bytes are appended to `plain`, what must be answered to
    /// `wire`.
    pub(crate) fn decrypt(
        &mut self,
        mut bytes: &[u8],
        plain: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes)?;
            let state = self.0.process_new_packets();
            self.flush(wire)?;
            let state = state.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            let waiting = state.plaintext_bytes_to_read();
            if waiting > 0 {
                let at = plain.len();
                plain.resize(at + waiting, 0);
                self.0
                    .reader()
                    .read_exact(plain.get_mut(at..).unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// Encrypts `plain` into `wire`.
    pub(crate) fn encrypt(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> io::Result<()> {
        for chunk in plain.chunks(CHUNK) {
            self.0.writer().write_all(chunk)?;
            self.flush(wire)?;
        }
        Ok(())
    }

    /// What the connection has to say by itself: handshake messages, alerts.
    pub(crate) fn flush(&mut self, wire: &mut Vec<u8>) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(wire)?;
        }
        Ok(())
    }

    /// Says goodbye, so that the peer can tell an end from an attack.
    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        self.0.send_close_notify();
        let _ = self.flush(wire);
    }
}

/// Bytes for the socket.
pub(crate) fn wire_buf(wire: Vec<u8>) -> Option<Buf> {
    (!wire.is_empty()).then(|| Buf::from(wire))
}
