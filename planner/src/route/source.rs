//! What names in a FROM stand for: tables, views, names that WITH defines, derived tables.
use super::block::{
    Block, Blocks, Columns, CteRef, INSTANCES_MAX, Position, Source, Use, VIEWS_MAX,
};
use super::classes::{Instance, Node};
use super::names::Place;
use super::subquery::EMPTY;
use crate::error::PlanError;
use crate::snapshot::TableKind;
use crate::sql::ast::*;

impl<'a> Blocks<'_, '_, 'a> {
    pub(super) fn derived(
        &mut self,
        name: Option<&'a str>,
        renamed: &[&str],
        columns: Vec<(String, Option<Node>)>,
    ) -> Source<'a> {
        let instance = self.classes.add_instance();
        let columns = if renamed.is_empty() {
            columns
        } else {
            // Which columns `*` stands for is not known exactly, so that renaming by position
            // proves nothing.
            renamed
                .iter()
                .map(|r| (r.to_ascii_lowercase(), None))
                .collect()
        };
        Source { name, instance, columns: Columns::Derived(columns) }
    }

    pub(super) fn table(
        &mut self,
        name: &'a TableName<'a>,
        instances: &mut Vec<Instance>,
    ) -> Result<Source<'a>, PlanError> {
        if self.uses.len() > INSTANCES_MAX {
            return Err(PlanError::TooLong(INSTANCES_MAX));
        }
        let cte = match name.database {
            None => self.ctes.iter().rposition(|c| c.cte.name == name.name),
            Some(_) => None,
        };
        if let Some((at, found)) = cte.and_then(|at| self.ctes.get(at).map(|c| (at, *c))) {
            return self.cte(at, found, name, instances);
        }
        let place =
            if self.views > 0 { self.place_in_view(name)? } else { self.planner.locate(name)? };
        if let Place::Table { table: Some(table), .. } = place
            && let Some(text) = &table.view
        {
            return self.view(name, text, instances);
        }
        let instance = self.classes.add_instance();
        self.hints
            .extend(name.vindexes.map(|hint| (instance, hint)));
        let source = |columns| Source { name: Some(name.exposed()), instance, columns };
        let Place::Table { table, .. } = place else {
            return Ok(source(Columns::Unknown));
        };
        let table = self
            .planner
            .readable_table(self.keyspace, name.name, table)?;
        if let Some(id) = &table.pinned {
            self.pinned.push(id.clone());
            instances.push(instance);
            self.uses.push(Use { instance, table: table.clone() });
        } else if table.kind != TableKind::Reference {
            instances.push(instance);
            self.uses.push(Use { instance, table: table.clone() });
        }
        Ok(source(Columns::Table(table)))
    }

    /// A name in a view's text means what it means to the server.
    fn place_in_view(&self, name: &TableName<'_>) -> Result<Place<'a>, PlanError> {
        let keyspace = self.planner.keyspace(self.keyspace);
        match name.database {
            Some(database) if super::names::is_system(database) => Ok(Place::System),
            Some(database) if keyspace.is_none_or(|k| k.database != database) => {
                Err(PlanError::unsupported("a view on another database"))
            }
            _ => {
                let table = keyspace.and_then(|k| k.tables.get(name.name));
                Ok(Place::Table { keyspace: self.keyspace, table })
            }
        }
    }

    /// A view is read as the query that it stands for; the text that goes to the servers still has
    /// its name.
    fn view(
        &mut self,
        name: &'a TableName<'a>,
        text: &'a str,
        instances: &mut Vec<Instance>,
    ) -> Result<Source<'a>, PlanError> {
        let unknown = || {
            PlanError::unsupported(format!(
                "the view '{}', whose query is not understood",
                name.name
            ))
        };
        if self.views >= VIEWS_MAX {
            return Err(unknown());
        }
        let statement =
            crate::sql::parse_alone(text, self.planner.input.arena).map_err(|_| unknown())?;
        let Statement::Query(query) = statement else { return Err(unknown()) };
        let hidden = std::mem::take(&mut self.ctes);
        self.views += 1;
        let block = self.query(query, &Vec::new(), Position::Rows);
        self.views -= 1;
        self.ctes = hidden;
        let block = block?;
        instances.extend(block.instances);
        Ok(self.derived(Some(name.exposed()), &[], block.columns))
    }

    fn cte(
        &mut self,
        at: usize,
        found: CteRef<'a>,
        name: &'a TableName<'a>,
        instances: &mut Vec<Instance>,
    ) -> Result<Source<'a>, PlanError> {
        // Inside, only the names before it are visible; and itself, if recursive.
        let hidden = self.ctes.split_off(at);
        debug_assert!(found.sees <= self.ctes.len());
        let block = if found.recursive {
            self.breaks("recursive WITH over several shards");
            let nothing = Cte { name: found.cte.name, columns: &[], query: &EMPTY };
            self.ctes
                .push(CteRef { cte: nothing, sees: at, recursive: false });
            let block = self.query(found.cte.query, &Vec::new(), Position::Rows);
            self.ctes.truncate(at);
            block.map(|b| Block { columns: Vec::new(), ..b })
        } else {
            self.query(found.cte.query, &Vec::new(), Position::Rows)
        };
        self.ctes.extend(hidden);
        let block = block?;
        instances.extend(block.instances);
        Ok(self.derived(Some(name.exposed()), found.cte.columns, block.columns))
    }
}
