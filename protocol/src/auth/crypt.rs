//! The salted hash that `caching_sha2_password` stores: SHA-256 crypt with a salt of 20 raw bytes,
//! written as `$A$` + three hexadecimal digits of thousands of rounds + `$` + salt + 43 digits.
//!
//! <https://www.akkadia.org/drepper/SHA-crypt.txt>,
//! <https://dev.mysql.com/doc/refman/8.4/en/caching-sha2-pluggable-authentication.html>

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const SALT_LEN: usize = 20;
const DIGEST_LEN: usize = 43;
const ROUNDS_UNIT: u32 = 1000;
/// More rounds than any server writes: an account's hash comes from a configuration and must not
/// stall a core.
const ROUNDS_MAX: u32 = 100_000;
/// Longest password that the server accepts for this method, in bytes.
const PASSWORD_LEN_MAX: usize = 256;
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether `password` is the one of the account that stores `stored`, as
/// `mysql.user.authentication_string` has it. Takes about as long as 5000 rounds of SHA-256, some
/// milliseconds.
pub fn verify_stored(password: &[u8], stored: &[u8]) -> bool {
    let Some((rounds, salt, digest)) = parse(stored) else { return false };
    crypt(password, salt, rounds).ct_eq(digest).into()
}

fn parse(stored: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let rest = stored.strip_prefix(b"$A$")?;
    let (rounds, rest) = rest.split_at_checked(3)?;
    let rounds = u32::from_str_radix(std::str::from_utf8(rounds).ok()?, 16).ok()?;
    let rounds = rounds.checked_mul(ROUNDS_UNIT)?;
    let (salt, digest) = rest.strip_prefix(b"$")?.split_at_checked(SALT_LEN)?;
    let valid = (1..=ROUNDS_MAX).contains(&rounds) && digest.len() == DIGEST_LEN;
    valid.then_some((rounds, salt, digest))
}

/// The 43 digits for a password, a salt and a number of rounds. A password longer than the server
/// allows gives what no password gives.
pub fn crypt(password: &[u8], salt: &[u8], rounds: u32) -> [u8; DIGEST_LEN] {
    if password.len() > PASSWORD_LEN_MAX {
        return [b'!'; DIGEST_LEN];
    }
    let alternate: [u8; 32] = Sha256::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut hasher = Sha256::new().chain_update(password).chain_update(salt);
    update_repeated(&mut hasher, &alternate, password.len());
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            hasher.update(alternate);
        } else {
            hasher.update(password);
        }
        bits >>= 1;
    }
    let mut digest: [u8; 32] = hasher.finalize().into();

    let mut hasher = Sha256::new();
    for _ in 0..password.len() {
        hasher.update(password);
    }
    let p = repeated(&hasher.finalize().into(), password.len());
    let mut hasher = Sha256::new();
    for _ in 0..16 + u32::from(digest.first().copied().unwrap_or(0)) {
        hasher.update(salt);
    }
    let s = repeated(&hasher.finalize().into(), salt.len());

    for round in 0..rounds {
        let odd = round & 1 == 1;
        let mut hasher = Sha256::new();
        if odd {
            hasher.update(&*p);
        } else {
            hasher.update(digest);
        }
        if round % 3 != 0 {
            hasher.update(&*s);
        }
        if round % 7 != 0 {
            hasher.update(&*p);
        }
        if odd {
            hasher.update(digest);
        } else {
            hasher.update(&*p);
        }
        digest = hasher.finalize().into();
    }
    encode(&digest)
}

fn update_repeated(hasher: &mut Sha256, block: &[u8; 32], len: usize) {
    let mut left = len;
    while left > 0 {
        let part = block.get(..left).unwrap_or(block);
        hasher.update(part);
        left -= part.len();
    }
}

fn repeated(block: &[u8; 32], len: usize) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(block.iter().copied().cycle().take(len).collect())
}

/// The method's own base 64: groups of three bytes, ten places apart, each group one place on and
/// turned.
fn encode(digest: &[u8; 32]) -> [u8; DIGEST_LEN] {
    let byte = |i: usize| u32::from(digest.get(i).copied().unwrap_or(0));
    let mut out = [b'.'; DIGEST_LEN];
    let mut places = out.iter_mut();
    let mut put = |mut bits: u32, digits: usize| {
        for place in places.by_ref().take(digits) {
            *place = ALPHABET
                .get((bits & 0x3F) as usize)
                .copied()
                .unwrap_or(b'.');
            bits >>= 6;
        }
    };
    let (mut a, mut b, mut c) = (0, 10, 20);
    for _ in 0..10 {
        put(byte(a) << 16 | byte(b) << 8 | byte(c), 4);
        (a, b, c) = ((c + 1) % 30, (a + 1) % 30, (b + 1) % 30);
    }
    put(byte(31) << 8 | byte(30), 3);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_openssl() {
        // As `openssl passwd -5` gives them.
        let long = b"a much longer password that exceeds one block of sixty-four bytes for sure";
        for (password, salt, rounds, want) in [
            (
                &b"Hello world!"[..],
                &b"saltstring"[..],
                5000,
                b"5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            ),
            (
                b"Hello world!",
                b"saltstringsaltst",
                10_000,
                b"3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
            ),
            (long, b"abcdef", 5000, b"iAv2VE.oj1ehO7UiHNrSph.AYeW555CuFjyu1qh0UaA"),
        ] {
            assert_eq!(&crypt(password, salt, rounds), want);
        }
    }

    #[test]
    fn reads_only_the_stored_form() {
        let salt = b"abcdefghijklmnopqrst";
        let mut stored = b"$A$005$".to_vec();
        stored.extend_from_slice(salt);
        stored.extend_from_slice(&crypt(b"secret", salt, 5000));
        assert!(verify_stored(b"secret", &stored));
        assert!(!verify_stored(b"Secret", &stored));
        assert!(!verify_stored(b"secret", &stored[..stored.len() - 1]));
        assert!(!verify_stored(b"secret", b""));
        assert!(!verify_stored(b"secret", b"$A$FFF$"));
    }
}
