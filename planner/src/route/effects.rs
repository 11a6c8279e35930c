//! What a statement leaves behind on its connection, and the calls that only the session can
//! answer: found in the tokens alone, so that statements which the grammar does not know are
//! treated alike.
use super::Planner;
use crate::plan::{Effects, Piece, SessionValue, StatementClass};
use crate::sql::ast::{Body, ExprKind, Span, Statement};
use crate::sql::input::{Item, Tokens};
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;
use crate::vitess_variables::{self, VitessKind};

/// A call that is replaced by the session's value.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionCall {
    pub(super) span: Span,
    pub(super) value: SessionValue,
}

pub(super) struct Found {
    pub(super) effects: Effects,
    pub(super) calls: Vec<SessionCall>,
}

fn text<'a>(sql: &'a [u8], item: Option<&Item>) -> &'a [u8] {
    item.and_then(|i| sql.get(i.span.start as usize..i.span.end as usize))
        .unwrap_or_default()
}

pub(super) fn scan(sql: &[u8], tokens: &Tokens<'_>) -> Found {
    let mut found = Found { effects: Effects::empty(), calls: Vec::new() };
    let items = tokens.items;
    let tok = |n: usize| items.get(n).map_or(Tok::End, |i| i.tok);
    let mut depth = 0u32;
    for (n, item) in items.iter().enumerate() {
        let before = n.checked_sub(1).map_or(Tok::End, tok);
        match item.tok {
            Tok::Open => depth += 1,
            Tok::Close => depth = depth.saturating_sub(1),
            Tok::UserVar if depth == 0 && is_target_of_set(items, n) => {
                found.effects |= Effects::READS_VARIABLES;
            }
            Tok::UserVar => {
                found.effects |=
                    match (tok(n + 1), n.checked_sub(1).and_then(|b| items.get(b)).map(|i| i.kw)) {
                        (Tok::Assign, _) => Effects::ASSIGNS_VARIABLES | Effects::PIN,
                        (_, Some(Kw::Into)) => Effects::ASSIGNS_VARIABLES | Effects::PIN,
                        _ => Effects::READS_VARIABLES,
                    };
            }
            Tok::AtAt => {
                let name_at = if tok(n + 2) == Tok::Dot { n + 3 } else { n + 1 };
                let name = text(sql, items.get(name_at));
                let first = text(sql, items.get(n + 1));
                let session = name_at == n + 1
                    || first.eq_ignore_ascii_case(b"session")
                    || first.eq_ignore_ascii_case(b"local");
                // The same whatever the scope: where clients connect to.
                if let Some(value) = where_clients_connect(name)
                    .or_else(|| session.then(|| session_variable(name)).flatten())
                    && let Some(last) = items.get(name_at)
                {
                    let span = Span { start: item.span.start, end: last.span.end };
                    found.calls.push(SessionCall { span, value });
                }
            }
            Tok::Word if before != Tok::Dot => word(sql, items, n, &mut found),
            // A function's name may be quoted.
            Tok::Quoted if before != Tok::Dot && tok(n + 1) == Tok::Open => {
                found.effects |= locks(unquoted(text(sql, Some(item))));
            }
            _ => {}
        }
    }
    if flush_locks(sql, items) {
        found.effects |= Effects::PIN;
    }
    if matches!(items.first().map(|i| i.kw), Some(Kw::Select | Kw::Do))
        && !items.iter().any(|i| i.kw == Kw::From)
    {
        found.effects |= Effects::NO_TABLES;
    }
    found
}

/// `SET @a := 1, @b := 2` sets what the session keeps by itself; an assignment inside of a value is
/// known to the server alone.
fn is_target_of_set(items: &[Item], n: usize) -> bool {
    let kw = |n: usize| items.get(n).map_or(Kw::None, |i| i.kw);
    kw(0) == Kw::Set
        && n.checked_sub(1)
            .and_then(|b| items.get(b))
            .is_some_and(|before| before.tok == Tok::Comma || before.kw == Kw::Set)
}

/// FLUSH TABLES ... WITH READ LOCK and ... FOR EXPORT: the locks are the connection's, until UNLOCK
/// TABLES.
fn flush_locks(sql: &[u8], items: &[Item]) -> bool {
    let is = |n: usize, word: &[u8]| text(sql, items.get(n)).eq_ignore_ascii_case(word);
    is(0, b"flush") && (1..items.len()).any(|n| is(n, b"lock") || is(n, b"export"))
}

fn unquoted(name: &[u8]) -> &[u8] {
    name.get(1..name.len().saturating_sub(1))
        .unwrap_or_default()
}

/// What a call of this function does to the connection's locks.
fn locks(name: &[u8]) -> Effects {
    let is = |names: &[&str]| {
        names
            .iter()
            .any(|a| name.eq_ignore_ascii_case(a.as_bytes()))
    };
    match () {
        () if is(&["release_all_locks"]) => Effects::PIN | Effects::UNPIN,
        () if is(&[
            "get_lock",
            "release_lock",
            "service_get_read_locks",
            "service_get_write_locks",
        ]) =>
        {
            Effects::PIN
        }
        () => Effects::empty(),
    }
}

fn where_clients_connect(name: &[u8]) -> Option<SessionValue> {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match () {
        () if is("socket") => Some(SessionValue::Socket),
        () if is("port") => Some(SessionValue::Port),
        () if is("hostname") => Some(SessionValue::Hostname),
        () => None,
    }
}

fn session_variable(name: &[u8]) -> Option<SessionValue> {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match () {
        () if let Some(variable) = vitess_variables::find(name) => match variable.kind {
            VitessKind::Hidden => None,
            _ => Some(SessionValue::Vitess(variable)),
        },
        () if is("last_insert_id") || is("identity") => Some(SessionValue::Identity),
        () if is("warning_count") => Some(SessionValue::WarningCount),
        () if is("error_count") => Some(SessionValue::ErrorCount),
        () => None,
    }
}

fn word(sql: &[u8], items: &[Item], n: usize, found: &mut Found) {
    let Some(item) = items.get(n) else { return };
    let next = items.get(n + 1).map_or(Tok::End, |i| i.tok);
    if item.kw == Kw::SqlCalcFoundRows {
        found.effects |= Effects::CALC_FOUND_ROWS;
    }
    if item.kw == Kw::CurrentUser && next != Tok::Open {
        found
            .calls
            .push(SessionCall { span: item.span, value: SessionValue::CurrentUser });
    }
    if next != Tok::Open {
        if n == 0 && (matches!(item.kw, Kw::Handler | Kw::Call | Kw::Xa)) {
            found.effects |= Effects::PIN;
            found.effects.set(Effects::XA, item.kw == Kw::Xa);
        }
        return;
    }
    let name = text(sql, Some(item));
    let is = |names: &[&str]| {
        names
            .iter()
            .any(|a| name.eq_ignore_ascii_case(a.as_bytes()))
    };
    found.effects |= locks(name);
    let close = items.get(n + 2).filter(|i| i.tok == Tok::Close);
    let Some(close) = close else { return };
    let value = match () {
        () if is(&["last_insert_id"]) => SessionValue::LastInsertId,
        () if is(&["row_count"]) => SessionValue::RowCount,
        () if is(&["found_rows"]) => SessionValue::FoundRows,
        () if is(&["connection_id"]) => SessionValue::ConnectionId,
        () if is(&["database", "schema"]) => SessionValue::Database,
        () if is(&["user", "session_user", "system_user"]) => SessionValue::User,
        () if is(&["current_user"]) => SessionValue::CurrentUser,
        () => return,
    };
    found
        .calls
        .push(SessionCall { span: Span { start: item.span.start, end: close.span.end }, value });
}

impl<'a> Planner<'_, 'a> {
    /// Replaces the calls, where the statement is one that has expressions.
    pub(super) fn rewrite_session_calls(
        &mut self,
        statement: &Statement<'a>,
        class: StatementClass,
    ) {
        use StatementClass as C;
        if !matches!(
            class,
            C::Select | C::SelectLocking | C::Insert | C::Replace | C::Update | C::Delete | C::Call
        ) && !matches!(statement, Statement::Do(_))
        {
            return;
        }
        let drop_in = self.is_drop_in();
        let calls: Vec<_> = std::mem::take(&mut self.session_calls)
            .into_iter()
            .filter(|c| !(drop_in && c.value == SessionValue::Database))
            .collect();
        for call in &calls {
            self.edits
                .replace(call.span, vec![Piece::Session(call.value)]);
        }
        // The column keeps the name that the client expects.
        let items = match statement {
            Statement::Query(q) => match q.first {
                Body::Select(s) => s.items,
                _ => &[],
            },
            _ => &[],
        };
        for item in items
            .iter()
            .filter(|i| i.alias.is_none() && !matches!(i.expr.kind, ExprKind::Star(_)))
        {
            let span = Span { start: item.expr.span.start, end: item.end };
            if calls
                .iter()
                .any(|c| c.span.start >= span.start && c.span.end <= span.end)
            {
                let sql = self
                    .input
                    .sql
                    .get(span.start as usize..span.end as usize)
                    .unwrap_or_default();
                let mut alias = b" AS `".to_vec();
                for &b in sql {
                    if b == b'`' {
                        alias.push(b);
                    }
                    alias.push(b);
                }
                alias.push(b'`');
                let lifted = &self.input.fingerprint.literals;
                if lifted
                    .iter()
                    .any(|l| l.span.start >= span.start && l.span.end <= span.end)
                {
                    self.cacheable = false;
                }
                self.edits.insert(span.end, vec![Piece::Verbatim(alias)]);
            }
        }
    }
}
