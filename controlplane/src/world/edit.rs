//! Changes of the topology's records: durable when they return, or refused without a trace.
use super::{World, general, sql_error};
use crate::Error;
use crate::topology::{KeyspaceRecord, Kind};
use coregate_planner::control::SqlError;
use coregate_planner::vschema;

impl World {
    /// Replaces the routing rules, durably. What they name must be there: a mistyped keyspace would show only when used.
    pub(crate) fn set_rules(&mut self, rules: vschema::RoutingRules) -> Result<(), Error> {
        if let Some(wrong) = vschema::unknown_targets(&rules, self.keyspaces.keys().map(String::as_str)) {
            return Err(Error::Config(wrong));
        }
        self.compile(&self.keyspaces, &rules)?;
        if let Some(store) = &self.store {
            self.rules_text = Some(store.save_rules(&rules, self.rules_text.as_deref())?);
        }
        self.rules = rules;
        self.edits += 1;
        Ok(())
    }

    /// `ALTER VSCHEMA`: durable when it returns.
    pub(crate) fn alter(&mut self, sql: &str, session: Option<&str>) -> Result<(), SqlError> {
        let alter = vschema::parse_alter(sql).map_err(|e| sql_error(1064, "42000", e.to_string()))?;
        let Some(keyspace) = alter.keyspace.as_deref().or(session) else {
            let what =
                "VT09005: no database selected: qualify the name (keyspace.table) or USE a keyspace first";
            return Err(sql_error(1046, "3D000", what.to_owned()));
        };
        let Some(known) = self.keyspaces.get(keyspace) else {
            let what = format!("VT05003: unknown database '{keyspace}' in vschema");
            return Err(sql_error(1049, "42000", what));
        };
        let mut vschema = known.record.vschema.clone();
        vschema::apply(keyspace, &mut vschema, &alter.change).map_err(|e| general(e.to_string()))?;
        self.set_vschema(keyspace, vschema)
            .map_err(|e| general(e.to_string()))
    }

    /// Replaces a keyspace's vschema, durably, if the whole compiles with it.
    pub(crate) fn set_vschema(&mut self, keyspace: &str, new: vschema::Keyspace) -> Result<(), Error> {
        self.edit(keyspace, true, |record| {
            record.vschema = new;
            Ok(())
        })
    }

    /// Gives a tablet another type.
    pub(crate) fn set_kind(&mut self, alias: &str, kind: Kind) -> Result<(), Error> {
        let has = |r: &KeyspaceRecord| {
            r.shards
                .iter()
                .flat_map(|s| &s.tablets)
                .any(|t| t.alias == alias)
        };
        let found = self.keyspaces.values().find(|known| has(&known.record));
        let Some(keyspace) = found.map(|known| known.record.name.clone()) else {
            return Err(Error::Config(format!("there is no tablet {alias}; get-tablets lists them")));
        };
        self.edit(&keyspace, false, |record| {
            let mut tablets = record.shards.iter_mut().flat_map(|s| &mut s.tablets);
            let Some(tablet) = tablets.find(|t| t.alias == alias) else { return Ok(()) };
            if tablet.kind == Kind::Primary || kind == Kind::Primary {
                return Err(Error::Config(format!(
                    "the type of {alias} cannot be changed from {} to {}: planned-reparent-shard moves a primary",
                    tablet.kind.name(),
                    kind.name()
                )));
            }
            tablet.kind = kind;
            Ok(())
        })
    }

    /// Makes a tablet its shard's primary; the old one becomes a replica.
    pub(crate) fn set_primary(&mut self, keyspace: &str, shard: &str, alias: &str) -> Result<(), Error> {
        let since = super::now_utc();
        // The connection for reading columns is one to the old primary.
        self.conns.remove(keyspace);
        self.edit(keyspace, false, |record| {
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

    /// Changes a keyspace's record, if it may be so and is still what we know; `compiles`: the plans' part of it changes.
    fn edit(
        &mut self,
        keyspace: &str,
        compiles: bool,
        change: impl FnOnce(&mut KeyspaceRecord) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(known) = self.keyspaces.get_mut(keyspace) else {
            return Err(Error::Config(format!("there is no keyspace {keyspace}")));
        };
        let old = known.record.clone();
        let mut saved = change(&mut known.record);
        if compiles && saved.is_ok() {
            saved = self.compile(&self.keyspaces, &self.rules).map(drop);
        }
        let Some(known) = self.keyspaces.get_mut(keyspace) else { return Ok(()) };
        if let (Some(store), Ok(())) = (&self.store, &saved) {
            saved = store
                .save(&mut known.record, Some(&known.text))
                .map(|text| known.text = text);
        }
        match saved {
            Ok(()) => {
                known.retype();
                self.edits += 1;
            }
            Err(_) => known.record = old,
        }
        saved
    }
}
