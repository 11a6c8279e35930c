//! `CREATE DATABASE` and `DROP DATABASE`: the control plane makes and removes keyspaces.
use super::answer::{Answer, Done};
use super::plan::Kind;
use super::{Failure, Outcome, Session, Target};
use coregate_planner::control::{ControlRequest, SqlError};
use coregate_planner::plan::{Action, PrepareSource, SessionAction};

/// ER_DB_CREATE_EXISTS, ER_DB_DROP_EXISTS
const AS_ASKED: [u16; 2] = [1007, 1008];

impl Session {
    /// Does the statement that is prepared by name make or drop a keyspace? A server would make a
    /// database of its own.
    pub(super) async fn is_of_keyspaces(&mut self, action: &SessionAction) -> Outcome<bool> {
        let (SessionAction::Prepare { source, .. }
        | SessionAction::ExecuteImmediate { source, .. }) = action
        else {
            return Ok(false);
        };
        if self.core.snapshot.borrow().drop_in.is_some() {
            return Ok(false);
        }
        let text = match source {
            PrepareSource::Text(text) => text.clone(),
            PrepareSource::Variable(variable) => match self.text_of_variable(variable).await {
                Ok(text) => text,
                // Whatever is wrong with the variable, the server says.
                Err(Failure::Sql(_)) => return Ok(false),
                Err(failure) => return Err(failure),
            },
        };
        let lower = text.to_ascii_lowercase();
        let has = |word: &[u8]| lower.windows(word.len()).any(|part| part == word);
        if !has(b"database") && !has(b"schema") {
            return Ok(false);
        }
        Ok(match self.plan_prepared(&text, Kind::PREPARED) {
            Ok((_, entry)) => matches!(
                entry.plan.action,
                Action::Session(SessionAction::Database { .. } | SessionAction::Note { .. })
            ),
            Err(Failure::Sql(error)) => AS_ASKED.contains(&error.code),
            Err(_) => false,
        })
    }

    /// `lenient`: IF [NOT] EXISTS was said.
    pub(super) async fn database_ddl(
        &mut self,
        create: bool,
        name: &str,
        lenient: bool,
        sql: &[u8],
        answer: &mut Answer,
    ) -> Outcome {
        self.permit_keyspace(name)?;
        self.implicit_commit().await?;
        self.clear_warnings();
        self.last.row_count = i64::from(create);
        let name = name.to_owned();
        let request = match create {
            true => ControlRequest::CreateDatabase {
                name: name.clone(),
                sql: String::from_utf8_lossy(sql).into_owned(),
            },
            false => ControlRequest::DropDatabase { name: name.clone() },
        };
        let warnings = match self.ask(request).await {
            Ok(warning) => self.warn_of(warning),
            // Another client was faster.
            Err(Failure::Sql(SqlError { code, message, .. }))
                if lenient && AS_ASKED.contains(&code) =>
            {
                self.last.row_count = 0;
                self.note(code, &message);
                1
            }
            Err(other) => return Err(other),
        };
        if !create && self.target.keyspace.as_deref() == Some(&name) {
            self.target = Target::default();
            *self.client.handle.database.borrow_mut() = None;
        }
        let affected_rows = u64::from(create && warnings == 0);
        self.send_ok(answer, Done { affected_rows, warnings, ..Done::default() });
        Ok(())
    }
}
