//! Data definition: only the names of what it touches are read, the rest is the server's business.
use super::ast::*;
use super::from::table_name;
use super::input::*;
use super::keyword::Kw;
use super::lex::Tok;

fn empty<'a>() -> Ddl<'a> {
    Ddl {
        tables: &[],
        temporary: false,
        database: None,
        if_exists: false,
        create: false,
        other_object: false,
    }
}

/// `[IF [NOT] EXISTS]`
fn if_exists(i: In<'_>) -> (In<'_>, bool) {
    if i.peek_kw() != Kw::If {
        return (i, false);
    }
    let rest = eat(i.skip(1), Kw::Not).0;
    (eat(rest, Kw::Exists).0, true)
}

fn tables_at<'a>(i: In<'a>) -> R<'a, &'a [&'a TableName<'a>]> {
    commas(i, |i| {
        let (rest, found) = table_name(i)?;
        Ok((rest, i.alloc(found)))
    })
}

/// CREATE, ALTER, DROP, TRUNCATE, RENAME.
pub(super) fn ddl<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let end = i.skip(usize::MAX);
    let mut found = empty();
    let verb = i.peek_kw();
    found.create = verb == Kw::Create;
    let mut rest = i.skip(1);
    // CREATE [OR REPLACE] [TEMPORARY] [UNIQUE] [ALGORITHM = x] [DEFINER = x] [SQL SECURITY x]
    // object ...
    loop {
        match rest.peek_kw() {
            Kw::Temporary => found.temporary = true,
            Kw::Or
            | Kw::Replace
            | Kw::Unique
            | Kw::Fulltext
            | Kw::Spatial
            | Kw::Online
            | Kw::Offline
            | Kw::Ignore => {}
            Kw::Algorithm | Kw::Definer | Kw::Sql => {
                while !matches!(
                    rest.peek_kw(),
                    Kw::View | Kw::Procedure | Kw::Function | Kw::Trigger | Kw::Event
                ) {
                    rest = rest.any()?.0;
                }
                continue;
            }
            _ => break,
        }
        rest = rest.skip(1);
    }
    match (verb, rest.peek_kw()) {
        (Kw::Rename, Kw::Table | Kw::Tables) => {
            let (_, pairs) = commas(rest.skip(1), |i| {
                let (rest, from) = table_name(if_exists(i).0)?;
                let mut rest = rest;
                while rest.peek_kw() != Kw::To {
                    rest = rest.any()?.0;
                }
                let (rest, to) = table_name(rest.skip(1))?;
                Ok((rest, [from, to]))
            })?;
            let names = pairs.iter().flatten().map(|t| i.alloc(*t));
            let mut all = i.vec();
            all.extend(names);
            found.tables = all.into_bump_slice();
        }
        (Kw::Truncate, _) => {
            let (rest, _) = eat(rest, Kw::Table);
            found.tables = tables_at(rest)?.1;
        }
        (_, Kw::Table | Kw::Tables | Kw::View | Kw::Sequence) => {
            let (rest, exists) = if_exists(rest.skip(1));
            found.if_exists = exists;
            let (after, names) = tables_at(rest)?;
            found.tables = names;
            // CREATE TABLE a LIKE b, ALTER TABLE a RENAME TO db.b
            if let Some(also) = second_table(after, verb) {
                let mut all = i.vec();
                all.extend_from_slice(names);
                all.push(also);
                found.tables = all.into_bump_slice();
            }
        }
        (_, Kw::Database | Kw::Schema) => {
            let (rest, exists) = if_exists(rest.skip(1));
            found.if_exists = exists;
            found.database = Some(any_name(rest)?.1);
        }
        (_, Kw::Index) => {
            // CREATE INDEX i ON t, DROP INDEX i ON t
            while rest.peek_kw() != Kw::On {
                rest = rest.any()?.0;
            }
            found.tables = tables_at(rest.skip(1))?.1;
        }
        _ => found.other_object = true,
    }
    Ok((end, Statement::Ddl(i.alloc(found))))
}

fn second_table<'a>(i: In<'a>, verb: Kw) -> Option<&'a TableName<'a>> {
    let start = match verb {
        Kw::Create if i.peek_kw() == Kw::Like => i.skip(1),
        Kw::Create if i.peek() == Tok::Open && i.kw_at(1) == Kw::Like => i.skip(2),
        Kw::Alter => {
            let at = i.items.iter().position(|t| t.kw == Kw::Rename)?;
            let rest = i.skip(at + 1);
            match rest.peek_kw() {
                Kw::To | Kw::As => rest.skip(1),
                Kw::None => rest,
                _ => return None,
            }
        }
        _ => return None,
    };
    table_name(start).ok().map(|(_, t)| i.alloc(t))
}

/// `FLUSH [LOCAL] TABLES a, b [WITH READ LOCK]`, and all others, which name no tables.
pub(super) fn flush<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let end = i.skip(usize::MAX);
    let mut rest = i.skip(1);
    if rest.is_word(0, "no_write_to_binlog") || rest.peek_kw() == Kw::Local {
        rest = rest.skip(1);
    }
    let named = matches!(rest.peek_kw(), Kw::Table | Kw::Tables)
        && rest.tok_at(1) != Tok::End
        && rest.kw_at(1) != Kw::With;
    let names = match named.then(|| tables_at(rest.skip(1))) {
        Some(Ok((_, names))) => names,
        _ => &[],
    };
    Ok((end, Statement::Flush(names)))
}

/// ANALYZE, OPTIMIZE, CHECK, REPAIR, CHECKSUM TABLE.
pub(super) fn admin<'a>(i: In<'a>) -> R<'a, Statement<'a>> {
    let mut rest = i.skip(1);
    while !matches!(rest.peek_kw(), Kw::Table | Kw::Tables) {
        rest = rest.any()?.0;
    }
    let (_, names) = tables_at(rest.skip(1))?;
    Ok((i.skip(usize::MAX), Statement::Admin(names)))
}
