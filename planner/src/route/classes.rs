//! Which columns are equal to each other and to constants: union-find over columns.
//!
//! A class can be frozen. The ON condition of an outer join and the WHERE of a subquery say
//! something about their own tables only; what they say about a table outside is not a restriction
//! of it. So the tables outside are frozen first: others may join their classes, but they learn
//! nothing.
use crate::column::Family;
use crate::plan::{InRows, Operand};
use smallvec::SmallVec;

pub(super) type Node = usize;
pub(super) type Instance = usize;

/// What a column is compared with.
#[derive(Debug, Clone)]
pub(super) enum Const {
    One(Operand),
    Many(InRows),
    /// The pattern of a LIKE.
    Like(Operand),
}

#[derive(Debug)]
struct Class {
    parent: Node,
    instance: Instance,
    column: String,
    family: Family,
    frozen: bool,
    one: Option<Operand>,
    many: Option<InRows>,
    /// Means something while the class has one column only.
    like: Option<Operand>,
}

/// `(a, b) IN ((1, 2), (3, 4))`: columns whose values go together.
#[derive(Debug)]
struct Tuples {
    nodes: Vec<Option<Node>>,
    rows: Vec<Vec<Option<Operand>>>,
}

/// How many combinations of values a vindex of several columns is asked for.
const COMBINATIONS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Classes {
    nodes: Vec<Class>,
    frozen: Vec<bool>,
    tuples: Vec<Tuples>,
}

impl Classes {
    pub(super) fn add_instance(&mut self) -> Instance {
        self.frozen.push(false);
        self.frozen.len() - 1
    }

    /// The node of a column; made when it is first asked for.
    pub(super) fn node(&mut self, instance: Instance, column: &str, family: Family) -> Node {
        if let Some(found) = self.find_node(instance, column) {
            return found;
        }
        let frozen = self.frozen.get(instance).copied().unwrap_or(true);
        let parent = self.nodes.len();
        self.nodes.push(Class {
            parent,
            instance,
            column: column.to_owned(),
            family,
            frozen,
            one: None,
            many: None,
            like: None,
        });
        parent
    }

    fn find_node(&self, instance: Instance, column: &str) -> Option<Node> {
        self.nodes
            .iter()
            .position(|n| n.instance == instance && n.column == column)
    }

    fn root(&self, mut node: Node) -> Node {
        while let Some(class) = self.nodes.get(node)
            && class.parent != node
        {
            node = class.parent;
        }
        node
    }

    pub(super) fn class_of(&self, node: Node) -> Node {
        self.root(node)
    }

    /// The class of a column, if the column was ever mentioned.
    pub(super) fn class(&self, instance: Instance, column: &str) -> Option<Node> {
        self.find_node(instance, column).map(|n| self.root(n))
    }

    pub(super) fn freeze(&mut self, instances: &[Instance]) {
        for &instance in instances {
            if let Some(frozen) = self.frozen.get_mut(instance) {
                *frozen = true;
            }
        }
        for node in 0..self.nodes.len() {
            if self
                .nodes
                .get(node)
                .is_some_and(|n| instances.contains(&n.instance))
            {
                let root = self.root(node);
                if let Some(class) = self.nodes.get_mut(root) {
                    class.frozen = true;
                }
            }
        }
    }

    /// The two columns are equal in every row that counts. Columns of types that compare otherwise
    /// than their bytes do stay apart: `'5x' = 5` is true, and says nothing about where either
    /// lies.
    pub(super) fn unite(&mut self, a: Node, b: Node) {
        let (a, b) = (self.root(a), self.root(b));
        let family = |s: &Self, n: Node| s.nodes.get(n).map_or(Family::Unknown, |c| c.family);
        let (one, two) = (family(self, a), family(self, b));
        if !one.alike(two) {
            return;
        }
        let frozen = |s: &Self, n: Node| s.nodes.get(n).is_some_and(|c| c.frozen);
        let (under, over) = match (frozen(self, a), frozen(self, b)) {
            _ if a == b => return,
            (true, true) => return,
            (false, _) => (a, b),
            (true, false) => (b, a),
        };
        let Some(class) = self.nodes.get_mut(under) else { return };
        class.parent = over;
        let known = if one == Family::Unknown { two } else { one };
        if let Some(class) = self.nodes.get_mut(over) {
            class.family = known;
        }
        let Some(class) = self.nodes.get_mut(under) else { return };
        let (one, many) = (class.one.take(), class.many.take());
        if let Some(class) = self.nodes.get_mut(over)
            && !class.frozen
        {
            class.one = class.one.take().or(one);
            class.many = class.many.take().or(many);
        }
    }

    pub(super) fn restrict(&mut self, node: Node, to: Const) {
        let root = self.root(node);
        let Some(class) = self.nodes.get_mut(root).filter(|c| !c.frozen) else { return };
        match to {
            Const::One(operand) => drop(class.one.get_or_insert(operand)),
            Const::Many(rows) => drop(class.many.get_or_insert(rows)),
            Const::Like(pattern) => drop(class.like.get_or_insert(pattern)),
        }
    }

    /// The columns have one of these rows of values; `None` where a place is no column or no value.
    pub(super) fn restrict_together(
        &mut self,
        nodes: Vec<Option<Node>>,
        rows: Vec<Vec<Option<Operand>>>,
    ) {
        self.tuples.push(Tuples { nodes, rows });
    }

    /// Every combination of values that the first of these classes can have, as many of them as are
    /// restricted.
    pub(super) fn combinations(
        &self,
        classes: &[Option<Node>],
    ) -> Option<Vec<SmallVec<[Operand; 1]>>> {
        let whole = self.tuples.iter().find_map(|t| self.of_tuples(t, classes));
        whole.or_else(|| {
            let mut rows: Vec<SmallVec<[Operand; 1]>> = vec![SmallVec::new()];
            for class in classes {
                let Some(class) = *class else { break };
                let one;
                let values = match (self.one(class), self.many(class)) {
                    (Some(value), _) => {
                        one = [SmallVec::from_elem(value.clone(), 1)];
                        &one[..]
                    }
                    (None, Some(InRows::Operands(values))) => values.as_slice(),
                    _ => break,
                };
                if rows.len() * values.len() > COMBINATIONS_MAX {
                    break;
                }
                let longer = rows.iter().flat_map(|row| {
                    values
                        .iter()
                        .map(|value| row.iter().chain(value).cloned().collect())
                });
                rows = longer.collect();
            }
            rows.first().is_none_or(|r| !r.is_empty()).then_some(rows)
        })
    }

    /// The rows of a list of tuples, in the order of the classes. Those that a table outside gave
    /// say nothing about it.
    fn of_tuples(
        &self,
        tuples: &Tuples,
        classes: &[Option<Node>],
    ) -> Option<Vec<SmallVec<[Operand; 1]>>> {
        let frozen = |class: Node| self.nodes.get(class).is_none_or(|c| c.frozen);
        let place = |class: Node| {
            tuples
                .nodes
                .iter()
                .position(|n| n.is_some_and(|n| self.root(n) == class))
        };
        tuples
            .rows
            .iter()
            .map(|row| {
                let values = classes.iter().map(|class| {
                    let class = (*class)?;
                    match place(class) {
                        Some(n) if !frozen(class) => row.get(n)?.clone(),
                        _ => self.one(class).cloned(),
                    }
                });
                values.collect()
            })
            .collect()
    }

    /// Has the class one column only?
    pub(super) fn is_single(&self, class: Node) -> bool {
        let members = (0..self.nodes.len()).filter(|node| self.root(*node) == class);
        members.take(2).count() == 1
    }

    /// Does the column of a node compare as one of this type does?
    pub(super) fn is_alike(&self, node: Node, family: Family) -> bool {
        self.nodes.get(node).is_some_and(|c| c.family.alike(family))
    }

    pub(super) fn column_of(&self, node: Node) -> Option<(Instance, &str)> {
        self.nodes
            .get(node)
            .map(|c| (c.instance, c.column.as_str()))
    }

    /// Does every value of a node's column fit into one of this type?
    pub(super) fn fits(&self, node: Node, family: Family) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|c| family.takes_all_of(c.family))
    }

    pub(super) fn one(&self, class: Node) -> Option<&Operand> {
        self.nodes.get(class)?.one.as_ref()
    }

    /// The pattern that a column is like, which equals no other.
    pub(super) fn like(&self, class: Node) -> Option<&Operand> {
        let like = self.nodes.get(class)?.like.as_ref()?;
        self.is_single(class).then_some(like)
    }

    pub(super) fn many(&self, class: Node) -> Option<&InRows> {
        self.nodes.get(class)?.many.as_ref()
    }
}
