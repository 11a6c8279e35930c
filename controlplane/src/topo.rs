//! A topology as one document, to be moved between stores: out of files into etcd, and back.
use crate::Error;
use crate::store::{Etcd, EtcdConfig, Files, Record, Store};
use crate::topology::{self, KeyspaceRecord};
use coregate_planner::vschema::RoutingRules;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a topology is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory, as `topology.dir` names it.
    Dir(PathBuf),
    Etcd(EtcdConfig),
}

/// All of a topology. Holds the servers' passwords.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub keyspaces: Vec<KeyspaceRecord>,
    #[serde(default, skip_serializing_if = "no_rules")]
    pub routing_rules: RoutingRules,
}

fn no_rules(rules: &RoutingRules) -> bool {
    *rules == RoutingRules::default()
}

/// What an import has done, or would do.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Step {
    /// `keyspace shop`, `routing rules`
    pub what: String,
    pub done: Done,
}

#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    Created,
    Replaced,
    /// It was the same already.
    Unchanged,
}

impl Place {
    /// `etcd://...`, or a directory.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        match EtcdConfig::is_url(text) {
            true => EtcdConfig::parse(text).map(Self::Etcd),
            false => Ok(Self::Dir(text.into())),
        }
    }

    /// `makes`: a directory that is not there is made.
    fn open(&self, makes: bool) -> Result<Store, Error> {
        match self {
            Self::Etcd(etcd) => Ok(Store::shared(Arc::new(Etcd::new(etcd)?))),
            Self::Dir(dir) if makes => Ok(Store::new(Files::open(dir)?)),
            Self::Dir(dir) => Ok(Store::new(Files::open_existing(dir)?)),
        }
    }
}

fn run<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(Error::file("a runtime"))?.block_on(work)
}

/// Reads a whole topology. Not while a process uses the directory.
pub fn export(from: &Place) -> Result<Document, Error> {
    run(async {
        let state = from.open(false)?.read().await?;
        let keyspaces = state
            .keyspaces
            .into_iter()
            .map(|(record, _)| record)
            .collect();
        Ok(Document { keyspaces, routing_rules: state.rules })
    })
}

/// Writes a whole topology: what is there and is another is replaced only where that is wished, and
/// then as a whole. What the document does not name stays.
pub fn import(
    document: &Document,
    to: &Place,
    replace: bool,
    dry: bool,
) -> Result<Vec<Step>, Error> {
    topology::validate(&document.keyspaces)?;
    run(async {
        // A dry run makes no directory.
        let makes = !dry || matches!(to, Place::Dir(dir) if dir.join("topology").is_dir());
        let state = match makes {
            true => to.open(true)?,
            false => return Ok(fresh(document)),
        };
        put_all(&state, document, replace, dry).await
    })
}

fn fresh(document: &Document) -> Vec<Step> {
    let of = |record: &KeyspaceRecord| Step {
        what: format!("keyspace {}", record.name),
        done: Done::Created,
    };
    let rules = (!no_rules(&document.routing_rules))
        .then(|| Step { what: "routing rules".to_owned(), done: Done::Created });
    document.keyspaces.iter().map(of).chain(rules).collect()
}

async fn put_all(
    store: &Store,
    document: &Document,
    replace: bool,
    dry: bool,
) -> Result<Vec<Step>, Error> {
    let state = store.read().await?;
    let there = |name: &str| {
        state
            .keyspaces
            .iter()
            .find(|(record, _)| record.name == name)
    };
    let same = |record: &KeyspaceRecord, old: &KeyspaceRecord| {
        KeyspaceRecord { version: old.version, ..record.clone() } == *old
    };
    let rules_differ = state.rules != document.routing_rules && !no_rules(&document.routing_rules);
    let other = document
        .keyspaces
        .iter()
        .find(|r| there(&r.name).is_some_and(|(old, _)| !same(r, old)));
    if let (Some(record), false) = (other, replace) {
        return Err(Error::Config(format!(
            "the keyspace {} is there and is another; nothing has changed; --replace replaces it",
            record.name
        )));
    }
    if rules_differ && state.rules_seen.is_some() && !replace {
        return Err(Error::Config(
            "there are other routing rules; nothing has changed; --replace replaces them"
                .to_owned(),
        ));
    }
    // Aliases must be unique in all that will be there.
    let kept = state.keyspaces.iter().map(|(record, _)| record);
    let kept = kept.filter(|old| !document.keyspaces.iter().any(|new| new.name == old.name));
    topology::validate(kept.chain(&document.keyspaces))?;
    let mut steps = Vec::new();
    for record in &document.keyspaces {
        let old = there(&record.name);
        let done = match old {
            None => Done::Created,
            Some((old, _)) if same(record, old) => Done::Unchanged,
            Some(_) => Done::Replaced,
        };
        if done != Done::Unchanged && !dry {
            let mut record = record.clone();
            record.version = old.map_or(record.version, |(old, _)| old.version);
            store.save(&mut record, old.map(|(_, seen)| seen)).await?;
        }
        steps.push(Step { what: format!("keyspace {}", record.name), done });
    }
    if !no_rules(&document.routing_rules) {
        let done = match (rules_differ, &state.rules_seen) {
            (false, _) => Done::Unchanged,
            (true, None) => Done::Created,
            (true, Some(_)) => Done::Replaced,
        };
        if rules_differ && !dry {
            let record = Record::RoutingRules(document.routing_rules.clone());
            store.put(&record, state.rules_seen.as_ref(), None).await?;
        }
        steps.push(Step { what: "routing rules".to_owned(), done });
    }
    Ok(steps)
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    crate::files::write_atomically(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"keyspaces": [{"name": "ks", "shards": [{"name": "0", "tablets": [
        {"alias": "z-1", "type": "primary", "host": "h", "user": "u", "password": "p"}]}]}],
        "routing_rules": {"rules": [{"from_table": "t", "to_tables": ["ks.t"]}]}}"#;

    #[test]
    fn a_document_goes_in_and_comes_out() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::Dir(dir.path().join("d"));
        let document: Document = serde_json::from_str(TEXT).unwrap();
        let done = |steps: Vec<Step>| steps.into_iter().map(|s| s.done).collect::<Vec<_>>();
        assert_eq!(done(import(&document, &place, false, true).unwrap()), [Done::Created; 2]);
        assert!(export(&place).is_err(), "a dry run makes nothing");
        assert_eq!(done(import(&document, &place, false, false).unwrap()), [Done::Created; 2]);
        assert_eq!(done(import(&document, &place, false, false).unwrap()), [Done::Unchanged; 2]);
        let mut out = export(&place).unwrap();
        out.keyspaces[0].version = 0;
        assert_eq!(out, document);
        let mut other = document.clone();
        other.keyspaces[0].database = Some("d".to_owned());
        assert!(import(&other, &place, false, false).is_err());
        assert_eq!(
            done(import(&other, &place, true, false).unwrap()),
            [Done::Replaced, Done::Unchanged]
        );
        let mut twice = document;
        twice.keyspaces[0].name = "kz".to_owned();
        let error = import(&twice, &place, true, false).unwrap_err().to_string();
        assert!(error.contains("z-1 is used twice"), "{error}");
    }
}
