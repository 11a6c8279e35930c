//! Plans over several shards: what the shards send, and how it becomes the answer.
mod aggregate;
mod carry;
mod distinct;
mod distinct_values;
mod edges;
mod finish;
mod functions;
mod gather;
mod group;
mod indexes;
mod keyed;
mod keys;
mod kind;
mod locks;
mod meaning;
mod order;
mod owner;
mod refs;
mod shape;
mod system;
mod visible;

pub(super) use functions::is_sure;
pub(super) use gather::transported;
pub(super) use system::mentions as mentions_system;

use super::Planner;
use super::block::Source;
use super::directives;
use super::needs::{Broken, Needs};
use super::places::Placed;
use super::text::Edits;
use crate::plan::tree::{Described, Form, Leaf, Tree};
use crate::plan::{Action, Combine, Piece, Plan, Route, StatementClass, Target, Text};
use crate::snapshot::KeyspaceIdx;
use crate::sql::ast::{Body, Query, SelectItem, Span};
use crate::sql::lex::Tok;
use shape::Shape;

/// Characters of a column's alias; servers cut the names of expressions there.
const ALIAS_MAX: usize = 256;

impl<'a> Planner<'_, 'a> {
    /// A query that each shard can answer for itself, up to its order, groups, distinct rows and
    /// limit; `None` if it is another.
    pub(super) fn merged(
        &mut self,
        query: &'a Query<'a>,
        sources: &[Source<'a>],
        broken: &Broken,
        keyspace: KeyspaceIdx,
        leaf: Placed,
    ) -> Option<Tree> {
        let Body::Select(select) = query.first else { return None };
        let plain = query.rest.is_empty() && query.ctes.is_empty() && select.windows.is_empty();
        if !plain || broken.needs.intersects(Needs::MEET | Needs::ALONE) {
            return None;
        }
        let mut shape = Shape::new(self, query, select, sources)?;
        // Before anything is put behind the last item.
        let cacheable = self.name_params(select.items, &mut shape.edits);
        let (mut merge, mut edits) = if select.distinct {
            shape.distinct()?
        } else if broken.needs.intersects(Needs::GROUP | Needs::AGGREGATE) {
            shape.grouped()?
        } else {
            shape.ordered()?
        };
        merge.why.clone_from(&broken.why);
        if let Some((span, pieces)) = self.divided(&leaf) {
            edits.split(span, pieces);
        }
        self.cacheable &= cacheable;
        let end = u32::try_from(self.input.fingerprint.end).unwrap_or(u32::MAX);
        let text = edits.pieces(self.input.sql, self.tokens, Span { start: self.start, end });
        let route = self.leaf(keyspace, leaf, Text::Pieces(text));
        let described = self.described();
        Some(Tree { leaves: vec![Leaf { route }], form: Form::Merge(merge), described })
    }

    /// The text that a server is asked about, before anything is made of it for several shards.
    fn described(&self) -> Described {
        if self.edits.is_empty() {
            return Described::AsIs;
        }
        let end = u32::try_from(self.input.fingerprint.end).unwrap_or(u32::MAX);
        Described::By(self.edits.pieces(
            self.input.sql,
            self.tokens,
            Span { start: self.start, end },
        ))
    }

    /// Does a part of the statement hold literals or parameters that other statements with this
    /// plan have otherwise?
    fn has_values(&self, span: Span) -> bool {
        let items = self.tokens.items.iter();
        items
            .filter(|i| i.span.start >= span.start && i.span.end <= span.end)
            .any(|i| i.number != u16::MAX)
    }

    /// An expression is called by its text, in which a parameter is a `?`; the text that goes to
    /// the servers has values there. Returns whether the plan can be kept.
    fn name_params(&self, items: &[SelectItem<'_>], edits: &mut Edits) -> bool {
        let mut cacheable = true;
        for item in items {
            let span = Span { start: item.expr.span.start, end: item.end };
            let mut inside = self.tokens.items.iter();
            let param = inside.any(|i| {
                i.tok == Tok::Param && i.span.start >= span.start && i.span.end <= span.end
            });
            if item.alias.is_none() && param && !edits.has_insert(span.end) {
                edits.insert(span.end, self.called(span));
                let lifted = &self.input.fingerprint.literals;
                cacheable &= !lifted
                    .iter()
                    .any(|l| l.span.start >= span.start && l.span.end <= span.end);
            }
        }
        cacheable
    }

    /// ` AS` the text itself, as servers call an expression.
    fn called(&self, span: Span) -> Vec<Piece> {
        let sql = self
            .input
            .sql
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default();
        let mut alias = b" AS `".to_vec();
        let end = match std::str::from_utf8(sql) {
            Ok(text) => text
                .char_indices()
                .nth(ALIAS_MAX)
                .map_or(sql.len(), |(at, _)| at),
            Err(_) => sql.len().min(ALIAS_MAX),
        };
        for &byte in sql.get(..end).unwrap_or_default() {
            if byte == b'`' {
                alias.push(byte);
            }
            alias.push(byte);
        }
        alias.push(b'`');
        vec![Piece::Verbatim(alias)]
    }

    fn leaf(&self, keyspace: KeyspaceIdx, place: Placed, text: Text) -> Route {
        Route {
            to: Target::Keyspace { keyspace, shards: place.to },
            combine: Combine::Concat,
            text,
            tablet_kind: self.input.session.tablet_kind,
            alone: false,
            maintain: None,
            generate: None,
            load: None,
            vindex: None,
        }
    }

    pub(super) fn tree(&mut self, tree: Tree, class: StatementClass) -> Plan {
        Plan {
            action: Action::Tree(Box::new(tree)),
            class,
            effects: self.effects,
            cacheable: self.cacheable,
            directives: directives::read(self.input.sql, self.tokens.directives),
            tables: std::mem::take(&mut self.tables),
            names: Vec::new(),
        }
    }
}
