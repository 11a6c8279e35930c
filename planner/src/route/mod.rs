//! From a statement to its plan.
//!
//! Each kind of statement has its module; all of them share [`Planner`], which knows the
//! statement's tokens, its effects and the keyspaces that its names mean. Where a right answer
//! cannot be proved, planning fails with a clear error.
mod aggregates;
mod apart;
mod block;
mod build;
mod by_key;
mod class;
mod classes;
mod conditions;
mod ddl;
mod ddl_query;
mod directives;
mod dml;
mod effects;
mod explain;
mod foreign_keys;
mod generate;
mod ids;
mod input;
mod insert;
mod insert_steps;
mod joins;
mod keys;
mod load;
mod lookup_reads;
mod lookups;
mod names;
mod needs;
mod places;
mod privileged;
mod qualified;
mod range;
mod select;
mod session;
mod show;
mod source;
mod subquery;
mod text;
mod unknown;
mod vindex_advice;
mod vindex_rows;

use crate::error::PlanError;
use crate::plan::{
    Action, Combine, Destination, Directives, Effects, Plan, Route, SessionAction, StatementClass,
    Target,
};
use crate::snapshot::{KeyspaceIdx, Table, TabletKind};
use crate::sql::ast::{Span, Statement};
use crate::sql::input::{Shared, Tokens, tokens};
use class::{allowed, class_of, own_effects, spreads};
pub use input::{PlanInput, SessionContext};
pub(crate) use lookups::read_as;
pub use names::is_system;
use std::sync::Arc;
use text::Edits;

/// Plans the first statement of the text.
///
/// # Errors
/// See [`PlanError`]; each has its MySQL code.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let PlanInput { sql, fingerprint, session, arena, .. } = *input;
    let tokens = tokens(sql, fingerprint, session.sql_mode, arena)?;
    let shared = arena.alloc(Shared {
        sql,
        arena,
        mode: session.sql_mode,
        end: tokens.end,
        steps: Default::default(),
    });
    if tokens.items.is_empty() {
        return if tokens.end == 0
            && tokens.directives.is_empty()
            && sql.get(..fingerprint.end).is_none_or(blank)
        {
            Err(PlanError::Empty)
        } else {
            Ok(session_plan(SessionAction::Nothing, StatementClass::Other))
        };
    }
    if !tokens.directives.is_empty() {
        directives::check(sql, tokens.directives)?;
    }
    let parsed = crate::sql::parse(shared, &tokens);
    let effects = effects::scan(sql, &tokens);
    let chosen;
    let (input, session) = match &parsed {
        Ok(statement) if let Some(found) = qualified::session(statement, input)? => {
            let session: &SessionContext<'_> = arena.alloc(found);
            chosen = PlanInput { session, ..*input };
            (&chosen, session)
        }
        _ => (input, session),
    };
    let mut planner = Planner {
        input,
        tokens: &tokens,
        effects: effects.effects | ids::effects(sql, tokens.items),
        edits: Edits::default(),
        tables: Vec::new(),
        cacheable: fingerprint.cacheable,
        about_rows: !matches!(parsed, Ok(Statement::Ddl(_))),
        several: false,
        named: None,
        source: None,
        beside: None,
        changed: Vec::new(),
        start: 0,
        session_calls: effects.calls,
    };
    let privileged = privileged::is_privileged(input, &tokens, parsed.as_ref().ok());
    let plan = match parsed {
        Ok(statement) => planner
            .statement(&statement)
            .and_then(|plan| allowed(plan, session)),
        Err(error @ PlanError::TooDeep(_)) if !planner.can_pass() => Err(error),
        Err(error) => planner.not_understood(error),
    };
    completed(plan?, input, &tokens, privileged)
}

/// What is known of a plan by all of its text.
fn completed(
    mut plan: Plan,
    input: &PlanInput<'_>,
    tokens: &Tokens<'_>,
    privileged: bool,
) -> Result<Plan, PlanError> {
    let sql = input.sql;
    if plan.effects.contains(Effects::ASSIGNS_VARIABLES) && spreads(&plan, input.snapshot) {
        return Err(PlanError::unsupported(
            "user variables assigned by a query of a sharded keyspace, where other shards would \
                not see them; read the value and SET it",
        ));
    }
    plan.names = crate::mention::names(sql, tokens, &plan.tables);
    // A change of the vschema goes with it.
    let advised = matches!(&plan.action, Action::Route(route) if route.vindex.is_some());
    plan.effects.set(Effects::ADMIN, privileged || advised);
    plan.effects.set(
        Effects::READS,
        matches!(plan.class, StatementClass::Select | StatementClass::SelectLocking),
    );
    // A selected database that is no keyspace: names mean other tables in another one.
    let selected = (input.session.database, input.session.keyspace);
    let selects_other = matches!(selected, (Some(_), None)) && input.snapshot.drop_in.is_none();
    plan.cacheable &= !selects_other
        && !privileged::is_immediate(tokens, sql)
        && !ids::gives_value(sql, tokens.items);
    Ok(plan)
}

fn blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

fn session_plan(action: SessionAction, class: StatementClass) -> Plan {
    Plan {
        action: Action::Session(action),
        class,
        effects: Effects::empty(),
        cacheable: matches!(
            class,
            StatementClass::Begin | StatementClass::Commit | StatementClass::Rollback
        ),
        directives: Directives::default(),
        tables: Vec::new(),
        names: Vec::new(),
    }
}

/// What the planning of one statement knows.
struct Planner<'p, 'a> {
    input: &'p PlanInput<'a>,
    tokens: &'p Tokens<'a>,
    effects: Effects,
    edits: Edits,
    tables: Vec<String>,
    cacheable: bool,
    /// DDL means the table that it names: neither routing rules nor other keyspaces have a say in
    /// it.
    about_rows: bool,
    /// A query reads tables of several keyspaces.
    several: bool,
    /// That of one of its tables.
    named: Option<KeyspaceIdx>,
    /// The table that is changed, where the statement names a copy of it: where the name stands,
    /// and what it means.
    source: Option<(Span, KeyspaceIdx, &'a Arc<Table>)>,
    /// Where copies of reference tables are read, if they are there: beside the other tables.
    beside: Option<KeyspaceIdx>,
    /// The names of the tables that are changed, where some names may mean copies.
    changed: Vec<Span>,
    /// Where the statement itself begins, behind EXPLAIN.
    start: u32,
    session_calls: Vec<effects::SessionCall>,
}

impl<'p, 'a> Planner<'p, 'a> {
    fn statement(&mut self, statement: &Statement<'a>) -> Result<Plan, PlanError> {
        match statement {
            Statement::Nothing => Ok(session_plan(SessionAction::Nothing, StatementClass::Other)),
            Statement::Show(show) => self.show(show),
            Statement::Explain(explain) => self.explain(explain),
            Statement::NextValues { table, count, param } => {
                self.next_values(table, *count, *param)
            }
            Statement::AlterVschema => Ok(Plan {
                action: Action::AlterVschema { keyspace: self.input.session.keyspace },
                class: StatementClass::Ddl,
                effects: Effects::SCHEMA_CHANGE | Effects::IMPLICIT_COMMIT,
                cacheable: false,
                directives: Directives::default(),
                tables: Vec::new(),
                names: Vec::new(),
            }),
            _ => match self.session_statement(statement)? {
                Some(plan) => Ok(plan),
                None => match statement {
                    Statement::Query(query) if let Some(plan) = self.vindex_rows(query)? => {
                        Ok(plan)
                    }
                    _ => {
                        let plan = self.routed(statement)?;
                        self.refuse_steps_in_range(plan)
                    }
                },
            },
        }
    }

    /// A statement that goes to a server.
    fn routed(&mut self, statement: &Statement<'a>) -> Result<Plan, PlanError> {
        let class = class_of(statement);
        self.refuse_writes(class)?;
        self.rewrite_session_calls(statement, class);
        self.effects |= own_effects(statement);
        if self.is_drop_in() {
            return self.drop_in(statement, class);
        }
        self.refuse_in_range(statement)?;
        if let Some(shard) = self.input.session.shard {
            let keyspace = self.input.session.keyspace.ok_or(PlanError::NoDatabase)?;
            self.ddl_effects(statement);
            return Ok(self.route(keyspace, Destination::Shard(shard), Combine::Concat, class));
        }
        if let Statement::Ddl(ddl) = statement
            && let Some(name) = ddl.database
        {
            return self.database_ddl(ddl, name);
        }
        self.change_the_source(statement);
        let Some(keyspace) = self.names(statement)? else {
            return self.without_tables(statement, class);
        };
        if let Statement::Ddl(ddl) = statement {
            self.refuse_foreign_query(ddl, keyspace)?;
        }
        self.check_foreign_keys(statement)?;
        self.write_alike(statement)?;
        if let Some(plan) = self.reads_system(statement, class)? {
            return Ok(plan);
        }
        if self.several {
            return self.across(statement, class);
        }
        if let Statement::Query(query) = statement
            && build::mentions_system(self)
            && let Some(plan) = self.system_query(query, class, Some(keyspace))
        {
            return Ok(plan);
        }
        if self.is_whole(keyspace) && !self.keeps_entries(statement) {
            if let Statement::Insert(insert) = statement
                && let Some(plan) = self.generated_in_whole(keyspace, insert, class)?
            {
                return Ok(plan);
            }
            self.ddl_effects(statement);
            return Ok(self.route(keyspace, Destination::Unsharded, Combine::Concat, class));
        }
        if self.tokens.ambiguous {
            return Err(PlanError::unsupported(
                "versioned comments (/*!80000 ... */) in a statement for a sharded keyspace",
            ));
        }
        match statement {
            Statement::Query(query) => self.query(keyspace, query, class),
            Statement::Insert(insert) => self.insert(keyspace, insert, class),
            Statement::Update(update) => self.update(keyspace, update),
            Statement::Delete(delete) => self.delete(keyspace, delete),
            Statement::Ddl(ddl) => self.sharded_ddl(keyspace, ddl),
            Statement::Admin(_) => {
                Ok(self.route(keyspace, Destination::Scatter, Combine::Concat, class))
            }
            Statement::LockTables(_) | Statement::Flush(_) => {
                self.ddl_effects(statement);
                Ok(self.route(keyspace, Destination::Scatter, Combine::First, class))
            }
            Statement::LoadData(Some(table)) => self.load_data(keyspace, table, class),
            _ => Err(self.refuse_unknown()),
        }
    }

    /// A replica that was written to is no replica any more.
    pub(super) fn refuse_writes(&self, class: StatementClass) -> Result<(), PlanError> {
        use StatementClass as C;
        let kind = match self.input.session.tablet_kind {
            TabletKind::Primary => return Ok(()),
            TabletKind::Replica => "replica",
            TabletKind::Rdonly => "rdonly",
        };
        match class {
            C::Select | C::Set | C::Show | C::Explain => Ok(()),
            _ => Err(PlanError::ReadOnlyTablet(kind)),
        }
    }

    /// A statement that names tables of several keyspaces.
    fn across(
        &mut self,
        statement: &Statement<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        let why = "tables of different keyspaces in one statement";
        match statement {
            Statement::Query(query) => self.across_keyspaces(query, class),
            Statement::Update(update) => self.update_by_key(update, why),
            Statement::Delete(delete) => self.delete_by_key(delete, why),
            Statement::Insert(insert) => {
                self.insert_in_steps(insert, PlanError::unsupported(why), class)
            }
            _ => Err(PlanError::unsupported(why)),
        }
    }

    /// Does the statement go to a drop-in server?
    fn is_drop_in(&self) -> bool {
        self.input.snapshot.drop_in.is_some() && self.input.session.keyspace.is_none()
    }

    /// Could a statement that is not understood be sent on as it is?
    fn can_pass(&self) -> bool {
        let session = self.input.session;
        let one = session.shard.is_some() && session.shards.is_none();
        self.is_drop_in() || one || session.keyspace.is_some_and(|k| self.is_whole(k))
    }

    /// The whole keyspace is on one shard.
    fn is_whole(&self, keyspace: KeyspaceIdx) -> bool {
        self.keyspace(keyspace)
            .is_some_and(|k| !k.sharded || k.shards.len() == 1)
    }

    fn drop_in(
        &mut self,
        statement: &Statement<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        self.ddl_effects(statement);
        if let Statement::Ddl(ddl) = statement
            && ddl.database.is_some()
        {
            self.effects |= Effects::DATABASE_CHANGE;
        }
        Ok(self.routed_to(Target::DropIn, Combine::Concat, class))
    }

    fn route(
        &mut self,
        keyspace: KeyspaceIdx,
        shards: Destination,
        combine: Combine,
        class: StatementClass,
    ) -> Plan {
        self.routed_to(Target::Keyspace { keyspace, shards }, combine, class)
    }

    fn routed_to(&mut self, to: Target, combine: Combine, class: StatementClass) -> Plan {
        // What changes the schema is answered once every core knows it.
        let changes =
            self.effects.contains(Effects::SCHEMA_CHANGE) && matches!(to, Target::Keyspace { .. });
        let combine = if changes { Combine::First } else { combine };
        let text = self
            .edits
            .text(self.input.sql, self.input.fingerprint, self.tokens);
        Plan {
            action: Action::Route(Route {
                to,
                combine,
                text,
                tablet_kind: self.input.session.tablet_kind,
                alone: false,
                maintain: None,
                generate: None,
                load: None,
                vindex: None,
            }),
            class,
            effects: self.effects,
            cacheable: self.cacheable,
            directives: directives::read(self.input.sql, self.tokens.directives),
            tables: std::mem::take(&mut self.tables),
            names: Vec::new(),
        }
    }

    /// A statement that names no table of ours.
    fn without_tables(
        &mut self,
        statement: &Statement<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        let fallback = (!self.input.snapshot.keyspaces.is_empty()).then_some(0);
        let keyspace = self
            .input
            .session
            .keyspace
            .or(fallback)
            .ok_or(PlanError::NoDatabase)?;
        let whole = self.is_whole(keyspace);
        if let Statement::Query(query) = statement
            && build::mentions_system(self)
            && let Some(plan) = self.system_query(query, class, None)
        {
            return Ok(plan);
        }
        self.ddl_effects(statement);
        match statement {
            Statement::Ddl(_) if self.input.session.keyspace.is_none() => {
                Err(PlanError::NoDatabase)
            }
            Statement::Ddl(ddl) if !whole => self.sharded_ddl(keyspace, ddl),
            Statement::Flush(_) if !whole => {
                Ok(self.route(keyspace, Destination::Scatter, Combine::First, class))
            }
            Statement::Unknown if self.is_help() => {
                self.effects -= Effects::PIN;
                let shards = if whole { Destination::Unsharded } else { Destination::Any };
                Ok(self.route(keyspace, shards, Combine::Concat, class))
            }
            Statement::Unknown | Statement::Call(_) if !whole => Err(self.refuse_unknown()),
            _ => {
                let shards = if whole { Destination::Unsharded } else { Destination::Any };
                Ok(self.route(keyspace, shards, Combine::Concat, class))
            }
        }
    }
}
