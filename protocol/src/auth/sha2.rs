//! `caching_sha2_password`.
//!
//! The fast answer is `SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble)`; a server
//! that knows only the salted hash cannot check it and asks for the password itself, by TLS or
//! under its RSA key.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html>

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use super::crypt::{crypt, verify_stored};

/// Bytes of a fast answer.
pub const RESPONSE_LEN: usize = 32;
/// The server's word: the fast answer was right.
pub const FAST_AUTH_OK: u8 = 3;
/// The server's word: send the password itself.
pub const FULL_AUTH: u8 = 4;
/// The client's word: send your RSA key.
pub const REQUEST_KEY: u8 = 2;

pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a.get(i).unwrap_or(&0) ^ b.get(i).unwrap_or(&0))
}

/// The client's fast answer. For an empty password it is nothing at all.
pub fn scramble(scramble: &[u8], password: &[u8]) -> [u8; RESPONSE_LEN] {
    let once = sha256(&[password]);
    let twice = sha256(&[&once]);
    xor(&once, &sha256(&[&twice, scramble]))
}

/// What a server caches for a password: `SHA256(SHA256(password))`.
pub fn cached(password: &[u8]) -> [u8; 32] {
    sha256(&[&sha256(&[password])])
}

/// Whether a fast answer is right for the account with this cached digest. Takes equally long for
/// each answer.
pub fn verify(scramble: &[u8], response: &[u8], cached: &[u8; 32]) -> bool {
    let Ok(response) = <&[u8; RESPONSE_LEN]>::try_from(response) else { return false };
    let once = xor(response, &sha256(&[cached, scramble]));
    sha256(&[&once]).ct_eq(cached).into()
}

/// What is encrypted under the server's RSA key: the password with its NUL, XORed with the scramble
/// again and again. The same function takes it back.
pub fn obfuscate(text: &[u8], scramble: &[u8]) -> Zeroizing<Vec<u8>> {
    if scramble.is_empty() {
        return Zeroizing::new(text.to_vec());
    }
    Zeroizing::new(
        text.iter()
            .zip(scramble.iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_oracle_and_with_itself() {
        let challenge = [7; 20];
        for password in ["a", "secret", "p\u{e4}ss"] {
            let response = scramble(&challenge, password.as_bytes());
            let want = mysql_common::auth::plugins::caching_sha2_password::scramble_sha256(
                &challenge,
                password.as_bytes(),
            )
            .unwrap();
            assert_eq!(response, want);
            assert!(verify(&challenge, &response, &cached(password.as_bytes())));
            assert!(!verify(&challenge, &response, &cached(b"other")));
        }
    }

    #[test]
    fn obfuscation_takes_itself_back() {
        let hidden = obfuscate(b"a long password, longer than a scramble\0", &[5; 20]);
        assert_eq!(
            obfuscate(&hidden, &[5; 20]).as_slice(),
            b"a long password, longer than a scramble\0"
        );
    }
}
