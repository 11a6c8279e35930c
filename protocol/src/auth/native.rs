//! `mysql_native_password`: `SHA1(password) XOR SHA1(scramble + SHA1(SHA1(password)))`.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods_native_password_authentication.html>

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

/// Bytes of an answer.
pub const RESPONSE_LEN: usize = 20;

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut hasher = Sha1::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn xor(a: &[u8; 20], b: &[u8; 20]) -> [u8; 20] {
    std::array::from_fn(|i| a.get(i).unwrap_or(&0) ^ b.get(i).unwrap_or(&0))
}

/// The client's answer. For an empty password it is nothing at all: see [`verify`].
pub fn scramble(scramble: &[u8], password: &[u8]) -> [u8; RESPONSE_LEN] {
    let once = sha1(&[password]);
    let twice = sha1(&[&once]);
    xor(&once, &sha1(&[scramble, &twice]))
}

/// What a server stores for a password: `SHA1(SHA1(password))`.
pub fn stored(password: &[u8]) -> [u8; 20] {
    sha1(&[&sha1(&[password])])
}

/// Reads the form in which servers show what they store: `*` and 40 hexadecimal digits. `None` if
/// it is not that.
pub fn parse_stored(text: &str) -> Option<[u8; 20]> {
    let digits = text.strip_prefix('*')?.as_bytes();
    if digits.len() != 40 {
        return None;
    }
    let mut hash = [0; 20];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0u8, |acc, digit| {
            let value = char::from(*digit).to_digit(16)?;
            u8::try_from(value).ok().map(|value| acc << 4 | value)
        })?;
    }
    Some(hash)
}

/// Whether `response` answers `scramble` for the account that stores `stored`. Takes equally long
/// for each answer.
pub fn verify(scramble: &[u8], response: &[u8], stored: &[u8; 20]) -> bool {
    let Ok(response) = <&[u8; RESPONSE_LEN]>::try_from(response) else { return false };
    let once = xor(response, &sha1(&[scramble, stored]));
    sha1(&[&once]).ct_eq(stored).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_oracle_and_with_itself() {
        let challenge = [7; 20];
        for password in ["a", "secret", "p\u{e4}ss"] {
            let response = scramble(&challenge, password.as_bytes());
            let want = mysql_common::auth::plugins::mysql_native_password::scramble_native(
                &challenge,
                password.as_bytes(),
            )
            .unwrap();
            assert_eq!(response, want);
            assert!(verify(&challenge, &response, &stored(password.as_bytes())));
            assert!(!verify(&challenge, &response, &stored(b"other")));
            assert!(!verify(&[8; 20], &response, &stored(password.as_bytes())));
        }
        assert!(!verify(&challenge, b"", &stored(b"")));
    }

    #[test]
    fn reads_what_servers_show() {
        // SELECT PASSWORD('password') on any server.
        let text = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19";
        assert_eq!(parse_stored(text), Some(stored(b"password")));
        assert_eq!(parse_stored(&text.to_lowercase()), Some(stored(b"password")));
        for bad in [
            "",
            "*",
            "2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19",
            "*X470C0C06DEE42FD1618BB99005ADCA2EC9D1E19",
        ] {
            assert_eq!(parse_stored(bad), None);
        }
    }
}
