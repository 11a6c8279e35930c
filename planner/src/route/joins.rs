//! FROM: which tables, joined how, and whether the rows that meet lie on one shard.
use super::block::{Blocks, Columns, Position, Scopes, Source, usable};
use super::classes::{Instance, Node};
use super::conditions::{Has, conjuncts};
use super::subquery::has_subquery;
use crate::error::PlanError;
use crate::sql::ast::*;
use smallvec::SmallVec;

/// A FROM's joins, with the sharded tables at the leaves.
pub(super) enum Tree<'a> {
    Leaf { source: usize, instances: Vec<Instance> },
    List(Vec<Self>),
    Join { join: &'a Join<'a>, left: Box<Self>, right: Box<Self> },
}

impl Tree<'_> {
    /// The sharded tables, leaf by leaf.
    fn units(&self) -> Vec<Vec<Instance>> {
        match self {
            Self::Leaf { instances, .. } => vec![instances.clone()],
            Self::List(list) => list.iter().flat_map(Self::units).collect(),
            Self::Join { left, right, .. } => [left.units(), right.units()].concat(),
        }
    }

    fn sources(&self, out: &mut Vec<usize>) {
        match self {
            Self::Leaf { source, .. } => out.push(*source),
            Self::List(list) => list.iter().for_each(|t| t.sources(out)),
            Self::Join { left, right, .. } => {
                left.sources(out);
                right.sources(out);
            }
        }
    }

    /// Every instance that a name of the tree stands for, sharded or not.
    fn all_instances(&self, scopes: &Scopes<'_, '_>, out: &mut Vec<Instance>) {
        let mut sources = Vec::new();
        self.sources(&mut sources);
        let scope = scopes.first().copied().unwrap_or_default();
        out.extend(
            sources
                .iter()
                .filter_map(|&n| scope.get(n))
                .map(|s| s.instance),
        );
    }
}

impl<'a> Blocks<'_, '_, 'a> {
    /// The tables of a FROM with their conditions: their names go to `sources`, the sharded ones to
    /// `instances`.
    pub(super) fn from(
        &mut self,
        from: &'a [TableExpr<'a>],
        filter: Option<&'a Expr<'a>>,
        outer: &Scopes<'_, 'a>,
        sources: &mut Vec<Source<'a>>,
        instances: &mut Vec<Instance>,
    ) -> Result<(), PlanError> {
        let mut trees = Vec::new();
        for table in from {
            trees.push(self.tree(table, outer, sources)?);
        }
        let mut scopes: Scopes<'_, 'a> = vec![sources.as_slice()];
        scopes.extend(outer.iter().copied());
        let mut filters: SmallVec<[&'a Expr<'a>; 8]> = SmallVec::new();
        filter.into_iter().for_each(|f| conjuncts(f, &mut filters));
        for condition in &filters {
            self.condition(condition, &scopes);
        }
        self.anchor_in(scopes.first().copied().unwrap_or_default());
        for tree in &trees {
            self.inner_conditions(tree, &scopes);
        }
        for tree in &trees {
            let found = self.outer_joins(tree, &scopes)?;
            instances.extend(found);
        }
        let units: Vec<Vec<Instance>> = trees
            .iter()
            .flat_map(|t| t.units())
            .filter(|u| !u.is_empty())
            .collect();
        self.connected(&units);
        Ok(())
    }

    /// Breaks unless the sharded tables in the units lie together.
    pub(super) fn connected(&mut self, units: &[Vec<Instance>]) {
        if units.len() > 1 && !self.lie_together(&units.concat()) {
            self.breaks("a join of sharded tables that is not on their vindex columns");
        }
    }

    /// Are the rows that meet always on one shard?
    pub(super) fn lie_together(&self, instances: &[Instance]) -> bool {
        let keys: Vec<_> = instances.iter().map(|&i| self.keys(i)).collect();
        let mut reached = vec![false; keys.len()];
        let mut todo = vec![0usize];
        while let Some(n) = todo.pop() {
            if let Some(flag) = reached.get_mut(n) {
                if *flag {
                    continue;
                }
                *flag = true;
            }
            let Some(mine) = keys.get(n) else { continue };
            let near = keys
                .iter()
                .enumerate()
                .filter(|(_, other)| other.iter().any(|k| mine.contains(k)));
            todo.extend(
                near.map(|(m, _)| m)
                    .filter(|&m| reached.get(m) == Some(&false)),
            );
        }
        reached.iter().all(|&r| r)
    }

    pub(super) fn keys(&self, instance: Instance) -> Vec<(String, Vec<Node>)> {
        let Some(table) = self
            .uses
            .iter()
            .find(|u| u.instance == instance)
            .map(|u| &u.table)
        else {
            return Vec::new();
        };
        usable(table)
            .filter_map(|v| {
                let roots: Option<Vec<Node>> = v
                    .columns
                    .iter()
                    .map(|c| self.classes.class(instance, c))
                    .collect();
                roots.map(|r| (v.vindex.name.clone(), r))
            })
            .collect()
    }

    pub(super) fn tree(
        &mut self,
        table: &'a TableExpr<'a>,
        outer: &Scopes<'_, 'a>,
        sources: &mut Vec<Source<'a>>,
    ) -> Result<Tree<'a>, PlanError> {
        let first = sources.len();
        Ok(match table {
            TableExpr::Table(name) => {
                let mut instances = Vec::new();
                let source = self.table(name, &mut instances)?;
                sources.push(source);
                Tree::Leaf { source: first, instances }
            }
            TableExpr::Derived(derived) => {
                // LATERAL sees its neighbours, but proves nothing about them: their names are not
                // resolved.
                let scopes = if derived.lateral { Vec::new() } else { outer.clone() };
                let block = self.query(derived.query, &scopes, Position::Rows)?;
                if derived.lateral && !block.instances.is_empty() {
                    self.breaks("LATERAL over several shards");
                }
                sources.push(self.derived(derived.alias, derived.columns, block.columns));
                Tree::Leaf { source: first, instances: block.instances }
            }
            TableExpr::Function { args, alias } => {
                let mut instances = Vec::new();
                for arg in *args {
                    self.subqueries(arg, outer, &[], &mut instances)?;
                }
                let instance = self.classes.add_instance();
                sources.push(Source { name: *alias, instance, columns: Columns::Unknown });
                Tree::Leaf { source: first, instances }
            }
            TableExpr::List(list) => {
                let mut trees = Vec::new();
                for one in *list {
                    trees.push(self.tree(one, outer, sources)?);
                }
                Tree::List(trees)
            }
            TableExpr::Join(join) => {
                let left = self.tree(&join.left, outer, sources)?;
                let right = self.tree(&join.right, outer, sources)?;
                Tree::Join { join, left: Box::new(left), right: Box::new(right) }
            }
        })
    }

    /// Equalities of inner joins hold for every row, as those of WHERE do.
    pub(super) fn inner_conditions(&mut self, tree: &Tree<'a>, scopes: &Scopes<'_, 'a>) {
        match tree {
            Tree::Leaf { .. } => {}
            Tree::List(list) => list.iter().for_each(|t| self.inner_conditions(t, scopes)),
            Tree::Join { join, left, right } => match join.kind {
                JoinKind::Inner => {
                    self.join_conditions(join, left, right, scopes);
                    self.inner_conditions(left, scopes);
                    self.inner_conditions(right, scopes);
                }
                JoinKind::Left => self.inner_conditions(left, scopes),
                JoinKind::Right => self.inner_conditions(right, scopes),
            },
        }
    }

    /// Takes the outer joins, from the inside of their kept side outwards. Returns the sharded
    /// tables of the tree.
    pub(super) fn outer_joins(
        &mut self,
        tree: &Tree<'a>,
        scopes: &Scopes<'_, 'a>,
    ) -> Result<Vec<Instance>, PlanError> {
        match tree {
            Tree::Leaf { instances, .. } => Ok(instances.clone()),
            Tree::List(list) => {
                let mut all = Vec::new();
                for one in list {
                    all.extend(self.outer_joins(one, scopes)?);
                }
                Ok(all)
            }
            Tree::Join { join, left, right } => {
                let (kept, other) = match join.kind {
                    JoinKind::Inner => {
                        let mut all = self.outer_joins(left, scopes)?;
                        all.extend(self.outer_joins(right, scopes)?);
                        self.on_subqueries(join, scopes, &all.clone(), &mut all)?;
                        return Ok(all);
                    }
                    JoinKind::Left => (left, right),
                    JoinKind::Right => (right, left),
                };
                let mut all = self.outer_joins(kept, scopes)?;
                let units: Vec<_> = kept.units().into_iter().filter(|u| !u.is_empty()).collect();
                self.connected(&units);
                let mut frozen = Vec::new();
                kept.all_instances(scopes, &mut frozen);
                frozen.extend(&all);
                self.classes.freeze(&frozen);
                self.inner_conditions(other, scopes);
                self.join_conditions(join, left, right, scopes);
                let inner = self.outer_joins(other, scopes)?;
                other.all_instances(scopes, &mut self.padded);
                self.padded.extend(&inner);
                if all.is_empty() && !inner.is_empty() {
                    self.breaks("an outer join that keeps rows of a table which is not sharded");
                }
                all.extend(inner);
                self.on_subqueries(join, scopes, &all.clone(), &mut all)?;
                Ok(all)
            }
        }
    }

    pub(super) fn on_subqueries(
        &mut self,
        join: &'a Join<'a>,
        scopes: &Scopes<'_, 'a>,
        outside: &[Instance],
        all: &mut Vec<Instance>,
    ) -> Result<(), PlanError> {
        let Some(on) = join.on.as_ref().filter(|on| has_subquery(on)) else { return Ok(()) };
        self.breaks("subqueries in ON over several shards");
        let sources = scopes.first().copied().unwrap_or_default();
        self.freeze(sources, outside);
        self.subqueries(on, scopes, outside, all)
    }

    pub(super) fn join_conditions(
        &mut self,
        join: &'a Join<'a>,
        left: &Tree<'a>,
        right: &Tree<'a>,
        scopes: &Scopes<'_, 'a>,
    ) {
        let mut list: SmallVec<[&'a Expr<'a>; 8]> = SmallVec::new();
        join.on
            .as_ref()
            .into_iter()
            .for_each(|on| conjuncts(on, &mut list));
        for condition in list {
            self.condition(condition, scopes);
        }
        for column in join.using {
            let column = column.to_ascii_lowercase();
            let (a, b) = (self.only(left, &column, scopes), self.only(right, &column, scopes));
            if let Some((a, b)) = a.zip(b) {
                self.classes.unite(a, b);
            }
        }
    }

    /// The column of a USING: only where one table of the side has it for sure, and it is a plain
    /// table.
    pub(super) fn only(
        &mut self,
        tree: &Tree<'a>,
        column: &str,
        scopes: &Scopes<'_, 'a>,
    ) -> Option<Node> {
        let mut sources = Vec::new();
        tree.sources(&mut sources);
        let scope = *scopes.first()?;
        let mut found = None;
        for &n in &sources {
            let source = scope.get(n)?;
            match source.has(column) {
                Has::Yes if found.is_none() => found = Some(source.clone()),
                Has::No => {}
                Has::Maybe if sources.len() == 1 => {}
                _ => return None,
            }
        }
        self.node_in(&found?, column)
    }
}
