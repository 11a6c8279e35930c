//! `users.auth = "backend"`: who may log in, and with what, the servers' own accounts say.
//!
//! They are read with the tablet's account when somebody logs in, kept for seconds, and go through
//! the same checks as the entries of a users file: what clients send is compared with the stored
//! hash, never passed on. What GRANTs say does not count: as every user, one of these works with
//! the tablet's account, without the admin right.
mod rows;

use crate::core::{Core, DIALECT};
use crate::error::BackendError;
use crate::pool::{Backend, Kind, Place};
use crate::settings::Settings;
use ahash::AHashMap;
use coregate_planner::control::UserEntry;
use rows::{Row, of_mariadb, of_mysql};
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Users that a core remembers.
const KNOWN_MAX: usize = 10_000;
/// Between two looks whether a login's turn to ask has come.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, Clone)]
pub struct BackendAuthConfig {
    pub enabled: bool,
    /// For so long an account is as it was read.
    pub cache_ms: u64,
    /// Logins of a core that read accounts at once; the others wait.
    pub checks_max: usize,
}

impl Default for BackendAuthConfig {
    fn default() -> Self {
        Self { enabled: false, cache_ms: 2_000, checks_max: 8 }
    }
}

/// An account of a server: `user@host`, where the user is known already.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) host: String,
    /// An account without a name, which servers take for a user of any name.
    pub(crate) anonymous: bool,
    /// One for each way to log in; none where nobody may, now.
    pub(crate) entries: Vec<UserEntry>,
}

type Accounts = Rc<[Account]>;

#[derive(Default)]
pub(crate) struct BackendAccounts {
    known: RefCell<AHashMap<Vec<u8>, (Instant, Accounts)>>,
    asking: Cell<usize>,
}

/// One of those that ask.
struct Asking<'c>(&'c Core);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let asking = &self.0.backend_accounts.asking;
        asking.set(asking.get().saturating_sub(1));
    }
}

impl BackendAccounts {
    /// The accounts of a user, on any host.
    pub(crate) async fn of(core: &Rc<Core>, user: &[u8]) -> Result<Accounts, BackendError> {
        let own = &core.backend_accounts;
        let config = &core.config().backend_auth;
        if let Some(known) = own.fresh(core, user) {
            return Ok(known);
        }
        while own.asking.get() >= config.checks_max.max(1) {
            core.sleep(PAUSE).await;
        }
        own.asking.set(own.asking.get() + 1);
        let _asking = Asking(core);
        if let Some(known) = own.fresh(core, user) {
            return Ok(known);
        }
        let accounts: Accounts = read(core, user).await?.into();
        let mut known = own.known.borrow_mut();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(user.to_vec(), (core.ring.now(), Rc::clone(&accounts)));
        Ok(accounts)
    }

    fn fresh(&self, core: &Core, user: &[u8]) -> Option<Accounts> {
        let age = Duration::from_millis(core.config().backend_auth.cache_ms);
        let known = self.known.borrow();
        let (read, accounts) = known.get(user)?;
        let now = core.ring.now();
        (now.saturating_duration_since(*read) < age).then(|| Rc::clone(accounts))
    }
}

/// Any server will do: all of a keyspace's have the same accounts.
async fn read(core: &Rc<Core>, user: &[u8]) -> Result<Vec<Account>, BackendError> {
    let places: Vec<Place> = {
        let snapshot = core.snapshot.borrow();
        let drop_in = snapshot.drop_in.is_some().then_some(Place::DropIn);
        let shards = snapshot
            .keyspaces
            .iter()
            .flat_map(|keyspace| &keyspace.shards);
        let primary = |id| Place::Shard { shard: id, kind: Kind::Primary };
        drop_in
            .into_iter()
            .chain(shards.map(|shard| primary(shard.id)))
            .collect()
    };
    let mut last = BackendError::NoTablet;
    for place in places {
        let Some(pool) = core.pools.get(place) else { continue };
        let settings = Settings { collation: 45, ..Settings::default() };
        let settings = core.settings.intern(settings);
        let mut backend = match pool.take(core, DIALECT.bits(), &settings).await {
            Ok(backend) => backend,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let accounts = ask(core, &mut backend, user).await;
        pool.put(core, backend);
        match accounts {
            Ok(accounts) => return Ok(accounts),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The user's accounts, and those without a name, which can come before one of the user's. MariaDB
/// keeps accounts as JSON, MySQL in columns. Names are compared as bytes.
async fn ask(
    core: &Rc<Core>,
    backend: &mut Backend,
    user: &[u8],
) -> Result<Vec<Account>, BackendError> {
    let digits: String = user.iter().map(|byte| format!("{byte:02x}")).collect();
    let of_user = format!("WHERE CAST(User AS BINARY) IN (X'{digits}', '') LIMIT 1000");
    let mariadb = format!("SELECT User = '', Host, Priv FROM mysql.global_priv {of_user}");
    match backend.rows(core, &mariadb).await {
        Ok(rows) => {
            return Ok(rows
                .iter()
                .filter_map(|row| account(row, of_mariadb))
                .collect());
        }
        Err(BackendError::Refused { code: 1146, .. }) => {}
        Err(error) => return Err(error),
    }
    let mysql = format!(
        "SELECT User = '', Host, plugin, authentication_string, account_locked, \
            password_expired, ssl_type, max_user_connections FROM mysql.user {of_user}"
    );
    let rows = backend.rows(core, &mysql).await?;
    Ok(rows
        .iter()
        .filter_map(|row| account(row, of_mysql))
        .collect())
}

/// Nobody logs in by an account without a name.
fn account(row: &Row, of: fn(&Row) -> Option<Account>) -> Option<Account> {
    let (anonymous, told) = row.split_first()?;
    let mut account = of(told)?;
    if anonymous.as_deref() == Some(b"1") {
        account.anonymous = true;
        account.entries.clear();
    }
    Some(account)
}

/// The account that a server would take for a client at this address: the one whose host says most,
/// also where nobody may log in by it.
/// `None` as the address: a Unix-domain socket.
pub(crate) fn matching(accounts: &[Account], address: Option<IpAddr>) -> Option<&Account> {
    let fitting = accounts
        .iter()
        .filter(|account| fits(&account.host, address));
    fitting.max_by_key(|account| (precision(&account.host), !account.anonymous))
}

fn fits(host: &str, address: Option<IpAddr>) -> bool {
    let local = address.is_none_or(|ip| ip.is_loopback());
    if host.is_empty() || host == "%" || local && host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let Some(ip) = address else { return false };
    if let (Some((net, mask)), IpAddr::V4(ip)) = (host.split_once('/'), ip) {
        let number = |text: &str| text.parse().ok().map(std::net::Ipv4Addr::to_bits);
        let mask = match mask.parse::<u32>() {
            Ok(bits @ 0..=32) => Some(u32::MAX.checked_shl(32 - bits).unwrap_or(0)),
            _ => number(mask),
        };
        return matches!((number(net), mask), (Some(net), Some(mask)) if ip.to_bits() & mask == net);
    }
    like(host.as_bytes(), ip.to_string().as_bytes())
}

/// As LIKE: `%` is anything, `_` one character.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'%', rest)), _) => {
            (0..=text.len()).any(|at| like(rest, text.get(at..).unwrap_or_default()))
        }
        (Some((b'_', rest)), Some((_, behind))) => like(rest, behind),
        (Some((a, rest)), Some((b, behind))) => a.eq_ignore_ascii_case(b) && like(rest, behind),
        _ => false,
    }
}

/// A name without wildcards comes first, then the one whose first wildcard comes last.
fn precision(host: &str) -> usize {
    match host.find(['%', '_']) {
        _ if host.is_empty() => 0,
        None if host.contains('/') => usize::MAX - 1,
        None => usize::MAX,
        Some(at) => at + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_that_says_most_counts() {
        let all: Vec<Account> = ["%", "10.1.%", "10.1.2.3", "10.0.0.0/255.0.0.0", "localhost", ""]
            .map(|host| Account { host: host.into(), anonymous: false, entries: Vec::new() })
            .into();
        let of = |ip: &str| {
            let found = matching(&all, ip.parse().ok());
            found.map(|account| account.host.as_str())
        };
        assert_eq!(of("10.1.2.3"), Some("10.1.2.3"));
        assert_eq!(of("10.1.2.4"), Some("10.0.0.0/255.0.0.0"));
        assert_eq!(of("192.168.0.1"), Some("%"));
        assert_eq!(of("127.0.0.1"), Some("localhost"));
        assert_eq!(of("a socket"), Some("localhost"));
        assert!(!fits("10.1.%", "11.1.2.3".parse().ok()));
        assert!(fits("10.1.2._", "10.1.2.3".parse().ok()));
        assert!(fits("10.0.0.0/8", "10.9.9.9".parse().ok()));
        assert!(!fits("app.example", "10.1.2.3".parse().ok()));
        assert!(matching(&all[1..2], "1.2.3.4".parse().ok()).is_none());
    }
}
