//! Statements for administrators only. Every session works with the tablet's account, so that the
//! servers cannot tell who asks: what would reach beyond a user's rows - accounts, the server's own
//! settings and life, replication, its files - is found in the tokens alone, so that statements
//! which the grammar does not know are found too.
use super::PlanInput;
use crate::fingerprint::{Fingerprint, Literal, LiteralKind, literal_value};
use crate::sql::ast::{ShowKind, Statement};
use crate::sql::input::{Item, Tokens, tokens};
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;
use crate::value::Value;

/// Tables of `mysql` that hold accounts and their secrets, also to be read.
const ACCOUNTS: &[&str] = &[
    "user",
    "global_priv",
    "db",
    "tables_priv",
    "columns_priv",
    "procs_priv",
    "proxies_priv",
    "roles_mapping",
    "role_edges",
    "default_roles",
    "global_grants",
    "password_history",
    "servers",
    "slave_master_info",
];

/// Variables of a session that MySQL or MariaDB lets nobody set without a privilege: they decide on
/// what is logged and copied to replicas, and as whose.
const GUARDED: [&str; 26] = [
    "sql_log_bin",
    "sql_log_off",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_value_options",
    "binlog_annotate_row_events",
    "binlog_direct_non_transactional_updates",
    "binlog_rows_query_log_events",
    "gtid_domain_id",
    "gtid_seq_no",
    "gtid_next",
    "server_id",
    "skip_replication",
    "skip_parallel_replication",
    "pseudo_slave_mode",
    "pseudo_replica_mode",
    "pseudo_thread_id",
    "original_commit_timestamp",
    "original_server_version",
    "immediate_server_version",
    "rbr_exec_mode",
    "wsrep_on",
    "wsrep_osu_method",
    "debug",
    "debug_dbug",
    "debug_sync",
];

/// What an object's definition begins with before the word that says which kind it is, at most.
const DEFINITION_WORDS: usize = 24;

pub(super) fn is_guarded(variable: &str) -> bool {
    GUARDED.contains(&variable)
}

/// The conditions of a handler, at most.
const HANDLER_WORDS: usize = 64;

struct Words<'s, 't> {
    sql: &'s [u8],
    items: &'t [Item],
}

impl<'s> Words<'s, '_> {
    fn text(&self, n: usize) -> &'s [u8] {
        let span = self.items.get(n).map(|i| i.span);
        span.and_then(|s| self.sql.get(s.start as usize..s.end as usize))
            .unwrap_or_default()
    }

    fn tok(&self, n: usize) -> Tok {
        self.items.get(n).map_or(Tok::End, |i| i.tok)
    }

    fn kw(&self, n: usize) -> Kw {
        self.items.get(n).map_or(Kw::None, |i| i.kw)
    }

    /// Is it one of these words, without quotes?
    fn is(&self, n: usize, words: &[&str]) -> bool {
        self.tok(n) == Tok::Word
            && words
                .iter()
                .any(|w| self.text(n).eq_ignore_ascii_case(w.as_bytes()))
    }

    /// Is it one of these names, in quotes or not?
    fn names(&self, n: usize, names: &[&str]) -> bool {
        let text = self.text(n);
        let bare = match self.tok(n) {
            Tok::Word => text,
            Tok::Quoted => text
                .get(1..text.len().saturating_sub(1))
                .unwrap_or_default(),
            _ => return false,
        };
        names
            .iter()
            .any(|name| bare.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Does a statement that is for administrators begin here?
    /// `own`: no server is asked to set guarded variables, or for grants.
    fn begins_privileged(&self, n: usize, own: bool) -> bool {
        let next = n + 1;
        match self.kw(n) {
            Kw::Grant | Kw::Revoke => true,
            Kw::Create | Kw::Alter | Kw::Drop | Kw::Rename => self.defines_privileged(n),
            Kw::Set => self.sets_privileged(next, own),
            Kw::Show => {
                // A server tells the hash of the tablet's password with them.
                let grants = self.is(next, &["grants"]) && !own;
                grants || self.is(next, &["create"]) && self.is(n + 2, &["user"])
            }
            Kw::Install => true,
            Kw::Reset => true,
            Kw::Start => self.kw(next) != Kw::Transaction && self.tok(next) == Tok::Word,
            Kw::Load => {
                matches!(self.kw(next), Kw::Data | Kw::Xml)
                    && !(n..n + 5).any(|n| self.kw(n) == Kw::Local)
            }
            _ => {
                let alone = ["shutdown", "restart", "uninstall", "binlog", "clone"];
                let followed = ["change", "stop", "purge", "backup"];
                self.is(n, &alone) && !matches!(self.tok(next), Tok::Dot | Tok::Comma)
                    || self.is(n, &followed) && self.tok(next) == Tok::Word
            }
        }
    }

    /// CREATE, ALTER, DROP, RENAME of accounts, servers and functions from libraries.
    fn defines_privileged(&self, n: usize) -> bool {
        let mut at = n + 1;
        while self.is(at, &["or", "replace", "aggregate"]) {
            at += 1;
        }
        // A function of a library: FUNCTION name RETURNS type SONAME 'file'.
        let soname = || (at..at + DEFINITION_WORDS).any(|n| self.is(n, &["soname"]));
        self.is(at, &["user", "role", "server", "instance"])
            || self.kw(at) == Kw::Function && soname()
    }

    /// Behind SET: passwords, roles, and variables that are not the session's.
    fn sets_privileged(&self, start: usize, ignored: bool) -> bool {
        if self.is(start, &["password", "role", "default"]) {
            return true;
        }
        let start =
            start + usize::from(self.is(start, &["statement"]) && self.tok(start + 1) != Tok::Eq);
        let wide = |n| matches!(self.kw(n), Kw::Global | Kw::Persist | Kw::PersistOnly);
        let (mut depth, mut begins) = (0usize, true);
        for n in start..self.items.len() {
            if begins
                && (wide(n) && self.tok(n + 1) != Tok::Eq
                    || self.tok(n) == Tok::AtAt && wide(n + 1) && self.tok(n + 2) == Tok::Dot
                    || !ignored && self.assigns_guarded(n))
            {
                return true;
            }
            begins = false;
            match self.tok(n) {
                Tok::Open => depth += 1,
                Tok::Close => depth = depth.saturating_sub(1),
                Tok::Comma => begins = depth == 0,
                _ => {}
            }
        }
        false
    }

    /// `x = ...`, `SESSION x = ...`, `@@x = ...`, `@@session.x = ...`
    fn assigns_guarded(&self, n: usize) -> bool {
        let mut at = n + usize::from(self.tok(n) == Tok::AtAt);
        if self.is(at, &["session", "local"]) {
            at += 1 + usize::from(self.tok(at + 1) == Tok::Dot);
        }
        self.names(at, &GUARDED) && matches!(self.tok(at + 1), Tok::Eq | Tok::Assign)
    }

    /// Are there statements inside of this one: routines, triggers, events, compound statements,
    /// SET STATEMENT ... FOR?
    fn holds_statements(&self) -> bool {
        let routine = |n| {
            matches!(self.kw(n), Kw::Procedure | Kw::Function | Kw::Trigger | Kw::Event)
                || self.is(n, &["package"])
        };
        match self.kw(0) {
            Kw::Create | Kw::Alter => (1..DEFINITION_WORDS).any(routine),
            Kw::Set => self.is(1, &["statement"]),
            Kw::Begin | Kw::If | Kw::Case | Kw::For => true,
            _ => self.is(0, &["loop", "while", "repeat", "declare"]),
        }
    }

    /// May a statement begin here, inside of another one?
    fn may_begin(&self, n: usize) -> bool {
        let Some(before) = n.checked_sub(1) else { return true };
        let gap = self
            .items
            .get(before)
            .zip(self.items.get(n))
            .and_then(|(a, b)| self.sql.get(a.span.end as usize..b.span.start as usize));
        gap.is_some_and(|gap| gap.contains(&b';'))
            || self.tok(before) == Tok::Close
            || self.is(
                before,
                &["begin", "atomic", "then", "else", "do", "loop", "repeat", "row", "for", "sql"],
            )
            || self.is(before, &["deterministic", "data", "definer", "invoker"])
            || self.is_in_handler(before)
    }

    /// `DECLARE ... HANDLER FOR 1062, SQLSTATE '23000', SQLEXCEPTION statement`: behind any of the
    /// conditions it may begin.
    fn is_in_handler(&self, before: usize) -> bool {
        let first = before.saturating_sub(HANDLER_WORDS);
        (first..before)
            .rev()
            .take_while(|n| self.kw(*n) != Kw::Begin)
            .any(|n| self.is(n, &["handler"]) && self.kw(n + 1) == Kw::For)
    }

    /// Routines of the servers' own schemas run what they are told, with the rights of the tablet's
    /// account.
    fn calls_system(&self, n: usize, database: Option<&str>) -> bool {
        let system = ["sys", "mysql"];
        self.is(n, &["call"])
            && match self.tok(n + 2) {
                Tok::Dot => self.names(n + 1, &system),
                _ => {
                    database.is_some_and(|name| system.iter().any(|s| name.eq_ignore_ascii_case(s)))
                }
            }
    }

    /// Files of the server, and tables of accounts, wherever they are named.
    fn reaches_out(&self) -> bool {
        let reads = matches!(
            self.kw(0),
            Kw::Select
                | Kw::Show
                | Kw::Explain
                | Kw::Describe
                | Kw::Desc
                | Kw::With
                | Kw::Table
                | Kw::Values
        ) || self.tok(0) == Tok::Open
            || matches!(
                self.kw(0),
                Kw::Use | Kw::Do | Kw::Set | Kw::Help | Kw::Analyze | Kw::Vexplain
            );
        (0..self.items.len()).any(|n| {
            let system = self.names(n, &["mysql"]) && self.tok(n + 1) == Tok::Dot;
            self.kw(n) == Kw::Into && matches!(self.kw(n + 1), Kw::Outfile | Kw::Dumpfile)
                || self.names(n, &["load_file"]) && self.tok(n + 1) == Tok::Open
                || system && (!reads || self.names(n + 2, ACCOUNTS))
        })
    }
}

/// Is the statement for administrators?
pub(super) fn is_privileged(
    input: &PlanInput<'_>,
    tokens: &Tokens<'_>,
    parsed: Option<&Statement<'_>>,
) -> bool {
    let words = Words { sql: input.sql, items: tokens.items };
    let database = input.session.database;
    let begins_inside = |n| {
        words.begins_privileged(n, false)
            || words.calls_system(n, database)
            || prepares_privileged(input, &words, n, true)
    };
    let inside = || {
        words.holds_statements()
            && (1..words.items.len()).any(|n| words.may_begin(n) && begins_inside(n))
    };
    // KILL asks whose the sessions are; forms that only the server knows it cannot ask.
    let is_known = parsed.is_some_and(|s| matches!(s, Statement::Kill { .. }));
    let kill = words.kw(0) == Kw::Kill && !is_known;
    let own = match parsed {
        Some(Statement::Set(_)) => true,
        Some(Statement::Show(show)) => show.kind == ShowKind::Grants,
        _ => false,
    };
    kill || words.begins_privileged(0, own && input.snapshot.drop_in.is_none())
        || words.reaches_out()
        || inside()
        || words.calls_system(0, database)
        || prepares_privileged(input, &words, 0, false)
}

/// `EXECUTE IMMEDIATE` runs the text of an expression: no plan of it may be kept for another text.
pub(super) fn is_immediate(tokens: &Tokens<'_>, sql: &[u8]) -> bool {
    let words = Words { sql, items: tokens.items };
    words.kw(0) == Kw::Execute && words.is(1, &["immediate"])
}

/// A text that is prepared or executed by name, from `n` on. What is not plainly there cannot be
/// looked at. The session reads the variables of a PREPARE; `inside` of a routine nobody does.
fn prepares_privileged(
    input: &PlanInput<'_>,
    words: &Words<'_, '_>,
    n: usize,
    inside: bool,
) -> bool {
    let (at, immediate) = match (words.kw(n), words.kw(n + 2)) {
        (Kw::Prepare, Kw::From) => (n + 3, false),
        (Kw::Execute, _) if words.is(n + 1, &["immediate"]) => (n + 2, true),
        _ => return false,
    };
    let ends = match words.items.get(at + 1) {
        None => true,
        Some(next) => {
            let gap = words
                .items
                .get(at)
                .map(|item| item.span.end as usize..next.span.start as usize);
            let ended = inside
                && gap
                    .and_then(|gap| input.sql.get(gap))
                    .is_some_and(|gap| gap.contains(&b';'));
            ended || immediate && words.kw(at + 1) == Kw::Using
        }
    };
    if words.tok(at) == Tok::UserVar && ends && !inside && !immediate {
        return false;
    }
    let Some(item) = words.items.get(at).filter(|i| i.tok == Tok::Str) else { return true };
    let literal = Literal { span: item.span.start..item.span.end, kind: LiteralKind::String };
    let mut scratch = Vec::new();
    let Value::Bytes(text) =
        literal_value(input.sql, &literal, &mut scratch, input.session.sql_mode)
    else {
        return true;
    };
    !ends || text_is_privileged(text, input)
}

fn text_is_privileged(text: &[u8], outer: &PlanInput<'_>) -> bool {
    let mut fingerprint = Fingerprint::new();
    // What cannot be read is refused by whoever runs it.
    if fingerprint.read(text, outer.session.sql_mode).is_err() {
        return false;
    }
    let Ok(inner) = tokens(text, &fingerprint, outer.session.sql_mode, outer.arena) else {
        return false;
    };
    let words = Words { sql: text, items: inner.items };
    // It cannot prepare another one; and a KILL that the server runs itself counts by its own
    // numbers, of anybody's sessions.
    matches!(words.kw(0), Kw::Prepare | Kw::Execute)
        || is_privileged(
            &PlanInput { sql: text, fingerprint: &fingerprint, ..*outer },
            &inner,
            None,
        )
}
