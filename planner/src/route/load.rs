//! LOAD DATA LOCAL INFILE into a table of several shards: what of a line tells where it goes. Each
//! shard gets the statement itself, and its lines as they are.
use super::Planner;
use super::names::Place;
use crate::column::Family;
use crate::error::PlanError;
use crate::literal::const_value;
use crate::lookup::quoted;
use crate::plan::load::{LineFormat, Load, LoadBy, LoadNumbers};
use crate::plan::{Action, Combine, Destination, Piece, Plan, StatementClass};
use crate::snapshot::{KeyspaceIdx, Table, TableKind};
use crate::sql::ast::{Span, TableName};
use crate::sql::input::Item;
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;
use crate::value::Value;
use smallvec::SmallVec;

fn refused<T>(what: impl std::fmt::Display) -> Result<T, PlanError> {
    Err(PlanError::unsupported(format!(
        "LOAD DATA over several shards {what}; select one shard with USE keyspace:shard"
    )))
}

/// The statement's clauses behind the table's name.
struct Clauses {
    charset: Option<String>,
    format: LineFormat,
    skip: u64,
    /// Where it says so.
    skip_span: Option<Span>,
    /// Columns, and `None` for user variables.
    fields: Option<Vec<Option<String>>>,
    /// Where their list stands, or would.
    list: Span,
    assigned: Vec<String>,
}

/// A walk over tokens.
struct Scan<'s> {
    sql: &'s [u8],
    items: &'s [Item],
    mode: crate::sql::lex::SqlMode,
}

impl<'s> Scan<'s> {
    fn text(&self, at: usize) -> &'s [u8] {
        let span = self.items.get(at).map(|item| item.span).unwrap_or_default();
        self.sql
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    fn is(&self, at: usize, word: &str) -> bool {
        self.text(at).eq_ignore_ascii_case(word.as_bytes())
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.is(0, word);
        if found {
            self.skip(1);
        }
        found
    }

    fn skip(&mut self, n: usize) {
        self.items = self.items.get(n..).unwrap_or_default();
    }

    fn tok(&self, at: usize) -> Tok {
        self.items.get(at).map_or(Tok::End, |item| item.tok)
    }

    /// `BY 'text'`
    fn by(&mut self) -> Result<Vec<u8>, PlanError> {
        if !self.eat("by") {
            return refused("whose clauses are not understood");
        }
        let mut buffer = Vec::new();
        let found = match const_value(self.text(0), &mut buffer, self.mode) {
            Some(Value::Bytes(bytes) | Value::Hex(bytes) | Value::Binary(bytes)) => bytes.to_vec(),
            _ => return refused("whose clauses are not understood"),
        };
        self.skip(1);
        Ok(found)
    }

    /// A single character, or none.
    fn by_one(&mut self) -> Result<Option<u8>, PlanError> {
        match self.by()?.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => refused("with more than one character in ENCLOSED BY or ESCAPED BY"),
        }
    }

    fn name(&self, at: usize) -> Option<String> {
        let text = String::from_utf8_lossy(self.text(at));
        match self.tok(at) {
            Tok::Quoted => Some(text.trim_matches(['`', '"']).to_ascii_lowercase()),
            Tok::Word => Some(text.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// `start`: behind the table's name.
    fn clauses(&mut self, start: u32) -> Result<Clauses, PlanError> {
        let all = self.items;
        let format = LineFormat {
            field_end: b"\t".to_vec(),
            enclosed: None,
            // What a server takes where nothing is said.
            escaped: (!self
                .mode
                .contains(crate::sql::lex::SqlMode::NO_BACKSLASH_ESCAPES))
            .then_some(b'\\'),
            line_end: b"\n".to_vec(),
            width: 0,
        };
        let mut found = Clauses {
            charset: None,
            format,
            skip: 0,
            skip_span: None,
            fields: None,
            list: Span::default(),
            assigned: Vec::new(),
        };
        if self.is(0, "partition") {
            return refused("with PARTITION");
        }
        if self.is(0, "character") && self.is(1, "set") || self.is(0, "charset") {
            self.skip(if self.is(0, "charset") { 1 } else { 2 });
            let name = String::from_utf8_lossy(self.text(0)).to_ascii_lowercase();
            found.charset = Some(name.trim_matches(['\'', '"', '`']).to_owned());
            self.skip(1);
        }
        self.field_clauses(&mut found.format)?;
        if self.is(0, "ignore") {
            let number = std::str::from_utf8(self.text(1))
                .ok()
                .and_then(|n| n.parse().ok());
            let (Some(number), true) = (number, self.is(2, "lines") || self.is(2, "rows")) else {
                return refused("whose clauses are not understood");
            };
            let span = |at: usize| self.items.get(at).map(|item| item.span).unwrap_or_default();
            found.skip = number;
            found.skip_span = Some(Span { start: span(0).start, end: span(2).end });
            self.skip(3);
        }
        let behind = self.items;
        self.columns(&mut found)?;
        let list = behind
            .get(..behind.len() - self.items.len())
            .unwrap_or_default();
        found.list = match (list, self.items) {
            ([first, .., last], _) => Span { start: first.span.start, end: last.span.end },
            (_, [next, ..]) => Span { start: next.span.start, end: next.span.start },
            _ => {
                let end = all.last().map_or(start, |last| last.span.end);
                Span { start: end, end }
            }
        };
        self.assignments(&mut found)?;
        match self.tok(0) {
            Tok::End => Ok(found),
            _ => refused("whose clauses are not understood"),
        }
    }

    fn field_clauses(&mut self, format: &mut LineFormat) -> Result<(), PlanError> {
        if self.eat("fields") || self.eat("columns") {
            loop {
                if self.eat("terminated") {
                    format.field_end = self.by()?;
                } else if self.is(0, "optionally") || self.is(0, "enclosed") {
                    self.eat("optionally");
                    self.skip(1);
                    format.enclosed = self.by_one()?;
                } else if self.eat("escaped") {
                    format.escaped = self.by_one()?;
                } else {
                    break;
                }
            }
        }
        if self.eat("lines") {
            loop {
                if self.eat("starting") {
                    if !self.by()?.is_empty() {
                        return refused("with LINES STARTING BY");
                    }
                } else if self.eat("terminated") {
                    format.line_end = self.by()?;
                } else {
                    break;
                }
            }
        }
        if format.field_end.is_empty() || format.line_end.is_empty() {
            return refused("of fields or lines without an end");
        }
        let LineFormat { field_end, line_end, enclosed, escaped, .. } = &*format;
        if escaped.is_some() && escaped == enclosed {
            return refused("with one character for ENCLOSED BY and ESCAPED BY");
        }
        // Which of them ends there, servers decide in ways of their own.
        if field_end.starts_with(line_end) || line_end.starts_with(field_end) {
            return refused("where one of the ends of fields and lines begins with the other");
        }
        let special = |b: &u8| Some(*b) == *escaped || Some(*b) == *enclosed;
        if field_end.iter().chain(line_end).any(special) {
            return refused(
                "with a character of ENCLOSED BY or ESCAPED BY in the end of fields or lines",
            );
        }
        Ok(())
    }

    /// `(a, @b, c)`
    fn columns(&mut self, found: &mut Clauses) -> Result<(), PlanError> {
        if self.tok(0) != Tok::Open {
            return Ok(());
        }
        let mut fields = Vec::new();
        loop {
            self.skip(1);
            if self.tok(0) == Tok::Close && fields.is_empty() {
                break;
            }
            match self.name(0) {
                Some(name) => fields.push(Some(name)),
                None if self.text(0).starts_with(b"@") => {
                    fields.push(None);
                    // `@` and its name may be two tokens.
                    if self.text(0) == b"@" {
                        self.skip(1);
                    }
                }
                None => return refused("whose columns are not understood"),
            }
            self.skip(1);
            match self.tok(0) {
                Tok::Comma => {}
                Tok::Close => break,
                _ => return refused("whose columns are not understood"),
            }
        }
        self.skip(1);
        found.fields = (!fields.is_empty()).then_some(fields);
        Ok(())
    }

    /// `SET a = ..., b = ...`
    fn assignments(&mut self, found: &mut Clauses) -> Result<(), PlanError> {
        if !self.eat("set") {
            return Ok(());
        }
        let (mut depth, mut begins) = (0usize, true);
        while self.tok(0) != Tok::End {
            if begins {
                let mut at = 0;
                while self.tok(at + 1) == Tok::Dot {
                    at += 2;
                }
                let Some(name) = self.name(at) else {
                    return refused("whose assignments are not understood");
                };
                found.assigned.push(name);
                self.skip(at);
            }
            begins = depth == 0 && self.tok(0) == Tok::Comma;
            match self.tok(0) {
                Tok::Open => depth += 1,
                Tok::Close => depth = depth.saturating_sub(1),
                _ if self.items.first().is_some_and(|item| item.kw == Kw::Select) => {
                    return refused("with a subquery");
                }
                _ => {}
            }
            self.skip(1);
        }
        Ok(())
    }
}

impl<'a> Planner<'_, 'a> {
    pub(super) fn load_data(
        &mut self,
        keyspace: KeyspaceIdx,
        name: &'a TableName<'a>,
        class: StatementClass,
    ) -> Result<Plan, PlanError> {
        let Place::Table { table, .. } = self.locate(name)? else {
            return refused("into a system table");
        };
        let table = self.sharded_table(keyspace, name.name, table)?;
        let at = self
            .tokens
            .items
            .partition_point(|item| item.span.start < name.span.end);
        let (before, behind) = self.tokens.items.split_at(at);
        let mode = self.input.session.sql_mode;
        let before = Scan { sql: self.input.sql, items: before, mode };
        let is_local = (0..before.items.len()).any(|at| before.is(at, "local"));
        if self.input.prepared || !is_local || !before.is(1, "data") {
            return refused("that is prepared, or not LOCAL, or LOAD XML");
        }
        // The whole file goes to one shard, as the rows of an INSERT do: it need not be read here.
        let one = match &table.pinned {
            Some(id) if table.column_vindexes.is_empty() => {
                Some(Destination::KeyspaceId(id.clone()))
            }
            _ => (table.kind == TableKind::Log).then_some(Destination::Turn),
        };
        if let Some(shard) = one {
            let replaces = before.items.iter().any(|item| item.kw == Kw::Replace);
            let anywhere = matches!(shard, Destination::Turn);
            if replaces && anywhere || table.auto_increment.is_some() {
                return refused(
                    "with REPLACE into a log table, or with numbers of a sequence into one that \
                        has no vindex",
                );
            }
            self.cacheable = false;
            return Ok(self.route(keyspace, shard, Combine::Concat, class));
        }
        let clauses = Scan { sql: self.input.sql, items: behind, mode }.clauses(name.span.end)?;
        let load = self.loaded(keyspace, table, clauses)?;
        let combine = if load.by.is_some() { Combine::Sum } else { Combine::First };
        self.cacheable = false;
        let mut plan = self.route(keyspace, Destination::Scatter, combine, class);
        if let Action::Route(route) = &mut plan.action {
            route.load = Some(Box::new(load));
        }
        Ok(plan)
    }

    /// Gives the statement the columns by which its lines are placed: its servers may have another
    /// order of them by now.
    fn name_fields(&mut self, at: Span, fields: &[Option<String>]) {
        let names: Vec<String> = fields.iter().flatten().map(|name| quoted(name)).collect();
        let list = vec![Piece::Verbatim(format!(" ({}) ", names.join(",")).into_bytes())];
        if at.start < at.end {
            self.edits.replace(at, list);
        } else {
            self.edits.insert(at.start, list);
        }
    }

    /// What of a line tells its shard. `None`: every shard gets it.
    fn placed_by(
        &self,
        table: &Table,
        clauses: &Clauses,
        field_of: &dyn Fn(&str) -> Option<u16>,
    ) -> Result<Option<LoadBy>, PlanError> {
        if table.kind == TableKind::Reference {
            return match table.source {
                Some(_) => refused("into a copy of another table"),
                None => Ok(None),
            };
        }
        let primary = table.column_vindexes.first();
        let Some((primary, vindex)) = primary.and_then(|p| Some((p, p.vindex.vindex.clone()?)))
        else {
            return refused("into a table whose rows only a lookup vindex places");
        };
        if table.column_vindexes.len() > 1 {
            return refused("into a table with a second vindex");
        }
        if let Some(column) = primary
            .columns
            .iter()
            .find(|c| clauses.assigned.contains(c))
        {
            return refused(format!("with SET of '{column}', which places the rows"));
        }
        let places: Option<SmallVec<[u16; 1]>> =
            primary.columns.iter().map(|c| field_of(c)).collect();
        let Some(fields) = places else {
            return refused(format!(
                "without a field for '{}', which places the rows",
                primary.columns.join("', '")
            ));
        };
        let charset = clauses.charset.as_deref();
        let families = primary.columns.iter().map(|c| Family::of_column(table, c));
        // A character that is above ASCII for all sets of several bytes.
        let any = |f: Family| f.may_change(&Value::Bytes("é".as_bytes()));
        let unsure = families.clone().any(any);
        Ok(Some(LoadBy {
            vindex,
            columns: primary.columns.iter().cloned().collect(),
            families: families.collect(),
            fields,
            utf8: !unsure && charset.is_some_and(|c| matches!(c, "utf8" | "utf8mb3" | "utf8mb4")),
        }))
    }

    fn loaded(
        &mut self,
        keyspace: KeyspaceIdx,
        table: &Table,
        clauses: Clauses,
    ) -> Result<Load, PlanError> {
        if super::lookups::owned(table).next().is_some() || table.pinned.is_some() {
            return refused("into a table that owns a lookup vindex, or is pinned");
        }
        let fields = match clauses.fields.clone() {
            Some(fields) => fields,
            None if table.columns_complete
                && !table.columns.iter().any(|c| c.generated || c.invisible) =>
            {
                let columns = table.columns.iter();
                columns.map(|c| Some(c.name.to_ascii_lowercase())).collect()
            }
            None => {
                return refused("without a list of columns, where not all are known and stored");
            }
        };
        let field_of = |column: &str| {
            let at = fields.iter().position(|f| f.as_deref() == Some(column))?;
            u16::try_from(at).ok()
        };
        let assigned = |column: &str| clauses.assigned.iter().any(|a| a == column);
        let numbered = match &table.auto_increment {
            Some(auto) if assigned(&auto.column) => {
                return refused(format!(
                    "with SET of '{}', whose numbers come from a sequence",
                    auto.column
                ));
            }
            Some(auto) => match field_of(&auto.column) {
                Some(field) => {
                    Some(LoadNumbers { field, sequence: self.sequence(keyspace, &auto.sequence) })
                }
                None => {
                    return refused(format!(
                        "without values for '{}', which come from a sequence",
                        auto.column
                    ));
                }
            },
            None => None,
        };
        let by = self.placed_by(table, &clauses, &field_of)?;
        if clauses.fields.is_none() {
            self.name_fields(clauses.list, &fields);
        }
        if let Some(span) = clauses.skip_span {
            self.edits.replace(span, Vec::new());
        }
        Ok(Load {
            by,
            format: LineFormat { width: fields.len(), ..clauses.format },
            skip: clauses.skip,
            numbered,
            variables: fields.iter().any(Option::is_none),
        })
    }
}
