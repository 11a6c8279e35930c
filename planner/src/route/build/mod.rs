//! Plans over several shards: what the shards send, and how it becomes the answer.
mod aggregate;
mod carry;
mod distinct;
mod finish;
mod functions;
mod gather;
mod group;
mod keys;
mod kind;
mod locks;
mod order;
mod refs;
mod shape;
mod visible;

use super::Planner;
use super::block::Source;
use super::directives;
use super::needs::{Broken, Needs};
use super::places::Placed;
use crate::plan::tree::{Form, Leaf, Tree};
use crate::plan::{Action, Combine, Plan, Route, StatementClass, Target, Text};
use crate::snapshot::KeyspaceIdx;
use crate::sql::ast::{Body, Query, Span};
use shape::Shape;

impl<'a> Planner<'_, 'a> {
    /// A query that each shard can answer for itself, up to its order, groups, distinct rows and limit; `None` if it is another.
    pub(super) fn merged(
        &self,
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
        let shape = Shape::new(self, query, select, sources)?;
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
        let end = u32::try_from(self.input.fingerprint.end).unwrap_or(u32::MAX);
        let text = edits.pieces(self.input.sql, self.tokens, Span { start: self.start, end });
        let route = self.leaf(keyspace, leaf, Text::Pieces(text));
        Some(Tree { leaves: vec![Leaf { route }], form: Form::Merge(merge) })
    }

    fn leaf(&self, keyspace: KeyspaceIdx, place: Placed, text: Text) -> Route {
        Route {
            to: Target::Keyspace { keyspace, shards: place.to },
            combine: Combine::Concat,
            text,
            tablet_kind: self.input.session.tablet_kind,
            alone: false,
            maintain: None,
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
