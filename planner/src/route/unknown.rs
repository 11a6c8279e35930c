//! Statements that the grammar does not know: sent on whole where one server has everything,
//! refused elsewhere.
use super::Planner;
use crate::error::PlanError;
use crate::plan::{Combine, Destination, Effects, Plan, StatementClass};
use crate::sql::ast::Statement;
use crate::sql::keyword::Kw;

/// What statements of MySQL and MariaDB begin with.
const STATEMENTS: &[&str] = &[
    "alter",
    "analyze",
    "backup",
    "begin",
    "binlog",
    "cache",
    "call",
    "change",
    "check",
    "checksum",
    "clone",
    "commit",
    "create",
    "deallocate",
    "declare",
    "delete",
    "desc",
    "describe",
    "do",
    "drop",
    "execute",
    "explain",
    "flush",
    "get",
    "grant",
    "handler",
    "help",
    "import",
    "insert",
    "install",
    "kill",
    "load",
    "lock",
    "optimize",
    "prepare",
    "purge",
    "release",
    "rename",
    "repair",
    "replace",
    "reset",
    "resignal",
    "restart",
    "revert",
    "revoke",
    "rollback",
    "savepoint",
    "select",
    "set",
    "show",
    "shutdown",
    "signal",
    "start",
    "stop",
    "stream",
    "table",
    "truncate",
    "uninstall",
    "unlock",
    "update",
    "use",
    "values",
    "vexplain",
    "with",
    "xa",
];

impl Planner<'_, '_> {
    /// No server is asked about it, so what cannot be a statement is told from what is not
    /// supported here.
    pub(super) fn refuse_unknown(&self) -> PlanError {
        let sql = self.input.sql.trim_ascii_start();
        let end = sql
            .iter()
            .position(|b| !b.is_ascii_alphabetic())
            .unwrap_or(sql.len());
        let word = sql.get(..end).unwrap_or_default();
        // After a comment or a parenthesis anything may follow.
        if word.is_empty()
            || STATEMENTS
                .iter()
                .any(|known| known.as_bytes().eq_ignore_ascii_case(word))
        {
            return PlanError::unsupported(
                "this statement in a sharded keyspace; select one shard with USE keyspace:shard",
            );
        }
        let skipped = self.input.sql.len() - sql.len();
        PlanError::syntax(self.input.sql, skipped)
    }

    /// HELP asks for what every server has alike.
    pub(super) fn is_help(&self) -> bool {
        let first = self.tokens.items.first().map(|item| item.span);
        let word = first.and_then(|s| self.input.sql.get(s.start as usize..s.end as usize));
        word.is_some_and(|word| word.eq_ignore_ascii_case(b"help"))
    }

    pub(super) fn not_understood(&mut self, error: PlanError) -> Result<Plan, PlanError> {
        if !self.can_pass() {
            return Err(error);
        }
        let class = self.class_of_words();
        self.refuse_writes(class)?;
        self.effects |= Effects::PIN;
        self.rewrite_session_calls(&Statement::Unknown, class);
        if self.is_drop_in() {
            return self.drop_in(&Statement::Unknown, class);
        }
        let keyspace = self.input.session.keyspace.ok_or(PlanError::NoDatabase)?;
        let shards = self
            .input
            .session
            .shard
            .map_or(Destination::Unsharded, Destination::Shard);
        if class == StatementClass::Ddl {
            self.effects |= Effects::SCHEMA_CHANGE | Effects::IMPLICIT_COMMIT;
        }
        Ok(self.route(keyspace, shards, Combine::Concat, class))
    }

    /// The class, from the first word alone.
    fn class_of_words(&self) -> StatementClass {
        match self.tokens.items.first().map_or(Kw::None, |t| t.kw) {
            Kw::Select | Kw::With | Kw::Values | Kw::Table => StatementClass::SelectLocking,
            Kw::Insert => StatementClass::Insert,
            Kw::Replace => StatementClass::Replace,
            Kw::Update => StatementClass::Update,
            Kw::Delete => StatementClass::Delete,
            Kw::Create | Kw::Alter | Kw::Drop | Kw::Truncate | Kw::Rename => StatementClass::Ddl,
            Kw::Call => StatementClass::Call,
            // Compound statements are what a procedure's body is.
            _ if self.input.fingerprint.compound => StatementClass::Call,
            _ => StatementClass::Other,
        }
    }
}
