//! SHOW: which part of the system it asks.
use super::ast::*;
use super::from::table_name;
use super::input::*;
use super::keyword::Kw;
use super::lex::Tok;

fn plain<'a>(kind: ShowKind) -> Show<'a> {
    Show {
        kind,
        table: None,
        database: None,
        like: None,
        offset: 0,
        limit: None,
        status: false,
        keys: false,
        name: None,
    }
}

pub(super) fn show<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let rest = eat_all(i, &[Kw::Extended, Kw::Full, Kw::Global, Kw::Session, Kw::Local]);
    let end = i.skip(usize::MAX);
    let mut found = match rest.peek_kw() {
        Kw::Databases | Kw::Schemas | Kw::Keyspaces | Kw::VitessKeyspaces => {
            plain(ShowKind::Databases)
        }
        Kw::Shards | Kw::VitessShards => plain(ShowKind::Shards),
        Kw::Tablets | Kw::VitessTablets => plain(ShowKind::Tablets),
        Kw::VitessTarget => plain(ShowKind::Target),
        Kw::Vschema => {
            let mut found = plain(match rest.kw_at(1) {
                Kw::Tables => ShowKind::VschemaTables,
                Kw::Vindexes => ShowKind::VschemaVindexes,
                Kw::Keyspaces => ShowKind::VschemaKeyspaces,
                _ => return rest.fail(),
            });
            if matches!(rest.kw_at(2), Kw::On | Kw::From) {
                found.table = Some(i.alloc(table_name(rest.skip(3))?.1));
            }
            found
        }
        Kw::Warnings => limited(rest.skip(1), ShowKind::Warnings)?.1,
        Kw::Errors => limited(rest.skip(1), ShowKind::Errors)?.1,
        Kw::Count if rest.tok_at(1) == Tok::Open => match rest.kw_at(4) {
            Kw::Warnings => plain(ShowKind::CountWarnings),
            Kw::Errors => plain(ShowKind::CountErrors),
            _ => return rest.fail(),
        },
        Kw::Tables
        | Kw::Columns
        | Kw::Fields
        | Kw::Index
        | Kw::Indexes
        | Kw::Keys
        | Kw::Create
        | Kw::Table => schema(rest)?.1,
        Kw::Open if rest.kw_at(1) == Kw::Tables => schema(rest.skip(1))?.1,
        _ if rest.is_word(0, "triggers") || rest.is_word(0, "events") => schema(rest)?.1,
        Kw::Processlist if i.peek_kw() == Kw::Full => plain(ShowKind::FullProcesslist),
        Kw::Processlist => plain(ShowKind::Processlist),
        _ if rest.is_word(0, "grants") => plain(match (rest.tok_at(1), rest.kw_at(1)) {
            (Tok::End, _) => ShowKind::Grants,
            (_, Kw::For) if rest.is_word(2, "current_user") => ShowKind::Grants,
            _ => ShowKind::Server,
        }),
        _ if rest.is_word(0, "unresolved") && rest.is_word(1, "transactions") => {
            let mut found = plain(ShowKind::Unresolved);
            found.name = named(rest.skip(2))?;
            found
        }
        Kw::Transaction if rest.is_word(1, "status") => {
            let mut found = plain(ShowKind::TransactionStatus);
            found.name = named(rest.skip(2))?;
            if found.name.is_none() {
                return rest.fail();
            }
            found
        }
        _ => plain(absent(rest).map_or(ShowKind::Server, ShowKind::Absent)),
    };
    found.like = like(rest);
    Ok((end, Statement::Show(i.alloc(found))))
}

/// What Vitess tells and Coregate does not, and where it is found instead.
fn absent(rest: In<'_>) -> Option<&'static str> {
    const ABSENT: [(&str, &str); 5] = [
        ("vitess_migrations", "DDL runs on all shards at once, and no list of it is kept"),
        (
            "vitess_replication_status",
            "SHOW VITESS_TABLETS lists the servers, and /metrics their lag",
        ),
        ("vitess_metadata", "SHOW VARIABLES has the servers' variables"),
        (
            "gtid_executed",
            "USE keyspace:shard and ask that server: @@global.gtid_executed on MySQL, \
                @@global.gtid_current_pos on MariaDB",
        ),
        (
            "vgtid_executed",
            "USE keyspace:shard and ask each server: @@global.gtid_executed on MySQL, \
                @@global.gtid_current_pos on MariaDB",
        ),
    ];
    let found = ABSENT.iter().find(|(word, _)| rest.is_word(0, word));
    found.map(|(_, instead)| *instead)
}

/// The pattern after LIKE, anywhere in the statement.
fn like<'a>(i: In<'a>) -> Option<&'a str> {
    let at = i.items.iter().position(|t| t.kw == Kw::Like)?;
    let item = *i.items.get(at + 1)?;
    (item.tok == Tok::Str).then(|| i.name_of(item))
}

/// `[FOR] name`, or `[FOR] 'text'`; nothing at the end.
fn named<'a>(i: In<'a>) -> Result<Option<&'a str>, nom::Err<Trouble>> {
    let i = if i.peek_kw() == Kw::For { i.skip(1) } else { i };
    match i.peek() {
        Tok::End => Ok(None),
        Tok::Str => Ok(i.items.first().map(|item| i.name_of(*item))),
        _ => Ok(Some(name(i)?.1)),
    }
}

/// `[LIMIT [offset,] count]`
fn limited<'a>(i: In<'a>, kind: ShowKind) -> R<'a, Show<'a>> {
    let mut found = plain(kind);
    if i.peek_kw() != Kw::Limit {
        return if i.peek() == Tok::End { Ok((i, found)) } else { i.fail() };
    }
    let (rest, first) = number(i.skip(1))?;
    found.limit = Some(first);
    let rest = match (rest.peek(), rest.peek_kw()) {
        (Tok::Comma, _) => {
            let (rest, count) = number(rest.skip(1))?;
            (found.offset, found.limit) = (first, Some(count));
            rest
        }
        (_, Kw::Offset) => {
            let (rest, offset) = number(rest.skip(1))?;
            found.offset = offset;
            rest
        }
        _ => rest,
    };
    Ok((rest, found))
}

fn number<'a>(i: In<'a>) -> R<'a, u64> {
    let (rest, item) = tok(Tok::Int)(i)?;
    match std::str::from_utf8(i.text(item.span))
        .ok()
        .and_then(|t| t.parse().ok())
    {
        Some(n) => Ok((rest, n)),
        None => i.fail(),
    }
}

/// TABLES, COLUMNS, INDEX, CREATE TABLE ...: which table, which database.
fn schema<'a>(i: In<'a>) -> R<'a, Show<'a>> {
    let mut found = plain(ShowKind::Schema);
    let mut rest = i.skip(1);
    match i.peek_kw() {
        Kw::Create if matches!(rest.peek_kw(), Kw::Table | Kw::View) => {
            found.table = Some(i.alloc(table_name(rest.skip(1))?.1));
            return Ok((rest, found));
        }
        Kw::Create if matches!(rest.peek_kw(), Kw::Database | Kw::Schema) => {
            let mut rest = rest.skip(1);
            while rest.peek_kw() == Kw::If || matches!(rest.peek_kw(), Kw::Not | Kw::Exists) {
                rest = rest.skip(1);
            }
            found.database = Some(database(rest)?.1);
            return Ok((rest, found));
        }
        Kw::Create => return Ok((rest, found)),
        Kw::Columns | Kw::Fields | Kw::Index | Kw::Indexes | Kw::Keys
            if matches!(rest.peek_kw(), Kw::From | Kw::In) =>
        {
            let (next, table) = table_name(rest.skip(1))?;
            found.table = Some(i.alloc(table));
            found.keys = matches!(i.peek_kw(), Kw::Index | Kw::Indexes | Kw::Keys);
            rest = next;
        }
        Kw::Table => {
            found.status = rest.peek_kw() == Kw::Status;
            rest = eat(rest, Kw::Status).0;
        }
        _ => {}
    }
    if matches!(rest.peek_kw(), Kw::From | Kw::In) {
        found.database = Some(database(rest.skip(1))?.1);
    }
    Ok((rest, found))
}

fn database<'a>(i: In<'a>) -> R<'a, (&'a str, Span)> {
    let (rest, name) = any_name(i)?;
    Ok((rest, (name, i.span_to(&rest))))
}
