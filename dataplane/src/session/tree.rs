//! Queries over several shards whose answer is put together: merged here, or finished on one
//! server.
//!
//! The server that finishes a query has its rows in temporary tables, on a connection of its own
//! that takes no part in the client's transaction: the rows were read in that transaction before.
use super::answer::Answer;
use super::buffering::Use;
use super::keyed::wanted;
use super::on_replica::READ_ONLY;
use super::run::place_of;
use super::scatter::{Merging, Part, Parts, Rows, Work};
use super::system::Budget;
use super::wire::query_payload;
use super::{Failure, Outcome, Session};
use crate::error::{BackendError, sql_error};
use crate::exec::held::Held;
use crate::exec::{Collected, GatherLimits, Gathered, KeptValues, create, quoted};
use crate::pool::{Backend, Place, TabletPool, kill_query};
use coregate_planner::control::SqlError;
use coregate_planner::plan::tree::{Finish, Form, Gather, Merge, Tree};
use coregate_planner::plan::{Combine, Effects, Plan};
use coregate_planner::resolve::{self, Resolved};
use coregate_protocol::walker::{ResponseKind, ResponseWalker, Summary};
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

/// The load must not depend on the session's settings; they are kept in variables meanwhile.
/// NO_AUTO_VALUE_ON_ZERO and ALLOW_INVALID_DATES: every value that a table can hold goes in as it
/// is. The character set first: the texts of the second statement are read in it.
const BEFORE_LOAD: [&[u8]; 2] = [
    b"SET @_coregate_mode=@@sql_mode,@_coregate_zone=@@time_zone,\
@_coregate_client=@@character_set_client,@_coregate_collation=@@collation_connection,\
@_coregate_autocommit=@@autocommit,character_set_client=utf8mb4,\
collation_connection=utf8mb4_general_ci",
    b"SET sql_mode='ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO',time_zone='+00:00',autocommit=1",
];

const AFTER_LOAD: &[u8] = b"SET sql_mode=@_coregate_mode,time_zone=@_coregate_zone,\
character_set_client=@_coregate_client,collation_connection=@_coregate_collation";

const AT_THE_END: &[u8] =
    b"SET autocommit=@_coregate_autocommit,@_coregate_mode=NULL,@_coregate_zone=NULL,\
@_coregate_client=NULL,@_coregate_collation=NULL,@_coregate_autocommit=NULL";

/// What is put together for the server that finishes a statement.
struct Load {
    budget: Budget,
    statements: Vec<Vec<u8>>,
    /// Where the rows come from.
    places: Vec<Place>,
    /// What the statements hold.
    held: Vec<Held>,
    /// What later tables are asked for, of each that was gathered.
    kept: Vec<KeptValues>,
}

impl Load {
    fn new(limits: GatherLimits) -> Self {
        Self {
            budget: Budget { limits, rows: 0, bytes: 0 },
            statements: BEFORE_LOAD.map(<[u8]>::to_vec).into(),
            places: Vec::new(),
            held: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl Session {
    /// Runs a tree whose rows lie on several shards.
    pub(super) async fn tree(
        &mut self,
        plan: &Plan,
        tree: &Tree,
        bound: resolve::Parts,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        self.begin_warnings(plan);
        self.ask_for(plan);
        self.tree_into(plan, tree, bound, None, answer).await
    }

    /// The same; `into`: where its rows go, if not to the client.
    pub(super) async fn tree_into(
        &mut self,
        plan: &Plan,
        tree: &Tree,
        bound: resolve::Parts,
        into: Option<&RefCell<Collected>>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        match &tree.form {
            Form::Merge(merge) => {
                let merging =
                    Merging { merge, skip: bound.skip, take: bound.take, finish: None, into };
                let Some(shards) = bound.leaves.into_iter().next() else {
                    return Err(sql_error(1105, "a plan without a query").into());
                };
                self.core.metrics().merged.add(1);
                let work = self.leaf(plan, tree, 0, shards, Rows::Merge(merging))?;
                Box::pin(self.several(work, answer)).await
            }
            Form::Finish(finish) => {
                Box::pin(self.finish_tree(plan, tree, finish, bound, into, answer)).await
            }
        }
    }

    /// What one leaf sends to its shards.
    fn leaf<'p>(
        &self,
        plan: &'p Plan,
        tree: &Tree,
        at: usize,
        shards: Resolved,
        rows: Rows<'p>,
    ) -> Outcome<Work<'p>> {
        let Some(leaf) = tree.leaves.get(at) else {
            return Err(sql_error(1105, "a plan without a query").into());
        };
        let wires = shards.shards.into_iter().map(|shard| {
            let text = shard
                .text
                .ok_or_else(|| Failure::from(sql_error(1105, "a leaf of a plan has no text")))?;
            Ok((place_of(&leaf.route, shard.id), query_payload(&text)))
        });
        let wires = wires.collect::<Outcome<_>>()?;
        Ok(Work {
            plan,
            combine: Combine::Concat,
            kind: ResponseKind::Query,
            wires,
            keyspace: None,
            rows,
        })
    }

    /// Gathers the rows of every table, loads them into one server, and runs the statement there.
    async fn finish_tree(
        &mut self,
        plan: &Plan,
        tree: &Tree,
        finish: &Finish,
        bound: resolve::Parts,
        into: Option<&RefCell<Collected>>,
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let mut load = Load::new(self.gather_limits());
        let mut ranges = bound.ranges.into_iter();
        for (at, (mut shards, gather)) in bound.leaves.into_iter().zip(&finish.gathers).enumerate()
        {
            let ranges = ranges.next().unwrap_or_default();
            let asks = self
                .ask_by_keys(gather, &ranges, &load.kept, &mut shards)
                .await?;
            if gather.system.is_some() {
                self.load_system(plan, (tree, at), shards, gather, &mut load)
                    .await?;
                load.kept.push(KeptValues::default());
                continue;
            }
            let before = (load.budget.rows, load.budget.bytes);
            let mut gathered = Gathered::new(gather, load.budget.limits, before);
            gathered.keep(wanted(finish, at));
            let gathered = RefCell::new(gathered);
            if asks {
                let rows = (gather, &gathered);
                self.load_rows(plan, (tree, at), shards, rows, (&mut load, answer))
                    .await?;
            }
            let mut gathered = gathered.into_inner();
            (load.budget.rows, load.budget.bytes) = (gathered.rows, gathered.bytes);
            load.kept.push(gathered.take_kept());
            load.held
                .push(gathered.into_statements(gather, &mut load.statements));
        }
        let Load { mut statements, mut places, budget, held: _held, .. } = load;
        statements.push(AFTER_LOAD.to_vec());
        places.sort_unstable();
        places.dedup();
        // Sessions take turns in the choice of the server.
        let turn = self.client.handle.id as usize % places.len().max(1);
        let place = places
            .get(turn)
            .copied()
            .ok_or_else(|| sql_error(1105, "a plan without tables"))?;
        self.around_load(place, &mut statements);
        self.core.metrics().finished.add(1);
        self.core.metrics().gathered_rows.add(budget.rows);
        let summary = self
            .finish_on((place, plan.effects), finish, statements, (&bound.finish, into), answer)
            .await?;
        self.remember(plan.class, &summary);
        if let Some(found) = self.running.found_rows.take() {
            self.last.found_rows = found;
        }
        Ok(summary)
    }

    /// Reads the rows of a table of information_schema.
    async fn load_system(
        &mut self,
        plan: &Plan,
        (tree, at): (&Tree, usize),
        shards: Resolved,
        gather: &Gather,
        load: &mut Load,
    ) -> Outcome {
        let Some(system) = &gather.system else { return Ok(()) };
        let rows = RefCell::new(Collected::named(self.query_memory()));
        let work = self.leaf(plan, tree, at, shards, Rows::Gather(&rows))?;
        load.places
            .extend(work.wires.iter().map(|(place, _)| *place));
        let Load { budget, statements, .. } = load;
        self.gather_system(work, &rows, (gather, system), budget, statements)
            .await
    }

    /// Reads the rows of any other table.
    async fn load_rows(
        &mut self,
        plan: &Plan,
        (tree, at): (&Tree, usize),
        shards: Resolved,
        (gather, gathered): (&Gather, &RefCell<Gathered>),
        (load, answer): (&mut Load, &Answer),
    ) -> Outcome {
        if gather.planned {
            let Some(shard) = shards.shards.into_iter().next() else { return Ok(()) };
            let route = tree.leaves.get(at).map(|leaf| &leaf.route);
            load.places
                .extend(route.map(|route| place_of(route, shard.id)));
            let read = self.read_planned(shard.text.unwrap_or_default()).await?;
            let mut gathered = gathered.borrow_mut();
            for row in &read.rows {
                gathered.values(row)?;
            }
            return Ok(());
        }
        let work = self.leaf(plan, tree, at, shards, Rows::Gather(gathered))?;
        load.places
            .extend(work.wires.iter().map(|(place, _)| *place));
        // Nothing is answered yet: a failure has the client's first packet.
        let mut nothing = *answer;
        Box::pin(self.several(work, &mut nothing)).await?;
        Ok(())
    }

    /// The rows of a query that is planned as a client's, which may be a tree again.
    fn read_planned(
        &mut self,
        sql: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Outcome<Collected>> + '_>> {
        Box::pin(async move { self.read(&sql).await })
    }

    /// Runs the last step on one server. After any failure the connection is closed, and with it
    /// the tables are gone.
    async fn finish_on(
        &mut self,
        (place, effects): (Place, Effects),
        finish: &Finish,
        statements: Vec<Vec<u8>>,
        (text, into): (&[u8], Option<&RefCell<Collected>>),
        answer: &mut Answer,
    ) -> Outcome<Summary> {
        let (pool, mut backend) = Box::pin(self.connection(place, Use::Finish)).await?;
        if let Err(failure) = self.load(&mut backend, statements).await {
            self.abandon_finisher(backend);
            return Err(failure);
        }
        let sets_id = effects.contains(Effects::SETS_INSERT_ID);
        if sets_id && let Err(failure) = self.give_insert_id(&mut backend).await {
            self.abandon_finisher(backend);
            return Err(failure);
        }
        self.note_sent(&[(place, query_payload(text))]);
        backend.send_payload(&query_payload(text));
        let walker = ResponseWalker::new(ResponseKind::Query, backend.capabilities);
        let mut parts = Parts::new();
        parts.push(Part { place, backend, walker });
        let merge = Merge::EVERYTHING;
        let merging =
            Merging { merge: &merge, skip: 0, take: u64::MAX, finish: Some(finish), into };
        let result = self.merge(&mut parts, &merging, answer).await;
        let Some(Part { mut backend, .. }) = parts.pop() else {
            return Err(sql_error(1105, "a connection was lost").into());
        };
        if backend.busy {
            self.abandon_finisher(backend);
            return result.map(|(summary, _)| summary);
        }
        if backend.warnings > 0 && result.is_ok() {
            self.fetch_warnings(&mut backend).await;
        }
        if sets_id && result.is_ok() {
            self.read_insert_id(&mut backend, true, 0).await;
        }
        if finish.found_rows && result.is_ok() {
            self.read_found_rows_of(&mut backend).await;
        }
        self.clean_finisher(place, &pool, backend, finish).await;
        result.map(|(summary, _)| summary)
    }

    /// How many rows there were without LIMIT, as the server that finished the statement has
    /// counted. A connection that fails here is found out where its tables are dropped.
    async fn read_found_rows_of(&mut self, backend: &mut Backend) {
        let core = Rc::clone(&self.core);
        if let Ok(Some(found)) = backend.value(&core, "SELECT FOUND_ROWS()").await {
            self.running.found_rows = found.parse().ok();
        }
    }

    /// Drops the temporary tables, and gives the connection back.
    async fn clean_finisher(
        &self,
        place: Place,
        pool: &Rc<TabletPool>,
        mut backend: Box<Backend>,
        finish: &Finish,
    ) {
        let (core, handle) = (Rc::clone(&self.core), Rc::clone(&self.client.handle));
        if self.reads_only(place) && !place.is_replica() {
            // Its access mode is no longer the session's, and its tables go with it.
            return self.abandon_finisher(backend);
        }
        let tables: Vec<String> = finish
            .gathers
            .iter()
            .filter(|gather| gather.system.as_ref().is_none_or(|system| system.begins))
            .map(|gather| quoted(&gather.table))
            .collect();
        let drop_tables = format!("DROP TEMPORARY TABLE {}", tables.join(","));
        let mut statements = vec![drop_tables.into_bytes(), AT_THE_END.to_vec()];
        if place.is_replica() {
            statements.insert(0, READ_WRITE.to_vec());
            statements.push(READ_ONLY.as_bytes().to_vec());
        }
        let cleaned = backend.run_batch(&core, statements);
        match Self::unless_interrupted(&handle, cleaned).await {
            Ok(Ok(())) => pool.put(&core, backend),
            // The client has its answer: what stops now stops for the next statement.
            _ => self.abandon_finisher(backend),
        }
    }

    /// Prepares what a server would run to finish a statement, over tables without rows: no server
    /// has all the real ones. Its answer with `id` in it for the client, or its error.
    pub(super) async fn describe_finished(
        &mut self,
        place: Place,
        finish: &Finish,
        text: &[u8],
        id: u32,
        answer: &mut Answer,
    ) -> Outcome<(Vec<u8>, Option<SqlError>)> {
        let (pool, mut backend) = Box::pin(self.connection(place, Use::Finish)).await?;
        let mut statements: Vec<Vec<u8>> = BEFORE_LOAD.map(<[u8]>::to_vec).into();
        statements.extend(
            finish
                .gathers
                .iter()
                .filter_map(|gather| match &gather.system {
                    None => Some(create(gather)),
                    Some(system) if system.begins => Some(super::system::create(gather, system)),
                    Some(_) => None,
                }),
        );
        statements.push(AFTER_LOAD.to_vec());
        self.around_load(place, &mut statements);
        let described = match self.load(&mut backend, statements).await {
            Ok(()) => {
                self.prepare_to_describe(&mut backend, finish, text, id, answer)
                    .await
            }
            Err(failure) => Err(failure),
        };
        match described {
            Ok(_) => self.clean_finisher(place, &pool, backend, finish).await,
            Err(_) => self.abandon_finisher(backend),
        }
        described
    }

    /// Where transactions only read, the tables are written before what the statement calls may not
    /// write either.
    fn around_load(&self, place: Place, statements: &mut Vec<Vec<u8>>) {
        if self.reads_only(place) {
            statements.insert(0, READ_WRITE.to_vec());
            statements.push(READ_ONLY.as_bytes().to_vec());
        }
    }

    /// Makes the temporary tables and fills them.
    async fn load(&mut self, backend: &mut Backend, statements: Vec<Vec<u8>>) -> Outcome {
        let (core, handle) = (Rc::clone(&self.core), Rc::clone(&self.client.handle));
        let pool = Rc::clone(&backend.pool);
        let logs = match pool.logs_temporary.get() {
            Some(logs) => logs,
            None => {
                let asked = backend.value(&core, LOGS_TEMPORARY);
                let logs = Self::unless_interrupted(&handle, asked).await??.as_deref() == Some("1");
                pool.logs_temporary.set(Some(logs));
                logs
            }
        };
        if logs {
            let rows = backend.execute(&core, "SET SESSION binlog_format = ROW");
            match Self::unless_interrupted(&handle, rows).await? {
                Ok(_) => {}
                Err(BackendError::Refused { .. }) => return Err(would_be_logged().into()),
                Err(error) => return Err(error.into()),
            }
        }
        let loaded =
            Self::unless_interrupted(&handle, backend.run_batch(&core, statements)).await?;
        loaded.map_err(not_loaded)
    }

    /// May the session have said that its transactions only read? Temporary tables are written on
    /// the server that finishes.
    fn reads_only(&self, place: Place) -> bool {
        place.is_replica()
            || ["transaction access", "transaction_read_only", "tx_read_only"]
                .iter()
                .any(|name| self.state.settings.get(name).is_some())
    }

    /// Closes a connection, and ends what its server still does there.
    #[cold]
    fn abandon_finisher(&self, mut backend: Box<Backend>) {
        if backend.busy && backend.is_connected() {
            self.core.metrics().orphans_killed.add(1);
            let (core, pool) = (Rc::clone(&self.core), Rc::clone(&backend.pool));
            crate::executor::spawn(kill_query(core, pool, backend.thread_id, true));
            self.core.ring.mark_runnable();
        }
        backend.tainted = true;
    }
}

const READ_WRITE: &[u8] = b"SET SESSION TRANSACTION READ WRITE";

/// MariaDB up to 11.8 logs temporary tables, and replicas make them, unless rows are logged. MySQL
/// has not since 8.0.13, except for `STATEMENT`. The LIMIT goes before the session's
/// `sql_select_limit`, which may be 0.
const LOGS_TEMPORARY: &str = "SELECT IF(@@log_bin AND @@binlog_format <> 'ROW' AND (VERSION() LIKE \
    '%MariaDB%' OR @@binlog_format = 'STATEMENT'), 1, 0) LIMIT 1";

fn would_be_logged() -> SqlError {
    sql_error(
        1235,
        "VT12001: unsupported: the statement needs temporary tables on one server, which would \
            write them to its binary log; set \
         binlog_format=ROW there, or grant the tablet's account BINLOG ADMIN (MySQL: \
         SESSION_VARIABLES_ADMIN)",
    )
}

/// The tables could not be made.
fn not_loaded(error: BackendError) -> Failure {
    let mut error = error.to_sql();
    error.message = format!(
        "the server that finishes the statement could not take its rows into temporary tables: {}",
        error.message
    );
    error.into()
}
