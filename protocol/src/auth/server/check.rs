//! Credentials, and what can be checked with them.

use smallvec::SmallVec;
use subtle::ConstantTimeEq;

use super::Env;
use crate::auth::{ed25519, native, plugin, sha2};

/// One way in which an account can be known. What is `None` is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credential<'a> {
    /// The password itself.
    pub password: Option<&'a str>,
    /// Its `mysql_native_password` hash: `*` and 40 hexadecimal digits; empty for an empty
    /// password.
    pub native: Option<&'a str>,
    /// Its `caching_sha2_password` hash: `$A$005$` and so on; empty for an empty password.
    pub sha2_hash: Option<&'a [u8]>,
    /// MariaDB's `ed25519` key of it, in base64. It fits the password itself, which clients send
    /// under `caching_sha2_password`.
    pub ed25519: Option<&'a str>,
}

impl Credential<'_> {
    fn is_empty_password(&self) -> bool {
        match (self.password, self.native, self.sha2_hash) {
            (Some(password), ..) => password.is_empty(),
            (None, Some(hash), _) => hash.is_empty(),
            (None, None, Some(hash)) => hash.is_empty(),
            (None, None, None) => false,
        }
    }

    fn allows(&self, method: Method, secure: bool) -> bool {
        match method {
            Method::Native => self.password.is_some() || self.native.is_some(),
            Method::CachingSha2 => {
                self.password.is_some() || self.sha2_hash.is_some() || self.ed25519.is_some()
            }
            Method::Clear => secure,
        }
    }
}

/// Methods that clients can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    CachingSha2,
    Clear,
    Native,
}

impl Method {
    pub(super) fn by_name(name: &[u8]) -> Option<Self> {
        match name {
            plugin::NATIVE => Some(Self::Native),
            plugin::CACHING_SHA2 => Some(Self::CachingSha2),
            plugin::CLEAR => Some(Self::Clear),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Self::Native => plugin::NATIVE,
            Self::CachingSha2 => plugin::CACHING_SHA2,
            Self::Clear => plugin::CLEAR,
        }
    }
}

/// The credentials of one user. A user that does not exist has none, takes every method, and is
/// never right.
pub(super) struct Credentials<'a>(SmallVec<[Credential<'a>; 2]>);

impl<'a> Credentials<'a> {
    pub(super) fn find(env: &Env<'a>, user: &[u8]) -> Self {
        Self(env.accounts.find(user))
    }

    pub(super) fn allow(&self, method: Method, secure: bool) -> bool {
        if self.0.is_empty() {
            return method != Method::Clear || secure;
        }
        self.0
            .iter()
            .any(|credential| credential.allows(method, secure))
    }

    /// The method to switch to: the default one if it can be checked.
    pub(super) fn preferred(&self, default: Method) -> Method {
        [default, Method::CachingSha2, Method::Native]
            .into_iter()
            .find(|method| self.allow(*method, false))
            .unwrap_or(default)
    }

    /// The first that has an empty password.
    pub(super) fn empty(&self) -> Option<usize> {
        self.0.iter().position(Credential::is_empty_password)
    }

    /// The first that fits; all are tried, so that the time does not tell which.
    pub(super) fn check_native(&self, scramble: &[u8], response: &[u8]) -> Option<usize> {
        let mut right = None;
        for (n, credential) in self.0.iter().enumerate() {
            let stored = match (credential.password, credential.native) {
                (Some(""), _) => None,
                (Some(password), _) => Some(native::stored(password.as_bytes())),
                (None, Some(hash)) => native::parse_stored(hash),
                (None, None) => None,
            };
            let fits = stored.is_some_and(|stored| native::verify(scramble, response, &stored));
            if fits && right.is_none() {
                right = Some(n);
            }
        }
        right
    }

    /// The first that fits by the password or by its digest, which is remembered for its salted
    /// hash and for no other.
    pub(super) fn check_fast(
        &self,
        env: &Env<'_>,
        scramble: &[u8],
        response: &[u8],
    ) -> Option<usize> {
        let mut right = None;
        for (n, credential) in self.0.iter().enumerate() {
            let cached = match (credential.password, credential.sha2_hash) {
                (Some(""), _) => None,
                (Some(password), _) => Some(sha2::cached(password.as_bytes())),
                (None, Some(hash)) => env.accounts.sha2_fast(hash),
                (None, None) => None,
            };
            let fits = cached.is_some_and(|cached| sha2::verify(scramble, response, &cached));
            if fits && right.is_none() {
                right = Some(n);
            }
        }
        right
    }

    /// Checks the password itself, and has its digest remembered if that took a salted hash. The
    /// first that fits.
    pub(super) fn check_password(&self, env: &Env<'_>, password: &[u8]) -> Option<usize> {
        if password.is_empty() {
            return self.empty();
        }
        self.0.iter().position(|credential| {
            match (credential.password, credential.native, credential.sha2_hash) {
                (Some(known), ..) => bool::from(known.as_bytes().ct_eq(password)),
                (None, native, sha2_hash) => {
                    let by_native = native
                        .and_then(native::parse_stored)
                        .is_some_and(|stored| bool::from(native::stored(password).ct_eq(&stored)));
                    let of_hash =
                        sha2_hash.filter(|hash| !by_native && sha2::verify_stored(password, hash));
                    if let Some(hash) = of_hash {
                        env.accounts.remember_sha2(hash, sha2::cached(password));
                    }
                    let by_key = credential.ed25519.is_some_and(|key| {
                        let own = ed25519::public_key(password);
                        bool::from(own.as_bytes().ct_eq(key.as_bytes()))
                    });
                    by_native || of_hash.is_some() || by_key
                }
            }
        })
    }
}
