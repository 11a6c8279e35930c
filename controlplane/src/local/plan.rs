//! Which keyspaces, shards and tablets a local cluster has.
use super::dirs::Dirs;
use super::{LocalConfig, example, read};
use crate::Error;
use crate::store::Store;
use crate::topology::{Account, KeyspaceRecord, Kind, ShardRecord, TabletRecord, Tls, valid_name};
use coregate_planner::keyrange::{partition, shard_names, to_hex};
use coregate_planner::vschema;
use std::io::Read;
use std::str::FromStr;

/// The most servers that one machine is asked for.
pub(super) const MAX_SERVERS: usize = 256;

/// Databases of the server, which no keyspace may replace.
pub(super) const RESERVED: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];

/// `--keyspace NAME[:SHARDS[:REPLICAS]]`; SHARDS is a number or ranges (`-80,80-`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyspaceArg {
    pub name: String,
    /// Sorted by range.
    pub shards: Vec<String>,
    pub replicas: usize,
}

impl FromStr for KeyspaceArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        if !valid_name(name) {
            return Err(format!(
                "{name:?} is not a keyspace's name: 1 to 64 letters, digits, _, - and $"
            ));
        }
        if RESERVED
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved))
        {
            return Err(format!(
                "{name} is the server's own database; give the keyspace another name"
            ));
        }
        let shards = match parts.next() {
            None | Some("0") => vec!["0".to_owned()],
            Some(count) if !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()) => {
                let count = count
                    .parse()
                    .map_err(|_| format!("SHARDS {count:?} is too large"))?;
                if count > MAX_SERVERS {
                    return Err(format!(
                        "SHARDS is {count}; at most {MAX_SERVERS} servers are started"
                    ));
                }
                shard_names(count).map_err(|e| e.to_string())?
            }
            Some(names) => {
                let names: Vec<&str> = names.split(',').collect();
                if !names.iter().all(|name| name.contains('-')) {
                    let given = names.join(",");
                    return Err(format!(
                        "SHARDS must be a number or ranges such as -80,80-, not {given:?}"
                    ));
                }
                let ranges = partition(&names).map_err(|e| e.to_string())?;
                ranges.into_iter().map(|(name, _)| name).collect()
            }
        };
        let replicas: usize = match parts.next() {
            None => 0,
            Some(n) => n
                .parse()
                .map_err(|_| format!("REPLICAS must be a number, not {n:?}"))?,
        };
        if parts.next().is_some() {
            return Err(
                "there are more than three parts; write NAME[:SHARDS[:REPLICAS]]".to_owned()
            );
        }
        if shards.len().saturating_mul(replicas.saturating_add(1)) > MAX_SERVERS {
            return Err(format!("that is more than {MAX_SERVERS} servers"));
        }
        Ok(Self { name: name.to_owned(), shards, replicas })
    }
}

/// The keyspaces that the directory holds, and the new ones.
pub(super) async fn plan(
    config: &LocalConfig,
    store: &Store,
    dirs: &Dirs,
) -> Result<Vec<KeyspaceRecord>, Error> {
    let mut records = store.load().await?;
    ours(&records, store, dirs)?;
    let wanted = if config.keyspaces.is_empty() && records.is_empty() {
        example::keyspaces()
    } else {
        config.keyspaces.clone()
    };
    let mut next = next_number(&records, dirs);
    for arg in wanted {
        if let Some(known) = records.iter().find(|r| r.name == arg.name) {
            same(known, &arg)?;
            continue;
        }
        records.push(new_record(config, dirs, &arg, &mut next)?);
    }
    let servers: usize = records
        .iter()
        .flat_map(|r| &r.shards)
        .map(|s| s.tablets.len())
        .sum();
    if servers > MAX_SERVERS {
        return Err(Error::config(format!(
            "--keyspace: that is {servers} servers, at most {MAX_SERVERS} are started"
        )));
    }
    // Directories of earlier versions have no account for replication.
    for record in records.iter_mut().filter(|r| r.replication.is_none()) {
        let first = record.shards.iter().flat_map(|s| &s.tablets).next();
        let password = first.map(|t| t.password.clone()).unwrap_or_default();
        record.replication = Some(Account { user: super::REPLICATION_USER.to_owned(), password });
    }
    // The sockets' place may have changed with the directory's.
    for tablet in records
        .iter_mut()
        .flat_map(|r| &mut r.shards)
        .flat_map(|s| &mut s.tablets)
    {
        tablet.socket = Some(dirs.socket(&tablet.alias));
    }
    crate::topology::validate(&records)?;
    Ok(records)
}

/// The first that no server has, and no directory of one that was: its data is not a new server's.
pub(super) fn next_number(records: &[KeyspaceRecord], dirs: &Dirs) -> usize {
    let used = records
        .iter()
        .flat_map(|r| &r.shards)
        .flat_map(|s| &s.tablets)
        .map(|t| t.alias.clone());
    let left = std::fs::read_dir(&dirs.tablets).into_iter().flatten();
    let left = left.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let numbers = used
        .chain(left)
        .filter_map(|alias| alias.rsplit_once('-')?.1.parse::<usize>().ok());
    numbers.max().map_or(100, |last| (last / 100 + 1) * 100)
}

/// What a store holds that several clusters could use must be of this directory: other servers are
/// not ours to start.
fn ours(records: &[KeyspaceRecord], store: &Store, dirs: &Dirs) -> Result<(), Error> {
    let Some(etcd) = store.etcd() else { return Ok(()) };
    let mut tablets = records
        .iter()
        .flat_map(|r| r.shards.iter().map(move |s| (r, s)));
    let foreign = tablets.find(|(_, s)| s.tablets.iter().any(|t| !dirs.tablet(&t.alias).is_dir()));
    let Some((record, _)) = foreign else { return Ok(()) };
    Err(Error::config(format!(
        "{}: the keyspace {} there is of servers that are not under {}; give another root: \
            etcd://HOST:PORT/ROOT",
        etcd.place(),
        record.name,
        dirs.root.display()
    )))
}

/// A keyspace cannot change its shards by being asked for again.
fn same(known: &KeyspaceRecord, arg: &KeyspaceArg) -> Result<(), Error> {
    let shards: Vec<&str> = known.shards.iter().map(|s| s.name.as_str()).collect();
    let replicas = known
        .shards
        .first()
        .map_or(0, |s| s.tablets.len().saturating_sub(1));
    if shards == arg.shards && replicas == arg.replicas {
        return Ok(());
    }
    let name = &arg.name;
    Err(Error::config(format!(
        "--keyspace {name}: the directory holds it with the shards {} and {replicas} replicas; \
            leave --keyspace out, or give \
         another --dir",
        shards.join(",")
    )))
}

pub(super) fn new_record(
    config: &LocalConfig,
    dirs: &Dirs,
    arg: &KeyspaceArg,
    next: &mut usize,
) -> Result<KeyspaceRecord, Error> {
    let sharded = arg.shards.len() > 1 || arg.shards.iter().any(|s| s.contains('-'));
    let json = match read(config.vschema.as_deref(), &arg.name, "json")? {
        Some(json) => Some(json),
        None if config.keyspaces.is_empty() => example::vschema(&arg.name).map(str::to_owned),
        None => None,
    };
    let vschema = match json {
        Some(json) => {
            let wrong = |e| Error::config(format!("{}.json: {e}", arg.name));
            let parsed = vschema::Keyspace::from_json(&json).map_err(wrong)?;
            let files = |path: &str| std::fs::read_to_string(path).map_err(|e| e.to_string());
            vschema::compile(&arg.name, &parsed, &[], &files).map_err(wrong)?;
            parsed
        }
        None => {
            let mut made = vschema::Keyspace { sharded, ..vschema::Keyspace::default() };
            if let Some(mode) = &config.foreign_key_mode {
                let mode = if mode == "allow" { "unmanaged" } else { "disallow" };
                made.rest.insert("foreignKeyMode".to_owned(), mode.into());
            }
            made
        }
    };
    let password = random_password()?;
    let mut shards = Vec::new();
    for name in &arg.shards {
        let tablets = (0..=arg.replicas).map(|i| {
            let alias = format!("zone1-{}", *next + i);
            TabletRecord {
                socket: Some(dirs.socket(&alias)),
                alias,
                kind: if i == 0 { Kind::Primary } else { Kind::Replica },
                host: None,
                port: 0,
                user: "coregate".to_owned(),
                password: password.clone(),
                tls: Tls::Disabled,
                weight: None,
            }
        });
        shards.push(ShardRecord {
            name: name.clone(),
            tablets: tablets.collect(),
            term: 0,
            primary_since: None,
        });
        *next += 100.max(arg.replicas + 1);
    }
    Ok(KeyspaceRecord {
        name: arg.name.clone(),
        version: 0,
        database: None,
        shards,
        vschema,
        schema_pending: true,
        replication: Some(Account { user: super::REPLICATION_USER.to_owned(), password }),
    })
}

fn random_password() -> Result<String, Error> {
    let path = "/dev/urandom";
    let mut bytes = [0; 16];
    std::fs::File::open(path)
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(Error::file(path))?;
    Ok(to_hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyspace_arguments() {
        let parse = |text: &str| text.parse::<KeyspaceArg>();
        let shards = |text: &str| parse(text).unwrap().shards.join(" ");
        assert_eq!(
            parse("a").unwrap(),
            KeyspaceArg { name: "a".into(), shards: vec!["0".into()], replicas: 0 }
        );
        assert_eq!(
            (shards("a:1"), shards("a:0"), shards("a:-")),
            ("0".into(), "0".into(), "-".into())
        );
        assert_eq!((shards("a:2"), parse("a:2:3").unwrap().replicas), ("-80 80-".into(), 3));
        assert_eq!(shards("a:80-,-40,40-80:0"), "-40 40-80 80-");
        for bad in [
            "", "a b", "a:", "a:x", "a:-80", "a:2:", "a:2:x", "a:2:1:1", "a:1000", "a:200:2",
            "../x", "mysql", "Sys:2",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
