//! Data definition: every shard of the keyspace does the same.
use super::names::Place;
use super::{Planner, lookups, session_plan};
use crate::error::PlanError;
use crate::plan::{Action, Combine, Destination, Effects, Plan, SessionAction, StatementClass};
use crate::snapshot::KeyspaceIdx;
use crate::sql::ast::{Ddl, Statement};
use crate::sql::keyword::Kw;

impl<'a> Planner<'_, 'a> {
    /// What a statement that defines things does to its connection.
    pub(super) fn ddl_effects(&mut self, statement: &Statement<'a>) {
        match statement {
            Statement::Ddl(ddl) if ddl.temporary => self.effects |= Effects::PIN,
            Statement::Ddl(_) => self.effects |= Effects::SCHEMA_CHANGE | Effects::IMPLICIT_COMMIT,
            Statement::LockTables(_) => self.effects |= Effects::PIN | Effects::IMPLICIT_COMMIT,
            Statement::Admin(_) | Statement::Flush(_) => self.effects |= Effects::IMPLICIT_COMMIT,
            Statement::Call(_) => self.effects |= Effects::PIN,
            _ => {}
        }
    }

    pub(super) fn sharded_ddl(
        &mut self,
        keyspace: KeyspaceIdx,
        ddl: &Ddl<'a>,
    ) -> Result<Plan, PlanError> {
        if ddl.temporary {
            return Err(PlanError::unsupported(
                "temporary tables in a sharded keyspace; select one shard with USE keyspace:shard",
            ));
        }
        if self
            .tokens
            .items
            .first()
            .is_some_and(|item| item.kw == Kw::Truncate)
        {
            for name in ddl.tables {
                if let Place::Table { table: Some(table), .. } = self.locate(name)? {
                    lookups::refuse_owner(table, "TRUNCATE")?;
                }
            }
        }
        self.effects |= Effects::SCHEMA_CHANGE | Effects::IMPLICIT_COMMIT;
        let advised = self.advised_vindex(keyspace, ddl)?;
        let mut plan =
            self.route(keyspace, Destination::Scatter, Combine::First, StatementClass::Ddl);
        if let Action::Route(route) = &mut plan.action {
            route.vindex = advised;
        }
        Ok(plan)
    }

    /// CREATE, ALTER, DROP DATABASE: keyspaces are made by the control plane.
    pub(super) fn database_ddl(&mut self, ddl: &Ddl<'a>, name: &str) -> Result<Plan, PlanError> {
        let verb = self.tokens.items.first().map(|item| item.kw);
        if verb == Some(Kw::Alter) {
            return Err(PlanError::unsupported(
                "altering a keyspace's database with SQL; select one shard with USE \
                    keyspace:shard, one after another",
            ));
        }
        let known = self.keyspace_named(name).is_ok();
        match (ddl.create, known, ddl.if_exists) {
            (true, true, true) | (false, false, true) => {
                let (code, message) = match ddl.create {
                    true => (1007, format!("Can't create database '{name}'; database exists")),
                    false => {
                        (1008, format!("Can't drop database '{name}'; database doesn't exist"))
                    }
                };
                Ok(session_plan(SessionAction::Note { code, message }, StatementClass::Ddl))
            }
            (true, true, false) => Err(PlanError::DatabaseExists(name.to_owned())),
            (false, false, false) => Err(PlanError::NoSuchDatabase(name.to_owned())),
            (create, _, lenient) => {
                let action = SessionAction::Database { create, name: name.to_owned(), lenient };
                Ok(session_plan(action, StatementClass::Ddl))
            }
        }
    }
}
