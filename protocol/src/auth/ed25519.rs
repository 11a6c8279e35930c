//! MariaDB's `client_ed25519`: an Ed25519 signature of the challenge.
//!
//! The secret is not a seed, as in RFC 8032: SHA-512 of the password itself is the expanded key.
//!
//! <https://mariadb.com/kb/en/authentication-plugin-ed25519/>,
//! <https://mariadb.com/kb/en/connection/#client_ed25519-plugin>

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

/// Bytes of a challenge.
pub const CHALLENGE_LEN: usize = 32;
/// Bytes of an answer.
pub const SIGNATURE_LEN: usize = 64;

fn sha512(parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    let mut hasher = Sha512::new();
    for part in parts {
        hasher.update(part);
    }
    Zeroizing::new(hasher.finalize().into())
}

fn halves(bytes: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let half = |skip| std::array::from_fn(|i| bytes.get(skip + i).copied().unwrap_or(0));
    (half(0), half(32))
}

/// The client's answer to a challenge.
pub fn sign(challenge: &[u8], password: &[u8]) -> [u8; SIGNATURE_LEN] {
    let expanded = sha512(&[password]);
    let (secret, prefix) = halves(&expanded);
    let (secret, prefix) = (Zeroizing::new(clamp_integer(secret)), Zeroizing::new(prefix));
    let secret = Zeroizing::new(Scalar::from_bytes_mod_order(*secret));
    let public = EdwardsPoint::mul_base(&secret).compress().to_bytes();

    let nonce = sha512(&[prefix.as_slice(), challenge]);
    let nonce = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&nonce));
    let point = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
    let hash = Scalar::from_bytes_mod_order_wide(&sha512(&[&point, &public, challenge]));
    let sum = (hash * *secret + *nonce).to_bytes();

    let mut bytes = point.iter().chain(&sum).copied();
    std::array::from_fn(|_| bytes.next().unwrap_or(0))
}

/// What MariaDB stores of a password: the public key in base64, without padding.
pub fn public_key(password: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let expanded = sha512(&[password]);
    let secret = Zeroizing::new(clamp_integer(halves(&expanded).0));
    let secret = Zeroizing::new(Scalar::from_bytes_mod_order(*secret));
    let public = EdwardsPoint::mul_base(&secret).compress().to_bytes();
    let mut out = String::with_capacity(43);
    for part in public.chunks(3) {
        let bits = part
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - part.len()));
        for at in 0..=part.len() {
            let digit = bits >> (18 - 6 * at) & 63;
            out.push(char::from(DIGITS.get(digit as usize).copied().unwrap_or(b'A')));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_one_that_mariadb_stores() {
        // As its documentation gives it, for the password "secret".
        assert_eq!(public_key(b"secret"), "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY");
    }
    use mysql_common::auth::plugins::client_ed25519::ClientEd25519;
    use mysql_common::auth::plugins::{ChallengeResponsePlugin, Context};

    struct Password<'a>(&'a [u8]);

    impl Context for Password<'_> {
        fn pass(&self) -> &[u8] {
            self.0
        }

        fn is_ipc_transport(&self) -> bool {
            false
        }

        fn is_tls_transport(&self) -> bool {
            false
        }

        fn scramble(&self) -> &[u8] {
            b""
        }

        fn server_key_pem(&self) -> Option<&[u8]> {
            None
        }
    }

    #[test]
    fn agrees_with_the_oracle() {
        for password in ["", "foobar", "a longer password with spaces"] {
            let challenge: [u8; 32] = std::array::from_fn(|i| (i * 7) as u8);
            let context = Password(password.as_bytes());
            let want = ClientEd25519::default().run(context, &challenge).unwrap();
            assert_eq!(want.data(), Some(sign(&challenge, password.as_bytes()).as_slice()));
        }
    }
}
