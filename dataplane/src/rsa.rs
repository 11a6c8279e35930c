//! RSA for `caching_sha2_password` without TLS: the password crosses the wire encrypted with the
//! server's public key (RSA-OAEP with SHA-1, as MySQL does). aws-lc-rs does the arithmetic in
//! constant time.
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use coregate_protocol::auth::client::RsaEncrypt;
use coregate_protocol::auth::server::RsaKey;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use std::sync::{Arc, OnceLock};

/// Our own key pair. A thread of its own makes it, as that takes longer than all else at the start;
/// few clients ever need it.
pub(crate) struct ServerKey(Arc<OnceLock<Option<Pair>>>);

struct Pair {
    private: OaepPrivateDecryptingKey,
    public_pem: String,
    size: usize,
}

impl ServerKey {
    pub(crate) fn generate() -> Self {
        let pair = Arc::new(OnceLock::new());
        let made = Arc::clone(&pair);
        let make = move || {
            let own = Pair::generate();
            if own.is_none() {
                tracing::error!("there is no RSA key: logins by caching_sha2_password need TLS");
            }
            // Nobody else sets it.
            let _ = made.set(own);
        };
        let thread = std::thread::Builder::new().name("rsa".to_owned());
        if let Err(e) = thread.spawn(make) {
            tracing::error!("there is no RSA key, logins by caching_sha2_password need TLS: {e}");
            let _ = pair.set(None);
        }
        Self(pair)
    }

    /// Waits for it: only in the first moments of a process.
    fn pair(&self) -> Option<&Pair> {
        self.0.wait().as_ref()
    }
}

impl Pair {
    fn generate() -> Option<Self> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).ok()?;
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().ok()?;
        let public_pem = pem("PUBLIC KEY", der.as_ref());
        let size = key.key_size_bytes();
        Some(Self { private: OaepPrivateDecryptingKey::new(key).ok()?, public_pem, size })
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut body = String::new();
    for (i, chunk) in der.chunks(3).enumerate() {
        if i > 0 && i % 16 == 0 {
            body.push('\n');
        }
        let word = chunk
            .iter()
            .fold(0u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (word >> (18 - 6 * place)) as usize & 63;
            body.push(if place <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

impl RsaKey for ServerKey {
    fn public_pem(&self) -> &str {
        self.pair().map_or("", |pair| &pair.public_pem)
    }

    fn decrypt_oaep_sha1(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let pair = self.pair()?;
        let mut out = vec![0; pair.size];
        let plain = pair
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, bytes, &mut out, None)
            .ok()?;
        Some(plain.to_vec())
    }
}

/// Encrypts with a backend's key.
#[derive(Debug)]
pub struct BackendKey;

impl RsaEncrypt for BackendKey {
    fn encrypt_oaep_sha1(&self, public_pem: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(public_pem).ok()?;
        let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).ok()?).ok()?;
        let mut out = vec![0; key.key_size_bytes()];
        let sealed = key
            .encrypt(&OAEP_SHA1_MGF1SHA1, plain, &mut out, None)
            .ok()?;
        Some(sealed.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_with_our_key_can_be_decrypted() {
        let key = ServerKey::generate();
        let sealed = BackendKey
            .encrypt_oaep_sha1(key.public_pem().as_bytes(), b"secret\0")
            .expect("sealed");
        assert_eq!(key.decrypt_oaep_sha1(&sealed).as_deref(), Some(&b"secret\0"[..]));
        assert_eq!(key.decrypt_oaep_sha1(&sealed[1..]), None);
    }
}
