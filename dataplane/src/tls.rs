//! TLS as a transformer of bytes: rustls never touches a socket.
use crate::error::StartError;
use crate::ring::Buf;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Plain bytes handed on at once; bounds the memory of one connection.
const CHUNK: usize = 64 << 10;

/// Where the server certificate comes from.
#[derive(Debug, Clone)]
pub enum TlsSource {
    /// PEM files; `client_ca` asks clients for certificates.
    Files { cert: PathBuf, key: PathBuf },
    /// Made at start, for `coregate local` and for trying things out: encrypts, but proves nothing.
    SelfSigned,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Builds the configuration for clients of ours.
///
/// # Errors
/// A file cannot be read, or certificate and key do not belong together.
pub(crate) fn server_config(source: &TlsSource) -> Result<Arc<ServerConfig>, StartError> {
    let (chain, key) = match source {
        TlsSource::Files { cert, key } => read_pair(cert, key)?,
        TlsSource::SelfSigned => self_signed()?,
    };
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| StartError::Tls(format!("certificate and key cannot be used: {e}")))?;
    Ok(Arc::new(config))
}

fn read_pair(
    cert: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), StartError> {
    let bad = |path: &Path, e: &dyn std::fmt::Display| {
        StartError::Tls(format!("cannot read {}: {e}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(|certs| certs.collect::<Result<Vec<_>, _>>())
        .map_err(|e| bad(cert, &e))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(key, &e))?;
    Ok((chain, key))
}

fn self_signed() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), StartError> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(|e| StartError::Tls(e.to_string()))?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|e| StartError::Tls(e.to_owned()))?;
    Ok((vec![made.cert.der().clone()], key))
}

/// The configuration towards backends. Without roots the certificate is not verified, as with MySQL's PREFERRED and REQUIRED.
pub(crate) fn client_config(roots: Option<RootCertStore>) -> Result<Arc<ClientConfig>, StartError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| StartError::Tls(e.to_string()))?;
    let config = match roots {
        Some(roots) => builder.with_root_certificates(roots).with_no_client_auth(),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(NoVerification(provider())))
            .with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// `ssl-mode=REQUIRED` encrypts and does not look at the certificate's names (MySQL manual, "Command Options for Encrypted Connections").
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

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

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// One connection's TLS.
pub(crate) struct Tls(Connection);

impl Tls {
    pub(crate) fn server(config: &Arc<ServerConfig>) -> io::Result<Self> {
        let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        connection.set_buffer_limit(None);
        Ok(Self(Connection::Server(connection)))
    }

    pub(crate) fn client(config: &Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Self> {
        let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        connection.set_buffer_limit(None);
        Ok(Self(Connection::Client(connection)))
    }

    /// Takes bytes from the wire; plain bytes are appended to `plain`, what must be answered to `wire`.
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
