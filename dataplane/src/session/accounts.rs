//! Who may log in: the users file's entries, and the servers' own accounts.
use super::rights::Rights;
use crate::backend_accounts::{BackendAccounts, matching};
use crate::core::Core;
use crate::listener::Peer;
use coregate_planner::control::{UserEntry, Users};
use coregate_protocol::auth::server::{Accounts, Credential, ServerHandshake};
use smallvec::SmallVec;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::rc::Rc;

/// The users as one login sees them.
pub(super) struct CoreAccounts {
    users: std::sync::Arc<Users>,
    core: Rc<Core>,
    local: bool,
    address: Option<IpAddr>,
    /// What the servers' own account says of the user.
    theirs: OnceCell<Vec<UserEntry>>,
}

impl CoreAccounts {
    pub(super) fn new(core: &Rc<Core>, peer: Option<Peer>) -> Self {
        let users = core.users.borrow().clone();
        let local = peer.is_some_and(Peer::is_local);
        let address = match peer {
            Some(Peer::Ip(ip)) => Some(ip),
            _ => None,
        };
        Self { users, core: Rc::clone(core), local, address, theirs: OnceCell::new() }
    }

    /// Whom the users file does not know, the servers may (`users.auth = "backend"`).
    pub(super) async fn ask_servers(&self, user: &[u8]) {
        if !self.core.config().backend_auth.enabled || self.entries(user).next().is_some() {
            return;
        }
        match BackendAccounts::of(&self.core, user).await {
            Ok(accounts) => {
                let account = matching(&accounts, self.address);
                let entries = account.map(|account| account.entries.clone());
                let _ = self.theirs.set(entries.unwrap_or_default());
            }
            Err(error) => {
                tracing::warn!(
                    "no server tells of its accounts, for a login: {}",
                    error.to_sql().message
                );
            }
        }
    }

    fn entries(&self, user: &[u8]) -> impl Iterator<Item = &UserEntry> {
        let entries = std::str::from_utf8(user)
            .ok()
            .and_then(|user| self.users.by_name.get(user));
        let here =
            |entry: &&UserEntry| self.local || entry.source_host.as_deref() != Some("localhost");
        let theirs = self.theirs.get().into_iter().flatten();
        entries.into_iter().flatten().filter(here).chain(theirs)
    }

    /// What the entry that let the client in allows. Others of the same name are other people's, or
    /// other places'.
    pub(super) fn rights(&self, handshake: &ServerHandshake) -> Rights {
        let fitted = handshake.credential();
        let entry = fitted.and_then(|n| self.entries(&handshake.login().user).nth(n));
        entry.map(Rights::of).unwrap_or_default()
    }
}

impl Accounts for CoreAccounts {
    fn find<'a>(&'a self, user: &[u8]) -> SmallVec<[Credential<'a>; 2]> {
        let credential = |entry: &'a UserEntry| Credential {
            password: entry.password.as_deref(),
            native: entry.mysql_native_password.as_deref(),
            sha2_hash: entry.caching_sha2_password.as_deref().map(str::as_bytes),
            ed25519: entry.ed25519.as_deref(),
        };
        self.entries(user).map(credential).collect()
    }

    fn sha2_fast(&self, hash: &[u8]) -> Option<[u8; 32]> {
        self.core.sha2_cache.borrow().get(hash).copied()
    }

    fn remember_sha2(&self, hash: &[u8], digest: [u8; 32]) {
        self.core
            .sha2_cache
            .borrow_mut()
            .insert(hash.to_vec(), digest);
    }
}
