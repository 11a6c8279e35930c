//! What servers' own tables tell of an account.
use super::Account;
use coregate_planner::control::UserEntry;
use serde_json::Value;

/// A row of a server's answer.
pub(super) type Row = [Option<Vec<u8>>];

/// A row of MariaDB's `mysql.global_priv`: host, and everything else as JSON.
pub(super) fn of_mariadb(row: &Row) -> Option<Account> {
    let [Some(host), Some(told)] = row else { return None };
    let told: Value = serde_json::from_slice(told).ok()?;
    let is = |name: &str| told.get(name).and_then(Value::as_bool) == Some(true);
    let number = |name: &str| told.get(name).and_then(Value::as_i64);
    if is("is_role") {
        return None;
    }
    // A password that has expired was last changed "never".
    let closed = is("account_locked") || number("password_last_changed") == Some(0);
    let limits = Limits {
        require_tls: number("ssl_type").is_some_and(|kind| kind > 0),
        connections_max: number("max_user_connections").and_then(|n| u32::try_from(n).ok()),
    };
    let ways: Vec<&Value> = match told.get("auth_or").and_then(Value::as_array) {
        // An empty one among them stands for what is told outside.
        Some(several) => several
            .iter()
            .map(|way| if way.get("plugin").is_some() { way } else { &told })
            .collect(),
        None => vec![&told],
    };
    let text = |way: &Value, name: &str| way.get(name)?.as_str().map(str::to_owned);
    let open = ways.into_iter().filter(|_| !closed);
    let entries = open.filter_map(|way| {
        let stored = text(way, "authentication_string").unwrap_or_default();
        entry(&text(way, "plugin").unwrap_or_default(), stored, &limits)
    });
    Some(Account { host: string(host)?, anonymous: false, entries: entries.collect() })
}

/// A row of MySQL's `mysql.user`.
pub(super) fn of_mysql(row: &Row) -> Option<Account> {
    let [Some(host), Some(plugin), stored, Some(locked), Some(expired), Some(tls), max] = row
    else {
        return None;
    };
    let open = locked.as_slice() == b"N" && expired.as_slice() == b"N";
    let max = max.as_deref().and_then(string);
    let limits =
        Limits { require_tls: !tls.is_empty(), connections_max: max.and_then(|n| n.parse().ok()) };
    let stored = string(stored.as_deref().unwrap_or_default())?;
    let entries = entry(&string(plugin)?, stored, &limits).filter(|_| open);
    let entries = entries.into_iter().collect();
    Some(Account { host: string(host)?, anonymous: false, entries })
}

struct Limits {
    require_tls: bool,
    /// 0: none.
    connections_max: Option<u32>,
}

/// `None`: a way to log in that cannot be checked from here (sockets, PAM, Kerberos).
fn entry(plugin: &str, stored: String, limits: &Limits) -> Option<UserEntry> {
    let mut entry = UserEntry {
        require_tls: limits.require_tls,
        connections_max: limits.connections_max.filter(|max| *max > 0),
        ..UserEntry::default()
    };
    match plugin {
        "mysql_native_password" | "" if stored != "invalid" => {
            entry.mysql_native_password = Some(stored);
        }
        "caching_sha2_password" => entry.caching_sha2_password = Some(stored),
        "ed25519" if !stored.is_empty() => entry.ed25519 = Some(stored),
        _ => return None,
    }
    Some(entry)
}

fn string(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mariadb(json: &str) -> Option<Account> {
        of_mariadb(&[Some(b"%".to_vec()), Some(json.as_bytes().to_vec())])
    }

    #[test]
    fn every_way_that_can_be_checked_is_an_entry() {
        let several = mariadb(
            r#"{"access": 0, "plugin": "mysql_native_password", "authentication_string": "*AB",
                "ssl_type": 1, "max_user_connections": 3,
                "auth_or": [{"plugin": "ed25519", "authentication_string": "key"},
                            {}, {"plugin": "unix_socket"}]}"#,
        );
        let entries = several.unwrap().entries;
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].ed25519.as_deref(), Some("key"));
        assert_eq!(entries[1].mysql_native_password.as_deref(), Some("*AB"));
        assert_eq!((entries[1].require_tls, entries[1].connections_max), (true, Some(3)));
        assert!(!entries[1].admin);
    }

    #[test]
    fn an_account_that_is_closed_stays_one() {
        assert!(mariadb(r#"{"is_role": true}"#).is_none() && mariadb("{").is_none());
        for json in [
            r#"{"plugin": "mysql_native_password", "account_locked": true}"#,
            r#"{"plugin": "mysql_native_password", "password_last_changed": 0}"#,
            r#"{"plugin": "mysql_native_password", "authentication_string": "invalid"}"#,
            r#"{"plugin": "unix_socket"}"#,
        ] {
            assert!(mariadb(json).unwrap().entries.is_empty(), "{json}");
        }
        let row = |locked: &str, expired: &str| {
            let cells = ["%", "caching_sha2_password", "$A$005$x", locked, expired, "", "0"];
            of_mysql(&cells.map(|cell| Some(cell.as_bytes().to_vec())))
        };
        for closed in [row("Y", "N"), row("N", "Y")] {
            assert!(closed.unwrap().entries.is_empty());
        }
        let entry = row("N", "N").unwrap().entries.remove(0);
        assert_eq!(entry.caching_sha2_password.as_deref(), Some("$A$005$x"));
        assert_eq!(entry.connections_max, None);
    }
}
