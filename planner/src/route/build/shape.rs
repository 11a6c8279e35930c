//! A query's parts on their way to a plan: the columns that shards send, the changes to its text.
use super::super::Planner;
use super::super::aggregates::is_aggregate;
use super::super::block::Source;
use super::super::text::Edits;
use super::functions::{is_numeric, is_sure};
use super::kind::Kind;
use super::visible::{Found, Visible, find, visible};
use crate::plan::tree::{Limit, Merge};
use crate::plan::{Operand, Piece, verbatim};
use crate::sql::ast::{Call, Expr, ExprKind, Query, Select, Span};
use crate::sql::keyword::Kw;
use crate::sql::lex::Tok;

/// A LIMIT that is none.
pub(super) const ALL_ROWS: &str = " LIMIT 18446744073709551615";

/// The most columns that a plan can name.
const COLUMNS_MAX: usize = 60_000;

pub(super) struct Shape<'s, 'p, 'a> {
    pub(super) planner: &'s Planner<'p, 'a>,
    pub(super) query: &'a Query<'a>,
    pub(super) select: &'a Select<'a>,
    pub(super) sources: &'s [Source<'a>],
    pub(super) visible: Vec<Visible<'a>>,
    /// Columns behind those that the client gets.
    pub(super) hidden: Vec<Vec<Piece>>,
    pub(super) edits: Edits,
    pub(super) merge: Merge,
    /// What the aggregates with DISTINCT are over.
    pub(super) distinct_over: Option<&'a [Expr<'a>]>,
    /// MIN or MAX of a column that is printed with leading zeros, or not, as a server's plan goes.
    pub(super) filled: bool,
}

impl<'s, 'p, 'a> Shape<'s, 'p, 'a> {
    pub(super) fn new(
        planner: &'s Planner<'p, 'a>,
        query: &'a Query<'a>,
        select: &'a Select<'a>,
        sources: &'s [Source<'a>],
    ) -> Option<Self> {
        let visible = visible(select, sources)?;
        if visible.len() > COLUMNS_MAX {
            return None;
        }
        let mut merge = Merge { shown: u16::try_from(visible.len()).ok()?, ..Merge::default() };
        if let Some(limit) = &query.limit {
            // NULL is for the servers to refuse.
            let operand = |expr: &Expr<'_>| planner.operand(expr).filter(|o| *o != Operand::Null);
            let skip = match &limit.skip {
                Some(skip) => Some(operand(skip)?),
                None => None,
            };
            merge.limit = Some(Limit { skip, take: operand(limit.take.as_ref()?)? });
            limit.plain.then_some(())?;
        }
        let (hidden, edits) = (Vec::new(), planner.edits.clone());
        Some(Self {
            planner,
            query,
            select,
            sources,
            visible,
            hidden,
            edits,
            merge,
            distinct_over: None,
            filled: false,
        })
    }

    /// The plan's text and steps, once everything is known.
    pub(super) fn finish(mut self) -> Option<(Merge, Edits)> {
        let mut list = Vec::new();
        let hidden = u16::try_from(self.hidden.len()).ok()?;
        self.merge.width = self.merge.shown.checked_add(hidden)?;
        for (n, pieces) in self.hidden.drain(..).enumerate() {
            list.push(verbatim(", "));
            list.extend(pieces);
            list.push(verbatim(format!(" AS `_coregate_{n}`")));
        }
        if !list.is_empty() {
            self.edits.insert(self.select.items_end, list);
        }
        Some((self.merge, self.edits))
    }

    /// The number of rows that each shard must send.
    pub(super) fn push_limit(&mut self) {
        if let (Some(limit), Some(clause)) = (&self.merge.limit, &self.query.limit) {
            let sum = Piece::LimitSum { skip: limit.skip.clone(), take: limit.take.clone() };
            self.edits
                .replace(clause.span, vec![verbatim("LIMIT "), sum]);
        }
    }

    /// The limit counts rows that the shards do not have yet.
    pub(super) fn keep_limit(&mut self) {
        if let Some(clause) = &self.query.limit {
            self.edits.replace(clause.span, Vec::new());
        }
    }

    /// A column behind those that the client gets.
    pub(super) fn hide(&mut self, pieces: Vec<Piece>) -> Option<u16> {
        let at = match self.hidden.iter().position(|h| *h == pieces) {
            Some(at) => at,
            None => {
                self.hidden.push(pieces);
                self.hidden.len() - 1
            }
        };
        u16::try_from(self.visible.len() + at)
            .ok()
            .filter(|n| usize::from(*n) < COLUMNS_MAX)
    }

    /// The statement's text, as it goes to the servers.
    pub(super) fn text(&self, span: Span) -> Vec<Piece> {
        let planner = self.planner;
        planner
            .edits
            .pieces(planner.input.sql, planner.tokens, span)
    }

    pub(super) fn source_text(&self, span: Span) -> &'a [u8] {
        let sql = self.planner.input.sql;
        sql.get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    pub(super) fn column_text(&self, found: Found<'a>) -> Vec<Piece> {
        let source = self.sources.get(found.source).and_then(|s| s.name);
        let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
        let table = source.map(|s| format!("{}.", quote(s))).unwrap_or_default();
        vec![verbatim(format!("{table}{}", quote(&found.column.name)))]
    }

    pub(super) fn visible_text(&self, at: usize) -> Option<Vec<Piece>> {
        let visible = self.visible.get(at)?;
        match (visible.expr, visible.column) {
            (Some(expr), _) => Some(self.text(expr.span)),
            (None, Some(found)) => Some(self.column_text(found)),
            _ => None,
        }
    }

    /// How the values of a visible column compare.
    pub(super) fn visible_kind(&self, at: usize) -> Option<Kind> {
        let visible = self.visible.get(at)?;
        match (visible.column, visible.expr) {
            (Some(found), _) => self.column_kind(found),
            (None, Some(expr)) => self.kind(expr),
            _ => None,
        }
    }

    pub(super) fn column_kind(&self, found: Found<'a>) -> Option<Kind> {
        Kind::of_column(self.planner.input.snapshot, found.column)
    }

    /// How the values of an expression compare.
    pub(super) fn kind(&self, expr: &Expr<'a>) -> Option<Kind> {
        match &expr.kind {
            ExprKind::Column(name) => self.column_kind(find(name, self.sources)?),
            _ if self.is_number(expr) => Some(Kind::Number),
            ExprKind::Call(call) => self.aggregate_kind(call),
            _ => None,
        }
    }

    fn aggregate_kind(&self, call: &Call<'a>) -> Option<Kind> {
        if call.window || call.database.is_some() {
            return None;
        }
        let is = |names: &[&str]| names.iter().any(|n| call.name.eq_ignore_ascii_case(n));
        match call.args {
            _ if is(&["count", "sum", "avg"]) => Some(Kind::Number),
            [arg] if is(&["bit_and", "bit_or", "bit_xor"]) => {
                self.is_integer(arg).then_some(Kind::Number)
            }
            [arg] if is(&["min", "max"]) => match self.kind(arg)? {
                // These compare in another way, or would have to be told apart from what is
                // printed.
                Kind::Index | Kind::Timestamp => None,
                kind => Some(kind),
            },
            _ => None,
        }
    }

    pub(super) fn is_integer(&self, expr: &Expr<'a>) -> bool {
        match &expr.kind {
            ExprKind::Column(name) => {
                find(name, self.sources).is_some_and(|found| Kind::is_integer(found.column))
            }
            _ => false,
        }
    }

    /// Is it a number or a date for each row, whatever its operands are?
    pub(super) fn is_number(&self, expr: &Expr<'a>) -> bool {
        is_steady(expr) && self.has_number(expr)
    }

    fn has_number(&self, expr: &Expr<'a>) -> bool {
        match &expr.kind {
            ExprKind::Other(_) => self.is_arithmetic(expr),
            ExprKind::Call(call) => {
                call.database.is_none() && !call.window && !call.distinct && is_numeric(call.name)
            }
            ExprKind::Compare { .. } | ExprKind::And(_) | ExprKind::Or(_) | ExprKind::Not(_) => {
                true
            }
            ExprKind::InList { .. } | ExprKind::InCollapsed { .. } => true,
            _ => false,
        }
    }

    /// Sums, differences, products and quotients of columns and literals: a number, whatever they
    /// are.
    pub(super) fn is_arithmetic(&self, expr: &Expr<'a>) -> bool {
        let ExprKind::Other([_, _, ..]) = expr.kind else { return false };
        let span = expr.span;
        let items = self.planner.tokens.items;
        let inside = |n: usize| {
            items
                .get(n)
                .filter(|i| i.span.start >= span.start && i.span.end <= span.end)
        };
        let first = items.partition_point(|i| i.span.start < span.start);
        (first..)
            .map_while(|n| inside(n).map(|i| (n, i)))
            .all(|(n, item)| {
                let next = inside(n + 1).map_or(Tok::End, |i| i.tok);
                match item.tok {
                    Tok::Word if matches!(item.kw, Kw::Div | Kw::Mod) => next != Tok::Open,
                    Tok::Word if item.kw.is_reserved() => false,
                    // A call, or a literal of a date.
                    Tok::Word => next != Tok::Open && !next.is_literal(),
                    Tok::Quoted => next != Tok::Open,
                    Tok::Slash
                    | Tok::Percent
                    | Tok::Dot
                    | Tok::Plus
                    | Tok::Minus
                    | Tok::Star
                    | Tok::Open
                    | Tok::Close
                    | Tok::Param => true,
                    tok => tok.is_literal(),
                }
            })
    }
}

/// Has it the same value wherever it stands in the statement?
fn is_steady(expr: &Expr<'_>) -> bool {
    match &expr.kind {
        ExprKind::Column(_)
        | ExprKind::Literal(_)
        | ExprKind::Param(_)
        | ExprKind::Null
        | ExprKind::Bool
        | ExprKind::Star(None) => true,
        ExprKind::And(list) | ExprKind::Or(list) | ExprKind::Row(list) | ExprKind::Other(list) => {
            list.iter().all(is_steady)
        }
        ExprKind::Not(e) => is_steady(e),
        ExprKind::Compare { sides, .. } => sides.iter().all(is_steady),
        ExprKind::InList { left, list, .. } => is_steady(left) && list.iter().all(is_steady),
        ExprKind::InCollapsed { left, .. } => is_steady(left),
        ExprKind::Call(call) => {
            let known = is_sure(call.name) || is_aggregate(call.name);
            known && call.database.is_none() && !call.window && call.args.iter().all(is_steady)
        }
        _ => false,
    }
}

/// `before`, the pieces, `after`.
pub(super) fn around(before: &str, pieces: Vec<Piece>, after: &str) -> Vec<Piece> {
    let mut all = vec![verbatim(before)];
    all.extend(pieces);
    all.push(verbatim(after));
    all
}
