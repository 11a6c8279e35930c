//! From a statement's text to a plan bound to its values: the cache, the planner, the vindexes.
use super::values::Values;
use super::{Failure, Session};
use crate::cache::{CachedPlan, PlanContext};
use bumpalo::Bump;
use coregate_planner::PlanError;
use coregate_planner::fingerprint::{Fingerprint, second_statement};
use coregate_planner::plan::Action;
use coregate_planner::plan::tree::Tree;
use coregate_planner::resolve::{self, Binding, BoundWrite, Parts, Resolved, ShardText};
use coregate_planner::route::{PlanInput, SessionContext, plan};
use coregate_planner::snapshot::Snapshot;
use coregate_planner::sql::versions;
use std::rc::Rc;
use std::sync::Arc;

/// Buffers that every statement of a core uses in turn; nothing in here outlives the planning of
/// one statement.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(super) fingerprint: Fingerprint,
    arena: Bump,
    pub(super) resolve: resolve::Scratch,
    pub(super) resolved: Resolved,
}

/// The arena is given back when one statement made it larger than this, in bytes.
const ARENA_KEEP: usize = 1 << 20;

/// A plan, and where it goes this time.
pub(super) struct Planned {
    pub(super) entry: Rc<CachedPlan>,
    pub(super) bound: BoundPlan,
    /// Where the statement ends in its text, and whether another one follows.
    pub(super) end: usize,
    pub(super) more: bool,
    pub(super) rows: RowsAt,
}

impl Planned {
    /// Of a prepared statement, which is alone.
    #[inline]
    pub(super) fn prepared(entry: Rc<CachedPlan>, bound: BoundPlan) -> Self {
        Self { entry, bound, end: 0, more: false, rows: RowsAt::default() }
    }
}

/// A plan bound to the values of one execution.
pub(super) enum BoundPlan {
    Route(Resolved),
    /// Where a tree's leaves go.
    Tree(Box<Parts>),
    /// The texts of a change of several steps.
    Write(Box<BoundWrite>),
    /// The session runs the statement itself.
    Own,
}

impl BoundPlan {
    /// Does it go on with a transaction that was opened for it?
    pub(super) fn changes(&self) -> bool {
        match self {
            Self::Route(resolved) => resolved.before.is_some(),
            Self::Tree(_) | Self::Own => false,
            Self::Write(_) => true,
        }
    }

    /// Is a text that was made of the statement read by servers? Else they read the statement
    /// itself, as it was prepared.
    #[inline]
    pub(super) fn is_made_text(&self) -> bool {
        match self {
            Self::Route(resolved) => resolved.interpolated || resolved.before.is_some(),
            Self::Tree(_) | Self::Write(_) => true,
            Self::Own => false,
        }
    }

    /// The shards of a route.
    pub(super) fn shards_mut(&mut self) -> &mut [ShardText] {
        match self {
            Self::Route(resolved) => &mut resolved.shards,
            Self::Tree(_) | Self::Write(_) | Self::Own => &mut [],
        }
    }

    /// To how many servers it goes.
    #[inline]
    pub(super) fn shards(&self) -> usize {
        match self {
            Self::Route(resolved) => resolved.shards.len(),
            Self::Tree(parts) => parts.leaves.iter().map(|leaf| leaf.shards.len()).sum(),
            Self::Write(_) | Self::Own => 0,
        }
    }
}

/// Where the last of a statement's collapsed rows stands in its text (nowhere if there are none),
/// and which columns have a number above 0 in every row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RowsAt {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) numbered: u64,
}

impl RowsAt {
    #[inline]
    fn of(fingerprint: &Fingerprint) -> Self {
        let Some(last) = fingerprint.rows.spans.last() else { return Self::default() };
        Self { start: last.start, end: last.end, numbered: fingerprint.rows.numbered }
    }
}

/// Which of a text's plans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    prepared: bool,
    split: bool,
    numbered: bool,
}

impl Kind {
    pub(super) const TEXT: Self = Self { prepared: false, split: false, numbered: false };
    pub(super) const PREPARED: Self = Self { prepared: true, ..Self::TEXT };

    /// The plan for a text that has its numbers of sequences.
    pub(super) const fn numbered(self) -> Self {
        Self { numbered: true, ..self }
    }

    /// The plan for values that lie on several shards.
    pub(super) const fn split(self) -> Self {
        Self { split: true, ..self }
    }
}

impl Session {
    /// Keeps the index of the session's keyspace valid when the snapshot has changed. A keyspace
    /// that is gone stays selected, as on one server: its tables are unknown (1049) until there is
    /// one of its name again.
    pub(super) fn follow_snapshot(&mut self) {
        let snapshot = self.core.snapshot.borrow().clone();
        if self.target.version == snapshot.version {
            return;
        }
        self.target.version = snapshot.version;
        let Some(database) = self.target.database.clone() else { return };
        let found = Self::find_target(&snapshot, &database)
            .unwrap_or_else(|_| super::Target { database: Some(database), ..Default::default() });
        self.target = super::Target { version: snapshot.version, ..found };
    }

    #[inline]
    fn plan_context(&self, kind: Kind) -> PlanContext {
        PlanContext {
            keyspace: self.target.index,
            shard: self.target.shard,
            shards: self.target.shards,
            tablet_kind: self.target.kind,
            sql_mode: u16::from(self.state.sql_mode.bits()),
            prepared: kind.prepared,
            split: kind.split,
            numbered: kind.numbered,
            has_database: self.target.database.is_some(),
            foreign_keys_off: self.state.foreign_keys_off,
        }
    }

    /// Plans a text statement and binds it.
    #[inline]
    pub(super) fn plan(&mut self, sql: &[u8]) -> Result<Planned, Failure> {
        self.plan_as(sql, Kind::TEXT)
    }

    #[inline]
    pub(super) fn plan_as(&mut self, sql: &[u8], kind: Kind) -> Result<Planned, Failure> {
        if self.target.version != self.core.snapshot.borrow().version {
            self.follow_snapshot();
        }
        let core = Rc::clone(&self.core);
        let mut scratch = core.scratch.borrow_mut();
        let scratch = &mut *scratch;
        if self.state.charsets.is_ambiguous(sql) {
            return Err(PlanError::AmbiguousText.into());
        }
        let read = scratch.fingerprint.read(sql, self.state.sql_mode);
        let unsure = scratch.fingerprint.versioned || read.is_err();
        let resolved;
        let (sql, is_resolved) = match unsure.then(|| self.without_versions(sql, &read)).flatten() {
            Some(text) => {
                scratch.fingerprint.read(&text, self.state.sql_mode)?;
                resolved = text;
                (resolved.as_slice(), true)
            }
            None => {
                read?;
                (sql, false)
            }
        };
        let (end, more) = (scratch.fingerprint.end, scratch.fingerprint.more);
        let sql = sql.get(..end).unwrap_or(sql);
        let snapshot = core.snapshot.borrow();
        let arena = &mut scratch.arena;
        let mut entry = self.cached_plan(sql, &scratch.fingerprint, arena, &snapshot, kind)?;
        self.permit(&entry.plan)?;
        let values = Values { session: self, params: &[], kinds: &[] };
        let binding = Binding {
            sql,
            fingerprint: &scratch.fingerprint,
            params: &[],
            sql_mode: self.state.sql_mode,
            charsets: self.state.charsets,
            session: &values,
            prepared: false,
        };
        let mut found = Ok(());
        if let Action::Route(route) = &entry.plan.action {
            found = resolve::resolve(
                route,
                &snapshot,
                &binding,
                &mut scratch.resolve,
                &mut scratch.resolved,
            );
        }
        if matches!(found, Err(PlanError::Several)) {
            entry = self.cached_plan(sql, &scratch.fingerprint, arena, &snapshot, kind.split())?;
            found = Ok(());
        }
        found.map_err(|error| self.not_bound(error))?;
        let bound = match &entry.plan.action {
            Action::Route(_) => {
                let mut resolved = std::mem::take(&mut scratch.resolved);
                give_text(is_resolved, &mut resolved, sql);
                BoundPlan::Route(resolved)
            }
            action => self.bind_steps(action, &snapshot, &binding, &mut scratch.resolve)?,
        };
        self.client
            .handle
            .limit(&core, entry.plan.directives.query_timeout_ms);
        let rows = RowsAt::of(&scratch.fingerprint);
        Ok(Planned { entry, bound, end, more, rows })
    }

    /// The values of a plan that is more than one statement for some servers.
    fn bind_steps(
        &self,
        action: &Action,
        snapshot: &Snapshot,
        binding: &Binding<'_>,
        scratch: &mut resolve::Scratch,
    ) -> Result<BoundPlan, Failure> {
        Ok(match action {
            Action::Tree(tree) => {
                BoundPlan::Tree(self.bind_tree(tree, snapshot, binding, scratch)?)
            }
            Action::Write(write) => {
                let bound = resolve::resolve_write(write, snapshot, binding, scratch);
                BoundPlan::Write(Box::new(bound.map_err(|error| self.not_bound(error))?))
            }
            _ => BoundPlan::Own,
        })
    }

    pub(super) fn bind_tree(
        &self,
        tree: &Tree,
        snapshot: &Snapshot,
        binding: &Binding<'_>,
        scratch: &mut resolve::Scratch,
    ) -> Result<Box<Parts>, Failure> {
        let bound = resolve::resolve_tree(tree, snapshot, binding, scratch);
        bound.map(Box::new).map_err(|error| self.not_bound(error))
    }

    /// The text without comments that depend on the server's version, where it has some; a drop-in
    /// server resolves them itself, as long as they can be read over.
    #[cold]
    fn without_versions(&self, sql: &[u8], read: &Result<(), PlanError>) -> Option<Vec<u8>> {
        let is_drop_in =
            self.target.index.is_none() && self.core.snapshot.borrow().drop_in.is_some();
        if (is_drop_in && read.is_ok()) || !versions::may_have(sql) {
            return None;
        }
        let server = versions::Server::parse(&self.core.config().server_version)?;
        Some(versions::resolve(sql, self.state.sql_mode, server))
    }

    /// As a statement is prepared: its text, and what it is made of.
    pub(super) fn text_to_prepare(&self, sql: Vec<u8>) -> Vec<u8> {
        if !versions::may_have(&sql) {
            return sql;
        }
        let read = Fingerprint::new().read(&sql, self.state.sql_mode);
        self.without_versions(&sql, &read).unwrap_or(sql)
    }

    /// The plan for a fingerprint, from the cache or made now.
    #[inline]
    pub(super) fn cached_plan(
        &self,
        sql: &[u8],
        fingerprint: &Fingerprint,
        arena: &mut Bump,
        snapshot: &Arc<Snapshot>,
        kind: Kind,
    ) -> Result<Rc<CachedPlan>, PlanError> {
        let context = self.plan_context(kind);
        let mut cache = self.core.cache.borrow_mut();
        if let Some(entry) = cache.get(fingerprint.hash, &fingerprint.norm, &context) {
            return Ok(Rc::clone(entry));
        }
        let made = self.make_plan(sql, fingerprint, arena, snapshot, kind);
        arena.reset();
        if arena.allocated_bytes() > ARENA_KEEP {
            *arena = Bump::new();
        }
        Ok(cache.insert(fingerprint.hash, &fingerprint.norm, context, made?))
    }

    #[cold]
    fn make_plan(
        &self,
        sql: &[u8],
        fingerprint: &Fingerprint,
        arena: &Bump,
        snapshot: &Snapshot,
        kind: Kind,
    ) -> Result<coregate_planner::plan::Plan, PlanError> {
        let session = SessionContext {
            keyspace: self.target.index,
            database: self.target.database.as_deref(),
            shard: self.target.shard,
            shards: self.target.shards,
            tablet_kind: self.target.kind,
            sql_mode: self.state.sql_mode,
            no_scatter: self.core.config().no_scatter,
            numbered: kind.numbered,
            foreign_keys_off: self.state.foreign_keys_off,
        };
        plan(&PlanInput {
            sql,
            fingerprint,
            snapshot,
            serving: Some(&self.core.serving.borrow()),
            session: &session,
            arena,
            prepared: kind.prepared,
            split: kind.split,
        })
    }

    /// Plans a statement that is being prepared.
    pub(super) fn plan_prepared(
        &mut self,
        sql: &[u8],
        kind: Kind,
    ) -> Result<(Fingerprint, Rc<CachedPlan>), Failure> {
        self.follow_snapshot();
        let core = Rc::clone(&self.core);
        let mut scratch = core.scratch.borrow_mut();
        let scratch = &mut *scratch;
        if self.state.charsets.is_ambiguous(sql) {
            return Err(PlanError::AmbiguousText.into());
        }
        scratch.fingerprint.read(sql, self.state.sql_mode)?;
        if scratch.fingerprint.more
            && let Some(at) = second_statement(sql, scratch.fingerprint.end, self.state.sql_mode)
        {
            return Err(PlanError::syntax(sql, at).into());
        }
        let snapshot = core.snapshot.borrow();
        let entry =
            self.cached_plan(sql, &scratch.fingerprint, &mut scratch.arena, &snapshot, kind)?;
        self.permit(&entry.plan)?;
        Ok((scratch.fingerprint.clone(), entry))
    }
}

/// The servers run what has been planned, whatever they make of the comments.
#[inline]
fn give_text(is_resolved: bool, resolved: &mut Resolved, sql: &[u8]) {
    if is_resolved {
        for shard in &mut resolved.shards {
            shard.text.get_or_insert_with(|| sql.to_vec());
        }
    }
}

/// For `/queryz`.
pub(crate) fn destination_name(plan: &coregate_planner::plan::Plan) -> String {
    use coregate_planner::plan::tree::Form;
    use coregate_planner::plan::{Destination, Target};
    let route = match &plan.action {
        Action::Route(route) => route,
        Action::Tree(tree) => {
            return match tree.form {
                Form::Merge(_) => "merge".into(),
                Form::Finish(_) => "finish".into(),
            };
        }
        Action::Write(_) => return "by key".into(),
        _ => return "session".into(),
    };
    let name = match &route.to {
        Target::DropIn => "drop-in",
        Target::Keyspace { shards, .. } => match shards {
            Destination::Unsharded => "unsharded",
            Destination::Any => "any",
            Destination::Shard(_) => "targeted",
            Destination::Equal { .. } => "equal",
            Destination::Together(_) => "together",
            Destination::In { .. } => "in",
            Destination::Lookup(_) => "lookup",
            Destination::KeyspaceId(_) => "pinned",
            Destination::Rows(_) => "insert",
            Destination::Scatter => "scatter",
            Destination::Range(..) => "range",
            Destination::Nowhere => "nowhere",
            Destination::Turn => "turn",
        },
    };
    name.into()
}
