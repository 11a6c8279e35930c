//! Changes of the topology's records. A change is planned, written to the store, and then taken
//! over: the store may refuse it, and takes its time.
use super::{World, general, sql_error};
use crate::Error;
use crate::store::{Record, Seen, Written, next};
use crate::topology::{KeyspaceRecord, Kind};
use coregate_planner::control::SqlError;
use coregate_planner::vschema;

/// What is to become different.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Rules(vschema::RoutingRules),
    /// `ALTER VSCHEMA` as written, and the session's keyspace.
    Alter {
        sql: String,
        session: Option<String>,
    },
    Vschema {
        keyspace: String,
        vschema: vschema::Keyspace,
    },
    /// Queries may use a lookup vindex that was `write_only`.
    Externalize {
        keyspace: String,
        vindex: String,
    },
    /// The topology knows a keyspace no more; its databases stay.
    Remove {
        keyspace: String,
    },
    /// A tablet gets another type.
    Kind {
        alias: String,
        kind: Kind,
    },
    /// A tablet becomes its shard's primary; the old one becomes a replica.
    Primary {
        keyspace: String,
        shard: String,
        alias: String,
    },
}

impl Change {
    /// Does it change what plans depend on?
    pub(crate) fn is_catalog(&self) -> bool {
        matches!(
            self,
            Self::Rules(_)
                | Self::Alter { .. }
                | Self::Vschema { .. }
                | Self::Externalize { .. }
                | Self::Remove { .. }
        )
    }
}

/// What is to be written, and in whose place.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) record: Record,
    pub(crate) seen: Option<Seen>,
}

fn in_sql(e: Error) -> SqlError {
    general(e.to_string())
}

impl World {
    /// The record that a change makes. Nothing has changed when it returns.
    ///
    /// # Errors
    /// The change cannot be, or what comes of it does not compile.
    pub(crate) fn plan(&mut self, change: &Change) -> Result<Planned, SqlError> {
        match change {
            Change::Rules(rules) => self.plan_rules(rules).map_err(in_sql),
            Change::Alter { sql, session } => self.plan_alter(sql, session.as_deref()),
            Change::Vschema { keyspace, vschema } => {
                self.plan_vschema(keyspace, vschema.clone()).map_err(in_sql)
            }
            Change::Externalize { keyspace, vindex } => {
                self.plan_externalize(keyspace, vindex).map_err(in_sql)
            }
            Change::Remove { keyspace } => self.plan_remove(keyspace).map_err(in_sql),
            Change::Kind { alias, kind } => self.plan_kind(alias, *kind).map_err(in_sql),
            Change::Primary { keyspace, shard, alias } => {
                self.plan_primary(keyspace, shard, alias).map_err(in_sql)
            }
        }
    }

    /// Takes over what has been written.
    pub(crate) fn commit(&mut self, planned: Planned, written: Written) {
        let Written { seen, revision } = written;
        if revision < self.revision {
            // The store has told later ones meanwhile.
            return;
        }
        self.revision = revision;
        self.edits += 1;
        match planned.record {
            Record::Keyspace(record) => {
                let Some(known) = self.keyspaces.get_mut(&record.name) else { return };
                if known.record.shards != record.shards {
                    // The connection for reading columns may be one to a primary of before.
                    self.conns.remove(&record.name);
                }
                known.record = *record;
                known.text = seen.unwrap_or_default();
                known.retype();
            }
            Record::RoutingRules(rules) => {
                self.rules = rules;
                self.rules_seen = seen;
            }
            Record::NoKeyspace(name) => drop(self.keyspaces.remove(&name)),
        }
    }

    /// What the rules name must be there: a mistyped keyspace would show only when used.
    fn plan_rules(&self, rules: &vschema::RoutingRules) -> Result<Planned, Error> {
        if let Some(wrong) =
            vschema::unknown_targets(rules, self.keyspaces.keys().map(String::as_str))
        {
            return Err(Error::Config(wrong));
        }
        self.compile(&self.keyspaces, rules)?;
        Ok(Planned { record: Record::RoutingRules(rules.clone()), seen: self.rules_seen.clone() })
    }

    fn plan_alter(&mut self, sql: &str, session: Option<&str>) -> Result<Planned, SqlError> {
        let alter =
            vschema::parse_alter(sql).map_err(|e| sql_error(1064, "42000", e.to_string()))?;
        let Some(keyspace) = alter.keyspace.as_deref().or(session) else {
            let what = "VT09005: no database selected: qualify the name (keyspace.table) or USE a \
                keyspace first";
            return Err(sql_error(1046, "3D000", what.to_owned()));
        };
        let Some(known) = self.keyspaces.get(keyspace) else {
            let what = format!("VT05003: unknown database '{keyspace}' in vschema");
            return Err(sql_error(1049, "42000", what));
        };
        let mut vschema = known.record.vschema.clone();
        vschema::apply(keyspace, &mut vschema, &alter.change)
            .map_err(|e| general(e.to_string()))?;
        self.plan_vschema(keyspace, vschema).map_err(in_sql)
    }

    fn plan_externalize(&mut self, keyspace: &str, vindex: &str) -> Result<Planned, Error> {
        let known = self.keyspaces.get(keyspace);
        let mut vschema = known.map(|k| k.record.vschema.clone()).unwrap_or_default();
        let Some(found) = vschema.vindexes.get_mut(vindex) else {
            return Err(Error::Config(format!("keyspace {keyspace} has no vindex {vindex}")));
        };
        found.params.remove("write_only");
        self.plan_vschema(keyspace, vschema)
    }

    fn plan_vschema(&mut self, keyspace: &str, new: vschema::Keyspace) -> Result<Planned, Error> {
        self.plan_record(keyspace, true, |record| {
            if !new.sharded && record.shards.len() > 1 {
                let (name, count) = (&record.name, record.shards.len());
                return Err(Error::Config(format!(
                    "keyspace {name} has {count} shards: its vschema must say \"sharded\": true"
                )));
            }
            record.vschema = new;
            Ok(())
        })
    }

    /// What names it must go first, or it would not be seen before a statement fails.
    fn plan_remove(&mut self, keyspace: &str) -> Result<Planned, Error> {
        let Some(known) = self.keyspaces.remove(keyspace) else {
            return Err(Error::Config(format!("there is no keyspace {keyspace}")));
        };
        let named =
            vschema::unknown_targets(&self.rules, self.keyspaces.keys().map(String::as_str));
        let compiled = self.compile(&self.keyspaces, &self.rules).map(drop);
        let seen = Some(known.text.clone());
        self.keyspaces.insert(keyspace.to_owned(), known);
        match named {
            Some(wrong) => Err(Error::Config(format!("{wrong}: change the rules first"))),
            None => {
                compiled.map(|()| Planned { record: Record::NoKeyspace(keyspace.to_owned()), seen })
            }
        }
    }

    fn plan_kind(&mut self, alias: &str, kind: Kind) -> Result<Planned, Error> {
        let has = |r: &KeyspaceRecord| {
            r.shards
                .iter()
                .flat_map(|s| &s.tablets)
                .any(|t| t.alias == alias)
        };
        let found = self.keyspaces.values().find(|known| has(&known.record));
        let Some(keyspace) = found.map(|known| known.record.name.clone()) else {
            return Err(Error::Config(format!(
                "there is no tablet {alias}; get-tablets lists them"
            )));
        };
        self.plan_record(&keyspace, false, |record| {
            let mut tablets = record.shards.iter_mut().flat_map(|s| &mut s.tablets);
            let Some(tablet) = tablets.find(|t| t.alias == alias) else { return Ok(()) };
            if tablet.kind == Kind::Primary || kind == Kind::Primary {
                return Err(Error::Config(format!(
                    "the type of {alias} cannot be changed from {} to {}: planned-reparent-shard \
                        moves a primary",
                    tablet.kind.name(),
                    kind.name()
                )));
            }
            tablet.kind = kind;
            Ok(())
        })
    }

    fn plan_primary(&mut self, keyspace: &str, shard: &str, alias: &str) -> Result<Planned, Error> {
        let since = super::now_utc();
        self.plan_record(keyspace, false, |record| {
            let shard = record.shards.iter_mut().find(|s| s.name == shard);
            let Some(shard) = shard.filter(|s| s.tablets.iter().any(|t| t.alias == alias)) else {
                return Err(Error::Config(format!("{alias} is no tablet of the shard any more")));
            };
            for tablet in &mut shard.tablets {
                if tablet.alias == alias {
                    tablet.kind = Kind::Primary;
                } else if tablet.kind == Kind::Primary {
                    tablet.kind = Kind::Replica;
                }
            }
            shard.term += 1;
            shard.primary_since = Some(since);
            Ok(())
        })
    }

    /// `compiles`: the plans' part of the record changes.
    fn plan_record(
        &mut self,
        keyspace: &str,
        compiles: bool,
        change: impl FnOnce(&mut KeyspaceRecord) -> Result<(), Error>,
    ) -> Result<Planned, Error> {
        let Some(known) = self.keyspaces.get_mut(keyspace) else {
            return Err(Error::Config(format!("there is no keyspace {keyspace}")));
        };
        let seen = Some(known.text.clone());
        let mut new = known.record.clone();
        change(&mut new)?;
        if compiles {
            let old = std::mem::replace(&mut known.record, new.clone());
            let compiled = self.compile(&self.keyspaces, &self.rules);
            if let Some(known) = self.keyspaces.get_mut(keyspace) {
                known.record = old;
            }
            compiled?;
        }
        Ok(Planned { record: Record::Keyspace(Box::new(next(&new)?)), seen })
    }
}
